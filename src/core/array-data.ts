import type { DType, ElementArray } from './dtype.ts';

/**
 * Elements with a shape that are not a tensor: what datasets return and files store.
 *
 * `data` is row-major and holds exactly the product of `shape` elements, in the typed array of `dtype`
 * (Float32Array, Float64Array, Int32Array; Uint8Array for bool).
 */
export interface ArrayData<A extends ElementArray = ElementArray> {
  /** The elements, row-major. */
  readonly data: A;
  /** The size of each dim. */
  readonly shape: readonly number[];
  /** The type of the elements. */
  readonly dtype: DType;
}
