/**
 * How elementwise work is cut into chunks, and estimates of its time. The estimates decide which calls are shared among threads,
 * never a result.
 */

/** Elements in a chunk: enough to hide its start, few enough to spread over threads. */
export const CHUNK = 16384;

/** About how many nanoseconds an element takes that is copied, added or compared. */
export const NANOSECONDS = 0.25;

/** How many times as long a kernel takes that goes from element to element, not by vectors. */
export const SCALAR = 5;

/** How many indivisible items of `size` elements make a chunk. */
export function itemsPerChunk(size: number): number {
  return Math.max(1, Math.floor(CHUNK / size));
}
