/**
 * Movement: the same elements under another shape, order or frame. Views where strides allow, copies where not.
 */
import { checkFits, promote } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, kindOf, checkArray } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape, isRowMajor, normalizeDim, rowMajorStrides, sameShape, sizeOf, viewStrides, type Shape } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { empty, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { checkTensors, isTensor, untracked, type Tensor } from '../tensor.ts';
import { cast } from './elementwise.ts';

/** y = x, as a new node on the same memory.   ∂x = g */
export const identity = defineOp({
  name: 'identity',
  forward: (_, x: Tensor) => restride(x, x.shape, x.strides),
  backward: (g): Grads => [g],
});

/** x on the same memory, without history: no gradient flows through it. */
export function detach(x: Tensor): Tensor {
  return untracked(x);
}

const reshapeOp = defineOp({
  name: 'reshape',
  forward: (k, x: Tensor, shape: Shape) => {
    const strides = viewStrides(x.shape, x.strides, shape);
    if (strides !== null) return restride(x, shape, strides);
    const y = empty(x.shape, x.dtype);
    k.copy(x, y);
    return restride(y, shape, rowMajorStrides(shape));
  },
  save: (_, x) => ({ shape: x.shape }),
  backward: (g, { shape }): Grads => [reshape(g, shape)],
});

/** The same elements, row-major, in another shape; one size may be −1. A view where possible.   ∂x = g in x's shape */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return reshapeOp(x, inferSize('reshape', x.shape, shape));
}

/** As reshape, but throws where that would have to copy. */
export function view(x: Tensor, shape: Shape): Tensor {
  const full = inferSize('view', x.shape, shape);
  if (viewStrides(x.shape, x.strides, full) === null) {
    throw new ShapeError(
      `view: shape ${formatShape(x.shape)} with strides ${formatShape(x.strides)} cannot be seen as ${formatShape(full)} without a copy; use reshape`,
    );
  }
  return reshapeOp(x, full);
}

/** `shape` with its −1 replaced by what fits. */
function inferSize(op: string, from: Shape, shape: Shape): Shape {
  checkArray(op, shape);
  const holes = shape.filter((n) => n === -1).length;
  if (holes > 1) throw new ShapeError(`${op}: only one size may be -1, got ${formatShape(shape)}`);
  const known = sizeOf(
    shape.filter((n) => n !== -1),
    op,
  );
  const n = sizeOf(from);
  const fits = holes === 0 ? known === n : known > 0 && n % known === 0;
  if (!fits) {
    throw new ShapeError(`${op}: shape ${formatShape(from)} has ${n} elements, which do not fit ${formatShape(shape)}`);
  }
  return holes === 0 ? [...shape] : shape.map((s) => (s === -1 ? n / known : s));
}

/** Dims `start` to `end` (inclusive, negative from the end) as one.   ∂x = g in x's shape */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.ndim === 0) return reshape(x, [1]);
  const a = normalizeDim('flatten', start, x.ndim);
  const b = normalizeDim('flatten', end, x.ndim);
  if (a > b) throw new ShapeError(`flatten: start dim ${start} comes after end dim ${end} (x ${formatShape(x.shape)})`);
  const merged = x.shape.slice(a, b + 1).reduce((p, n) => p * n, 1);
  return reshape(x, [...x.shape.slice(0, a), merged, ...x.shape.slice(b + 1)]);
}

/** `dim` dissolved into dims of `sizes`, of which one may be −1, as a view.   ∂x = g in x's shape */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  const d = dimOf('unflatten', x, dim);
  return reshape(x, [...x.shape.slice(0, d), ...inferSize('unflatten', [x.shape[d]!], sizes), ...x.shape.slice(d + 1)]);
}

/** `dim` as a natural number; a 0-d tensor has none to name. */
export function dimOf(op: string, x: Tensor, dim: number): number {
  if (x.ndim === 0) throw new ShapeError(`${op}: a 0-d tensor has no dim ${dim}`);
  return normalizeDim(op, dim, x.ndim);
}

const permuteOp = defineOp({
  name: 'permute',
  forward: (_, x: Tensor, dims: readonly number[]) => {
    const ordered = (of: readonly number[]): number[] => dims.map((d) => of[d]!);
    return restride(x, ordered(x.shape), ordered(x.strides));
  },
  save: (_, __, dims) => ({ dims }),
  backward: (g, { dims }): Grads => [permuteOp(g, invert(dims))],
});

function invert(dims: readonly number[]): number[] {
  const inverse = new Array<number>(dims.length);
  dims.forEach((d, i) => {
    inverse[d] = i;
  });
  return inverse;
}

/** The dims in another order, as a view: y's dim i is x's dim dims[i].   ∂x = g in the inverse order */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  checkArray('permute', dims);
  const order = dims.map((d) => normalizeDim('permute', d, x.ndim));
  if (new Set(order).size !== x.ndim || order.length !== x.ndim) {
    throw new ShapeError(`permute: dims ${formatShape(dims)} must name each dim of x ${formatShape(x.shape)} once`);
  }
  return permuteOp(x, order);
}

/** Dims a and b exchanged, as a view.   ∂x = g with them exchanged back */
export function transpose(x: Tensor, a: number, b: number): Tensor {
  const i = normalizeDim('transpose', a, x.ndim);
  const j = normalizeDim('transpose', b, x.ndim);
  if (x.ndim === 0) return identity(x);
  const dims = x.shape.map((_, d) => d);
  dims[i] = j;
  dims[j] = i;
  return permuteOp(x, dims);
}

/** Without the size-1 dims: all of them, or those named (others are left).   ∂x = g in x's shape */
export function squeeze(x: Tensor, dim?: number | readonly number[]): Tensor {
  const dims =
    dim === undefined ? x.shape.map((_, d) => d) : (Array.isArray(dim) ? dim : [dim]).map((d) => normalizeDim('squeeze', d, x.ndim));
  const left = x.shape.filter((n, d) => n !== 1 || !dims.includes(d));
  return reshapeOp(x, left);
}

/** With a dim of size 1 inserted before `dim`.   ∂x = g in x's shape */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1);
  return reshapeOp(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

// — windows: every steps[d]-th element from starts[d] on, sizes[d] of them, as a view; and their adjoint —

const windowOp = defineOp({
  name: 'slice',
  forward: (_, x: Tensor, starts: readonly number[], sizes: Shape, steps: readonly number[]) => windowOf(x, starts, sizes, steps),
  save: (_, x, starts, __, steps) => ({ shape: x.shape, starts, steps }),
  backward: (g, { shape, starts, steps }): Grads => [placeOp(g, shape, starts, steps, 0)],
});

const placeOp = defineOp({
  name: 'pad',
  forward: (k, x: Tensor, shape: Shape, starts: readonly number[], steps: readonly number[], value: number) => {
    const y = emptyLike(x, shape);
    k.fill(value, y);
    if (x.numel > 0) k.copy(x, windowOf(y, starts, x.shape, steps));
    return y;
  },
  save: (_, x, __, starts, steps) => ({ shape: x.shape, starts, steps }),
  backward: (g, { shape, starts, steps }): Grads => [windowOp(g, starts, shape, steps)],
});

function windowOf(v: View, starts: readonly number[], sizes: Shape, steps: readonly number[]): View {
  const offset = v.strides.reduce((at, s, d) => at + s * (sizes[d]! > 0 ? starts[d]! : 0), v.offset);
  const strides = v.strides.map((s, d) => s * steps[d]!);
  return restride(v, sizes, strides, offset);
}

/** x read backwards along `dims`. */
export function reversed(v: View, dims: readonly number[]): View {
  const flips = v.strides.map((s, d) => (dims.includes(d) ? s : 0));
  const offset = flips.reduce((at, s, d) => at + s * Math.max(v.shape[d]! - 1, 0), v.offset);
  const strides = v.strides.map((s, d) => s - 2 * flips[d]!);
  return restride(v, v.shape, strides, offset);
}

/**
 * Elements start, start + step, … before `end` along `dim`, as a view; negative bounds count from the end, bounds outside
 * are clipped.   ∂x = g placed in zeros
 */
export function slice(x: Tensor, dim: number, start = 0, end: number | null = null, step = 1): Tensor {
  const d = normalizeDim('slice', dim, x.ndim);
  if (x.ndim === 0) throw new ShapeError('slice: a 0-d tensor has no dim to slice');
  if (!Number.isInteger(step) || step < 1) throw new ArgumentError(`slice: step must be a whole number ≥ 1, got ${step}`);
  if (!Number.isInteger(start) || (end !== null && !Number.isInteger(end))) {
    throw new ArgumentError(`slice: start and end must be whole numbers, got ${start} and ${end}`);
  }
  const n = x.shape[d]!;
  const clip = (i: number): number => Math.min(Math.max(i < 0 ? i + n : i, 0), n);
  const from = clip(start);
  const size = Math.max(0, Math.ceil((clip(end ?? n) - from) / step));
  const at = (value: number, rest: number): number[] => x.shape.map((_, i) => (i === d ? value : rest));
  return windowOp(x, at(from, 0), x.shape.with(d, size), at(step, 1));
}

/** The `index`-th slice along `dim`, without that dim, as a view; negative indices count from the end.   ∂x = g placed in zeros */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = normalizeDim('select', dim, x.ndim);
  const n = x.shape[d] ?? 0;
  if (!Number.isInteger(index) || index < -n || index >= n) {
    throw new ShapeError(`select: index ${index} is out of range for dim ${dim} of x ${formatShape(x.shape)}`);
  }
  const i = index < 0 ? index + n : index;
  return squeeze(slice(x, d, i, i + 1), d);
}

/**
 * x in a frame of `value`s. `padding` names pairs from the last dim on, as PyTorch's: [left, right, top, bottom, …].
 * Negative ones cut off.   ∂x = g inside the frame
 */
export function pad(x: Tensor, padding: readonly number[], options: { value?: number } = {}): Tensor {
  checkTensors('pad', { x });
  const { value } = withDefaults('pad', options, { value: 0 });
  checkArray('pad', padding);
  if (padding.length % 2 !== 0 || padding.length > 2 * x.ndim || padding.some((p) => !Number.isInteger(p))) {
    throw new ArgumentError(`pad: padding must be pairs of whole numbers for at most ${x.ndim} dims, got ${formatShape(padding)}`);
  }
  checkFits('pad', value, x.dtype);
  const side = (s: number): number[] => x.shape.map((_, d) => padding[2 * (x.ndim - 1 - d) + s] ?? 0);
  const [before, after] = [side(0), side(1)] as const;
  const cut = x.shape.reduce((t, n, d) => {
    const [from, to] = [Math.max(-before[d]!, 0), n - Math.max(-after[d]!, 0)];
    if (from > to) throw new ShapeError(`pad: padding ${formatShape(padding)} cuts off more than x ${formatShape(x.shape)} has`);
    return to - from === n ? t : slice(t, d, from, to);
  }, x);
  const shape = x.shape.map((n, d) => n + before[d]! + after[d]!);
  const [starts, steps] = [before.map((p) => Math.max(p, 0)), x.shape.map(() => 1)];
  return placeOp(cut, shape, starts, steps, value);
}

const catOp = defineOp({
  name: 'cat',
  forward: (k: Kernels, dim: number, ...xs: Tensor[]) => {
    const first = xs[0]!;
    const total = xs.reduce((n, x) => n + x.shape[dim]!, 0);
    const y = emptyLike(first, first.shape.with(dim, total));
    let at = 0;
    for (const x of xs) {
      if (x.numel > 0) k.copy(x, restride(y, x.shape, y.strides, y.offset + at * y.strides[dim]!));
      at += x.shape[dim]!;
    }
    return y;
  },
  save: (_, dim, ...xs) => ({ dim, shapes: xs.slice(0, -1).map((x) => x.shape) }),
  backward: (g, { dim, shapes }, needs): Grads => {
    let at = 0;
    return [
      null,
      ...shapes.map((shape, i) => {
        const start = at;
        at += shape[dim]!;
        return needs[i + 1] ? slice(g, dim, start, at) : null;
      }),
    ];
  },
});

function firstOf(op: string, tensors: readonly Tensor[]): Tensor {
  checkArray(op, tensors);
  if (tensors.length === 0) throw new ArgumentError(`${op}: give at least one tensor`);
  const odd = tensors.findIndex((t) => !isTensor(t));
  if (odd >= 0) throw new ArgumentError(`${op}: expected tensors, got ${kindOf(tensors[odd])} at position ${odd}`);
  return tensors[0]!;
}

/** The tensors one after another along `dim`; other sizes must agree, dtypes promote.   ∂xᵢ = its part of g */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  const first = firstOf('cat', tensors);
  const d = normalizeDim('cat', dim, first.ndim);
  const agree = tensors.every((t) => t.ndim === first.ndim && t.shape.every((n, i) => i === d || n === first.shape[i]));
  if (!agree || first.ndim === 0) {
    throw new ShapeError(
      `cat: shapes ${tensors.map((t) => formatShape(t.shape)).join(', ')} must agree in all dims but ${dim}, of at least 1`,
    );
  }
  const dtype = tensors.map((t) => t.dtype).reduce(promote);
  const alike = tensors.map((t) => cast(t, dtype));
  return join(d, alike);
}

/** catOp in groups: its inputs are arguments, of which a call takes only so many. */
function join(dim: number, xs: readonly Tensor[]): Tensor {
  if (xs.length <= 1000) return catOp(dim, ...xs);
  const groups = Array.from({ length: Math.ceil(xs.length / 1000) }, (_, i) => catOp(dim, ...xs.slice(i * 1000, (i + 1) * 1000)));
  return join(dim, groups);
}

/** The tensors, of one shape, along a new dim.   ∂xᵢ = its slice of g */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  const first = firstOf('stack', tensors);
  if (!tensors.every((t) => sameShape(t.shape, first.shape))) {
    throw new ShapeError(`stack: shapes ${tensors.map((t) => formatShape(t.shape)).join(', ')} must be equal`);
  }
  const parts = tensors.map((t) => unsqueeze(t, dim));
  return cat(parts, normalizeDim('stack', dim, first.ndim + 1));
}

const contiguousOp = defineOp({
  name: 'contiguous',
  forward: (k, x: Tensor) => {
    const y = empty(x.shape, x.dtype);
    k.copy(x, y);
    return y;
  },
  backward: (g): Grads => [g],
});

/** x itself where it is row-major, else a row-major copy.   ∂x = g */
export function contiguous(x: Tensor): Tensor {
  return isRowMajor(x.shape, x.strides) ? x : contiguousOp(x);
}

// — indexing —

const gatherOp = defineOp({
  name: 'gather',
  forward: (k, x: Tensor, dim: number, index: Tensor) => {
    const y = emptyLike(x, index.shape);
    k.gather(x, dim, index, y);
    return y;
  },
  save: (_, x, dim, index) => ({ shape: x.shape, dim, index }),
  backward: (g, { shape, dim, index }): Grads => [scatterOp(g, dim, index, shape)],
});

/** y = zeros(shape), then y[.., index[.., i, ..], ..] += x[.., i, ..]: gather's adjoint. */
const scatterOp = defineOp({
  name: 'scatterAdd',
  forward: (k, x: Tensor, dim: number, index: Tensor, shape: Shape) => {
    const y = emptyLike(x, shape);
    k.fill(0, y);
    k.scatterAdd(x, dim, index, y);
    return y;
  },
  save: (_, __, dim, index) => ({ dim, index }),
  backward: (g, { dim, index }): Grads => [gatherOp(g, dim, index)],
});

/** Without the range check of `gather`: for indices that an operation has made itself. */
export { gatherOp as gatherUnchecked, scatterOp as scatterUnchecked };

/**
 * y[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`.   ∂x = g added up at index
 * Shape:  x and index (int32) of one rank, 0-d counting as 1-d; index's other sizes at most x's; y has index's shape
 * Throws: ShapeError for an index outside 0 … size − 1
 */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
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
  return gatherOp(x, d, index);
}

/** Throws unless `index` is int32 with values from 0 to size − 1, or `except`; returns whether that occurs. */
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
