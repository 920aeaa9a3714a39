/**
 * The memory layouts that fused kernels read. A view in another layout is copied.
 */
import { channelsLastStrides, isRowMajor, sizeOf } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { empty, emptyChannelsLast, emptyLike, restride, type View } from '../../kernels/view.ts';

/** Returns whether v has these strides in all dims of more than one element. */
function hasStrides(v: View, strides: readonly number[]): boolean {
  return v.shape.every((n, d) => n === 1 || v.strides[d] === strides[d]);
}

/** Returns x dense and channels-last: itself, or a copy. */
export function toChannelsLast(k: Kernels, x: View): View {
  if (hasStrides(x, channelsLastStrides(x.shape))) return x;
  const y = emptyChannelsLast(x.shape, x.dtype);
  k.copy(x, y);
  return y;
}

/** Row-major images with fewer pixels are copied to channels-last: their planes are too short for the kernels that process one at a time. */
const SHORT_PLANE = 16;

/** Returns images x [N,C,…] dense: themselves if they are channels-last or row-major, or a copy. */
export function toDenseImages(k: Kernels, x: View): View {
  return sizeOf(x.shape.slice(2)) >= SHORT_PLANE && isRowMajor(x.shape, x.strides) ? x : toChannelsLast(k, x);
}

/** Returns g in the layout of dense images x of its shape: itself, or a copy. */
export function toLayoutOf(k: Kernels, x: View, g: View): View {
  if (hasStrides(g, x.strides)) return g;
  const y = emptyLike(x, g.shape, g.dtype);
  k.copy(g, y);
  return y;
}

/** Returns v contiguous: itself, or a copy. */
export function toContiguous(k: Kernels, v: View): View {
  if (isRowMajor(v.shape, v.strides)) return v;
  const y = empty(v.shape, v.dtype);
  k.copy(v, y);
  return y;
}

/** Returns x as a row-major matrix whose rows run along the last dim: a view, or a copy. */
export function toRows(k: Kernels, x: View): View {
  const dense = isRowMajor(x.shape, x.strides) ? x : empty(x.shape, x.dtype);
  if (dense !== x) k.copy(x, dense);
  const n = x.shape.at(-1)!;
  return restride(dense, [n === 0 ? 0 : sizeOf(x.shape) / n, n], [n, 1]);
}
