/**
 * Views, through which kernels read and write tensors, and the allocation of results in the right memory order.
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

/** How a view's memory is about to be accessed. */
export type Access = 'read' | 'write';

/**
 * Runs the deferred calls that must precede an access: those that write the view's memory and, before a write, also those that read it.
 */
export function materialize(v: View, access: Access): void {
  const { storage } = v;
  for (const call of storage.pendingCalls) if (access === 'write' || call.output === storage) call.run();
}

/** Returns the address of the view's first element in bytes. Deferred calls run first, so that any access may follow. */
export function addressOf(v: View): number {
  materialize(v, 'write');
  return materializedAddressOf(v);
}

/** Returns the address of the view's first element in bytes. The caller must have called `materialize` for the access that follows. */
export function materializedAddressOf(v: View): number {
  return v.storage.ptr + v.offset * ITEM_SIZE[v.dtype];
}

/** Allocates an uninitialised row-major view of `shape`. */
export function empty(shape: Shape, dtype: DType): View {
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides: rowMajorStrides(shape), dtype };
}

/** Allocates an uninitialised dense view of `shape` whose dims have the memory order of `like`, a view of the same rank. */
export function emptyLike(like: View, shape: Shape = like.shape, dtype: DType = like.dtype): View {
  const rowMajor = isRowMajor(like.shape, like.strides);
  const strides = rowMajor ? rowMajorStrides(shape) : stridesInOrder(shape, memoryOrder(like.shape, like.strides));
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides, dtype };
}

/** Allocates an uninitialised channels-last view of shape [N, C, ...spatial]. */
export function emptyChannelsLast(shape: Shape, dtype: DType): View {
  return { storage: allocate(sizeOf(shape) * ITEM_SIZE[dtype]), offset: 0, shape, strides: channelsLastStrides(shape), dtype };
}

/** Returns a view of the same storage with another shape and strides. */
export function restride(v: View, shape: Shape, strides: readonly number[], offset = v.offset): View {
  return { storage: v.storage, offset, shape, strides, dtype: v.dtype };
}
