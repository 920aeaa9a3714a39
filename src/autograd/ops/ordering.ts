/**
 * Operations whose result depends on the order of elements, or on which of them are not 0.
 */
import { DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { broadcastShapes, formatShape, normalizeDim } from '../../core/shape.ts';
import { tensor } from '../create.ts';
import { defineOp } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { scope } from '../scopes.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { expand } from './broadcasting.ts';
import { areWhole } from './dims.ts';
import { gatherUnchecked, slice } from './indexing.ts';
import { clone, movedim, reshape } from './views.ts';

/** Options of sort and argsort. */
export interface SortOptions {
  /** Largest first. Default false. */
  readonly descending?: boolean;
}

/** Compares numbers; NaN is above all others. */
export const ascending = (a: number, b: number): number => {
  if (a < b) return -1;
  return a > b ? 1 : Number(Number.isNaN(a)) - Number(Number.isNaN(b));
};

const argsortOp = defineOp({
  name: 'argsort',
  forward: (_, x: Tensor, dim: number, descending: boolean) =>
    scope(() => {
      const rows = movedim(x, dim, -1);
      const values = rows.data();
      const n = x.size(dim);
      const order = new Int32Array(x.numel);
      const compare = descending ? (a: number, b: number) => ascending(b, a) : ascending;
      for (let start = 0; start < order.length; start += n) {
        const row = order.subarray(start, start + n);
        row.forEach((_zero, i) => (row[i] = i));
        row.sort((i, j) => compare(values[start + i]!, values[start + j]!));
      }
      return movedim(tensor(order, { shape: rows.shape }), -1, dim);
    }),
  branch: (_, [y]) => y,
});

/**
 * Returns the indices (int32) that sort x along `dim`; equal elements keep their order, and NaN is the largest. No gradient.
 * Shape:  x of any → y as x
 */
export const argsort = composed((x: Tensor, dim: number = -1, options: SortOptions = {}): Tensor => {
  const { descending } = withDefaults('argsort', options, { descending: false });
  return argsortOf('argsort', x, dim, descending);
});

function argsortOf(op: string, x: Tensor, dim: number, descending: boolean): Tensor {
  checkTensor(op, 'x', x);
  const d = normalizeDim(op, dim, x.ndim);
  // One element is in order.
  return x.ndim === 0 ? tensor(0, { dtype: 'int32' }) : argsortOp(x, d, descending);
}

/** Returns the elements of x at `index` along `dim`. */
function pick(x: Tensor, dim: number, index: Tensor): Tensor {
  return x.ndim === 0 ? clone(x) : gatherUnchecked(x, normalizeDim('sort', dim, x.ndim), index);
}

/**
 * Sorts x along `dim`: [values, indices (int32)]. Equal elements keep their order, and NaN is the largest.   ∂x = g at the indices
 * Shape:  x of any → values, indices as x
 */
export const sort = composed((x: Tensor, dim: number = -1, options: SortOptions = {}): [values: Tensor, indices: Tensor] => {
  const { descending } = withDefaults('sort', options, { descending: false });
  const index = argsortOf('sort', x, dim, descending);
  return [pick(x, dim, index), index];
});

/** Options of topk. */
export interface TopkOptions {
  /** False takes the smallest elements. Default true. */
  readonly largest?: boolean;
}

/**
 * Returns the k largest elements along `dim`, largest first: [values, indices (int32)]. Of equal elements the first are taken, and NaN is
 * the largest.   ∂x = g at the indices
 * Shape:  x [..,N,..] → values, indices [..,k,..]
 * Throws: ShapeError unless k is from 0 to N
 */
export const topk = composed((x: Tensor, k: number, dim: number = -1, options: TopkOptions = {}): [values: Tensor, indices: Tensor] => {
  const { largest } = withDefaults('topk', options, { largest: true });
  const order = argsortOf('topk', x, dim, largest);
  const [least, n] = x.ndim === 0 ? [1, 1] : [0, x.size(dim)];
  if (!areWhole(least, k) || k > n)
    throw new ShapeError(`topk: k must be a whole number from ${least} to ${n}, got ${shown(k)} (x ${formatShape(x.shape)})`);
  const index = x.ndim === 0 ? order : clone(slice(order, dim, 0, k));
  return [pick(x, dim, index), index];
});

/**
 * Returns the indices (int32) of the elements that are not 0, in row-major order; NaN is not 0. No gradient.
 * Shape:  x of D dims → y [K,D] for K such elements
 */
export const nonzero: (x: Tensor) => Tensor = defineOp({
  name: 'nonzero',
  forward: (_, x: Tensor) => {
    checkTensor('nonzero', 'x', x);
    const places: number[] = [];
    const index = x.shape.map(() => 0);
    let count = 0;
    for (const v of x.data()) {
      if (v !== 0) {
        for (const i of index) places.push(i);
        count++;
      }
      for (let d = index.length - 1; d >= 0 && ++index[d]! === x.shape[d]; d--) index[d] = 0;
    }
    return tensor(Int32Array.from(places), { shape: [count, x.ndim] });
  },
});

/**
 * Returns the elements of x where the mask is true, in row-major order.   ∂x = g there, else 0
 * Shape:  x and mask (bool) broadcast against each other → y [K]
 * Throws: DTypeError for a mask that is not bool
 */
export const maskedSelect = composed((x: Tensor, mask: Tensor): Tensor => {
  checkTensor('maskedSelect', 'x', x);
  checkTensor('maskedSelect', 'mask', mask);
  if (mask.dtype !== 'bool')
    throw new DTypeError(`maskedSelect: the mask must be bool, got ${mask.dtype}; compare it first, e.g. mask.ne(0)`);
  const shape = broadcastShapes('maskedSelect', x.shape, mask.shape);
  const places = nonzero(reshape(expand(mask, shape), [-1]));
  return gatherUnchecked(reshape(expand(x, shape), [-1]), 0, reshape(places, [-1]));
});
