/**
 * Test files that get a process of their own. All other files of a vitest project run in shared processes, one file after the other, and
 * import the library once for each process.
 *
 * A file needs its own process if it
 * - starts threads, programs or a browser, or
 * - depends on what happens on import: it mocks a module, stubs the environment, or counts copies of the library, or
 * - measures the whole process: what the garbage collector frees, or the peak of the memory.
 */

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
];

/** Files of the other two kinds. */
const FRESH = [
  'autograd/across-await-page',
  'autograd/finalizers',
  'autograd/out-of-memory',
  'cifar-like/memory',
  'copies',
  'distributed/init',
  'kernels/checked-memory',
  'kernels/hex',
  'kernels/memory',
  'op-coverage',
  'playground/graph',
  'runtimes/environment',
  'runtimes/forbidden-workers',
  'train/memory',
];

/** All of them, below test/ and without .test.ts. */
export const OWN_PROCESS: readonly string[] = [...WAITING, ...FRESH];

const positions = new Map(OWN_PROCESS.map((name, i) => [name, i]));

/** Returns the position of a file among those with a process of their own; undefined for a file that shares one. */
export function ownProcess(path: string): number | undefined {
  const [, name] = /[\\/]test[\\/](?!.*[\\/]test[\\/])(.*)\.test\.ts$/.exec(path) ?? [];
  return positions.get((name ?? '').replaceAll('\\', '/'));
}
