/**
 * Scratch memory for threads that compute chunks. A thread takes an area for a chunk and returns it afterwards, so that memory in the caches
 * is used again. Results do not depend on which area it is.
 */

/** Areas of `bytes` bytes each from `address` on. `flags` points to a word per area, which is 0 while the area is free. */
@unmanaged
export class ScratchAreas {
  flags: usize;
  count: i32;
  address: usize;
  bytes: usize;
}

/** Takes one of `count` areas and returns its number; spins while none is free. */
export function takeScratch(flags: usize, count: i32): i32 {
  let i = 0;
  while (atomic.cmpxchg<i32>(flags + (<usize>i << 2), 0, 1) != 0) i = i + 1 < count ? i + 1 : 0;
  return i;
}

/** Returns area i. */
// @ts-ignore: decorator
@inline
export function returnScratch(flags: usize, i: i32): void {
  atomic.store<i32>(flags + (<usize>i << 2), 0);
}
