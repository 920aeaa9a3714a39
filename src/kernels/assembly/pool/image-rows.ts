/**
 * Images of any strides, for all pooling kernels. Contiguous channels are processed as vectors.
 */
import { lanes } from '../simd/vector';

/** Elements from image to image, channel to channel, row to row and pixel to pixel. */
@unmanaged
export class ImageStrides {
  n: i32;
  c: i32;
  h: i32;
  w: i32;
}

/**
 * Returns the number of channels processed as vectors: C rounded down to whole vectors if channels are contiguous (`neighbours`), else 0.
 */
// @ts-ignore: decorator
@inline
export function vectorChannels<T>(C: i32, neighbours: bool): i32 {
  return neighbours ? C - (C % lanes<T>()) : 0;
}

/** Returns the address of element [n, 0, h, 0] of images at `base`, whose elements have `size` bytes. */
// @ts-ignore: decorator
@inline
export function rowAddress(strides: ImageStrides, base: usize, size: i32, n: i32, h: i32): usize {
  return base + <usize>(n * strides.n + h * strides.h) * size;
}
