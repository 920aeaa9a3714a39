/**
 * y = f(x) over nests of y and x (see runtime/strided.ts).
 *
 * Runs whose operands are contiguous or broadcast are processed by vectors, all others element by element. The operation is a
 * constant that the compiler folds, so that each exported kernel contains the code of one operation.
 */
import { erf, exp4, sigmoid, sigmoid4, tanh4 } from '../simd/math';
import { Nest, endRow, firstRow, rowPointer, rowStride, runStride, sweepOf } from '../runtime/strided';

const NEG = 0;
const ABS = 1;
const SIGN = 2;
const SQUARE = 3;
const RECIPROCAL = 4;
const SQRT = 5;
const EXP = 6;
const EXPM1 = 7;
const LOG = 8;
const LOG1P = 9;
const SIN = 10;
const COS = 11;
const TANH = 12;
const SIGMOID = 13;
const ERF = 14;
const RELU = 15;
const FLOOR = 16;
const CEIL = 17;
const ROUND = 18;

/** Returns whether f is computed by vectors of T. */
// @ts-ignore: decorator
@inline
function hasVector<T>(op: i32): bool {
  if (op == EXP || op == TANH || op == SIGMOID) return isFloat<T>() && sizeof<T>() == 4;
  return op != EXPM1 && op != LOG && op != LOG1P && op != SIN && op != COS && op != ERF;
}

// @ts-ignore: decorator
@inline
function unaryVector<T>(op: i32, x: v128): v128 {
  if (op == NEG) return v128.neg<T>(x);
  if (op == ABS) return v128.abs<T>(x);
  if (op == SQUARE) return v128.mul<T>(x, x);
  const zero = v128.splat<T>(0);
  const one = v128.splat<T>(1);
  // Zeros and NaN return x itself.
  if (op == SIGN) return v128.bitselect(one, v128.bitselect(v128.splat<T>(-1), x, v128.lt<T>(x, zero)), v128.gt<T>(x, zero));
  if (isFloat<T>()) {
    // pmax(x, 0) is x < 0 ? 0 : x: one instruction, which propagates NaN.
    if (op == RELU) return v128.pmax<T>(x, zero);
    if (op == RECIPROCAL) return v128.div<T>(one, x);
    if (op == SQRT) return v128.sqrt<T>(x);
    if (op == FLOOR) return v128.floor<T>(x);
    if (op == CEIL) return v128.ceil<T>(x);
    if (op == ROUND) return v128.nearest<T>(x);
    if (op == EXP) return exp4(x);
    if (op == TANH) return tanh4(x);
    return sigmoid4(x);
  }
  return v128.max<T>(x, zero);
}

// @ts-ignore: decorator
@inline
function unaryScalar<T>(op: i32, x: T): T {
  if (op == NEG) return -x as T;
  if (op == ABS) return abs<T>(x);
  if (op == SIGN) return x > 0 ? <T>1 : x < 0 ? <T>-1 : x;
  if (op == SQUARE) return <T>(x * x);
  if (op == RELU) return x < 0 ? <T>0 : x;
  if (isFloat<T>()) {
    if (op == RECIPROCAL) return <T>1 / x;
    if (op == SQRT) return sqrt<T>(x);
    if (op == FLOOR) return floor<T>(x);
    if (op == CEIL) return ceil<T>(x);
    if (op == ROUND) return nearest<T>(x);
    if (hasVector<T>(op)) return <T>f32x4.extract_lane(unaryVector<T>(op, f32x4.splat(<f32>x)), 0);
    if (op == EXP) return <T>Math.exp(<f64>x);
    if (op == EXPM1) return <T>Math.expm1(<f64>x);
    if (op == LOG) return <T>Math.log(<f64>x);
    if (op == LOG1P) return <T>Math.log1p(<f64>x);
    if (op == SIN) return <T>Math.sin(<f64>x);
    if (op == COS) return <T>Math.cos(<f64>x);
    if (op == TANH) return <T>Math.tanh(<f64>x);
    if (op == SIGMOID) return <T>sigmoid(<f64>x);
    if (op == ERF) return <T>erf(<f64>x);
  }
  return x;
}

// @ts-ignore: decorator
@inline
function unaryRun<T>(op: i32, y: usize, x: usize, n: i32, sy: usize, sx: usize): void {
  const lanes = <i32>(16 / sizeof<T>());
  let i = 0;
  if (hasVector<T>(op)) {
    if (sy == sizeof<T>() && sx == sizeof<T>()) {
      for (; i <= n - 2 * lanes; i += 2 * lanes) {
        const r0 = unaryVector<T>(op, v128.load(x));
        const r1 = unaryVector<T>(op, v128.load(x, 16));
        v128.store(y, r0);
        v128.store(y, r1, 16);
        x += 32;
        y += 32;
      }
    }
  }
  for (; i < n; i++) {
    store<T>(y, unaryScalar<T>(op, load<T>(x)));
    x += sx;
    y += sy;
  }
}

// @ts-ignore: decorator
@inline
function unary<T>(op: i32, nest: Nest, first: i32, last: i32): void {
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
      unaryRun<T>(op, y, x, row + 1 == sweepEnd ? tail : run, sy, sx);
      y += ry;
      x += rx;
    }
  }
}

export function unary_neg_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(NEG, nest, first, last); }
export function unary_abs_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(ABS, nest, first, last); }
export function unary_sign_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(SIGN, nest, first, last); }
export function unary_square_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(SQUARE, nest, first, last); }
export function unary_reciprocal_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(RECIPROCAL, nest, first, last); }
export function unary_sqrt_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(SQRT, nest, first, last); }
export function unary_exp_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(EXP, nest, first, last); }
export function unary_expm1_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(EXPM1, nest, first, last); }
export function unary_log_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(LOG, nest, first, last); }
export function unary_log1p_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(LOG1P, nest, first, last); }
export function unary_sin_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(SIN, nest, first, last); }
export function unary_cos_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(COS, nest, first, last); }
export function unary_tanh_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(TANH, nest, first, last); }
export function unary_sigmoid_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(SIGMOID, nest, first, last); }
export function unary_erf_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(ERF, nest, first, last); }
export function unary_relu_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(RELU, nest, first, last); }
export function unary_floor_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(FLOOR, nest, first, last); }
export function unary_ceil_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(CEIL, nest, first, last); }
export function unary_round_f32(nest: Nest, first: i32, last: i32): void { unary<f32>(ROUND, nest, first, last); }
export function unary_neg_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(NEG, nest, first, last); }
export function unary_abs_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(ABS, nest, first, last); }
export function unary_sign_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(SIGN, nest, first, last); }
export function unary_square_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(SQUARE, nest, first, last); }
export function unary_reciprocal_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(RECIPROCAL, nest, first, last); }
export function unary_sqrt_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(SQRT, nest, first, last); }
export function unary_exp_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(EXP, nest, first, last); }
export function unary_expm1_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(EXPM1, nest, first, last); }
export function unary_log_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(LOG, nest, first, last); }
export function unary_log1p_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(LOG1P, nest, first, last); }
export function unary_sin_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(SIN, nest, first, last); }
export function unary_cos_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(COS, nest, first, last); }
export function unary_tanh_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(TANH, nest, first, last); }
export function unary_sigmoid_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(SIGMOID, nest, first, last); }
export function unary_erf_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(ERF, nest, first, last); }
export function unary_relu_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(RELU, nest, first, last); }
export function unary_floor_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(FLOOR, nest, first, last); }
export function unary_ceil_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(CEIL, nest, first, last); }
export function unary_round_f64(nest: Nest, first: i32, last: i32): void { unary<f64>(ROUND, nest, first, last); }
export function unary_neg_i32(nest: Nest, first: i32, last: i32): void { unary<i32>(NEG, nest, first, last); }
export function unary_abs_i32(nest: Nest, first: i32, last: i32): void { unary<i32>(ABS, nest, first, last); }
export function unary_sign_i32(nest: Nest, first: i32, last: i32): void { unary<i32>(SIGN, nest, first, last); }
export function unary_square_i32(nest: Nest, first: i32, last: i32): void { unary<i32>(SQUARE, nest, first, last); }
export function unary_relu_i32(nest: Nest, first: i32, last: i32): void { unary<i32>(RELU, nest, first, last); }
