/**
 * Loops over strided operands, shared by elementwise and indexing kernels.
 *
 * A nest of loops over k operands, output first, lies in memory as
 *   Nest, then k × NestOperand, then per row loop, innermost first, k + 1 words: its size and each operand's stride
 * with strides in bytes. Each row is a run of elements. The last row of the innermost row loop has only `tail` elements, so that a
 * long run can be divided into rows. A sweep is one pass of the innermost row loop: kernels advance from row to row of a sweep by
 * adding strides, and compute the offset of the other loops once per sweep.
 */

/** A nest without its operands and loops. */
@unmanaged
export class Nest {
  rows: u32;
  rowsPerChunk: u32;
  /** Elements in a row that is not the last of its sweep. */
  run: i32;
  /** Elements in the last row of a sweep. */
  tail: i32;
  /** Loops over rows, at least one. */
  loops: i32;
}

/** One operand of a nest. */
@unmanaged
export class NestOperand {
  address: usize;
  /** Bytes from element to element of a run; negative strides wrap, as addresses do. */
  runStride: usize;
}

/**
 * Returns the offset of element `index` in `count` loops, innermost first. Each loop is a record of `record` bytes that begins with its size.
 * @param stride the byte of a record at which the operand's stride is stored
 */
export function offsetOf(loops: usize, count: i32, record: usize, stride: usize, index: u32): usize {
  let offset: usize = 0;
  for (let d = 1; d < count; d++) {
    const size = load<u32>(loops);
    const rest = index / size;
    offset += <usize>(index - rest * size) * load<usize>(loops + stride);
    index = rest;
    loops += record;
  }
  return count > 0 ? offset + <usize>index * load<usize>(loops + stride) : offset;
}

// @ts-ignore: decorator
@inline
function operandOf(nest: Nest, i: i32): NestOperand {
  return changetype<NestOperand>(changetype<usize>(nest) + offsetof<Nest>() + <usize>i * offsetof<NestOperand>());
}

/** Returns the address of the loops over rows of a nest with `k` operands. */
// @ts-ignore: decorator
@inline
function loopsOf(nest: Nest, k: i32): usize {
  return changetype<usize>(operandOf(nest, k));
}

/** Returns the first row of chunk `first`. */
// @ts-ignore: decorator
@inline
export function firstRow(nest: Nest, first: i32): u32 {
  return <u32>first * nest.rowsPerChunk;
}

/** Returns the first row after the chunks before `last`. */
// @ts-ignore: decorator
@inline
export function endRow(nest: Nest, last: i32): u32 {
  return min(nest.rows, <u32>last * nest.rowsPerChunk);
}

/** Returns the number of rows in a whole sweep of a nest with `k` operands. */
// @ts-ignore: decorator
@inline
export function sweepOf(nest: Nest, k: i32): u32 {
  return load<u32>(loopsOf(nest, k));
}

/** Returns the stride of operand i along the run. */
// @ts-ignore: decorator
@inline
export function runStride(nest: Nest, i: i32): usize {
  return operandOf(nest, i).runStride;
}

/** Returns the stride of operand i of `k` from row to row of a sweep. */
// @ts-ignore: decorator
@inline
export function rowStride(nest: Nest, k: i32, i: i32): usize {
  return load<usize>(loopsOf(nest, k) + (<usize>(i + 1) << 2));
}

/** Returns the address of operand i of `k` at the start of `row`. */
// @ts-ignore: decorator
@inline
export function rowPointer(nest: Nest, k: i32, i: i32, row: u32): usize {
  return operandOf(nest, i).address + offsetOf(loopsOf(nest, k), nest.loops, <usize>(k + 1) << 2, <usize>(i + 1) << 2, row);
}
