/**
 * Reference reductions, scans and indexing along dims.
 */
import type { DType } from '../../core/dtype.ts';
import type { Kernels, ReduceOp } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import { at, fixedStrides, Sums, forEachIndex } from './strided.ts';

const IDENTITY: Record<ReduceOp, number> = { sum: 0, prod: 1, amax: -Infinity, amin: Infinity };

const FLOAT: Record<ReduceOp, (a: number, b: number) => number> = {
  sum: (a, b) => a + b,
  prod: (a, b) => a * b,
  amax: Math.max,
  amin: Math.min,
};

/** Returns the function that combines two elements. int32 results wrap at every step. */
function combinerOf(op: ReduceOp, dtype: DType): (a: number, b: number) => number {
  if (dtype !== 'int32') return FLOAT[op];
  if (op === 'sum') return (a, b) => (a + b) | 0;
  return op === 'prod' ? Math.imul : FLOAT[op];
}

export const reductions: Pick<Kernels, 'reduce' | 'argReduce' | 'cumsum' | 'gather' | 'scatterAdd'> = {
  /** y = x₁ ∘ x₂ ∘ … over the dims where y has size 1, in row-major order, in float64 */
  reduce(op, x, y) {
    const f = combinerOf(op, y.dtype);
    const X = viewOf(x.dtype);
    const acc = new Sums(y, IDENTITY[op]);
    const A = acc.values;
    const strides = acc.place.strides.map((s, d) => (y.shape[d] === 1 ? 0 : s));
    forEachIndex(x.shape, [at(x), { start: 0, strides }], (i, j) => (A[j] = f(A[j]!, X[i]!)));
    acc.storeIn(viewOf(y.dtype));
  },

  /** y = the first k along dim where x[k] is NaN, else where it is largest (smallest) */
  argReduce(op, x, dim, y) {
    const X = viewOf(x.dtype);
    const Y = viewOf(y.dtype);
    const sign = op === 'argmax' ? 1 : -1;
    const step = x.strides[dim] ?? 0;
    const n = x.shape[dim] ?? 1;
    forEachIndex(y.shape, [at(x), at(y)], (i, j) => {
      let best = 0;
      for (let k = 1; k < n; k++) {
        const top = X[i + best * step]!;
        const v = X[i + k * step]!;
        if (top === top && (v !== v || v * sign > top * sign)) best = k;
      }
      Y[j] = best;
    });
  },

  /** y[k] = y[k−1] + x[k] along dim, y[−1] = 0, in float64 */
  cumsum(x, dim, y) {
    const add = combinerOf('sum', y.dtype);
    const X = viewOf(x.dtype);
    const Y = viewOf(y.dtype);
    const n = x.shape[dim] ?? 1;
    const lines = x.shape.map((size, d) => (d === dim ? Math.min(size, 1) : size));
    forEachIndex(lines, [at(x), at(y)], (i, j) => {
      let sum = 0;
      for (let k = 0; k < n; k++) {
        sum = add(sum, X[i + k * (x.strides[dim] ?? 0)]!);
        Y[j + k * (y.strides[dim] ?? 0)] = sum;
      }
    });
  },

  /** y[.., i, ..] = x[.., index[.., i, ..], ..] */
  gather(x, dim, index, y) {
    const X = viewOf(x.dtype);
    const I = viewOf(index.dtype);
    const Y = viewOf(y.dtype);
    const step = x.strides[dim] ?? 0;
    const lines = fixedStrides(x, (d) => d === dim);
    forEachIndex(index.shape, [at(x, lines), at(index), at(y)], (i, k, j) => (Y[j] = X[i + I[k]! * step]!));
  },

  /** y[.., index[.., i, ..], ..] += x[.., i, ..], in row-major order of index */
  scatterAdd(x, dim, index, y) {
    const X = viewOf(x.dtype);
    const I = viewOf(index.dtype);
    const Y = viewOf(y.dtype);
    const step = y.strides[dim] ?? 0;
    const lines = fixedStrides(y, (d) => d === dim);
    forEachIndex(index.shape, [at(x), at(index), at(y, lines)], (i, k, j) => (Y[j + I[k]! * step]! += X[i]!));
  },
};
