/**
 * How elementwise work is divided into chunks, and estimates of the time of kernels. The estimates affect scheduling only, never results.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import type { View } from '../view.ts';

/** Elements in a chunk: enough that starting a chunk costs little, few enough that all threads get some. */
export const CHUNK_ELEMENTS = 16384;

/** An estimate of the nanoseconds per element that is copied, added or compared: of one pass over memory. */
export const NANOSECONDS_PER_ELEMENT = 0.25;

/** The cost of a kernel that processes single elements, not vectors, as a multiple of a vectorized one's. */
export const SCALAR_COST = 5;

/** Returns how many indivisible parts of `size` elements make up a chunk. */
export function partsPerChunk(size: number): number {
  return Math.max(1, Math.floor(CHUNK_ELEMENTS / size));
}

/** About how many nanoseconds `n` multiplications and additions of v's dtype take. */
export function productWork(n: number, v: View): number {
  return (n * ITEM_SIZE[v.dtype]) / 64;
}

/** About how many nanoseconds the packing of n elements takes. */
export function packingWork(n: number): number {
  return n / 2;
}

/** Returns the bytes of n float64 numbers. */
export function float64Bytes(n: number): number {
  return n * 8;
}
