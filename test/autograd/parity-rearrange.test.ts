/** Values and gradients of reductions, views, joining, indexing and products agree with PyTorch within 1e-10. */
import { readFileSync } from 'node:fs';
import { einsum, grad, tensor, type Tensor } from 'chainrule';
import { describe, expect, it } from 'vitest';
import { wave } from '../nn/fixture.ts';

// The fixture that test/fixtures/make-ops-rearrange.py wrote.

type Value = number | 'nan' | 'inf' | '-inf';
interface Packed {
  readonly shape: number[];
  readonly data: Value[];
}
interface Entry {
  readonly op: string;
  readonly args: unknown[];
  readonly inputs: Packed[];
  readonly results: Packed[];
  readonly grads?: Packed[];
}

const entries = JSON.parse(readFileSync(new URL('../fixtures/ops-rearrange.json', import.meta.url), 'utf8')) as Entry[];

const SPECIAL: Record<string, number> = { nan: NaN, inf: Infinity, '-inf': -Infinity };
const numberOf = (v: Value): number => (typeof v === 'number' ? v : SPECIAL[v]!);

function argumentOf(a: unknown, inputs: readonly Tensor[]): unknown {
  if (a === '$1') return inputs[1];
  if (a === 'inf') return Infinity;
  if (typeof a === 'object' && a !== null && 'int' in a) return tensor(a.int as number[], { dtype: 'int32' });
  return a;
}

function run({ op, args }: Entry, inputs: readonly Tensor[]): Tensor[] {
  const given = args.map((a) => argumentOf(a, inputs));
  if (op === 'einsum') return [einsum(given[0] as string, ...inputs)];
  const methods = inputs[0] as unknown as Record<string, (...args: unknown[]) => Tensor | Tensor[]>;
  return [methods[op]!(...given)].flat();
}

/** Expects equal shapes, NaN and infinities in the same places, and all other errors below 1e-10 of the largest number. */
function agrees(got: Tensor, want: Packed): void {
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [Array.from(got.data()), want.data.map(numberOf)];
  const scale = Math.max(1, ...b.filter(Number.isFinite).map(Math.abs));
  const close = b.every((v, i) => (Number.isFinite(v) ? Math.abs(a[i]! - v) <= 1e-10 * scale : Object.is(a[i], v)));
  expect(close ? b : a).toEqual(b);
}

describe('agrees with PyTorch', () => {
  entries.forEach((entry, i) => {
    it(`${i}: ${entry.op}(${JSON.stringify(entry.args)}) of ${JSON.stringify(entry.inputs.map((t) => t.shape))}`, () => {
      const inputs = entry.inputs.map(({ shape, data }) =>
        tensor(data.map(numberOf), { shape, dtype: 'float64', requiresGrad: entry.grads !== undefined }),
      );
      const results = run(entry, inputs);
      expect(results.length).toBe(entry.results.length);
      results.forEach((y, k) => agrees(y, entry.results[k]!));
      if (entry.grads === undefined) return;
      const loss = results
        .filter((y) => y.requiresGrad)
        .map((y) => y.mul(wave([...y.shape])).sum())
        .reduce((a, b) => a.add(b));
      grad(loss, inputs).forEach((g, k) => agrees(g, entry.grads![k]!));
    });
  });
});
