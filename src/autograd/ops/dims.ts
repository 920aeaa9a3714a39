/**
 * Dims as arguments: one or several, negative ones from the end.
 */
import { ShapeError, checkArray } from '../../core/errors.ts';
import { normalizeDim, type Shape } from '../../core/shape.ts';
import { restride, type View } from '../../kernels/view.ts';
import type { Tensor } from '../tensor.ts';

/** Which dims to reduce: one, several, or all by default and for an empty list. Negative dims count from the end. */
export type Dims = number | readonly number[];

/** `dim` as a natural number; a 0-d tensor has none to name. */
export function dimOf(op: string, x: Tensor, dim: number): number {
  if (x.ndim === 0) throw new ShapeError(`${op}: a 0-d tensor has no dim ${dim}`);
  return normalizeDim(op, dim, x.ndim);
}

export function dimList(op: string, dims: Dims): readonly number[] {
  if (typeof dims === 'number') return [dims];
  checkArray(op, dims);
  return dims;
}

export const areWhole = (least: number, ...ns: readonly number[]): boolean => ns.every((n) => Number.isInteger(n) && n >= least);

/** `shape` with size 1 along `dims`. */
export function keptShape(shape: Shape, dims: readonly number[]): number[] {
  return shape.map((n, d) => (dims.includes(d) ? 1 : n));
}

/** A kept-dims view without `dims`, unless they are to stay. */
export function dropDims(v: View, dims: readonly number[], keepdim: boolean): View {
  if (keepdim) return v;
  const kept = (of: readonly number[]): number[] => of.filter((_, d) => !dims.includes(d));
  return restride(v, kept(v.shape), kept(v.strides));
}
