/**
 * How elementwise work is divided into chunks, and estimates of its time. The estimates affect scheduling only, never results.
 */

/** Elements in a chunk: enough that starting a chunk costs little, few enough that all threads get some. */
export const CHUNK_ELEMENTS = 16384;

/** An estimate of the nanoseconds per element that is copied, added or compared: of one pass over memory. */
export const NANOSECONDS_PER_ELEMENT = 0.25;

/** The cost of a kernel that processes single elements, not vectors, as a multiple of a vectorized one's. */
export const SCALAR_COST = 5;

/** Returns how many indivisible items of `size` elements make up a chunk. */
export function itemsPerChunk(size: number): number {
  return Math.max(1, Math.floor(CHUNK_ELEMENTS / size));
}

/** Returns the bytes of n float64 numbers. */
export function float64Bytes(n: number): number {
  return n * 8;
}
