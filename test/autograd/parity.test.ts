/**
 * Values and gradients of every operation agree with PyTorch: within 1e-10 in float64, on dense and on strided inputs, and within
 * 2e-5 in float32.
 */
import { readFileSync } from 'node:fs';
import * as c from 'chainrule';
import { grad, scope, tensor, type FloatDType, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, it } from 'vitest';
import { wave } from '../nn/fixture.ts';

// The fixture that test/fixtures/make-ops.py wrote; that script documents the cases.

type Value = number | 'nan' | 'inf' | '-inf';
type Input = readonly [shape: number[], k: number, scale: number, offset: number] | { readonly shape: number[]; readonly data: Value[] };
type Result = readonly [shape: number[], values: Value[]];
type Case = readonly [op: string, args: unknown[], inputs: Input[], results: Result[], gradients: (Value[] | null)[] | null];

const cases = JSON.parse(readFileSync(new URL('../fixtures/ops.json', import.meta.url), 'utf8')) as Case[];

const SPECIAL: Record<string, number> = { nan: NaN, inf: Infinity, '-inf': -Infinity };
const numberOf = (v: Value): number => (typeof v === 'number' ? v : SPECIAL[v]!);

/** Converts an argument of the fixture. JSON has no undefined, so null stands for it if the operation takes no null. */
function argumentOf(a: unknown, inputs: readonly Tensor[]): unknown {
  if (typeof a === 'string') return /^\$\d$/.test(a) ? inputs[Number(a[1])] : (SPECIAL[a] ?? a);
  if (Array.isArray(a)) return a.map((v) => argumentOf(v, inputs));
  if (typeof a !== 'object' || a === null) return a;
  if ('int' in a) return tensor(a.int as number[], { dtype: 'int32' });
  if ('bool' in a) return tensor(a.bool as boolean[], { dtype: 'bool' });
  return Object.fromEntries(Object.entries(a).map(([k, v]) => [k, argumentOf(v, inputs)]));
}

const KEEPS_NULL = ['clamp', 'slice'];

function run([op, args]: Case, inputs: readonly Tensor[]): Tensor[] {
  const given = args.map((a) => (a === null && !KEEPS_NULL.includes(op) ? undefined : argumentOf(a, inputs)));
  const [home, name] = op.split('.') as [string, string?];
  const owner = (name === undefined
    ? inputs[0]
    : home === 'F'
      ? F
      : { ...c, pow: (a: number, b: Tensor) => tensor(a, { dtype: b.dtype }).pow(b) }) as unknown as Record<
    string,
    (...args: unknown[]) => Tensor | Tensor[]
  >;
  return [owner[name ?? home]!(...given)].flat();
}

function made(input: Input, dtype: FloatDType, strided: boolean): Tensor {
  const dense = Array.isArray(input)
    ? wave(input[0], { k: input[1], scale: input[2], offset: input[3], dtype })
    : tensor((input as { data: Value[] }).data.map(numberOf), { shape: (input as { shape: number[] }).shape, dtype });
  if (!strided) return dense;
  // Every element is stored twice, and the dims are reversed.
  const back = dense.shape.map((_, d) => dense.ndim - 1 - d);
  return c
    .stack([dense.permute(back), dense.permute(back)], -1)
    .select(-1, 0)
    .permute(back)
    .detach();
}

/** Expects equal shapes, NaN and infinities in the same places, and all other errors below `tolerance` of the largest number. */
function agrees(what: string, got: Tensor, shape: readonly number[], values: readonly Value[], tolerance: number): void {
  expect(got.shape, what).toEqual(shape);
  const [a, b] = [Array.from(got.data()), values.map(numberOf)];
  const scale = Math.max(1, ...b.filter(Number.isFinite).map(Math.abs));
  const close = b.every((v, i) => (Number.isFinite(v) ? Math.abs(a[i]! - v) <= tolerance * scale : Object.is(a[i], v)));
  expect(close ? b : a, what).toEqual(b);
}

function check(entry: Case, dtype: FloatDType, strided: boolean, tolerance: number): void {
  const [, , drawn, results, gradients] = entry;
  const inputs = drawn.map((x, k) => made(x, dtype, strided).requiresGrad_(gradients === null || gradients[k] !== null));
  const ys = run(entry, inputs);
  expect(ys.length).toBe(results.length);
  ys.forEach((y, k) => agrees(`result ${k}`, y, ...results[k]!, tolerance));
  const live = ys.flatMap((y, k) => (y.requiresGrad ? [{ y, g: wave([...y.shape], { k: 3 + k, dtype }) }] : []));
  if (gradients === null) {
    expect(live.length).toBe(0);
    return;
  }
  const leaves = inputs.filter((x) => x.requiresGrad);
  const found = grad(
    live.map(({ y }) => y),
    leaves,
    { gradOutputs: live.map(({ g }) => g) },
  );
  const wanted = gradients.filter((g) => g !== null);
  found.forEach((g, k) => agrees(`gradient ${k}`, g, leaves[k]!.shape, wanted[k]!, tolerance));
}

describe('agrees with PyTorch', () => {
  cases.forEach((entry, i) => {
    const [op, args, inputs] = entry;
    const shapes = inputs.map((x) => JSON.stringify('data' in x ? x.shape : x[0])).join(' ');
    it(`${i}: ${op}(${JSON.stringify(args).slice(1, -1)}) ${shapes}`, () => {
      scope(() => check(entry, 'float64', false, 1e-10));
      scope(() => check(entry, 'float64', true, 1e-10));
      scope(() => check(entry, 'float32', false, 2e-5));
    });
  });
});
