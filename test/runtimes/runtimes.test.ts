import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BROWSERS, bundle, Pages } from '../support/browsers.ts';
import type { TurboReport } from 'chainrule';
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

/** Runs the program on a runtime; returns what it printed. Fails if the process is killed or ends with another status than 0. */
async function trainedOn({ path, args }: Runtime, environment: object = {}): Promise<Trained> {
  const env = { ...process.env, ...environment };
  const { stdout, stderr } = await execute(path, [...args, join(folder, 'main.mjs')], { env });
  const { turbo, ...trained } = JSON.parse(stdout) as Trained;
  const hasEffect = turbo.choice === false || turbo.vectorBits === 256 || turbo.fusedMultiplyAdd;
  expect(stderr).toBe(hasEffect ? '' : `chainrule: CHAINRULE_TURBO has no effect: ${turbo.declined.join('; ')}\n`);
  return { turbo, ...trained };
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
    expect(await trainedOn(RUNTIMES[0]!, { CHAINRULE_THREADS: '1' })).toMatchObject({ digest: expected, threads: 1 });
  });
});

/** The reasons to decline turbo that are no fault of the kernels. */
const LACKS = /^this (platform has no relaxed SIMD|processor has no fused multiply-add)|^256-bit kernels (need|are tested on)/;

function checkReport({ choice, vectorBits, declined }: TurboReport, version: string): void {
  expect(choice).toBe(true);
  expect(declined.filter((reason) => !LACKS.test(reason))).toEqual([]);
  if (process.arch === 'x64' && /^v2[456]\./.test(version)) expect(vectorBits).toBe(256);
}

// Turbo may use an experimental flag of V8. In some versions that ends the process, which here fails the test of that version.
describe('turbo', () => {
  for (const runtime of RUNTIMES.filter(({ args }) => !args.includes('--no-prompt'))) {
    const version = versions.get(runtime.path)!;
    const title = `on ${runtime.name} ${version ?? '(not installed)'}`;
    test.skipIf(version === null)(
      `has the default's bits where that is chosen, else those of any number of threads, ${title}`,
      async () => {
        expect((await trainedOn(runtime, { CHAINRULE_TURBO: 'identical' })).digest).toBe(expected);
        const fastest = await trainedOn(runtime, { CHAINRULE_TURBO: '1', CHAINRULE_THREADS: '2' });
        checkReport(fastest.turbo, version!);
        expect(fastest.digest === expected).toBe(!fastest.turbo.fusedMultiplyAdd);
        const alone = await trainedOn(runtime, { CHAINRULE_TURBO: '1', CHAINRULE_THREADS: '1' });
        expect(alone).toEqual({ ...fastest, threads: 1 });
      },
    );
  }
});

for (const browser of BROWSERS) {
  const title = `in ${browser.name}${browser.path === undefined ? ' (not installed)' : ''}`;
  describe.skipIf(browser.path === undefined)(title, () => {
    let pages: Pages;

    beforeAll(async () => {
      pages = await Pages.serve(code);
    });
    afterAll(() => pages.close());

    test('twenty steps of training have the bits that Node computes, in a worker and in a page', async () => {
      for (const worker of [true, false]) {
        expect(await pages.visit(browser, { worker, isolated: true })).toMatchObject({ digest: expected });
      }
    });

    test('turbo is chosen by setTurbo, with the same bits in a worker and a page', async () => {
      const turbo = await bundle('runtimes/turbo-program.ts');
      const inWorker = (await pages.visit(browser, { worker: true, isolated: true, code: turbo })) as Trained;
      checkReport(inWorker.turbo, '');
      expect(inWorker.digest === expected).toBe(!inWorker.turbo.fusedMultiplyAdd);
      expect(await pages.visit(browser, { worker: false, isolated: true, code: turbo })).toEqual({ ...inWorker, threads: 1 });
    });
  });
}
