/**
 * Test files that get a process of their own. All other files of a vitest project run in shared processes, one file after the other, and
 * import the library once for each process.
 *
 * A file needs its own process if it
 * - starts threads, programs or a browser, or
 * - depends on what happens on import: it mocks a module, stubs the environment, or counts copies of the library, or
 * - mocks the clock, as the library keeps the time of its last turn of the event loop, or
 * - measures the whole process: what the garbage collector frees, or the peak of the memory, or
 * - counts tensors before and after it waits: what earlier tests have dropped may be freed between, as the heap of a shared process grows.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url));

/** Files that mostly wait for programs, pages or threads, the longest first. They start before all others, which fill the idle cores. */
const WAITING = [
  'site',
  'distributed/mpi',
  'playground/panels-page',
  'playground/graph-page',
  'playground/train-page',
  'cifar-like/pages',
  'tour',
  'runtimes/runtimes',
  'playground/page',
  'distributed/parallel',
  'threads',
  'cifar-like/live',
  'distributed/killed',
  'cifar-like/ranks',
  'cifar-like/kill',
  'bits',
  'kernels/turbo',
  'docs',
  'kernels/threads-bits',
  'inspect/looking',
  'browser',
  'cifar-like/run',
  'cifar-like/command',
  'testing/example',
  'train/kill',
  'inspect/anomaly',
  'examples',
  'data/workers',
  'kernels/threads',
  'cifar-like/ablation',
  'declarations',
  'cifar-like/folder',
  'io/files',
  'distributed/hosts',
  'data/browser',
  'data/web-worker-start',
  'realms',
  'autograd/first-loop',
  'interop/node-flags',
];

/** Files of the other kinds whose text does not show it. */
const FRESH = ['cifar-like/memory', 'distributed/init', 'kernels/hex'];

/** Other modules than the files before it, another clock, a browser, MPI, or a count of what is collected. */
const NEEDS = /\bvi\.(mock|doMock|resetModules|useFakeTimers|spyOn\(performance)\b|\bstartChromium\(|\bmpiexec\(|'--expose-gc'/;

const showsIt = (text: string): boolean => NEEDS.test(text) || (/\bmemory\(\)/.test(text) && /\bawait\b/.test(text));

/** The listed files, below test/ and without .test.ts. */
export const LISTED: readonly string[] = [...WAITING, ...FRESH];

const positions = new Map<string, number | undefined>(LISTED.map((name, i) => [name, i]));

/** Returns the position of a file among those with a process of their own; undefined for a file that shares one. */
export function ownProcess(path: string): number | undefined {
  const name = path
    .slice(folder.length)
    .replaceAll('\\', '/')
    .replace(/\.test\.ts$/, '');
  if (!positions.has(name)) positions.set(name, showsIt(readFileSync(path, 'utf8')) ? LISTED.length : undefined);
  return positions.get(name);
}
