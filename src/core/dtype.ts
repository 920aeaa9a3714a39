/**
 * Element types, their sizes and type promotion.
 *
 * bool < int32 < float32 < float64, as in PyTorch; bool is stored as one byte, 0 or 1.
 */
import { isKeyOf } from './describe.ts';
import { DTypeError, shown } from './errors.ts';

/** The element type of a tensor. */
export type DType = 'float32' | 'float64' | 'int32' | 'bool';

/** A floating point element type. Only these can require a gradient. */
export type FloatDType = 'float32' | 'float64';

/** Any typed array that a tensor's elements can be read into. */
export type ElementArray = Float32Array | Float64Array | Int32Array | Uint8Array;

const RANK: Record<DType, number> = { bool: 0, int32: 1, float32: 2, float64: 3 };

/** The bytes of one element. */
export const ITEM_SIZE: Record<DType, number> = { bool: 1, int32: 4, float32: 4, float64: 8 };

/** Returns whether `dtype` is float32 or float64. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === 'float32' || dtype === 'float64';
}

/** Returns `dtype`, or throws if it is none: plain JavaScript may pass anything. */
export function checkDType(op: string, dtype: DType): DType {
  if (isKeyOf(dtype, RANK)) return dtype;
  throw new DTypeError(`${op}: dtype must be float32, float64, int32 or bool, got ${shown(dtype)}`);
}

/** Throws unless `dtype` is float32 or float64. */
export function checkFloatDType(op: string, dtype: DType): void {
  if (!isFloat(dtype)) throw new DTypeError(`${op}: dtype must be float32 or float64, got ${shown(dtype)}`);
}

/** Returns whether an element of `dtype` can store `value`. Floats round, so they can store any number. */
export function fits(value: number, dtype: DType): boolean {
  if (typeof value !== 'number') return false;
  if (isFloat(dtype)) return true;
  if (dtype === 'bool') return value === 0 || value === 1;
  return value === (value | 0);
}

/** Throws DTypeError for a number that a tensor of `dtype` cannot hold. */
export function checkFits(op: string, value: number, dtype: DType): void {
  if (fits(value, dtype)) return;
  const article = dtype === 'bool' ? 'a' : 'an';
  const wider = fits(value, 'int32') ? 'int32' : 'float32';
  throw new DTypeError(`${op}: ${shown(value)} does not fit ${article} ${dtype} tensor; convert the tensor with .to('${wider}') first`);
}

/** Returns the wider of two dtypes. An operation on both computes in it. */
export function promote(a: DType, b: DType): DType {
  return RANK[a] >= RANK[b] ? a : b;
}

/** Returns the element of `dtype` next to its element `x`, in the direction of +∞ or −∞. */
function neighbour(x: number, dtype: FloatDType, direction: 1 | -1): number {
  if (x === 0) return direction * (dtype === 'float64' ? Number.MIN_VALUE : 2 ** -149);
  // The bits of positive floats, read as a whole number, are in the floats' order; those of negative ones in the reverse.
  const away = x > 0 ? direction : -direction;
  if (dtype === 'float64') {
    const bits = new BigInt64Array(Float64Array.of(x).buffer);
    bits[0] = bits[0]! + BigInt(away);
    return new Float64Array(bits.buffer)[0]!;
  }
  const bits = new Int32Array(Float32Array.of(x).buffer);
  bits[0] = bits[0]! + away;
  return new Float32Array(bits.buffer)[0]!;
}

/** Returns the smallest element of `dtype` that is at least `x`. */
export function roundUp(x: number, dtype: FloatDType): number {
  const near = dtype === 'float64' ? x : Math.fround(x);
  return near < x ? neighbour(near, dtype, 1) : near;
}

/** Returns the largest element of `dtype` that is at most `x`. */
export const roundDown = (x: number, dtype: FloatDType): number => -roundUp(-x, dtype);

/** Returns the largest element of `dtype` that is less than `x`. */
export function below(x: number, dtype: FloatDType): number {
  const y = roundDown(x, dtype);
  return y < x ? y : neighbour(y, dtype, -1);
}

const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };

/** Creates a typed array of `length` zeros for elements of `dtype`. */
export function newArray(dtype: DType, length: number): ElementArray {
  return new ARRAYS[dtype](length);
}
