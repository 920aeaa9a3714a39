/**
 * y = a ∘ b, as bytes, over nests of y, a and b; y = c ? a : b over nests of y, c, a and b (see runtime/strided.ts).
 *
 * Runs whose operands are contiguous or broadcast are processed by vectors, all others element by element. The operation is a
 * constant that the compiler folds, so that each exported kernel contains the code of one operation.
 */
import { Nest, endRow, firstRow, rowPointer, rowStride, runStride, sweepOf } from '../runtime/strided';

const EQ = 0;
const NE = 1;
const LT = 2;
const LE = 3;
const GT = 4;
const GE = 5;

// @ts-ignore: decorator
@inline
function compareVector<T>(op: i32, a: v128, b: v128): v128 {
  if (op == EQ) return v128.eq<T>(a, b);
  if (op == NE) return v128.ne<T>(a, b);
  if (op == LT) return v128.lt<T>(a, b);
  if (op == LE) return v128.le<T>(a, b);
  if (op == GT) return v128.gt<T>(a, b);
  return v128.ge<T>(a, b);
}

// @ts-ignore: decorator
@inline
function compareScalar<T>(op: i32, a: T, b: T): bool {
  if (op == EQ) return a == b;
  if (op == NE) return a != b;
  if (op == LT) return a < b;
  if (op == LE) return a <= b;
  if (op == GT) return a > b;
  return a >= b;
}

/** Returns vector k of the operand at p; all lanes are its one element if the stride is 0. */
// @ts-ignore: decorator
@inline
function operand<T>(p: usize, s: usize, k: usize): v128 {
  return s != 0 ? v128.load(p + (k << 4)) : v128.load_splat<T>(p);
}

/** Returns the mask of elements 4k … 4k+3, one 32-bit lane each. */
// @ts-ignore: decorator
@inline
function mask4<T>(op: i32, a: usize, b: usize, sa: usize, sb: usize, k: usize): v128 {
  if (sizeof<T>() == 4) return compareVector<T>(op, operand<T>(a, sa, k), operand<T>(b, sb, k));
  const low = compareVector<T>(op, operand<T>(a, sa, 2 * k), operand<T>(b, sb, 2 * k));
  const high = compareVector<T>(op, operand<T>(a, sa, 2 * k + 1), operand<T>(b, sb, 2 * k + 1));
  return i32x4.shuffle(low, high, 0, 2, 4, 6);
}

/** Returns the mask of 16 elements, one byte each. */
// @ts-ignore: decorator
@inline
function mask16<T>(op: i32, a: usize, b: usize, sa: usize, sb: usize): v128 {
  if (sizeof<T>() == 1) return compareVector<T>(op, operand<T>(a, sa, 0), operand<T>(b, sb, 0));
  const low = i16x8.narrow_i32x4_s(mask4<T>(op, a, b, sa, sb, 0), mask4<T>(op, a, b, sa, sb, 1));
  const high = i16x8.narrow_i32x4_s(mask4<T>(op, a, b, sa, sb, 2), mask4<T>(op, a, b, sa, sb, 3));
  return i8x16.narrow_i16x8_s(low, high);
}

// @ts-ignore: decorator
@inline
function compareRun<T>(op: i32, y: usize, a: usize, b: usize, n: i32, sy: usize, sa: usize, sb: usize): void {
  const size = sizeof<T>();
  let i = 0;
  if (sy == 1 && (sa == size || sa == 0) && (sb == size || sb == 0)) {
    for (; i <= n - 16; i += 16) {
      v128.store(y, v128.and(mask16<T>(op, a, b, sa, sb), i8x16.splat(1)));
      a += sa << 4;
      b += sb << 4;
      y += 16;
    }
  }
  for (; i < n; i++) {
    store<u8>(y, <u8>compareScalar<T>(op, load<T>(a), load<T>(b)));
    a += sa;
    b += sb;
    y += sy;
  }
}

// @ts-ignore: decorator
@inline
function compare<T>(op: i32, nest: Nest, first: i32, last: i32): void {
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 3);
  const run = nest.run;
  const tail = nest.tail;
  const ry = rowStride(nest, 3, 0);
  const ra = rowStride(nest, 3, 1);
  const rb = rowStride(nest, 3, 2);
  const sy = runStride(nest, 0);
  const sa = runStride(nest, 1);
  const sb = runStride(nest, 2);
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 3, 0, row);
    let a = rowPointer(nest, 3, 1, row);
    let b = rowPointer(nest, 3, 2, row);
    for (; row < stop; row++) {
      compareRun<T>(op, y, a, b, row + 1 == sweepEnd ? tail : run, sy, sa, sb);
      y += ry;
      a += ra;
      b += rb;
    }
  }
}

// — where: T is an integer type of the elements' size, as their bits are only copied —

/** Returns the condition for one vector of T: each byte at c becomes a lane of zeros or ones. */
// @ts-ignore: decorator
@inline
function condition<T>(c: usize, s: usize): v128 {
  if (s == 0) return v128.ne<T>(v128.splat<T>(<T>load<u8>(c)), v128.splat<T>(0));
  if (sizeof<T>() == 1) return v128.ne<T>(v128.load(c), v128.splat<T>(0));
  if (sizeof<T>() == 4) {
    return v128.ne<T>(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(c))), v128.splat<T>(0));
  }
  return v128.ne<T>(i64x2(<i64>load<u8>(c), <i64>load<u8>(c, 1)), v128.splat<T>(0));
}

// @ts-ignore: decorator
@inline
function whereRun<T>(y: usize, c: usize, a: usize, b: usize, n: i32, sy: usize, sc: usize, sa: usize, sb: usize): void {
  const size = sizeof<T>();
  const lanes = 16 / sizeof<T>();
  let i = 0;
  if (sy == size && (sc == 1 || sc == 0) && (sa == size || sa == 0) && (sb == size || sb == 0)) {
    for (; i <= n - <i32>lanes; i += <i32>lanes) {
      v128.store(y, v128.bitselect(operand<T>(a, sa, 0), operand<T>(b, sb, 0), condition<T>(c, sc)));
      c += sc * lanes;
      a += sa * lanes;
      b += sb * lanes;
      y += 16;
    }
  }
  for (; i < n; i++) {
    store<T>(y, load<u8>(c) != 0 ? load<T>(a) : load<T>(b));
    c += sc;
    a += sa;
    b += sb;
    y += sy;
  }
}

// @ts-ignore: decorator
@inline
function where<T>(nest: Nest, first: i32, last: i32): void {
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 4);
  const run = nest.run;
  const tail = nest.tail;
  const ry = rowStride(nest, 4, 0);
  const rc = rowStride(nest, 4, 1);
  const ra = rowStride(nest, 4, 2);
  const rb = rowStride(nest, 4, 3);
  const sy = runStride(nest, 0);
  const sc = runStride(nest, 1);
  const sa = runStride(nest, 2);
  const sb = runStride(nest, 3);
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 4, 0, row);
    let c = rowPointer(nest, 4, 1, row);
    let a = rowPointer(nest, 4, 2, row);
    let b = rowPointer(nest, 4, 3, row);
    for (; row < stop; row++) {
      const n = row + 1 == sweepEnd ? tail : run;
      whereRun<T>(y, c, a, b, n, sy, sc, sa, sb);
      y += ry;
      c += rc;
      a += ra;
      b += rb;
    }
  }
}

export function compare_eq_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(EQ, nest, first, last); }
export function compare_ne_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(NE, nest, first, last); }
export function compare_lt_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(LT, nest, first, last); }
export function compare_le_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(LE, nest, first, last); }
export function compare_gt_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(GT, nest, first, last); }
export function compare_ge_f32(nest: Nest, first: i32, last: i32): void { compare<f32>(GE, nest, first, last); }
export function compare_eq_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(EQ, nest, first, last); }
export function compare_ne_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(NE, nest, first, last); }
export function compare_lt_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(LT, nest, first, last); }
export function compare_le_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(LE, nest, first, last); }
export function compare_gt_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(GT, nest, first, last); }
export function compare_ge_f64(nest: Nest, first: i32, last: i32): void { compare<f64>(GE, nest, first, last); }
export function compare_eq_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(EQ, nest, first, last); }
export function compare_ne_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(NE, nest, first, last); }
export function compare_lt_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(LT, nest, first, last); }
export function compare_le_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(LE, nest, first, last); }
export function compare_gt_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(GT, nest, first, last); }
export function compare_ge_i32(nest: Nest, first: i32, last: i32): void { compare<i32>(GE, nest, first, last); }
export function compare_eq_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(EQ, nest, first, last); }
export function compare_ne_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(NE, nest, first, last); }
export function compare_lt_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(LT, nest, first, last); }
export function compare_le_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(LE, nest, first, last); }
export function compare_gt_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(GT, nest, first, last); }
export function compare_ge_u8(nest: Nest, first: i32, last: i32): void { compare<u8>(GE, nest, first, last); }

export function where_8(nest: Nest, first: i32, last: i32): void { where<u8>(nest, first, last); }
export function where_32(nest: Nest, first: i32, last: i32): void { where<i32>(nest, first, last); }
export function where_64(nest: Nest, first: i32, last: i32): void { where<i64>(nest, first, last); }
