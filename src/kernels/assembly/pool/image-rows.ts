/**
 * What pooling kernels share: images of any strides. Channels are processed as vectors where they are contiguous.
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

/** How many of C channels are processed as vectors. */
// @ts-ignore: decorator
@inline
export function vectorChannels<T>(C: i32, neighbours: bool): i32 {
  return neighbours ? C - (C % lanes<T>()) : 0;
}

/** The address of element [n, ·, h, 0] of images at `base`, whose elements have `size` bytes. */
// @ts-ignore: decorator
@inline
export function rowAddress(strides: ImageStrides, base: usize, size: i32, n: i32, h: i32): usize {
  return base + <usize>(n * strides.n + h * strides.h) * size;
}
