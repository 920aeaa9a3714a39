/**
 * Indexing: slices, padding (their adjoint), gather and scatterAdd, triangular parts.
 */
import { checkFits } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, checkArray, shown } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import { formatShape, normalizeDim, normalizeDims, type Shape } from '../../core/shape.ts';
import { emptyLike, restride, type View } from '../../kernels/view.ts';
import { arange } from '../create.ts';
import { defineOp, type Grads } from '../op.ts';
import { checkTensor, checkTensors, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { expand } from './broadcasting.ts';
import { ge, le, where } from './comparison.ts';
import { areWhole, dimList, type Dims } from './dims.ts';
import type { Binary } from './elementwise-builders.ts';
import { add, sub } from './elementwise.ts';
import { reshape, squeeze, unsqueeze } from './views.ts';

// — slices: along each dim, sizes[d] elements from starts[d] on, steps[d] apart, as a view; and their adjoint —

const sliceOp = defineOp({
  name: 'slice',
  forward: (_, x: Tensor, starts: readonly number[], sizes: Shape, steps: readonly number[]) => sliceView(x, starts, sizes, steps),
  save: (_, [x, starts, , steps]) => ({ shape: x.shape, starts, steps }),
  backward: (g, { shape, starts, steps }): Grads => [padOp(g, shape, starts, steps, 0)],
});

const padOp = defineOp({
  name: 'pad',
  forward: (k, x: Tensor, shape: Shape, starts: readonly number[], steps: readonly number[], value: number) => {
    const y = emptyLike(x, shape);
    k.fill(value, y);
    if (x.numel > 0) k.copy(x, sliceView(y, starts, x.shape, steps));
    return y;
  },
  save: (_, [x, , starts, steps]) => ({ shape: x.shape, starts, steps }),
  backward: (g, { shape, starts, steps }): Grads => [sliceOp(g, starts, shape, steps)],
});

function sliceView(v: View, starts: readonly number[], sizes: Shape, steps: readonly number[]): View {
  const offset = v.strides.reduce((at, s, d) => at + s * (sizes[d]! > 0 ? starts[d]! : 0), v.offset);
  const strides = v.strides.map((s, d) => s * steps[d]!);
  return restride(v, sizes, strides, offset);
}

/** Returns x in reverse order along `dims`, as a view. */
export function reversedView(v: View, dims: readonly number[]): View {
  const flips = v.strides.map((s, d) => (dims.includes(d) ? s : 0));
  const offset = flips.reduce((at, s, d) => at + s * Math.max(v.shape[d]! - 1, 0), v.offset);
  const strides = v.strides.map((s, d) => s - 2 * flips[d]!);
  return restride(v, v.shape, strides, offset);
}

/**
 * Returns the elements start, start + step, … before `end` along `dim`, as a view. Negative bounds count from the end;
 * bounds outside are clipped.   ∂x = g placed in zeros
 */
export function slice(x: Tensor, dim: number, start = 0, end: number | null = null, step = 1): Tensor {
  const d = normalizeDim('slice', dim, x.ndim);
  if (x.ndim === 0) throw new ShapeError('slice: a 0-d tensor has no dim to slice');
  if (!Number.isInteger(step) || step < 1) throw new ArgumentError(`slice: step must be a whole number ≥ 1, got ${shown(step)}`);
  if (!Number.isInteger(start) || (end !== null && !Number.isInteger(end))) {
    throw new ArgumentError(`slice: start and end must be whole numbers, got ${shown(start)} and ${shown(end)}`);
  }
  const n = x.shape[d]!;
  const clip = (i: number): number => Math.min(Math.max(i < 0 ? i + n : i, 0), n);
  const from = clip(start);
  const size = Math.max(0, Math.ceil((clip(end ?? n) - from) / step));
  const at = (value: number, rest: number): number[] => x.shape.map((_, i) => (i === d ? value : rest));
  return sliceOp(x, at(from, 0), x.shape.with(d, size), at(step, 1));
}

/** Returns the slice at `index` along `dim`, without that dim, as a view; negative indices count from the end.   ∂x = g placed in zeros */
export const select = composed((x: Tensor, dim: number, index: number): Tensor => {
  const d = normalizeDim('select', dim, x.ndim);
  const n = x.shape[d] ?? 0;
  if (!Number.isInteger(index) || index < -n || index >= n) {
    throw new ShapeError(`select: index ${index} is out of range for dim ${dim} of x ${formatShape(x.shape)}`);
  }
  const i = index < 0 ? index + n : index;
  return squeeze(slice(x, d, i, i + 1), d);
});

/**
 * Pads x with `value`. `padding` lists pairs from the last dim on, as in PyTorch: [left, right, top, bottom, …].
 * Negative numbers crop.   ∂x = g without the padding
 */
export const pad = composed((x: Tensor, padding: readonly number[], options: { value?: number } = {}): Tensor => {
  checkTensors('pad', { x });
  const { value } = withDefaults('pad', options, { value: 0 });
  checkArray('pad', padding);
  if (padding.length % 2 !== 0 || padding.length > 2 * x.ndim || padding.some((p) => !Number.isInteger(p))) {
    throw new ArgumentError(`pad: padding must be pairs of whole numbers for at most ${x.ndim} dims, got ${formatShape(padding)}`);
  }
  checkNumber('pad', 'value', value);
  checkFits('pad', value, x.dtype);
  const side = (s: number): number[] => x.shape.map((_, d) => padding[2 * (x.ndim - 1 - d) + s] ?? 0);
  const before = side(0);
  const after = side(1);
  let cropped = x;
  for (const [d, n] of x.shape.entries()) {
    const from = Math.max(-before[d]!, 0);
    const to = n - Math.max(-after[d]!, 0);
    if (from > to) throw new ShapeError(`pad: padding ${formatShape(padding)} cuts off more than x ${formatShape(x.shape)} has`);
    if (to - from !== n) cropped = slice(cropped, d, from, to);
  }
  const shape = x.shape.map((n, d) => n + before[d]! + after[d]!);
  const starts = before.map((p) => Math.max(p, 0));
  const steps = x.shape.map(() => 1);
  return padOp(cropped, shape, starts, steps, value);
});

const flipOp = defineOp({
  name: 'flip',
  forward: (k, x: Tensor, dims: readonly number[]) => {
    const y = emptyLike(x);
    k.copy(reversedView(x, dims), y);
    return y;
  },
  save: (_, [, dims]) => ({ dims }),
  backward: (g, { dims }): Grads => [flipOp(g, dims)],
});

/** y[.., i, ..] = x[.., n − 1 − i, ..] along `dims`.   ∂x = g flipped back */
export function flip(x: Tensor, dims: Dims): Tensor {
  const named = dimList('flip', dims);
  return flipOp(x, named.length === 0 ? [] : normalizeDims('flip', named, x.ndim));
}

/** gather without its range check, for indices that an operation has computed. */
export const gatherUnchecked = defineOp({
  name: 'gather',
  forward: (k, x: Tensor, dim: number, index: Tensor) => {
    const y = emptyLike(x, index.shape);
    k.gather(x, dim, index, y);
    return y;
  },
  save: (_, [x, dim, index]) => ({ shape: x.shape, dim, index }),
  backward: (g, { shape, dim, index }): Grads => [scatterUnchecked(g, dim, index, shape)],
});

/** y = zeros(shape), then y[.., index[.., i, ..], ..] += x[.., i, ..]: the adjoint of gather. */
export const scatterUnchecked = defineOp({
  name: 'scatterAdd',
  forward: (k, x: Tensor, dim: number, index: Tensor, shape: Shape) => {
    const y = emptyLike(x, shape);
    k.fill(0, y);
    k.scatterAdd(x, dim, index, y);
    return y;
  },
  save: (_, [, dim, index]) => ({ dim, index }),
  backward: (g, { dim, index }): Grads => [gatherUnchecked(g, dim, index)],
});

/**
 * y[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`.   ∂x = g added up at index
 * Shape:  x and index (int32) of equal rank, 0-d counts as 1-d; other sizes of index at most those of x; y as index
 * Throws: ShapeError for an index outside 0 … size − 1
 */
export const gather = composed(function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  checkTensor('gather', 'index', index);
  if (x.ndim === 0) return gather(reshape(x, [1]), dim, index);
  if (x.ndim === 1 && index.ndim === 0) return reshape(gather(x, dim, reshape(index, [1])), []);
  const d = normalizeDim('gather', dim, x.ndim);
  checkIndex('gather', index, x.shape[d]!);
  const fits = index.ndim === x.ndim && index.shape.every((n, i) => i === d || n <= x.shape[i]!);
  if (!fits) {
    throw new ShapeError(
      `gather: index ${formatShape(index.shape)} must have the rank of x ${formatShape(x.shape)}, and sizes at most x's but along dim ${dim}`,
    );
  }
  return gatherUnchecked(x, d, index);
});

/** Throws unless `index` is int32 with values from 0 to size − 1, or `except`; returns whether `except` occurs. */
export function checkIndex(op: string, index: Tensor, size: number, except?: number): boolean {
  if (index.dtype !== 'int32')
    throw new DTypeError(
      `${op}: indices must be int32, got ${index.dtype}; make them with { dtype: 'int32' } or convert with .to('int32')`,
    );
  const values = index.data();
  for (let i = 0; i < values.length; i++) {
    const fits = (values[i]! >= 0 && values[i]! < size) || (values[i] === except && size > 0);
    if (!fits) {
      throw new ShapeError(`${op}: index ${values[i]} at position ${i} is out of range for ${size} (expected 0 to ${size - 1})`);
    }
  }
  return except !== undefined && values.includes(except);
}

/**
 * y = x, then y[.., index[.., i, ..], ..] += src[.., i, ..] along `dim`.   ∂x = g,   ∂src = g gathered at index
 * Shape:  x, index (int32) and src of equal rank, 0-d counts as 1-d; sizes of index at most those of src, and at most
 *         those of x except along dim; y as x
 * Throws: ShapeError for an index outside 0 … size − 1
 */
export const scatterAdd = composed((x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor => {
  checkTensors('scatterAdd', { index, src });
  if (x.ndim < 2 && [x, index, src].some((t) => t.ndim === 0)) {
    const atLeast1d = (t: Tensor): Tensor => (t.ndim === 0 ? reshape(t, [1]) : t);
    return reshape(scatterAdd(atLeast1d(x), dim, atLeast1d(index), atLeast1d(src)), x.shape);
  }
  const d = normalizeDim('scatterAdd', dim, x.ndim);
  checkIndex('scatterAdd', index, x.shape[d]!);
  const sameRank = index.ndim === x.ndim && index.ndim === src.ndim;
  if (!sameRank || !index.shape.every((n, i) => n <= src.shape[i]! && (i === d || n <= x.shape[i]!))) {
    const target = `into src ${formatShape(src.shape)}, and into x ${formatShape(x.shape)} but along dim ${dim}`;
    throw new ShapeError(`scatterAdd: index ${formatShape(index.shape)} must fit ${target}`);
  }
  if (x.dtype !== src.dtype) throw new DTypeError(`scatterAdd: x is ${x.dtype}, src ${src.dtype}; convert one with .to()`);
  if (x.dtype === 'bool') throw new DTypeError("scatterAdd: bool does not add up; convert with .to('int32')");
  const used = index.shape.reduce((t, n, i) => slice(t, i, 0, n), src);
  return add(x, scatterUnchecked(used, d, index, x.shape));
});

/**
 * y[.., i, ..] = x[.., index[i], ..] along `dim`.   ∂x = g added up at index
 * Shape:  x [..,N,..], index [I] or [] (int32) → [..,I,..]; x [] takes one index
 * Throws: ShapeError for an index outside 0 … N − 1
 */
export const indexSelect = composed((x: Tensor, dim: number, index: Tensor): Tensor => {
  checkTensors('indexSelect', { index });
  if (index.ndim > 1 || (x.ndim === 0 && index.numel !== 1)) {
    const shapes = `(x ${formatShape(x.shape)}, index ${formatShape(index.shape)})`;
    throw new ShapeError(`indexSelect: index must have 1 dim, and 1 element where x is 0-d ${shapes}`);
  }
  if (x.ndim === 0) return reshape(indexSelect(reshape(x, [1]), dim, index), []);
  const d = normalizeDim('indexSelect', dim, x.ndim);
  checkIndex('indexSelect', index, x.shape[d]!);
  const along = reshape(index, [-1, ...x.shape.slice(d + 1).map(() => 1)]);
  return gatherUnchecked(x, d, expand(along, x.shape.with(d, index.numel)));
});

const triangle = (name: string, keeps: Binary): ((x: Tensor, diagonal?: number) => Tensor) =>
  composed((x: Tensor, diagonal: number = 0): Tensor => {
    if (x.ndim < 2) throw new ShapeError(`${name}: x ${formatShape(x.shape)} needs at least 2 dims`);
    if (!areWhole(-Infinity, diagonal)) throw new ArgumentError(`${name}: diagonal must be a whole number, got ${shown(diagonal)}`);
    return where(keeps(sub(arange(x.size(-1)), unsqueeze(arange(x.size(-2)), 1)), diagonal), x, 0);
  });

/** y[.., i, j] = x[.., i, j] where j − i ≤ diagonal, else 0.   ∂x = g there */
export const tril: (x: Tensor, diagonal?: number) => Tensor = triangle('tril', le);
/** y[.., i, j] = x[.., i, j] where j − i ≥ diagonal, else 0.   ∂x = g there */
export const triu: (x: Tensor, diagonal?: number) => Tensor = triangle('triu', ge);
