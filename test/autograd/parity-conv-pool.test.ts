/**
 * Convolutions, pools, interpolation and normalisations agree with PyTorch for all their options: values, gradients and second
 * gradients within 1e-10 in float64, in any memory order of the inputs, and values and gradients within 2e-5 in float32.
 */
import { readFileSync } from 'node:fs';
import { full, grad, scope, type FloatDType, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, it } from 'vitest';
import { wave } from '../nn/fixture.ts';

// The fixture that test/fixtures/make-conv-pool.py wrote: shapes, and sums weighted by three waves.

type Sums = [shape: number[], sums: number[]];
interface Entry {
  readonly op: string;
  readonly shapes: number[][];
  readonly args: never[];
  readonly options: Record<string, unknown> | null;
  readonly results: Sums[];
  readonly grads: Sums[];
  readonly second?: Sums[];
}

const entries = JSON.parse(readFileSync(new URL('../fixtures/conv-pool.json', import.meta.url), 'utf8')) as Entry[];

type AnyOp = (x: Tensor, ...args: unknown[]) => Tensor | Tensor[];

const { adaptiveAvgPool2d, avgPool2d, conv2d, convTranspose2d, globalAvgPool2d, globalMaxPool2d, groupNorm, interpolate } = F;
const CONVOLUTIONS = { conv2d, convTranspose2d } as Record<string, AnyOp>;
const NORMS = { layerNorm: F.layerNorm, rmsNorm: F.rmsNorm, groupNorm } as unknown as Record<string, AnyOp>;
const POOLS = { adaptiveAvgPool2d, avgPool2d, globalAvgPool2d, globalMaxPool2d, interpolate, maxPool2d: F.maxPool2d } as Record<
  string,
  AnyOp
>;

function run({ op, args, options }: Entry, inputs: Tensor[]): Tensor[] {
  const [x, weight = null, bias = null] = inputs as [Tensor, Tensor?, Tensor?];
  if (op === 'batchNorm') return batchNorm(inputs, options!);
  if (op in CONVOLUTIONS) return [CONVOLUTIONS[op]!(x, weight, bias, options)].flat();
  if (op in POOLS) return [POOLS[op]!(x, ...args, ...(options === null ? [] : [options]))].flat();
  return [NORMS[op]!(x, ...args, { weight, ...(op === 'rmsNorm' ? {} : { bias }), ...options })].flat();
}

function batchNorm(inputs: Tensor[], { running = true, evaluated = false, ...options }: Record<string, unknown>): Tensor[] {
  const [x, ...rest] = inputs as [Tensor];
  if (evaluated === true) {
    const [runningMean, runningVar, weight = null, bias = null] = rest as unknown as [Tensor, Tensor, Tensor?, Tensor?];
    return [F.batchNorm(x, { runningMean: runningMean.detach(), runningVar: runningVar.detach(), weight, bias })];
  }
  const [weight = null, bias = null] = rest as [Tensor?, Tensor?];
  if (running === false) return [F.batchNorm(x, { ...options, weight, bias })];
  const [runningMean, runningVar] = [0.5, 2].map((v) => full([3], v, { dtype: x.dtype as FloatDType })) as [Tensor, Tensor];
  return [F.batchNorm(x, { ...options, runningMean, runningVar, weight, bias }), runningMean, runningVar];
}

/** The same values in other memory orders. */
const LAYOUTS: readonly ((x: Tensor) => Tensor)[] = [
  (x) => x,
  (x) => x.transpose(0, -1).contiguous().transpose(0, -1),
  (x) => x.movedim(0, -1).contiguous().movedim(-1, 0),
  (x) => (x.ndim < 2 ? x : x.movedim(1, -1).contiguous().movedim(-1, 1)),
];

function agrees(what: string, got: readonly Tensor[], want: readonly Sums[], tolerance: number): void {
  expect(
    got.map((t) => t.shape),
    what,
  ).toEqual(want.map(([shape]) => shape));
  got.forEach((t, i) => {
    const found = [10, 11, 12].map((k) =>
      t
        .to('float64')
        .mul(wave([...t.shape], { k }))
        .sum()
        .item(),
    );
    const scale = Math.max(1, Math.sqrt(t.numel), ...want[i]![1].map(Math.abs));
    const close = found.every((v, k) => Math.abs(v - want[i]![1][k]!) <= tolerance * scale);
    expect(close ? want[i]![1] : found, `${what} ${i}`).toEqual(want[i]![1]);
  });
}

const weighted = (ts: readonly Tensor[], k: number): Tensor =>
  ts.map((t) => t.mul(wave([...t.shape], { k, dtype: t.dtype as FloatDType })).sum()).reduce((a, b) => a.add(b));

function check(entry: Entry, dtype: FloatDType, layout: (x: Tensor) => Tensor, tolerance: number): void {
  const offset = (k: number): number => (entry.options?.evaluated === true && k === 2 ? 1.5 : 0);
  const leaves = entry.shapes.map((s, k) => wave(s, { k, dtype, offset: offset(k), requiresGrad: true }));
  const results = run(entry, leaves.map(layout));
  agrees('result', results, entry.results, tolerance);
  const orZeros = (gs: readonly (Tensor | null)[]): Tensor[] => gs.map((g, i) => g ?? leaves[i]!.mul(0));
  const second = dtype === 'float64' && entry.second !== undefined;
  const loss = weighted(results.slice(0, 1), 0);
  const first = orZeros(grad(loss, leaves, { createGraph: second, allowUnused: true }));
  agrees('gradient', first, entry.grads, tolerance);
  if (!second) return;
  // A function that is linear in all its inputs has no second gradient.
  const total = weighted(first, 5);
  const none = leaves.map(() => null);
  agrees('second gradient', orZeros(total.requiresGrad ? grad(total, leaves, { allowUnused: true }) : none), entry.second, tolerance);
}

describe('agrees with PyTorch', () => {
  entries.forEach((entry, i) => {
    it(`${i}: ${entry.op}(${JSON.stringify(entry.shapes)}, ${JSON.stringify(entry.args)}, ${JSON.stringify(entry.options)})`, () => {
      scope(() => check(entry, 'float64', LAYOUTS[i % LAYOUTS.length]!, 1e-10));
      scope(() => check(entry, 'float32', LAYOUTS[0]!, 2e-5));
    });
  });
});
