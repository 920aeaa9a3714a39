import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileProgram } from '../support/compile-program.ts';

// Files of all kinds are written where Node's flags take something away.

const root = mkdtempSync(join(tmpdir(), 'chainrule-flags-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let program = '';
beforeAll(async () => {
  program = await compileProgram(fileURLToPath(new URL('programs/writes.ts', import.meta.url)));
});

const has = (flag: string): boolean => process.allowedNodeEnvironmentFlags.has(flag);

const written = (folder: string, ...flags: string[]): { stdout: string; stderr: string; files: string[] } => {
  const dir = join(root, folder);
  mkdirSync(dir);
  const all = ['--no-warnings', ...flags, program, dir];
  const { stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' });
  return { stdout, stderr, files: readdirSync(dir).sort() };
};

const everything = { stdout: 'written\n', stderr: '', files: ['a.npy', 'a.npz', 'a.safetensors', 'c.safetensors', 'events'] };

test('without global web cryptography', () => {
  const flags = has('--no-experimental-global-webcrypto') ? ['--no-experimental-global-webcrypto'] : [];
  expect(written('webcrypto', ...flags)).toEqual(everything);
});

test('under the permission model, with the right to write the folder', () => {
  const flag = has('--permission') ? '--permission' : '--experimental-permission';
  expect(written('permission', flag, '--allow-fs-read=*', `--allow-fs-write=${root}/*`)).toEqual(everything);
});
