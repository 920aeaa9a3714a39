import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { compileProgram } from './support/compile-program.ts';

// Runs each small example, the first as a user runs it. The examples check their own results and throw if one is wrong.

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function printedBy(...command: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout;
}

async function run(example: string, ...args: readonly string[]): Promise<string> {
  return printedBy(await compileProgram(join(root, 'examples', example)), ...args);
}

test('xor.ts learns XOR', () => {
  expect(printedBy(join(root, 'node_modules/tsx/dist/cli.mjs'), 'examples/xor.ts')).toMatch(
    /xor of 00, 01, 10, 11: 0\.0\d\d, 0\.9\d\d, 0\.9\d\d, 0\.0\d\d\n$/,
  );
});

test('lesson.ts prints the graph and the steps of backward, and agrees with calculus', async () => {
  const printed = await run('lesson.ts');
  expect(printed).toContain('y       = square(sum)       float32 []   64');
  expect(printed).toContain('product = mul: ∂y/∂product is 16, ∂product/∂w is 2, so w gets 32');
  expect(printed).toContain('scaled = mul(image, #12) receives [1, 1, 1, 1]');
  expect(printed).toContain('through the squeeze.');
  expect(printed).toMatch(/All gradients are as calculus says\.\n$/);
});

test('lesson.ts survives a gradient of 0', async () => {
  const printed = await run('lesson.ts', '-1', '2');
  expect(printed).toContain('product = mul: ∂y/∂product is 0, ∂product/∂x is -1, so x gets 0');
  expect(printed).not.toContain('NaN');
  expect(printed).toMatch(/All gradients are as calculus says\.\n$/);
});

test('readme.ts is the example of README.md, and learns its images', async () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8').replaceAll('\r\n', '\n');
  const block = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(readFileSync(join(root, 'examples/readme.ts'), 'utf8').replaceAll('\r\n', '\n')).toBe(block);
  const printed = /^learnt (\d+) of 128 images by heart\n$/.exec(await run('readme.ts'));
  expect(Number(printed?.[1])).toBeGreaterThanOrEqual(120);
});
