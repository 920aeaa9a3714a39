import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Random } from 'chainrule/data';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
// @ts-expect-error: a script without types.
import { bundle } from '../../scripts/bundle.mjs';

// A run of fit whose process is killed, and that goes on from its latest checkpoint, ends with the bits and the log of one that was not.

/** A project with the package installed: Node 20 imports no TypeScript in a thread. */
const project = mkdtempSync(join(tmpdir(), 'chainrule-kill-'));
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

beforeAll(async () => {
  const installed = join(project, 'node_modules/chainrule');
  mkdirSync(installed, { recursive: true });
  cpSync(source('../../package.json'), join(installed, 'package.json'));
  cpSync(source('./programs'), project, { recursive: true });
  await bundle(join(installed, 'dist'));
});
// Each test starts several processes.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });
afterAll(() => rmSync(project, { recursive: true, force: true }));

interface End {
  readonly signal: string | null;
  readonly code: number | null;
  readonly digest: string;
}

function start(folder: string, moment: readonly string[]): Promise<End> {
  const child = spawn(process.execPath, ['killed.mjs', folder, ...moment], { cwd: project, stdio: ['ignore', 'pipe', 'inherit'] });
  let digest = '';
  child.stdout.on('data', (text: Buffer) => void (digest += text.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, digest }));
  });
}

/** The latest moment of each phase: a whole run has 28 batches and 26 events, so both processes of a chain reach theirs. */
const PHASES: readonly (readonly [phase: string, most: number])[] = [
  ['forward', 13],
  ['batch', 13],
  ['first', 12],
  ['last', 12],
  ['loop', 12],
];

/** Draws when to kill: chains of moments, one after another in the life of a run. */
function drawChains(chains: number, kills: number): string[][][] {
  const random = new Random(13);
  const below = (n: number): number => Math.floor(random.uniform() * n);
  return Array.from({ length: chains }, () =>
    Array.from({ length: kills }, () => {
      const [phase, most] = PHASES[below(PHASES.length)]!;
      return [phase, String(1 + below(most))];
    }),
  );
}

describe('a run that is killed', () => {
  const long = process.env.CHAINRULE_LONG === '1';
  const chains = long ? drawChains(10, 2) : drawChains(1, 2);
  let expected: { readonly digest: string; readonly log: string };
  const logOf = (folder: string): string => readFileSync(join(folder, 'events.jsonl'), 'utf8');
  const newFolder = (): string => mkdtempSync(join(project, 'run-'));

  beforeAll(async () => {
    const folder = newFolder();
    const end = await start(folder, []);
    expect(end).toMatchObject({ code: 0, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expected = { digest: end.digest, log: logOf(folder) };
  });

  test.each(chains.map((moments) => [moments.map((m) => m.join(' ')).join(', then '), moments] as const))('at %s', async (_, moments) => {
    const folder = newFolder();
    for (const moment of moments) expect(await start(folder, moment)).toEqual({ code: null, signal: 'SIGKILL', digest: '' });
    expect(await start(folder, [])).toEqual({ code: 0, signal: null, digest: expected.digest });
    expect(logOf(folder)).toBe(expected.log);
  });
});
