import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BROWSERS, bundle, Pages } from '../support/browsers.ts';
import type { Trained } from './program.ts';

// Twenty steps of training give the same bits on every runtime that is installed. Variables name those that are not on the PATH: NODES (a
// list of paths), BUN, DENO, CHROMIUM, FIREFOX, MINIBROWSER. The table of platforms in README.md has the last results.

interface Runtime {
  readonly name: string;
  readonly path: string;
  readonly args: readonly string[];
}

const nodes = (process.env.NODES ?? '').split(delimiter).filter((path) => path !== '');

/** Deno runs it twice, because without rights it refuses each read of the environment. */
const RUNTIMES: readonly Runtime[] = [
  { name: 'Node', path: process.execPath, args: [] },
  ...nodes.map((path) => ({ name: 'Node of NODES', path, args: [] })),
  { name: 'Bun', path: process.env.BUN ?? 'bun', args: [] },
  { name: 'Deno without rights', path: process.env.DENO ?? 'deno', args: ['run', '--no-prompt'] },
  { name: 'Deno with all rights', path: process.env.DENO ?? 'deno', args: ['run', '--allow-all'] },
];

const execute = promisify(execFile);

/** Returns the version that a runtime prints; null where it is not installed. */
async function versionOf(path: string): Promise<string | null> {
  try {
    return (await execute(path, ['--version'])).stdout.split('\n')[0]!;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

const versions = new Map(await Promise.all(RUNTIMES.map(async ({ path }) => [path, await versionOf(path)] as const)));

let folder: string;
let code: string;
let expected: string;

/** Runs the program on a runtime; returns what it printed. */
async function trainedOn({ path, args }: Runtime): Promise<Trained> {
  const { stdout, stderr } = await execute(path, [...args, join(folder, 'main.mjs')]);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Trained;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'runtimes-'));
  code = await bundle('runtimes/program.ts');
  writeFileSync(join(folder, 'bundle.mjs'), code);
  writeFileSync(join(folder, 'main.mjs'), "import { run } from './bundle.mjs';\nconsole.log(JSON.stringify(await run()));\n");
  expected = (await trainedOn(RUNTIMES[0]!)).digest;
  expect(expected).toMatch(/^[0-9a-f]{64}$/);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('twenty steps of training have the bits that Node computes', () => {
  for (const runtime of RUNTIMES.slice(1)) {
    const version = versions.get(runtime.path)!;
    test.skipIf(version === null)(`on ${runtime.name} ${version ?? '(not installed)'}`, async () => {
      expect((await trainedOn(runtime)).digest).toBe(expected);
    });
  }

  test('on one thread', async () => {
    const { stdout } = await execute(process.execPath, [join(folder, 'main.mjs')], { env: { ...process.env, CHAINRULE_THREADS: '1' } });
    expect(JSON.parse(stdout)).toEqual({ digest: expected, threads: 1 });
  });

  for (const browser of BROWSERS) {
    test.skipIf(browser.path === undefined)(`on ${browser.name}${browser.path === undefined ? ' (not installed)' : ''}`, async () => {
      const pages = await Pages.serve(code);
      try {
        for (const worker of [true, false]) {
          expect(await pages.visit(browser, { worker, isolated: true })).toMatchObject({ digest: expected });
        }
      } finally {
        pages.close();
      }
    });
  }
});
