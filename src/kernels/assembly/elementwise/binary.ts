/**
 * y = f(a, b) over nests of y, a and b (see runtime/strided.ts).
 *
 * Runs whose operands are contiguous or broadcast are processed by vectors, all others element by element. The operation is a
 * constant that the compiler folds, so that each exported kernel contains the code of one operation.
 */
import { Nest, endRow, firstRow, rowPointer, rowStride, runStride, sweepOf } from '../runtime/strided';

const ADD = 0;
const SUB = 1;
const MUL = 2;
const DIV = 3;
const POW = 4;
const MAXIMUM = 5;
const MINIMUM = 6;
const RELU_GRAD = 7;
const SIGMOID_GRAD = 8;
const TANH_GRAD = 9;

// @ts-ignore: decorator
@inline
function binaryVector<T>(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return v128.add<T>(a, b);
  if (op == SUB) return v128.sub<T>(a, b);
  if (op == MUL) return v128.mul<T>(a, b);
  if (op == MAXIMUM) return v128.max<T>(a, b);
  if (op == MINIMUM) return v128.min<T>(a, b);
  // g = a, y = b: one pass instead of a comparison and a selection, or of three products.
  if (op == RELU_GRAD) return v128.andnot(a, v128.le<T>(b, v128.splat<T>(0)));
  if (op == SIGMOID_GRAD) return v128.mul<T>(v128.mul<T>(a, b), v128.sub<T>(v128.splat<T>(1), b));
  if (op == TANH_GRAD) return v128.mul<T>(a, v128.sub<T>(v128.splat<T>(1), v128.mul<T>(b, b)));
  if (isFloat<T>()) return v128.div<T>(a, b);
  return a;
}

// @ts-ignore: decorator
@inline
function binaryScalar<T>(op: i32, a: T, b: T): T {
  if (op == ADD) return <T>(a + b);
  if (op == SUB) return <T>(a - b);
  if (op == MUL) return <T>(a * b);
  if (op == MAXIMUM) return max<T>(a, b);
  if (op == MINIMUM) return min<T>(a, b);
  if (op == RELU_GRAD) return b <= 0 ? <T>0 : a;
  if (op == SIGMOID_GRAD) return <T>(a * b * (1 - b));
  if (op == TANH_GRAD) return <T>(a * (1 - b * b));
  if (isFloat<T>()) {
    if (op == DIV) return a / b;
    return <T>power(<f64>a, <f64>b);
  }
  return a;
}

/** aᵇ as in C: 1 to any power is 1, and (−1)^±∞ is 1. The library has special cases for the exponents 2, 1/2, 0 and ±1. */
function power(a: f64, b: f64): f64 {
  if (b == 3.0) return a * a * a;
  if (a == 1.0 || (a == -1.0 && abs(b) == Infinity)) return 1.0;
  // The library's pow (optimized for size) reads half of the exponent's bits, and would treat 2 + 1e-9 as even.
  if (b != floor(b)) return a < 0.0 && a > -Infinity ? NaN : Math.pow(abs(a), b);
  return Math.pow(a, b);
}

// @ts-ignore: decorator
@inline
function binaryRun<T>(op: i32, y: usize, a: usize, b: usize, n: i32, sy: usize, sa: usize, sb: usize): void {
  const size = sizeof<T>();
  const lanes = <i32>(16 / sizeof<T>());
  let i = 0;
  if (op != POW) {
    if (sy == size) {
      if (sa == size && sb == size) {
        for (; i <= n - 2 * lanes; i += 2 * lanes) {
          const r0 = binaryVector<T>(op, v128.load(a), v128.load(b));
          const r1 = binaryVector<T>(op, v128.load(a, 16), v128.load(b, 16));
          v128.store(y, r0);
          v128.store(y, r1, 16);
          a += 32;
          b += 32;
          y += 32;
        }
      } else if (sa == size && sb == 0) {
        const v = v128.load_splat<T>(b);
        for (; i <= n - lanes; i += lanes) {
          v128.store(y, binaryVector<T>(op, v128.load(a), v));
          a += 16;
          y += 16;
        }
      } else if (sa == 0 && sb == size) {
        const v = v128.load_splat<T>(a);
        for (; i <= n - lanes; i += lanes) {
          v128.store(y, binaryVector<T>(op, v, v128.load(b)));
          b += 16;
          y += 16;
        }
      }
    }
  }
  if (op == POW) {
    // A run with exponent 2 is computed by multiplications.
    if (sy == size && sa == size && sb == 0 && load<T>(b) == 2) {
      for (; i <= n - lanes; i += lanes) {
        const x = v128.load(a);
        v128.store(y, v128.mul<T>(x, x));
        a += 16;
        y += 16;
      }
    }
  }
  for (; i < n; i++) {
    store<T>(y, binaryScalar<T>(op, load<T>(a), load<T>(b)));
    a += sa;
    b += sb;
    y += sy;
  }
}

/** y[r][c] = f(a[r][c], b[c]) for n columns, a multiple of four vectors. Four vectors of b at a time stay in registers. */
// @ts-ignore: decorator
@inline
function binaryColumns<T>(op: i32, y: usize, a: usize, b: usize, n: i32, rows: u32, ry: usize, ra: usize): void {
  for (let c: usize = 0; c < <usize>n * sizeof<T>(); c += 64) {
    const b0 = v128.load(b + c);
    const b1 = v128.load(b + c, 16);
    const b2 = v128.load(b + c, 32);
    const b3 = v128.load(b + c, 48);
    let p = a + c;
    let q = y + c;
    for (let r: u32 = 0; r < rows; r++) {
      const r0 = binaryVector<T>(op, v128.load(p), b0);
      const r1 = binaryVector<T>(op, v128.load(p, 16), b1);
      const r2 = binaryVector<T>(op, v128.load(p, 32), b2);
      const r3 = binaryVector<T>(op, v128.load(p, 48), b3);
      v128.store(q, r0);
      v128.store(q, r1, 16);
      v128.store(q, r2, 32);
      v128.store(q, r3, 48);
      p += ra;
      q += ry;
    }
  }
}

// @ts-ignore: decorator
@inline
function binary<T>(op: i32, nest: Nest, first: i32, last: i32): void {
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
  // All rows of a sweep use the same short b, such as one number per channel of channels-last images.
  const columns = <i32>(64 / sizeof<T>());
  const repeats = rb == 0 && run == tail && run <= 8 * columns && run % columns == 0 && sy == sizeof<T>() && sa == sy && sb == sy;
  // Rows of more than four vectors are processed in blocks of at most 512 bytes, as in passRows (norm/row-statistics.ts).
  const block: u32 = run == columns ? sweep : 8 * columns / run;
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 3, 0, row);
    let a = rowPointer(nest, 3, 1, row);
    let b = rowPointer(nest, 3, 2, row);
    if (op != POW) {
      if (repeats) {
        for (; row < stop; row += block) {
          binaryColumns<T>(op, y, a, b, run, min(block, stop - row), ry, ra);
          y += block * ry;
          a += block * ra;
        }
        row = stop;
      }
    }
    for (; row < stop; row++) {
      binaryRun<T>(op, y, a, b, row + 1 == sweepEnd ? tail : run, sy, sa, sb);
      y += ry;
      a += ra;
      b += rb;
    }
  }
}

export function binary_add_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(ADD, nest, first, last); }
export function binary_sub_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(SUB, nest, first, last); }
export function binary_mul_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(MUL, nest, first, last); }
export function binary_div_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(DIV, nest, first, last); }
export function binary_pow_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(POW, nest, first, last); }
export function binary_maximum_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(MAXIMUM, nest, first, last); }
export function binary_minimum_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(MINIMUM, nest, first, last); }
export function binary_reluGrad_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(RELU_GRAD, nest, first, last); }
export function binary_sigmoidGrad_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(SIGMOID_GRAD, nest, first, last); }
export function binary_tanhGrad_f32(nest: Nest, first: i32, last: i32): void { binary<f32>(TANH_GRAD, nest, first, last); }
export function binary_add_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(ADD, nest, first, last); }
export function binary_sub_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(SUB, nest, first, last); }
export function binary_mul_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(MUL, nest, first, last); }
export function binary_div_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(DIV, nest, first, last); }
export function binary_pow_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(POW, nest, first, last); }
export function binary_maximum_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(MAXIMUM, nest, first, last); }
export function binary_minimum_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(MINIMUM, nest, first, last); }
export function binary_reluGrad_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(RELU_GRAD, nest, first, last); }
export function binary_sigmoidGrad_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(SIGMOID_GRAD, nest, first, last); }
export function binary_tanhGrad_f64(nest: Nest, first: i32, last: i32): void { binary<f64>(TANH_GRAD, nest, first, last); }
export function binary_add_i32(nest: Nest, first: i32, last: i32): void { binary<i32>(ADD, nest, first, last); }
export function binary_sub_i32(nest: Nest, first: i32, last: i32): void { binary<i32>(SUB, nest, first, last); }
export function binary_mul_i32(nest: Nest, first: i32, last: i32): void { binary<i32>(MUL, nest, first, last); }
export function binary_maximum_i32(nest: Nest, first: i32, last: i32): void { binary<i32>(MAXIMUM, nest, first, last); }
export function binary_minimum_i32(nest: Nest, first: i32, last: i32): void { binary<i32>(MINIMUM, nest, first, last); }
