/**
 * Functions of numbers with the same bits on every platform: their values as a digest, and their errors.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Random } from '../../src/core/random.ts';
import { cos, exp, expm1, log, log1p, pow, sin } from '../../src/kernels/scalars.ts';

const POINTS = 20_000;

/** Ours, that of Math, and an interval of arguments. */
const CASES = [
  ['exp', exp, Math.exp, -700, 700],
  ['expm1', expm1, Math.expm1, -3, 3],
  ['log', log, Math.log, 0, 10],
  ['log1p', log1p, Math.log1p, -1, 3],
  ['cos', cos, Math.cos, -10, 10],
  ['sin', sin, Math.sin, -10, 10],
] as const;

/** Arguments in (low, high): most of them at random, some near 0. */
function argumentsIn(low: number, high: number): Float64Array {
  const random = new Random(3);
  return Float64Array.from({ length: POINTS }, (_, i) => (low + (high - low) * random.uniform()) * (i % 8 === 0 ? 1e-3 : 1));
}

/** Returns how far two numbers are apart, in units of the last place of the larger one. */
function units(a: number, b: number): number {
  return Math.abs(a - b) / (2 ** -52 * Math.max(Math.abs(a), Math.abs(b), 2 ** -1022));
}

test.each(CASES)('%s is that of Math up to the last place', (_, ours, math, low, high) => {
  const xs = argumentsIn(low, high).filter((x) => x > low);
  expect(Math.max(...xs.map((x) => units(ours(x), math(x))))).toBeLessThan(1.5);
  for (const x of [0, -0, 1, -2, NaN, Infinity, -Infinity]) {
    const expected = math(x);
    if (Number.isFinite(expected)) expect(units(ours(x), expected)).toBeLessThan(1.5);
    else expect(ours(x)).toBe(expected);
  }
});

test('pow is ** up to the last place', () => {
  const [bases, exponents] = [argumentsIn(0, 3), argumentsIn(-40, 40).reverse()];
  const apart = bases.map((x, i) => units(pow(x, exponents[i]!), x ** exponents[i]!));
  expect(Math.max(...apart)).toBeLessThan(1.5);
  for (const [x, y] of [
    [0.999, 0],
    [0, 3],
    [2, -1074],
    [0.5, 2],
    [-2, 3],
    [Infinity, 0.5],
  ] as const)
    expect(pow(x, y)).toBe(x ** y);
});

test('the bits are those recorded here, on every platform', () => {
  const hash = createHash('sha256');
  for (const [, ours, , low, high] of CASES) hash.update(argumentsIn(low, high).map((x) => ours(x)));
  hash.update(argumentsIn(0.9, 1).map((x, i) => pow(x, i)));
  expect(hash.digest('hex')).toBe('a0c50e58322a538d8ff7921132075c0587c87530ad289cec58ef1f6eeb90f5e2');
});

test('no results depend on functions that each platform rounds in its own way', () => {
  const root = fileURLToPath(new URL('../../src/', import.meta.url));
  // Kernels call the compiled functions; the reference kernels are for one machine; the self-test compares on one; log2 is exact where it
  // decides, at powers of two.
  const excepted = /^kernels\/(assembly|reference)\/|^kernels\/wasm\/self-test\.ts$|^nn\/channel-gate\.ts$/;
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((f) => f.replaceAll('\\', '/'));
  const calls = /\bMath\.(a?cosh?|a?sinh?|a?tanh?|atan2|cbrt|exp|expm1|hypot|log|log10|log1p|log2|pow)\b|(?<!\b2n? )\*\*(?![/*])/;
  const found = files
    .filter((f) => f.endsWith('.ts') && !f.endsWith('.generated.ts') && !excepted.test(f))
    .filter((f) => calls.test(readFileSync(join(root, f), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')));
  expect(found).toEqual([]);
});
