/**
 * What a kernel sees of a tensor, and the allocation of results in the right memory order.
 */
import { ITEM_SIZE, type DType } from '../core/dtype.ts';
import { channelsLastStrides, isRowMajor, memoryOrder, rowMajorStrides, sizeOf, stridesInOrder, type Shape } from '../core/shape.ts';
import { allocate } from './memory/allocator.ts';
import { type Storage } from './memory/storage.ts';

/** A strided window on a storage. Offset and strides count elements. Tensors are views. */
export interface View {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly dtype: DType;
}

/** The address of the view's first element, in bytes: the one way to it. */
export function addressOf(v: View): number {
  return v.storage.ptr + v.offset * ITEM_SIZE[v.dtype];
}

/** Runs the deferred calls that must come before the view's memory is read or written. */
export function materialize(v: View, _access: 'read' | 'write'): void {
  addressOf(v);
}

/** An uninitialised row-major view of `shape` on a new storage. */
export function empty(shape: Shape, dtype: DType): View {
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides: rowMajorStrides(shape), dtype };
}

/** An uninitialised dense view of `shape` whose dims nest in memory as those of `like` (same rank) do. */
export function emptyLike(like: View, shape: Shape = like.shape, dtype: DType = like.dtype): View {
  const rowMajor = isRowMajor(like.shape, like.strides);
  const strides = rowMajor ? rowMajorStrides(shape) : stridesInOrder(shape, memoryOrder(like.shape, like.strides));
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides, dtype };
}

/** An uninitialised channels-last view of shape [N, C, ...spatial]. */
export function emptyChannelsLast(shape: Shape, dtype: DType): View {
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides: channelsLastStrides(shape), dtype };
}

/** The same storage seen with another shape and strides. */
export function restride(v: View, shape: Shape, strides: readonly number[], offset = v.offset): View {
  return { storage: v.storage, offset, shape, strides, dtype: v.dtype };
}
