/**
 * Operations whose result depends on the order of elements, or on which of them are not 0.
 */
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { broadcastShapes, formatShape, normalizeDim } from '../../core/shape.ts';
import { tensor } from '../create.ts';
import { defineOp } from '../op.ts';
import { defaultGenerator, rand, type Generator } from '../random.ts';
import { composed } from '../scope-stack.ts';
import { scope } from '../scopes.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { expand } from './broadcasting.ts';
import { areWhole } from './dims.ts';
import { gatherUnchecked, slice } from './indexing.ts';
import { requireFloat } from './reduce.ts';
import { clone, movedim, reshape } from './views.ts';

/** Options of sort and argsort. */
export interface SortOptions {
  /** Largest first. Default false. */
  readonly descending?: boolean;
}

/** Compares numbers; NaN is above all others. */
const ascending = (a: number, b: number): number => {
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
  return x.ndim === 0 ? reshape(argsortOp(reshape(x, [1]), 0, descending), []) : argsortOp(x, d, descending);
}

/** Returns the elements of x at `index` along `dim`; a 0-d tensor counts as 1-d. */
function pick(x: Tensor, dim: number, index: Tensor): Tensor {
  if (x.ndim > 0) return gatherUnchecked(x, normalizeDim('sort', dim, x.ndim), index);
  return reshape(gatherUnchecked(reshape(x, [1]), 0, reshape(index, [1])), []);
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

/** Options of multinomial. */
export interface MultinomialOptions {
  /** Whether one index may be drawn several times. Default false. */
  readonly replacement?: boolean;
  /** Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

const multinomialOp = defineOp({
  name: 'multinomial',
  forward: (_, weights: Tensor, uniforms: Tensor, count: number, replacement: boolean) => {
    const k = weights.size(-1);
    const [w, u] = [weights.data(), uniforms.data()];
    const draw = replacement ? drawIndependent : drawDistinct;
    const perRow = uniforms.size(-1);
    const rows = Array.from({ length: weights.size(0) }, (_row, r) =>
      draw(w.subarray(r * k, (r + 1) * k), u.subarray(r * perRow, (r + 1) * perRow), count),
    );
    return tensor(Int32Array.from(rows.flat()), { shape: [rows.length, count] });
  },
});

type DrawRow = (weights: ArrayLike<number>, uniforms: ArrayLike<number>, count: number) => number[];

/** Inverts the cumulative weights at each uniform number. */
const drawIndependent: DrawRow = (weights, uniforms, count) => {
  let total = 0;
  const bounds = Array.from(weights, (w) => (total += w));
  const last = bounds.indexOf(total);
  return Array.from({ length: count }, (_, i) => {
    const found = bounds.findIndex((bound) => uniforms[i]! * total < bound);
    // The product may round up to the total.
    return found < 0 ? last : found;
  });
};

/** Takes the first events of independent exponential clocks, whose rates are the weights: the same as drawing one after another. */
const drawDistinct: DrawRow = (weights, uniforms, count) => {
  const times = Array.from(weights, (w, i) => (w === 0 ? Infinity : -Math.log1p(-uniforms[i]!) / w));
  return Array.from(times.keys())
    .sort((i, j) => ascending(times[i]!, times[j]!))
    .slice(0, count);
};

/**
 * Draws `count` indices (int32) from each row of weights, which need not add up to 1. No gradient.
 * Shape:  x [K] or [N,K] → y [count] or [N,count]
 * Source: for distinct indices Efraimidis & Spirakis 2006, Information Processing Letters 97, algorithm A
 * Throws: ArgumentError for a negative or infinite weight, a row whose weights are all 0, or fewer weights above 0 than distinct
 *         indices
 */
export const multinomial = composed((x: Tensor, count: number, options: MultinomialOptions = {}): Tensor => {
  const { replacement, generator } = withDefaults('multinomial', options, { replacement: false, generator: defaultGenerator });
  requireFloat('multinomial', x);
  if (x.ndim !== 1 && x.ndim !== 2) throw new ShapeError(`multinomial: x must be [K] or [N,K], got ${formatShape(x.shape)}`);
  if (!areWhole(1, count)) throw new ArgumentError(`multinomial: count must be a whole number ≥ 1, got ${shown(count)}`);
  const rows = reshape(x, [x.ndim === 1 ? 1 : x.size(0), x.size(-1)]);
  checkWeights(rows, replacement ? 1 : count);
  const uniforms = rand([rows.size(0), replacement ? count : rows.size(1)], { dtype: 'float64', generator });
  const drawn = multinomialOp(rows, uniforms, count, replacement);
  return x.ndim === 1 ? reshape(drawn, [count]) : drawn;
});

/** Throws unless all weights are finite and not negative, and each row has `least` above 0. */
function checkWeights(rows: Tensor, least: number): void {
  const weights = rows.data();
  const wrong = weights.find((w) => !(w >= 0 && w < Infinity));
  if (wrong !== undefined) throw new ArgumentError(`multinomial: weights must be finite and at least 0, got ${wrong}`);
  const k = rows.size(1);
  for (let r = 0; r < rows.size(0); r++) {
    const positive = weights.subarray(r * k, (r + 1) * k).filter((w) => w > 0).length;
    if (positive < least)
      throw new ArgumentError(`multinomial: row ${r} has ${positive} weights above 0, and ${least} are needed to draw from`);
  }
}
