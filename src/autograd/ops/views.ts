/**
 * The same elements in another shape or order. Results are views where strides allow it, else copies.
 */
import { ShapeError, checkArray, isArray } from '../../core/errors.ts';
import { formatShape, isRowMajor, normalizeDim, rowMajorStrides, sizeOf, viewStrides, type Shape } from '../../core/shape.ts';
import { empty, emptyLike, restride } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { untracked, type Tensor } from '../tensor.ts';
import { dimList, dimOf, type Dims } from './dims.ts';

/** y = x, as a new node on the same memory.   ∂x = g */
export const identity = defineOp({
  name: 'identity',
  forward: (_, x: Tensor) => restride(x, x.shape, x.strides),
  backward: (g): Grads => [g],
});

/** Returns a tensor on the memory of x, without history: no gradient flows through it. */
export function detach(x: Tensor): Tensor {
  const y = untracked(x);
  y.isScalarView = y.ndim === 0;
  return y;
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
  save: (_, [x]) => ({ shape: x.shape }),
  backward: (g, { shape }): Grads => [reshape(g, shape)],
});

/** Returns the elements, in row-major order, in another shape; one size may be −1. A view where possible.   ∂x = g in x's shape */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return reshapeOp(x, inferSize('reshape', x.shape, shape));
}

/** Reshapes without a copy; throws ShapeError where one is needed.   ∂x = g in x's shape */
export function view(x: Tensor, shape: Shape): Tensor {
  const full = inferSize('view', x.shape, shape);
  if (viewStrides(x.shape, x.strides, full) === null) {
    throw new ShapeError(
      `view: shape ${formatShape(x.shape)} with strides ${formatShape(x.strides)} cannot be seen as ${formatShape(full)} without a copy; use reshape`,
    );
  }
  return reshapeOp(x, full);
}

/** Replaces the −1 in `shape` by the size that fits. */
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

/** Merges the dims `start` to `end` (inclusive, negative from the end). A view where possible.   ∂x = g in x's shape */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const a = normalizeDim('flatten', start, x.ndim);
  const b = normalizeDim('flatten', end, x.ndim);
  if (a > b) throw new ShapeError(`flatten: start dim ${start} comes after end dim ${end} (x ${formatShape(x.shape)})`);
  const merged = x.shape.slice(a, b + 1).reduce((p, n) => p * n, 1);
  return reshape(x, [...x.shape.slice(0, a), merged, ...x.shape.slice(b + 1)]);
}

/** Splits `dim` into dims of `sizes`, of which one may be −1, as a view.   ∂x = g in x's shape */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  const d = dimOf('unflatten', x, dim);
  return reshape(x, [...x.shape.slice(0, d), ...inferSize('unflatten', [x.shape[d]!], sizes), ...x.shape.slice(d + 1)]);
}

const permuteOp = defineOp({
  name: 'permute',
  forward: (_, x: Tensor, dims: readonly number[]) => {
    const ordered = (of: readonly number[]): number[] => dims.map((d) => of[d]!);
    return restride(x, ordered(x.shape), ordered(x.strides));
  },
  save: (_, [, dims]) => ({ dims }),
  backward: (g, { dims }): Grads => [permuteOp(g, inversePermutation(dims))],
});

function inversePermutation(dims: readonly number[]): number[] {
  const inverse = new Array<number>(dims.length);
  dims.forEach((d, i) => {
    inverse[d] = i;
  });
  return inverse;
}

/** Reorders the dims, as a view: dim i of y is dim dims[i] of x.   ∂x = g in the inverse order */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  checkArray('permute', dims);
  const order = dims.map((d) => normalizeDim('permute', d, x.ndim));
  if (new Set(order).size !== x.ndim || order.length !== x.ndim) {
    throw new ShapeError(`permute: dims ${formatShape(dims)} must name each dim of x ${formatShape(x.shape)} once`);
  }
  return permuteOp(x, order);
}

/** Exchanges dims a and b, as a view.   ∂x = g with them exchanged back */
export function transpose(x: Tensor, a: number, b: number): Tensor {
  const i = normalizeDim('transpose', a, x.ndim);
  const j = normalizeDim('transpose', b, x.ndim);
  if (x.ndim === 0) return identity(x);
  const dims = x.shape.map((_, d) => d);
  dims[i] = j;
  dims[j] = i;
  return permuteOp(x, dims);
}

/** Removes dims of size 1, as a view: all of them, or those named; named dims of another size stay.   ∂x = g in x's shape */
export function squeeze(x: Tensor, dim?: number | readonly number[]): Tensor {
  const dims = dim === undefined ? [...x.shape.keys()] : (isArray(dim) ? dim : [dim]).map((d) => normalizeDim('squeeze', d, x.ndim));
  const left = x.shape.filter((n, d) => n !== 1 || !dims.includes(d));
  return reshapeOp(x, left);
}

/** Inserts a dim of size 1 before `dim`, as a view.   ∂x = g in x's shape */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1);
  return reshapeOp(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

/** Moves the dims `source` to `destination`; the others keep their order. A view.   ∂x = g moved back */
export function movedim(x: Tensor, source: Dims, destination: Dims): Tensor {
  const natural = (dims: Dims): number[] => dimList('movedim', dims).map((d) => normalizeDim('movedim', d, x.ndim));
  const repeats = (dims: readonly number[]): boolean => new Set(dims).size !== dims.length;
  const from = natural(source);
  const to = natural(destination);
  if (from.length !== to.length || repeats(from) || repeats(to)) {
    throw new ShapeError(`movedim: source [${from.join()}] and destination [${to.join()}] must be equally many dims, each once`);
  }
  const rest = [...x.shape.keys()].filter((d) => !from.includes(d));
  let placed = 0;
  const order = x.shape.map((_, d) => {
    const moved = to.indexOf(d);
    return moved >= 0 ? from[moved]! : rest[placed++]!;
  });
  return permute(x, order);
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

/** Returns x itself where it is row-major, else a row-major copy.   ∂x = g */
export function contiguous(x: Tensor): Tensor {
  return isRowMajor(x.shape, x.strides) ? x : contiguousOp(x);
}

/** Copies x in its memory order.   ∂x = g */
export const clone = defineOp({
  name: 'clone',
  forward: (k, x: Tensor) => {
    const y = emptyLike(x);
    k.copy(x, y);
    return y;
  },
  backward: (g) => [g],
});
