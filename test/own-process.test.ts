import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { OWN_PROCESS, ownProcess } from './support/own-process.ts';

// The list of test files with a process of their own is complete as far as their text shows, and names no file that is gone.

const folder = fileURLToPath(new URL('.', import.meta.url));
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'));
const names = files.map((file) => file.replaceAll('\\', '/').replace(/\.test\.ts$/, ''));

/** What only a process of its own allows: other modules than the files before it, a browser, MPI, or a count of what is collected. */
const NEEDS = /\bvi\.(mock|doMock|resetModules)\(|\bstartChromium\(|\bmpiexec\(|'--expose-gc'/;

test('a file that mocks modules, imports them again, opens a browser, starts MPI or collects garbage is in the list', () => {
  const self = 'own-process';
  const found = names.filter((name) => name !== self && NEEDS.test(readFileSync(join(folder, `${name}.test.ts`), 'utf8')));
  expect(found.length).toBeGreaterThan(15);
  expect(found.filter((name) => ownProcess(join(folder, `${name}.test.ts`)) === undefined)).toEqual([]);
});

test('each file of the list exists, and is listed once', () => {
  expect(OWN_PROCESS.filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(OWN_PROCESS).size).toBe(OWN_PROCESS.length);
});
