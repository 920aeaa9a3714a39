/**
 * y = x, converted, over nests of y and x (see runtime/strided.ts); and transposes, block by block.
 */
import { Input, Output, Records } from '../runtime/abi';
import { Nest, endRow, firstRow, offsetOf, rowPointer, rowStride, runStride, sweepOf } from '../runtime/strided';

/** From this many bytes on, memory.copy is faster than a loop over vectors. */
const BULK_COPY_BYTES = 512;

/** float → int truncates and saturates; anything → bool (u8) is ≠ 0. */
// @ts-ignore: decorator
@inline
function convert<X, Y>(x: X): Y {
  if (sizeof<Y>() == 1) return <Y>(x != 0);
  return <Y>x;
}

/** Returns four elements at x as a vector of f32. */
// @ts-ignore: decorator
@inline
function floats4<X>(x: usize): v128 {
  if (sizeof<X>() == 1) return f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(x))));
  if (sizeof<X>() == 8) return i64x2.shuffle(f32x4.demote_f64x2_zero(v128.load(x)), f32x4.demote_f64x2_zero(v128.load(x, 16)), 0, 2);
  return f32x4.convert_i32x4_s(v128.load(x));
}

/** X and Y differ, or are one integer type of the elements' size, whose bits are copied. */
// @ts-ignore: decorator
@inline
function copyRun<X, Y>(y: usize, x: usize, n: i32, sy: usize, sx: usize): void {
  let i = 0;
  if (sy == sizeof<Y>()) {
    if (isFloat<X>() == isFloat<Y>() && sizeof<X>() == sizeof<Y>()) {
      const lanes = <i32>(16 / sizeof<Y>());
      if (sx == sizeof<X>()) {
        if (n * <i32>sizeof<Y>() >= BULK_COPY_BYTES) {
          memory.copy(y, x, <usize>n * sizeof<Y>());
          return;
        }
        for (; i <= n - lanes; i += lanes) {
          v128.store(y, v128.load(x));
          x += 16;
          y += 16;
        }
      } else if (sx == 0) {
        const v = v128.load_splat<X>(x);
        for (; i <= n - lanes; i += lanes) {
          v128.store(y, v);
          y += 16;
        }
      }
    } else if (isFloat<Y>() && sizeof<Y>() == 4) {
      if (sx == sizeof<X>()) {
        for (; i <= n - 4; i += 4) {
          v128.store(y, floats4<X>(x));
          x += 4 * sizeof<X>();
          y += 16;
        }
      }
    }
  }
  for (; i < n; i++) {
    store<Y>(y, convert<X, Y>(load<X>(x)));
    x += sx;
    y += sy;
  }
}

// @ts-ignore: decorator
@inline
function copy<X, Y>(nest: Nest, first: i32, last: i32): void {
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 2);
  const run = nest.run;
  const tail = nest.tail;
  const ry = rowStride(nest, 2, 0);
  const rx = rowStride(nest, 2, 1);
  const sy = runStride(nest, 0);
  const sx = runStride(nest, 1);
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 2, 0, row);
    let x = rowPointer(nest, 2, 1, row);
    for (; row < stop; row++) {
      copyRun<X, Y>(y, x, row + 1 == sweepEnd ? tail : run, sy, sx);
      y += ry;
      x += rx;
    }
  }
}

/** y[p][q] = x[q][p] for a square of one vector per row. sy is the bytes from p to p + 1 in y, sx those from q to q + 1 in x. */
// @ts-ignore: decorator
@inline
function transposeVectors<T>(y: usize, x: usize, sy: usize, sx: usize): void {
  if (sizeof<T>() == 4) {
    const r0 = v128.load(x);
    const r1 = v128.load(x + sx);
    const r2 = v128.load(x + 2 * sx);
    const r3 = v128.load(x + 3 * sx);
    const a = i32x4.shuffle(r0, r1, 0, 4, 1, 5);
    const b = i32x4.shuffle(r2, r3, 0, 4, 1, 5);
    const c = i32x4.shuffle(r0, r1, 2, 6, 3, 7);
    const d = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
    v128.store(y, i64x2.shuffle(a, b, 0, 2));
    v128.store(y + sy, i64x2.shuffle(a, b, 1, 3));
    v128.store(y + 2 * sy, i64x2.shuffle(c, d, 0, 2));
    v128.store(y + 3 * sy, i64x2.shuffle(c, d, 1, 3));
  } else {
    const r0 = v128.load(x);
    const r1 = v128.load(x + sx);
    v128.store(y, i64x2.shuffle(r0, r1, 0, 2));
    v128.store(y + sy, i64x2.shuffle(r0, r1, 1, 3));
  }
}

/** A loop over the matrices that a transpose copies; strides in bytes. */
@unmanaged
class TransposeLoop {
  size: u32;
  yStride: usize;
  xStride: usize;
}

@unmanaged
class TransposeArgs {
  y: Output;
  x: Input;
  /** Rows and columns of y's matrices. */
  P: i32;
  Q: i32;
  /** Bytes from row to row of y, and from column to column in x. */
  yStride: usize;
  xStride: usize;
  /** Rows and columns of a block. */
  blockP: i32;
  blockQ: i32;
  /** The number of strips of blockP rows in a matrix. */
  strips: i32;
  /** The number of strips in all matrices. */
  allStrips: i32;
  /** The number of strips in a chunk. */
  stripsPerChunk: i32;
  /** Loops over matrices, innermost first. */
  loopCount: i32;
  loops: Records<TransposeLoop>;
}

/** Transposes matrices: y[b][p][q] = x[b][q][p], contiguous along q in y and along p in x. */
// @ts-ignore: decorator
@inline
function transpose<T>(args: TransposeArgs, first: i32, last: i32): void {
  const P = args.P;
  const Q = args.Q;
  const sy = args.yStride;
  const sx = args.xStride;
  const blockP = args.blockP;
  const blockQ = args.blockQ;
  const strips = args.strips;
  const end = min(args.allStrips, last * args.stripsPerChunk);
  const record = offsetof<TransposeLoop>();
  for (let strip = first * args.stripsPerChunk; strip < end; strip++) {
    const matrix = strip / strips;
    const p = (strip - matrix * strips) * blockP;
    const y = args.y + offsetOf(args.loops, args.loopCount, record, offsetof<TransposeLoop>('yStride'), matrix) + <usize>p * sy;
    const x = args.x + offsetOf(args.loops, args.loopCount, record, offsetof<TransposeLoop>('xStride'), matrix) + <usize>p * sizeof<T>();
    for (let q = 0; q < Q; q += blockQ) {
      transposeBlock<T>(y + <usize>q * sizeof<T>(), x + <usize>q * sx, min(blockP, P - p), min(blockQ, Q - q), sy, sx);
    }
  }
}

/** y[p][q] = x[q][p] for one block. */
// @ts-ignore: decorator
@inline
function transposeBlock<T>(y: usize, x: usize, P: i32, Q: i32, sy: usize, sx: usize): void {
  let q = 0;
  if (sizeof<T>() > 1) {
    const lanes = <i32>(16 / sizeof<T>());
    for (; q <= Q - lanes; q += lanes) {
      let p = 0;
      for (; p <= P - lanes; p += lanes) transposeVectors<T>(y + <usize>p * sy, x + <usize>p * sizeof<T>(), sy, sx);
      for (; p < P; p++) {
        const column = x + <usize>p * sizeof<T>();
        for (let k = 0; k < lanes; k++) store<T>(y + <usize>p * sy + <usize>k * sizeof<T>(), load<T>(column + <usize>k * sx));
      }
      y += 16;
      x += <usize>lanes * sx;
    }
  }
  for (; q < Q; q++) {
    for (let p = 0; p < P; p++) store<T>(y + <usize>p * sy, load<T>(x + <usize>p * sizeof<T>()));
    y += sizeof<T>();
    x += sx;
  }
}

export function copy_8(nest: Nest, first: i32, last: i32): void { copy<u8, u8>(nest, first, last); }
export function copy_32(nest: Nest, first: i32, last: i32): void { copy<i32, i32>(nest, first, last); }
export function copy_64(nest: Nest, first: i32, last: i32): void { copy<i64, i64>(nest, first, last); }
export function copy_f32_f64(nest: Nest, first: i32, last: i32): void { copy<f32, f64>(nest, first, last); }
export function copy_f32_i32(nest: Nest, first: i32, last: i32): void { copy<f32, i32>(nest, first, last); }
export function copy_f32_u8(nest: Nest, first: i32, last: i32): void { copy<f32, u8>(nest, first, last); }
export function copy_f64_f32(nest: Nest, first: i32, last: i32): void { copy<f64, f32>(nest, first, last); }
export function copy_f64_i32(nest: Nest, first: i32, last: i32): void { copy<f64, i32>(nest, first, last); }
export function copy_f64_u8(nest: Nest, first: i32, last: i32): void { copy<f64, u8>(nest, first, last); }
export function copy_i32_f32(nest: Nest, first: i32, last: i32): void { copy<i32, f32>(nest, first, last); }
export function copy_i32_f64(nest: Nest, first: i32, last: i32): void { copy<i32, f64>(nest, first, last); }
export function copy_i32_u8(nest: Nest, first: i32, last: i32): void { copy<i32, u8>(nest, first, last); }
export function copy_u8_f32(nest: Nest, first: i32, last: i32): void { copy<u8, f32>(nest, first, last); }
export function copy_u8_f64(nest: Nest, first: i32, last: i32): void { copy<u8, f64>(nest, first, last); }
export function copy_u8_i32(nest: Nest, first: i32, last: i32): void { copy<u8, i32>(nest, first, last); }
export function transpose_8(args: TransposeArgs, first: i32, last: i32): void { transpose<u8>(args, first, last); }
export function transpose_32(args: TransposeArgs, first: i32, last: i32): void { transpose<i32>(args, first, last); }
export function transpose_64(args: TransposeArgs, first: i32, last: i32): void { transpose<i64>(args, first, last); }
