/**
 * Reads the elements of files: every number type that a dtype can represent, in either byte order.
 */
import { type DType, type ElementArray, newArray } from '../core/dtype.ts';

/** A type of stored elements, by safetensors' name for it. */
export interface ElementType {
  readonly name: string;
  /** Bytes per element. */
  readonly size: number;
  /** The dtype of a tensor of such elements. */
  readonly dtype: DType;
  /** Returns the element at byte `at`. */
  readonly read: (view: DataView, at: number, littleEndian: boolean) => number;
}

const TYPES: readonly ElementType[] = [
  { name: 'F32', size: 4, dtype: 'float32', read: (view, at, little) => view.getFloat32(at, little) },
  { name: 'F64', size: 8, dtype: 'float64', read: (view, at, little) => view.getFloat64(at, little) },
  { name: 'I32', size: 4, dtype: 'int32', read: (view, at, little) => view.getInt32(at, little) },
  { name: 'BOOL', size: 1, dtype: 'bool', read: (view, at) => view.getUint8(at) },
  { name: 'F16', size: 2, dtype: 'float32', read: (view, at, little) => fromHalf(view.getUint16(at, little)) },
  { name: 'BF16', size: 2, dtype: 'float32', read: (view, at, little) => fromBits(view.getUint16(at, little) << 16) },
  { name: 'U8', size: 1, dtype: 'int32', read: (view, at) => view.getUint8(at) },
  { name: 'I8', size: 1, dtype: 'int32', read: (view, at) => view.getInt8(at) },
  { name: 'U16', size: 2, dtype: 'int32', read: (view, at, little) => view.getUint16(at, little) },
  { name: 'I16', size: 2, dtype: 'int32', read: (view, at, little) => view.getInt16(at, little) },
  { name: 'U32', size: 4, dtype: 'int32', read: (view, at, little) => view.getUint32(at, little) },
  { name: 'I64', size: 8, dtype: 'int32', read: (view, at, little) => Number(view.getBigInt64(at, little)) },
  { name: 'U64', size: 8, dtype: 'int32', read: (view, at, little) => Number(view.getBigUint64(at, little)) },
];

/** The types by name. */
export const ELEMENT_TYPES: ReadonlyMap<string, ElementType> = new Map(TYPES.map((type) => [type.name, type]));

/** The types that are stored as the dtype's own memory in little-endian order, so that bytes are copied. */
const SAME_BYTES: ReadonlySet<string> = new Set(['F32', 'F64', 'I32', 'BOOL']);

/**
 * Returns the elements that `bytes` hold, in the dtype of their type; as a text the first integer that does not fit int32. The result
 * shares no memory with `bytes`.
 */
export function readElements(type: ElementType, bytes: Uint8Array, littleEndian = true): ElementArray | string {
  const { name, size, dtype, read } = type;
  const out = newArray(dtype, bytes.length / size);
  if (SAME_BYTES.has(name) && (littleEndian || size === 1)) {
    new Uint8Array(out.buffer).set(bytes);
    return out;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) {
    const value = read(view, i * size, littleEndian);
    out[i] = value;
    if (dtype === 'int32' && out[i] !== value) return `element ${i}: ${name} ${value} does not fit int32`;
  }
  return out;
}

const bits = new DataView(new ArrayBuffer(4));

/** Returns the float32 with these 32 bits. */
function fromBits(word: number): number {
  bits.setInt32(0, word);
  return bits.getFloat32(0);
}

/** Returns the value of an IEEE 754 half: sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
