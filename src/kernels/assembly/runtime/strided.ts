/**
 * The walk over strided operands that elementwise and indexing kernels share.
 *
 * A nest of k operands, output first, is laid out in the arguments as
 *   k pointers, rows, rows per chunk, run, tail, row dims, k strides of the run, then per row dim, innermost first: size, k strides
 * with strides in bytes. Each row is a run of elements; the last row along the innermost row dim has only `tail` of them,
 * which is how a long run is cut into rows. Kernels walk rows of the innermost row dim by adding strides, and compute the
 * other dims' offset once per such walk.
 */
import { intArg } from './abi';

/** Argument i as a stride: negative ones wrap, as addresses do. */
// @ts-ignore: decorator
@inline
export function strideArg(args: usize, i: i32): usize {
  return <usize>(<i64>load<f64>(args + (<usize>i << 3)));
}

/**
 * The offset of element `index` of `count` dims, innermost first, each a record of `record` arguments: a size, then strides.
 * @param which which of the strides: 1 for the first
 */
export function offsetOf(dims: usize, count: i32, record: i32, which: i32, index: u32): usize {
  let offset: usize = 0;
  for (let d = 1; d < count; d++) {
    const size = <u32>intArg(dims, 0);
    const rest = index / size;
    offset += <usize>(index - rest * size) * strideArg(dims, which);
    index = rest;
    dims += <usize>record << 3;
  }
  return count > 0 ? offset + <usize>index * strideArg(dims, which) : offset;
}

/** First row of chunk `first`; `k` operands. */
// @ts-ignore: decorator
@inline
export function firstRow(nest: usize, k: i32, first: i32): u32 {
  return <u32>first * <u32>intArg(nest, k + 1);
}

/** First row after the chunks before `last`. */
// @ts-ignore: decorator
@inline
export function endRow(nest: usize, k: i32, last: i32): u32 {
  return min(<u32>intArg(nest, k), <u32>last * <u32>intArg(nest, k + 1));
}

/** Elements in a row that is not the last of its walk. */
// @ts-ignore: decorator
@inline
export function runOf(nest: usize, k: i32): i32 {
  return intArg(nest, k + 2);
}

/** Elements in the last row of a walk. */
// @ts-ignore: decorator
@inline
export function tailOf(nest: usize, k: i32): i32 {
  return intArg(nest, k + 3);
}

/** Rows in a whole walk. */
// @ts-ignore: decorator
@inline
export function walkOf(nest: usize, k: i32): u32 {
  return <u32>intArg(nest, k + k + 5);
}

/** Stride of operand i along the run. */
// @ts-ignore: decorator
@inline
export function runStride(nest: usize, k: i32, i: i32): usize {
  return strideArg(nest, k + 5 + i);
}

/** Stride of operand i from row to row of a walk. */
// @ts-ignore: decorator
@inline
export function rowStride(nest: usize, k: i32, i: i32): usize {
  return strideArg(nest, k + k + 6 + i);
}

/** Address of operand i at the start of `row`. */
// @ts-ignore: decorator
@inline
export function rowPointer(nest: usize, k: i32, i: i32, row: u32): usize {
  return <usize>load<f64>(nest + (<usize>i << 3)) + offsetOf(nest + (<usize>(k + k + 5) << 3), intArg(nest, k + 4), k + 1, i + 1, row);
}
