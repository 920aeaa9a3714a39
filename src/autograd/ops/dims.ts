/**
 * Dims as arguments: one or several; negative ones count from the end.
 */
import { ShapeError, checkArray } from '../../core/errors.ts';
import { normalizeDim, type Shape } from '../../core/shape.ts';
import { restride, type View } from '../../kernels/view.ts';
import type { Tensor } from '../tensor.ts';

/** Which dims to reduce: one, several, or all by default and for an empty list. Negative dims count from the end. */
export type Dims = number | readonly number[];

/** Returns `dim` as a number ≥ 0. Throws ShapeError for a 0-d tensor, which has no dims. */
export function dimOf(op: string, x: Tensor, dim: number): number {
  if (x.ndim === 0) throw new ShapeError(`${op}: a 0-d tensor has no dim ${dim}`);
  return normalizeDim(op, dim, x.ndim);
}

/** Returns the dims as an array; throws ArgumentError for what is neither a number nor an array. */
export function dimList(op: string, dims: Dims): readonly number[] {
  if (typeof dims === 'number') return [dims];
  checkArray(op, dims);
  return dims;
}

/** Returns whether all numbers are integers of at least `least`. */
export const areWhole = (least: number, ...ns: readonly number[]): boolean => ns.every((n) => Number.isInteger(n) && n >= least);

/** Returns `shape` with size 1 along `dims`. */
export function keptShape(shape: Shape, dims: readonly number[]): number[] {
  return shape.map((n, d) => (dims.includes(d) ? 1 : n));
}

/** Removes `dims`, of size 1, from the view unless `keepdim`. */
export function dropDims(v: View, dims: readonly number[], keepdim: boolean): View {
  if (keepdim) return v;
  const kept = (of: readonly number[]): number[] => of.filter((_, d) => !dims.includes(d));
  return restride(v, kept(v.shape), kept(v.strides));
}
