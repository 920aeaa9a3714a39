/**
 * Joining and splitting: cat, stack, split, chunk, unbind, repeat, roll.
 */
import { promote } from '../../core/dtype.ts';
import { ArgumentError, ShapeError, checkArray, kindOf, shown } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { checkDims, formatShape, normalizeDim, sameShape, type Shape } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { emptyLike, restride } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { isTensor, type Tensor } from '../tensor.ts';
import { expand } from './broadcasting.ts';
import { areWhole, dimList, dimOf, type Dims } from './dims.ts';
import { select, slice } from './indexing.ts';
import { cast } from './operands.ts';
import { apartFrom } from './own-memory.ts';
import { reshape, unsqueeze } from './views.ts';

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
  save: (_, [dim, ...xs]) => ({ dim, shapes: xs.map((x) => x.shape) }),
  backward: (g, { dim, shapes }, needs): Grads => {
    const grads: (Tensor | null)[] = [null];
    let start = 0;
    for (const [i, shape] of shapes.entries()) {
      const end = start + shape[dim]!;
      grads.push(needs[i + 1] ? slice(g, dim, start, end) : null);
      start = end;
    }
    return grads;
  },
});

function checkTensorList(op: string, tensors: readonly Tensor[]): Tensor {
  checkArray(op, tensors);
  if (tensors.length === 0) throw new ArgumentError(`${op}: give at least one tensor`);
  const odd = tensors.findIndex((t) => !isTensor(t));
  if (odd >= 0) throw new ArgumentError(`${op}: expected tensors, got ${kindOf(tensors[odd])} at position ${odd}`);
  return tensors[0]!;
}

/** Concatenates the tensors along `dim`; other sizes must agree, dtypes promote.   ∂xᵢ = its part of g */
export const cat = composed(function cat(tensors: readonly Tensor[], dim: number = 0): Tensor {
  refuseOptions('cat', arguments[2]);
  const first = checkTensorList('cat', tensors);
  const d = normalizeDim('cat', dim, first.ndim);
  const agree = tensors.every((t) => t.ndim === first.ndim && t.shape.every((n, i) => i === d || n === first.shape[i]));
  if (!agree || first.ndim === 0) {
    throw new ShapeError(
      `cat: shapes ${tensors.map((t) => formatShape(t.shape)).join(', ')} must agree in all dims but ${dim}, of at least 1`,
    );
  }
  const dtype = tensors.map((t) => t.dtype).reduce(promote);
  const alike = tensors.map((t) => cast(t, dtype));
  return catInGroups(d, alike);
});

/** Concatenates at most 1,000 tensors at a time: they are arguments of a call, whose number is limited. */
function catInGroups(dim: number, xs: readonly Tensor[]): Tensor {
  if (xs.length <= 1000) return catOp(dim, ...xs);
  const groups: Tensor[] = [];
  for (let i = 0; i < xs.length; i += 1000) groups.push(catOp(dim, ...xs.slice(i, i + 1000)));
  return catInGroups(dim, groups);
}

/** Joins tensors of one shape along a new dim.   ∂xᵢ = its slice of g */
export const stack = composed(function stack(tensors: readonly Tensor[], dim: number = 0): Tensor {
  refuseOptions('stack', arguments[2]);
  const first = checkTensorList('stack', tensors);
  if (!tensors.every((t) => sameShape(t.shape, first.shape))) {
    throw new ShapeError(`stack: shapes ${tensors.map((t) => formatShape(t.shape)).join(', ')} must be equal`);
  }
  const d = normalizeDim('stack', dim, first.ndim + 1);
  return cat(
    tensors.map((t) => unsqueeze(t, d)),
    d,
  );
});

/** Repeats x counts[d] times along each dim; more counts than dims add dims in front.   ∂x = g summed over the copies */
export const repeat = composed((x: Tensor, counts: Shape): Tensor => {
  checkArray('repeat', counts);
  const lead = counts.length - x.ndim;
  if (lead < 0 || !areWhole(0, ...counts)) {
    throw new ArgumentError(`repeat: counts must be whole numbers ≥ 0, one a dim of x ${formatShape(x.shape)}, got ${formatShape(counts)}`);
  }
  const shape = counts.map((_, d) => x.shape[d - lead] ?? 1);
  // A dim that is repeated becomes two, of which the first is broadcast.
  const once = shape.flatMap((n, d) => (counts[d] === 1 ? [n] : [1, n]));
  const often = shape.flatMap((n, d) => (counts[d] === 1 ? [n] : [counts[d]!, n]));
  checkDims('repeat', once.length);
  const result = shape.map((n, d) => n * counts[d]!);
  return apartFrom(x, reshape(expand(reshape(x, once), often), result));
});

/** Splits x along `dim` into views of `size` (the last may be smaller), or of several sizes.   ∂x = their g concatenated */
export const split = composed((x: Tensor, size: Dims, dim: number = 0): Tensor[] => {
  const d = dimOf('split', x, dim);
  const n = x.shape[d]!;
  if (typeof size === 'number' && !areWhole(1, size)) throw new ArgumentError(`split: size must be a whole number ≥ 1, got ${shown(size)}`);
  const equal = (s: number): number[] => Array.from({ length: Math.ceil(n / s) || 1 }, (_, i) => Math.min(s, n - i * s));
  const sizes = typeof size === 'number' ? equal(size) : dimList('split', size);
  if (!areWhole(0, ...sizes) || sizes.reduce((a, b) => a + b, 0) !== n) {
    throw new ShapeError(`split: sizes ${formatShape(sizes)} do not add up to ${n}, dim ${dim} of x ${formatShape(x.shape)}`);
  }
  let start = 0;
  return sizes.map((s) => {
    const part = slice(x, d, start, start + s);
    start += s;
    return part;
  });
});

/** Splits x along `dim` into at most `chunks` views of equal size; the last may be smaller.   ∂x = their g concatenated */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  const n = x.shape[dimOf('chunk', x, dim)]!;
  if (!areWhole(1, chunks)) throw new ArgumentError(`chunk: chunks must be a whole number ≥ 1, got ${shown(chunks)}`);
  return split(x, n === 0 ? new Array<number>(chunks).fill(0) : Math.ceil(n / chunks), dim);
}

/** Returns all slices along `dim`, without that dim, as views.   ∂x = their g stacked */
export const unbind = composed((x: Tensor, dim: number = 0): Tensor[] => {
  const d = dimOf('unbind', x, dim);
  return Array.from({ length: x.shape[d]! }, (_, i) => select(x, d, i));
});

/** y[.., (i + shift) mod n, ..] = x[.., i, ..] along `dim`, or in the flattened tensor.   ∂x = g rolled back */
export const roll = composed((x: Tensor, shift: Dims, dim?: Dims): Tensor => {
  if (dim === undefined) return reshape(roll(reshape(x, [-1]), shift, 0), x.shape);
  const shifts = dimList('roll', shift);
  const dims = dimList('roll', dim);
  if (shifts.length !== dims.length || !areWhole(-Infinity, ...shifts)) {
    throw new ArgumentError(`roll: shifts ${formatShape(shifts)} must be whole numbers, one a dim of ${formatShape(dims)}`);
  }
  const natural = dims.map((d) => dimOf('roll', x, d));
  const rolled = natural.reduce((y, d, i) => {
    const n = Math.max(y.shape[d]!, 1);
    const cut = n - (((shifts[i]! % n) + n) % n);
    return cat([slice(y, d, cut), slice(y, d, 0, cut)], d);
  }, x);
  return apartFrom(x, rolled);
});
