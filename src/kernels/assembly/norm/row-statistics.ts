/**
 * Passes over M rows of C channels, and sums over rows, for batch norm and the gradient of scaling by channel.
 *
 * A chunk is a range of rows. Sums over at most 64 rows have the element type and are accumulated in float64, so that a mean's
 * error does not grow with M.
 */

/**
 * Returns the number of rows in a block: summed in the element type, and processed some channels at a time. A block has about 2 KiB, so
 * that it stays in L1 and in one or two pages, and at most 32 rows.
 */
// @ts-ignore: decorator
@inline
export function blockRows<T>(C: i32): i32 {
  return max(4, min(32, 2048 / (max(C, 1) * <i32>sizeof<T>())));
}

/**
 * Returns the number of rows in a block of a pass without sums. A block is processed some channels at a time, so memory is accessed in order only
 * from block to block. Outside the caches, blocks larger than 512 bytes take several times as long.
 */
// @ts-ignore: decorator
@inline
export function passRows(rowBytes: usize): i32 {
  return max(1, 512 / max(<i32>rowBytes, 1));
}

/** Returns the vector at p of channels c, c + 1, … */
// @ts-ignore: decorator
@inline
export function vectorAt<T>(p: usize, c: i32): v128 {
  return v128.load(p + <usize>c * sizeof<T>());
}

/** Returns the number at p of channel c. */
// @ts-ignore: decorator
@inline
export function numberAt<T>(p: usize, c: i32): T {
  return load<T>(p + <usize>c * sizeof<T>());
}
