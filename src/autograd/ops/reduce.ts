/**
 * Reductions over all dims or those named. `keepdim` leaves them with size 1.
 */
import { isFloat, type DType } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { checkNumber, checkOptions, withDefaults } from '../../core/options.ts';
import { formatShape, normalizeDim, normalizeDims, type Shape } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { emptyLike, type View } from '../../kernels/view.ts';
import { scope } from '../scopes.ts';
import { defineOp, withoutBranches, type Grads } from '../op.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { reducedView, sumOp } from './broadcasting.ts';
import { eq, isfinite, logicalAnd, ne, where } from './comparison.ts';
import { dropDims, keptShape, type Dims } from './dims.ts';
import { abs, add, clamp, div, exp, floor, log, mul, pow, sqrt, square, sub } from './elementwise.ts';
import { gatherUnchecked, pad, reversedView, slice } from './indexing.ts';
import { cast } from './operands.ts';
import { apartFrom } from './own-memory.ts';
import { throughFloat64 } from './through-float64.ts';
import { clone, detach, permute, reshape, squeeze } from './views.ts';

/** Options of every reduction. */
export interface ReduceOptions {
  /** Leaves the reduced dims with size 1. Default false. */
  readonly keepdim?: boolean;
}

/** Checks the options of a reduction; returns its dims. */
function dimsOf(op: string, x: Tensor, dim: Dims | undefined, options: object = {}, known: readonly string[] = ['keepdim']): number[] {
  checkTensor(op, 'x', x);
  checkOptions(op, options, known, ['keepdim']);
  return normalizeDims(op, dim, x.ndim);
}

function convertedView(k: Kernels, x: View, dtype: DType): View {
  const y = emptyLike(x, x.shape, dtype);
  k.copy(x, y);
  return y;
}

/** So many int32 numbers have a sum that float64 holds exactly, whatever they are. */
const EXACT_TERMS = 2 ** 22;

/** Σ x of int32 numbers in float64, exact where it fits int32: the sums of the high and the low 16 bits are below 2⁵³. */
function sumInHalves(x: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  const high = floor(mul(x, 2 ** -16));
  const low = sub(x, mul(high, 2 ** 16));
  return add(mul(sumOp(high, dims, keepdim), 2 ** 16), sumOp(low, dims, keepdim));
}

/** y = Σ x. int32 and bool give int32, and throw where that overflows.   ∂x = g expanded */
export function sum(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  const dims = dimsOf('sum', x, dim, options);
  const total = isFloat(x.dtype) || x.numel <= EXACT_TERMS ? sumOp : sumInHalves;
  return throughFloat64('sum', x, (t) => total(t, dims, options.keepdim ?? false));
}

/**
 * y = Π x, as a tree of products, whose gradient needs no division and so is right where factors are 0. int32 and bool give
 * int32, and throw where that overflows.   ∂xᵢ = g ⊙ Π xⱼ over j ≠ i
 */
export const prod = composed((x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor => {
  const dims = dimsOf('prod', x, dim, options);
  const order = [...x.shape.keys()].sort((a, b) => Number(dims.includes(a)) - Number(dims.includes(b)));
  const kept = keptShape(x.shape, dims);
  return throughFloat64('prod', x, (t) => {
    let y = reshape(permute(t, order), [...order.slice(0, x.ndim - dims.length).map((d) => x.shape[d]!), countOf(x.shape, dims)]);
    for (let n = y.size(-1); n !== 1; n = y.size(-1)) {
      // Pairs need an even number of factors: adds a 1 to an odd number, two to none.
      if (n % 2 === 1 || n === 0) y = pad(y, [0, n === 0 ? 2 : 1], { value: 1 });
      y = mul(slice(y, -1, 0, null, 2), slice(y, -1, 1, null, 2));
      // Far beyond int32 only a factor 0 matters, and ∞ · 0 would be NaN.
      if (!isFloat(x.dtype)) y = clamp(y, -1e150, 1e150);
    }
    return apartFrom(x, options.keepdim === true ? reshape(y, kept) : squeeze(y, -1));
  });
});

/** y = Σ x / n. Floats only.   ∂x = g / n expanded */
export const mean = composed((x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor => {
  requireFloat('mean', x);
  const dims = dimsOf('mean', x, dim, options);
  return div(sum(x, dims, options), countOf(x.shape, dims));
});

function countOf(shape: Shape, dims: readonly number[]): number {
  return dims.reduce((n, d) => n * shape[d]!, 1);
}

/** Throws DTypeError for int32 and bool. */
export function requireFloat(op: string, x: Tensor): void {
  checkTensor(op, 'x', x);
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: expected float32 or float64, got ${x.dtype}; convert with .to('float32')`);
}

/** Options of `var` and `std`. */
export interface VarOptions extends ReduceOptions {
  /** Divides by n − correction. Default 1 (Bessel's); 0 gives the biased variance. */
  readonly correction?: number;
}

/** Deviations from the mean, in float64: squares of float32 numbers would overflow and underflow in float32. */
function deviations(x: Tensor, dims: readonly number[]): Tensor {
  const wide = cast(x, 'float64');
  return sub(wide, mean(wide, dims, { keepdim: true }));
}

/** n − correction, at least 0, for n elements along `dims`. */
const degreesOfFreedom = (shape: Shape, dims: readonly number[], correction: number): number =>
  Math.max(0, countOf(shape, dims) - correction);

/** Σ (x − x̄)² / (n − correction), in float64 */
function variance64(x: Tensor, dims: readonly number[], correction: number, keepdim: boolean): Tensor {
  return div(sum(square(deviations(x, dims)), dims, { keepdim }), degreesOfFreedom(x.shape, dims, correction));
}

const varianceOp = defineOp({
  name: 'var',
  forward: (_, x: Tensor, dims: readonly number[], correction: number, keepdim: boolean) =>
    scope(() => cast(variance64(x, dims, correction, keepdim), x.dtype)),
  save: (_, [x, dims, correction]) => ({ x, dims, correction }),
  backward: (g, { x, dims, correction }): Grads => {
    const factor = mul(cast(g, 'float64'), 2 / degreesOfFreedom(x.shape, dims, correction));
    return [cast(mul(deviations(x, dims), reshape(factor, keptShape(x.shape, dims))), x.dtype)];
  },
});

const stdOp = defineOp({
  name: 'std',
  forward: (_, x: Tensor, dims: readonly number[], correction: number, keepdim: boolean) =>
    scope(() => cast(sqrt(variance64(x, dims, correction, keepdim)), x.dtype)),
  save: (_, [x, dims, correction], [y]) => ({ x, dims, correction, y }),
  backward: (g, { x, dims, correction, y }): Grads => {
    const divisor = mul(cast(nonzero(y), 'float64'), degreesOfFreedom(x.shape, dims, correction));
    const factor = div(cast(zeroWhereZero(y, g), 'float64'), divisor);
    return [cast(mul(deviations(x, dims), reshape(factor, keptShape(x.shape, dims))), x.dtype)];
  },
  branch: (_, [y]) => eq(y, 0),
});

/** y, but 1 where it is 0. */
const nonzero = (y: Tensor): Tensor => where(eq(y, 0), 1, y);
/** g, but 0 where y is 0: there a root of a sum of squares has no derivative, and PyTorch's is 0. */
const zeroWhereZero = (y: Tensor, g: Tensor): Tensor => where(eq(y, 0), 0, g);

type Spread = (x: Tensor, dim?: Dims, options?: VarOptions) => Tensor;

const spread =
  (name: string, op: typeof varianceOp): Spread =>
  (x, dim, options = {}) => {
    requireFloat(name, x);
    const dims = dimsOf(name, x, dim, options, ['correction', 'keepdim']);
    const { correction = 1, keepdim = false } = options;
    checkNumber(name, 'correction', correction);
    return op(x, dims, correction, keepdim);
  };

/** y = Σ (x − x̄)² / (n − correction), computed in float64. Floats only.   ∂x = 2 g ⊙ (x − x̄) / (n − correction) */
export const variance: Spread = spread('var', varianceOp);

/** y = √var.   ∂x = g ⊙ (x − x̄) / ((n − correction) y), and 0 where y = 0 */
export const std: Spread = spread('std', stdOp);

/** y = ln Σ eˣ, without overflow.   ∂x = g ⊙ exp(x − y) */
export const logsumexp = composed((x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor => {
  const dims = dimsOf('logsumexp', x, dim, options);
  if (x.numel === 0) return log(sum(exp(x), dims, options));
  const max = detach(withoutBranches(() => amax(x, dims, { keepdim: true })));
  // An infinite maximum is not subtracted: ∞ − ∞ would be NaN.
  const shift = withoutBranches(() => where(eq(sub(max, max), 0), max, 0));
  const y = log(sum(exp(sub(x, shift)), dims, options));
  return add(y, reshape(shift, y.shape));
});

const norm2 = defineOp({
  name: 'norm',
  forward: (_, x: Tensor, dims: readonly number[], keepdim: boolean) =>
    scope(() => cast(sqrt(sum(square(cast(x, 'float64')), dims, { keepdim })), x.dtype)),
  save: (_, [x, dims], [y]) => ({ x, dims, y }),
  backward: (g, { x, dims, y }): Grads => {
    const kept = keptShape(x.shape, dims);
    return [mul(div(x, reshape(nonzero(y), kept)), reshape(zeroWhereZero(y, g), kept))];
  },
  branch: (_, [y]) => eq(y, 0),
});

/**
 * (Σ |x|ᵖ)^(1/p) for any p but 0, 1, 2 and ±∞, as m (Σ (|x| / m)ᵖ)^(1/p): with m the largest |x|, or the smallest for p < 0, no power
 * overflows. The result does not depend on m, so m is a constant for the gradient.
 */
function normOfPower(x: Tensor, p: number, dims: readonly number[], options: ReduceOptions): Tensor {
  const size = abs(cast(x, 'float64'));
  const extreme = detach(withoutBranches(() => (p > 0 ? amax : amin)(size, dims, { keepdim: true })));
  const scale = withoutBranches(() => where(logicalAnd(isfinite(extreme), ne(extreme, 0)), extreme, 1));
  const isZero = eq(size, 0);
  // Where x is 0 the derivative of a power below 1 is infinite; the gradient there is 0, as in PyTorch.
  const powers = where(isZero, p > 0 ? 0 : Infinity, pow(div(where(isZero, 1, size), scale), p));
  const total = sum(powers, dims, { keepdim: true });
  const isNone = eq(total, 0);
  const root = where(isNone, 0, pow(where(isNone, 1, total), 1 / p));
  const y = cast(mul(root, scale), x.dtype);
  return options.keepdim === true ? y : squeeze(y, dims);
}

/**
 * y = (Σ |x|ᵖ)^(1/p); for p = ∞ the largest |x|, for −∞ the smallest, for 0 the number of x ≠ 0, which has no gradient. Floats only.
 *   ∂x = g ⊙ sign x · (|x| / y)^(p−1), and 0 where y = 0, or x = 0 and p < 1
 * Throws: ArgumentError for p NaN; ShapeError for an empty x with p = ±∞ or p < 0
 */
export const norm = composed((x: Tensor, p: number = 2, dim?: Dims, options: ReduceOptions = {}): Tensor => {
  requireFloat('norm', x);
  if (typeof p !== 'number' || Number.isNaN(p)) throw new ArgumentError(`norm: p must be a number, got ${shown(p)}`);
  const dims = dimsOf('norm', x, dim, options);
  if (p === Infinity) return amax(abs(x), dims, options);
  if (p === -Infinity) return amin(abs(x), dims, options);
  if (p === 0) return cast(sum(ne(x, 0), dims, options), x.dtype);
  if (p === 1) return sum(abs(x), dims, options);
  if (p === 2) return norm2(x, dims, options.keepdim ?? false);
  // Nothing to scale: the sum of no powers is 0.
  if (p > 0 && countOf(x.shape, dims) === 0) return norm2(x, dims, options.keepdim ?? false);
  return normOfPower(x, p, dims, options);
});

/** A reduction over any dims. */
type Reducer = (x: Tensor, dim?: Dims, options?: ReduceOptions) => Tensor;

/** Counts the elements that pass `test` against 0, and tests that count against 0: ne gives any, eq gives all. */
const compareCount = (op: string, test: typeof ne): Reducer =>
  composed((x: Tensor, dim?: Dims, options?: ReduceOptions) => {
    const dims = dimsOf(op, x, dim, options);
    return test(sum(test(x, 0), dims, options), 0);
  });

/** y = (any x ≠ 0), bool; NaN counts as ≠ 0. No gradient. */
export const any: Reducer = compareCount('any', ne);

/** y = (all x ≠ 0), bool; NaN counts as ≠ 0. No gradient. */
export const all: Reducer = compareCount('all', eq);

const cumsumOp = defineOp({
  name: 'cumsum',
  forward: (k, x: Tensor, dim: number, back: boolean) => {
    const y = emptyLike(x);
    const along = back ? [dim] : [];
    k.cumsum(reversedView(x, along), dim, reversedView(y, along));
    return y;
  },
  save: (_, [, dim, back]) => ({ dim, back }),
  backward: (g, { dim, back }): Grads => [cumsumOp(g, dim, !back)],
});

/** y[.., i, ..] = Σ x[.., j, ..] over j ≤ i along `dim`; int32 as in sum.   ∂x = Σ g over j ≥ i */
export function cumsum(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('cumsum', dim, x.ndim);
  return x.ndim === 0 ? sum(x) : throughFloat64('cumsum', x, (t) => cumsumOp(t, d, false));
}

const extremeReduction = (name: 'amax' | 'amin'): Reducer => {
  const op = defineOp({
    name,
    forward: (k, x: Tensor, dims: readonly number[], keepdim: boolean) => {
      if (countOf(x.shape, dims) === 0) {
        throw new ShapeError(`${name}: nothing to choose from along dims ${formatShape(dims)} of x ${formatShape(x.shape)}`);
      }
      // There is no kernel for bool.
      if (x.dtype === 'bool') return convertedView(k, reducedView(k, name, convertedView(k, x, 'int32'), dims, keepdim), 'bool');
      return reducedView(k, name, x, dims, keepdim);
    },
    save: (_, [x, dims], [y]) => ({ x, dims, y }),
    backward: (g, { x, dims, y }) => {
      const kept = keptShape(x.shape, dims);
      const won = cast(eq(x, reshape(y, kept)), x.dtype);
      // Ties share the gradient, as in PyTorch.
      return [mul(div(won, sum(won, dims, { keepdim: true })), reshape(g, kept))];
    },
    branch: ([x, dims], [y]) => eq(x, reshape(y, keptShape(x.shape, dims))),
  });
  return (x, dim, options = {}) => op(x, dimsOf(name, x, dim, options), options.keepdim ?? false);
};

/** y = max x; NaN wins.   ∂x = g, shared equally among ties */
export const amax: Reducer = extremeReduction('amax');

/** y = min x; NaN wins.   ∂x = g, shared equally among ties */
export const amin: Reducer = extremeReduction('amin');

/** An index along one dim, or in the flattened tensor. */
type ArgReduction = (x: Tensor, dim?: number, options?: ReduceOptions) => Tensor;

const argReduction = (name: 'argmax' | 'argmin'): ArgReduction => {
  const op = defineOp({
    name,
    forward: (k, x: Tensor, dim: number, keepdim: boolean) => {
      if (x.shape[dim] === 0) throw new ShapeError(`${name}: nothing to choose from along dim ${dim} of x ${formatShape(x.shape)}`);
      const y = emptyLike(x, keptShape(x.shape, [dim]), 'int32');
      k.argReduce(name, x, dim, y);
      return dropDims(y, [dim], keepdim);
    },
    branch: (_, [y]) => y,
  });
  return composed((x: Tensor, dim?: number, options: ReduceOptions = {}) => {
    checkTensor(name, 'x', x);
    const { keepdim } = withDefaults(name, options, { keepdim: false });
    const d = dim === undefined ? 0 : normalizeDim(name, dim, x.ndim);
    const flat = dim === undefined || x.ndim === 0;
    const y = op(flat ? reshape(x, [-1]) : x, d, keepdim && !flat);
    const ones = x.shape.map(() => 1);
    return flat && keepdim ? reshape(y, ones) : y;
  });
};

/** Returns the index (int32) of the first largest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
export const argmax: ArgReduction = argReduction('argmax');

/** Returns the index (int32) of the first smallest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
export const argmin: ArgReduction = argReduction('argmin');

/** An extreme along one dim, and its index. */
type ExtremeWithIndex = (x: Tensor, dim: number, options?: ReduceOptions) => [values: Tensor, indices: Tensor];

const extremeWithIndex = (name: string, indexOf: ArgReduction): ExtremeWithIndex =>
  composed((x: Tensor, dim: number, options: ReduceOptions = {}): [Tensor, Tensor] => {
    const { keepdim } = withDefaults(name, options, { keepdim: false });
    const d = normalizeDim(name, dim, x.ndim);
    const index = indexOf(x, d, { keepdim: true });
    const y = x.ndim === 0 ? clone(x) : gatherUnchecked(x, d, index);
    return keepdim ? [y, index] : [squeeze(y, d), squeeze(index, d)];
  });

/** [max x along `dim`, index (int32) of its first place]; NaN wins.   ∂x = g at the index */
export const max: ExtremeWithIndex = extremeWithIndex('max', argmax);
/** [min x along `dim`, index (int32) of its first place]; NaN wins.   ∂x = g at the index */
export const min: ExtremeWithIndex = extremeWithIndex('min', argmin);
