import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { LISTED, ownProcess } from './support/own-process.ts';

// Which test files have a process of their own.

const fileOf = (name: string): string => fileURLToPath(new URL(`${name}.test.ts`, import.meta.url));

test('each file of the list exists, and is listed once', () => {
  expect(LISTED.filter((name) => !existsSync(fileOf(name)))).toEqual([]);
  expect(new Set(LISTED).size).toBe(LISTED.length);
});

test('a file has one if it is listed or mocks a module, and else shares one', () => {
  expect(ownProcess(fileOf('site'))).toBe(0);
  expect(LISTED).not.toContain('autograd/out-of-memory');
  expect(ownProcess(fileOf('autograd/out-of-memory'))).toBe(LISTED.length);
  expect(ownProcess(fileOf('autograd/views'))).toBeUndefined();
});
