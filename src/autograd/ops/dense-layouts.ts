/**
 * The memory layouts that fused kernels read: a view that has another is copied.
 */
import { channelsLastStrides, isRowMajor, sizeOf } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { empty, emptyChannelsLast, restride, type View } from '../../kernels/view.ts';

/** x with channels innermost and dense, copied where it is not: as the fused kernels want it. */
export function toChannelsLast(k: Kernels, x: View): View {
  const want = channelsLastStrides(x.shape);
  const fits = x.shape.every((n, d) => n === 1 || x.strides[d] === want[d]);
  if (fits) return x;
  const y = emptyChannelsLast(x.shape, x.dtype);
  k.copy(x, y);
  return y;
}

/** A vector one after another in memory, copied where it is not: as the fused kernels want it. */
export function toContiguous(k: Kernels, v: View): View {
  if (isRowMajor(v.shape, v.strides)) return v;
  const y = empty(v.shape, v.dtype);
  k.copy(v, y);
  return y;
}

/** Rows of the last dim, one after another: what the softmax kernels read. */
export function toRows(k: Kernels, x: View): View {
  const dense = isRowMajor(x.shape, x.strides) ? x : empty(x.shape, x.dtype);
  if (dense !== x) k.copy(x, dense);
  const n = x.shape.at(-1)!;
  return restride(dense, [n === 0 ? 0 : sizeOf(x.shape) / n, n], [n, 1]);
}
