/**
 * Element types, their sizes and how two of them promote.
 *
 * bool < int32 < float32 < float64, as in PyTorch; bool is stored as one byte, 0 or 1.
 */

/** The element type of a tensor. */
export type DType = 'float32' | 'float64' | 'int32' | 'bool';

/** A floating point element type: the only ones that can require a gradient. */
export type FloatDType = 'float32' | 'float64';

/** Any typed array that a tensor's elements can be read into. */
export type ElementArray = Float32Array | Float64Array | Int32Array | Uint8Array;

const RANK: Record<DType, number> = { bool: 0, int32: 1, float32: 2, float64: 3 };

/** Bytes of one element. */
export const ITEM_SIZE: Record<DType, number> = { bool: 1, int32: 4, float32: 4, float64: 8 };

/** Whether `dtype` is float32 or float64. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === 'float32' || dtype === 'float64';
}

/** The wider of two dtypes: what an operation on both computes in. */
export function promote(a: DType, b: DType): DType {
  return RANK[a] >= RANK[b] ? a : b;
}

/** A new typed array of `length` zeros that holds elements of `dtype`. */
export function newArray(dtype: DType, length: number): ElementArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(length);
    case 'float64':
      return new Float64Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'bool':
      return new Uint8Array(length);
  }
}
