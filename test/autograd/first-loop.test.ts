import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { compileProgram } from '../support/compile-program.ts';

// In a process of its own, because Node follows tasks for good once anything has used an AsyncLocalStorage.

const PROGRAM = fileURLToPath(new URL('programs/first-loop.ts', import.meta.url));
let program = '';

beforeAll(async () => {
  program = await compileProgram(PROGRAM);
});

test.each(['the loop first', 'the loop second', 'the loop after a wait', 'in the function that started the loop'])(
  'the first asynchronous loop of a program takes no tensor of other code: %s',
  (order) => {
    expect(execFileSync(process.execPath, [program, order], { encoding: 'utf8' })).toBe('made tensors\n');
  },
);
