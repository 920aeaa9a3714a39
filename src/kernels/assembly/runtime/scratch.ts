/**
 * Scratch memory of threads that compute chunks. Whoever takes a chunk takes an area and returns it after, so that what lies in the caches
 * is used again; which area it is changes no bit.
 */

/** Takes one of `count` scratch areas, each with a word at `flags` that says whether it is free (0), and gives its number. */
export function takeScratch(flags: usize, count: i32): i32 {
  let i = 0;
  while (atomic.cmpxchg<i32>(flags + (<usize>i << 2), 0, 1) != 0) i = i + 1 < count ? i + 1 : 0;
  return i;
}

// @ts-ignore: decorator
@inline
export function returnScratch(flags: usize, i: i32): void {
  atomic.store<i32>(flags + (<usize>i << 2), 0);
}
