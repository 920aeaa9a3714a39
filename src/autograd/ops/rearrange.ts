/**
 * Movement composed of other movement: parts, repetitions, orders, triangles, indexing by whole slices. Every export is a method.
 */
import { ArgumentError, DTypeError, ShapeError, checkArray } from '../../core/errors.ts';
import { formatShape, normalizeDim, normalizeDims, type Shape } from '../../core/shape.ts';
import { emptyLike } from '../../kernels/view.ts';
import { arange } from '../create.ts';
import { defineOp, type Grads } from '../op.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { add, ge, le, sub, where, type Binary } from './elementwise.ts';
import {
  cat,
  checkIndex,
  dimOf,
  gatherUnchecked,
  permute,
  reshape,
  reversed,
  scatterUnchecked,
  select,
  slice,
  unsqueeze,
} from './movement.ts';
import { expand, type Dims } from './reduce.ts';

function list(op: string, dims: Dims): readonly number[] {
  if (typeof dims === 'number') return [dims];
  checkArray(op, dims);
  return dims;
}

const whole = (least: number, ...ns: readonly number[]): boolean => ns.every((n) => Number.isInteger(n) && n >= least);

/** The dims `source` at the places `destination`, the others in their order, as a view.   ∂x = g moved back */
export function movedim(x: Tensor, source: Dims, destination: Dims): Tensor {
  const [from, to] = [source, destination].map((dims) => list('movedim', dims).map((d) => normalizeDim('movedim', d, x.ndim)));
  if (from!.length !== to!.length || [from, to].some((dims) => new Set(dims).size !== dims!.length)) {
    throw new ShapeError(`movedim: source [${from!.join()}] and destination [${to!.join()}] must be equally many dims, each once`);
  }
  const rest = [...x.shape.keys()].filter((d) => !from!.includes(d));
  const order = x.shape.map((_, d) => (to!.includes(d) ? from![to!.indexOf(d)]! : rest.shift()!));
  return permute(x, order);
}

/** x broadcast to `shape`, as a view.   ∂x = g summed over the broadcast dims */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => expand(x, shape, 'broadcastTo');

/** x laid out counts[d] times along each dim; more counts than dims add dims in front.   ∂x = g summed over the copies */
export function repeat(x: Tensor, counts: Shape): Tensor {
  checkArray('repeat', counts);
  const lead = counts.length - x.ndim;
  if (lead < 0 || !whole(0, ...counts)) {
    throw new ArgumentError(`repeat: counts must be whole numbers ≥ 0, one a dim of x ${formatShape(x.shape)}, got ${formatShape(counts)}`);
  }
  const shape = counts.map((_, d) => x.shape[d - lead] ?? 1);
  const [once, often] = [shape.flatMap((n) => [1, n]), shape.flatMap((n, d) => [counts[d]!, n])];
  const result = shape.map((n, d) => n * counts[d]!);
  return reshape(expand(reshape(x, once), often), result);
}

/** Parts of x along `dim`, as views: of `size` (the last may be smaller), or of each of several sizes.   ∂x = their g in one */
export function split(x: Tensor, size: Dims, dim = 0): Tensor[] {
  const d = dimOf('split', x, dim);
  const n = x.shape[d]!;
  if (typeof size === 'number' && !whole(1, size)) throw new ArgumentError(`split: size must be a whole number ≥ 1, got ${size}`);
  const equal = (s: number): number[] => Array.from({ length: Math.ceil(n / s) || 1 }, (_, i) => Math.min(s, n - i * s));
  const sizes = typeof size === 'number' ? equal(size) : list('split', size);
  if (!whole(0, ...sizes) || sizes.reduce((a, b) => a + b, 0) !== n) {
    throw new ShapeError(`split: sizes ${formatShape(sizes)} do not add up to ${n}, dim ${dim} of x ${formatShape(x.shape)}`);
  }
  let at = 0;
  return sizes.map((s) => slice(x, d, at, (at += s)));
}

/** At most `chunks` parts of equal size along `dim`, the last perhaps smaller, as views.   ∂x = their g in one */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  const n = x.shape[dimOf('chunk', x, dim)]!;
  if (!whole(1, chunks)) throw new ArgumentError(`chunk: chunks must be a whole number ≥ 1, got ${chunks}`);
  return split(x, n === 0 ? new Array<number>(chunks).fill(0) : Math.ceil(n / chunks), dim);
}

/** The slices along `dim`, without that dim, as views.   ∂x = their g in one */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  const d = dimOf('unbind', x, dim);
  return Array.from({ length: x.shape[d]! }, (_, i) => select(x, d, i));
}

const flipOp = defineOp({
  name: 'flip',
  forward: (k, x: Tensor, dims: readonly number[]) => {
    const y = emptyLike(x);
    k.copy(reversed(x, dims), y);
    return y;
  },
  save: (_, __, dims) => ({ dims }),
  backward: (g, { dims }): Grads => [flipOp(g, dims)],
});

/** y[.., i, ..] = x[.., n − 1 − i, ..] along `dims`.   ∂x = g flipped back */
export function flip(x: Tensor, dims: Dims): Tensor {
  const named = list('flip', dims);
  return flipOp(x, named.length === 0 ? [] : normalizeDims('flip', named, x.ndim));
}

/** y[.., (i + shift) mod n, ..] = x[.., i, ..] along `dim`, or in the flattened tensor.   ∂x = g rolled back */
export function roll(x: Tensor, shift: Dims, dim?: Dims): Tensor {
  if (dim === undefined) return reshape(roll(reshape(x, [-1]), shift, 0), x.shape);
  const [shifts, dims] = [list('roll', shift), list('roll', dim)];
  if (shifts.length !== dims.length || !whole(-Infinity, ...shifts)) {
    throw new ArgumentError(`roll: shifts ${formatShape(shifts)} must be whole numbers, one a dim of ${formatShape(dims)}`);
  }
  const natural = dims.map((d) => dimOf('roll', x, d));
  return natural.reduce((y, d, i) => {
    const n = Math.max(y.shape[d]!, 1);
    const cut = n - (((shifts[i]! % n) + n) % n);
    return cat([slice(y, d, cut), slice(y, d, 0, cut)], d);
  }, x);
}

const triangle =
  (name: string, keeps: Binary) =>
  (x: Tensor, diagonal = 0): Tensor => {
    if (x.ndim < 2) throw new ShapeError(`${name}: x ${formatShape(x.shape)} needs at least 2 dims`);
    if (!whole(-Infinity, diagonal)) throw new ArgumentError(`${name}: diagonal must be a whole number, got ${diagonal}`);
    return where(keeps(sub(arange(x.size(-1)), unsqueeze(arange(x.size(-2)), 1)), diagonal), x, 0);
  };

/** y[.., i, j] = x[.., i, j] where j − i ≤ diagonal, else 0.   ∂x = g there */
export const tril: (x: Tensor, diagonal?: number) => Tensor = triangle('tril', le);
/** y[.., i, j] = x[.., i, j] where j − i ≥ diagonal, else 0.   ∂x = g there */
export const triu: (x: Tensor, diagonal?: number) => Tensor = triangle('triu', ge);

/**
 * y = x, then y[.., index[.., i, ..], ..] += src[.., i, ..] along `dim`.   ∂x = g,   ∂src = g gathered at index
 * Shape:  x, index (int32) and src of one rank, 0-d counting as 1-d; index's sizes at most src's, and at most x's but along
 *         dim; y has x's shape
 * Throws: ShapeError for an index outside 0 … size − 1
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  checkTensors('scatterAdd', { index, src });
  if (x.ndim < 2 && [x, index, src].some((t) => t.ndim === 0)) {
    const [a, i, s] = [x, index, src].map((t) => (t.ndim === 0 ? reshape(t, [1]) : t)) as [Tensor, Tensor, Tensor];
    return reshape(scatterAdd(a, dim, i, s), x.shape);
  }
  const d = normalizeDim('scatterAdd', dim, x.ndim);
  checkIndex('scatterAdd', index, x.shape[d]!);
  const shapes = [index, src, x].map((t) => formatShape(t.shape));
  const fits = index.ndim === x.ndim && index.ndim === src.ndim;
  if (!fits || !index.shape.every((n, i) => n <= src.shape[i]! && (i === d || n <= x.shape[i]!))) {
    throw new ShapeError(`scatterAdd: index ${shapes[0]} must fit into src ${shapes[1]}, and into x ${shapes[2]} but along dim ${dim}`);
  }
  if (x.dtype !== src.dtype) throw new DTypeError(`scatterAdd: x is ${x.dtype}, src ${src.dtype}; convert one with .to()`);
  if (x.dtype === 'bool') throw new DTypeError("scatterAdd: bool does not add up; convert with .to('int32')");
  const used = index.shape.reduce((t, n, i) => slice(t, i, 0, n), src);
  return add(x, scatterUnchecked(used, d, index, x.shape));
}

/**
 * y[.., i, ..] = x[.., index[i], ..] along `dim`.   ∂x = g added up at index
 * Shape:  x [..,N,..], index [I] or [] (int32) → [..,I,..]; x [] takes one index
 * Throws: ShapeError for an index outside 0 … N − 1
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
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
}
