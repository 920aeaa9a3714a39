/**
 * What a kernel sees of a tensor, and the allocation of results in the right memory order.
 */
import { ITEM_SIZE, type DType } from '../core/dtype.ts';
import { channelsLastStrides, isRowMajor, memoryOrder, rowMajorStrides, sizeOf, stridesInOrder, type Shape } from '../core/shape.ts';
import { allocate } from './memory/allocator.ts';
import { type Storage } from './memory/storage.ts';

/** A strided window on a storage. Offset and strides count elements. Tensors are views. */
export interface View {
  /** @internal Left out of the published declarations, as Tensor's is. */
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly dtype: DType;
}

/** What is about to happen to a view's memory. */
export type Access = 'read' | 'write';

/**
 * Runs the deferred calls that must come before an access: those that write the view's memory; before a write, also those that read it.
 */
export function materialize(v: View, access: Access): void {
  const { storage } = v;
  for (const call of storage.pendingCalls) if (access === 'write' || call.output === storage) call.run();
}

/** The address of the view's first element, in bytes, where any access may follow: deferred calls run first. */
export function addressOf(v: View): number {
  materialize(v, 'write');
  return materializedAddressOf(v);
}

/** The address of the view's first element, in bytes, after `materialize` for the access that follows. */
export function materializedAddressOf(v: View): number {
  return v.storage.ptr + v.offset * ITEM_SIZE[v.dtype];
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
