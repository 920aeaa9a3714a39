/**
 * What pooling kernels share: images of any strides, whose channels go in vectors where they lie next to each other.
 */
import { intArg } from '../runtime/abi';
import { lanes } from '../simd/vector';

/** How many of C channels go in vectors. */
// @ts-ignore: decorator
@inline
export function vectorChannels<T>(C: i32, neighbours: bool): i32 {
  return neighbours ? C - (C % lanes<T>()) : 0;
}

/** The address of element [n, ·, h, w], strides being arguments first … first+3. */
// @ts-ignore: decorator
@inline
export function rowAddress(args: usize, base: usize, first: i32, size: i32, n: i32, h: i32): usize {
  return base + <usize>(n * intArg(args, first) + h * intArg(args, first + 2)) * size;
}
