import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

// The built package where built-in objects are frozen, and where Object.prototype has enumerable properties.

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'chainrule-realms-'));
const program = join(root, 'test/support/hostile-realm.mjs');

const node = (...args: readonly string[]): string => {
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout;
};

let expected: string;

beforeAll(() => {
  const bundler = pathToFileURL(join(root, 'scripts/bundle.mjs')).href;
  node('--input-type=module', '--eval', `const { bundle } = await import('${bundler}'); await bundle(${JSON.stringify(folder)});`);
  expected = node(program, folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('trains, and exports the same names, under --frozen-intrinsics', () => {
  expect(JSON.parse(expected).losses).toHaveLength(2);
  expect(node('--frozen-intrinsics', '--no-warnings', program, folder)).toBe(expected);
});

test('trains, and exports the same names, where Object.prototype has enumerable properties', () => {
  expect(node(program, folder, 'polluted')).toBe(expected);
});
