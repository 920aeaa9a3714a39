/**
 * y = f(x), y = f(a, b), y = a ∘ b and y = c ? a : b, over nests of 2, 3 and 4 operands (see strided.ts).
 *
 * A run whose operands are contiguous or broadcast goes through SIMD, any other through scalars. The operation is a
 * constant that the compiler folds, so that each exported kernel holds one operation only.
 */
import { erf, exp4, sigmoid, sigmoid4, tanh4 } from './math';
import { endRow, firstRow, rowPointer, rowStride, runOf, runStride, tailOf, walkOf } from './strided';

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

const ADD = 0;
const SUB = 1;
const MUL = 2;
const DIV = 3;
const POW = 4;
const MAXIMUM = 5;
const MINIMUM = 6;

const EQ = 0;
const NE = 1;
const LT = 2;
const LE = 3;
const GT = 4;
const GE = 5;

// — unary —

/** Whether f has a SIMD form on vectors of T. */
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
  // A zero or NaN falls through to x itself.
  if (op == SIGN) return v128.bitselect(one, v128.bitselect(v128.splat<T>(-1), x, v128.lt<T>(x, zero)), v128.gt<T>(x, zero));
  if (isFloat<T>()) {
    // pmax(x, 0) is x < 0 ? 0 : x: one instruction, and a NaN stays.
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
function unary<T>(op: i32, nest: usize, first: i32, last: i32): void {
  const end = endRow(nest, 2, last);
  const walk = walkOf(nest, 2);
  const run = runOf(nest, 2);
  const tail = tailOf(nest, 2);
  const ry = rowStride(nest, 2, 0);
  const rx = rowStride(nest, 2, 1);
  const sy = runStride(nest, 2, 0);
  const sx = runStride(nest, 2, 1);
  for (let row = firstRow(nest, 2, first); row < end; ) {
    const walkEnd = row - (row % walk) + walk;
    const stop = min(end, walkEnd);
    let y = rowPointer(nest, 2, 0, row);
    let x = rowPointer(nest, 2, 1, row);
    for (; row < stop; row++) {
      unaryRun<T>(op, y, x, row + 1 == walkEnd ? tail : run, sy, sx);
      y += ry;
      x += rx;
    }
  }
}

// — binary —

// @ts-ignore: decorator
@inline
function binaryVector<T>(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return v128.add<T>(a, b);
  if (op == SUB) return v128.sub<T>(a, b);
  if (op == MUL) return v128.mul<T>(a, b);
  if (op == MAXIMUM) return v128.max<T>(a, b);
  if (op == MINIMUM) return v128.min<T>(a, b);
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
  if (isFloat<T>()) {
    if (op == DIV) return a / b;
    return <T>power(<f64>a, <f64>b);
  }
  return a;
}

/** aᵇ as C has it: 1 to any power is 1, and (−1)^±∞ too. The library takes the exponents 2, 1/2, 0 and ±1 apart. */
function power(a: f64, b: f64): f64 {
  if (b == 3.0) return a * a * a;
  return a == 1.0 || (a == -1.0 && abs(b) == Infinity) ? 1.0 : Math.pow(a, b);
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
  for (; i < n; i++) {
    store<T>(y, binaryScalar<T>(op, load<T>(a), load<T>(b)));
    a += sa;
    b += sb;
    y += sy;
  }
}

/** y[r][c] = f(a[r][c], b[c]) for n columns, a multiple of four vectors, which of b are held in registers. */
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
function binary<T>(op: i32, nest: usize, first: i32, last: i32): void {
  const end = endRow(nest, 3, last);
  const walk = walkOf(nest, 3);
  const run = runOf(nest, 3);
  const tail = tailOf(nest, 3);
  const ry = rowStride(nest, 3, 0);
  const ra = rowStride(nest, 3, 1);
  const rb = rowStride(nest, 3, 2);
  const sy = runStride(nest, 3, 0);
  const sa = runStride(nest, 3, 1);
  const sb = runStride(nest, 3, 2);
  // One short b for all rows of a walk, such as a vector per channel over channels-last images.
  const columns = <i32>(64 / sizeof<T>());
  const repeats = rb == 0 && run == tail && run <= 8 * columns && run % columns == 0 && sy == sizeof<T>() && sa == sy && sb == sy;
  for (let row = firstRow(nest, 3, first); row < end; ) {
    const walkEnd = row - (row % walk) + walk;
    const stop = min(end, walkEnd);
    let y = rowPointer(nest, 3, 0, row);
    let a = rowPointer(nest, 3, 1, row);
    let b = rowPointer(nest, 3, 2, row);
    if (op != POW) {
      if (repeats) {
        binaryColumns<T>(op, y, a, b, run, stop - row, ry, ra);
        row = stop;
      }
    }
    for (; row < stop; row++) {
      binaryRun<T>(op, y, a, b, row + 1 == walkEnd ? tail : run, sy, sa, sb);
      y += ry;
      a += ra;
      b += rb;
    }
  }
}

// — compare —

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

/** Vector k of the operand at p: loaded, or its one element where the stride is 0. */
// @ts-ignore: decorator
@inline
function operand<T>(p: usize, s: usize, k: usize): v128 {
  return s != 0 ? v128.load(p + (k << 4)) : v128.load_splat<T>(p);
}

/** The mask of elements 4k … 4k+3, one 32-bit lane each. */
// @ts-ignore: decorator
@inline
function mask4<T>(op: i32, a: usize, b: usize, sa: usize, sb: usize, k: usize): v128 {
  if (sizeof<T>() == 4) return compareVector<T>(op, operand<T>(a, sa, k), operand<T>(b, sb, k));
  const low = compareVector<T>(op, operand<T>(a, sa, 2 * k), operand<T>(b, sb, 2 * k));
  const high = compareVector<T>(op, operand<T>(a, sa, 2 * k + 1), operand<T>(b, sb, 2 * k + 1));
  return i32x4.shuffle(low, high, 0, 2, 4, 6);
}

/** The mask of 16 elements, one byte each. */
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
function compare<T>(op: i32, nest: usize, first: i32, last: i32): void {
  const end = endRow(nest, 3, last);
  const walk = walkOf(nest, 3);
  const run = runOf(nest, 3);
  const tail = tailOf(nest, 3);
  const ry = rowStride(nest, 3, 0);
  const ra = rowStride(nest, 3, 1);
  const rb = rowStride(nest, 3, 2);
  const sy = runStride(nest, 3, 0);
  const sa = runStride(nest, 3, 1);
  const sb = runStride(nest, 3, 2);
  for (let row = firstRow(nest, 3, first); row < end; ) {
    const walkEnd = row - (row % walk) + walk;
    const stop = min(end, walkEnd);
    let y = rowPointer(nest, 3, 0, row);
    let a = rowPointer(nest, 3, 1, row);
    let b = rowPointer(nest, 3, 2, row);
    for (; row < stop; row++) {
      compareRun<T>(op, y, a, b, row + 1 == walkEnd ? tail : run, sy, sa, sb);
      y += ry;
      a += ra;
      b += rb;
    }
  }
}

// — where: T is an integer type of the elements' size, their bits are only moved —

/** One vector's worth of bytes of c from c, each spread over a whole lane of T, 0 or all ones. */
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
function where<T>(nest: usize, first: i32, last: i32): void {
  const end = endRow(nest, 4, last);
  const walk = walkOf(nest, 4);
  const run = runOf(nest, 4);
  const tail = tailOf(nest, 4);
  const ry = rowStride(nest, 4, 0);
  const rc = rowStride(nest, 4, 1);
  const ra = rowStride(nest, 4, 2);
  const rb = rowStride(nest, 4, 3);
  const sy = runStride(nest, 4, 0);
  const sc = runStride(nest, 4, 1);
  const sa = runStride(nest, 4, 2);
  const sb = runStride(nest, 4, 3);
  for (let row = firstRow(nest, 4, first); row < end; ) {
    const walkEnd = row - (row % walk) + walk;
    const stop = min(end, walkEnd);
    let y = rowPointer(nest, 4, 0, row);
    let c = rowPointer(nest, 4, 1, row);
    let a = rowPointer(nest, 4, 2, row);
    let b = rowPointer(nest, 4, 3, row);
    for (; row < stop; row++) {
      const n = row + 1 == walkEnd ? tail : run;
      whereRun<T>(y, c, a, b, n, sy, sc, sa, sb);
      y += ry;
      c += rc;
      a += ra;
      b += rb;
    }
  }
}

// — exports —

export function unary_neg_f32(args: usize, first: i32, last: i32): void { unary<f32>(NEG, args, first, last); }
export function unary_abs_f32(args: usize, first: i32, last: i32): void { unary<f32>(ABS, args, first, last); }
export function unary_sign_f32(args: usize, first: i32, last: i32): void { unary<f32>(SIGN, args, first, last); }
export function unary_square_f32(args: usize, first: i32, last: i32): void { unary<f32>(SQUARE, args, first, last); }
export function unary_reciprocal_f32(args: usize, first: i32, last: i32): void { unary<f32>(RECIPROCAL, args, first, last); }
export function unary_sqrt_f32(args: usize, first: i32, last: i32): void { unary<f32>(SQRT, args, first, last); }
export function unary_exp_f32(args: usize, first: i32, last: i32): void { unary<f32>(EXP, args, first, last); }
export function unary_expm1_f32(args: usize, first: i32, last: i32): void { unary<f32>(EXPM1, args, first, last); }
export function unary_log_f32(args: usize, first: i32, last: i32): void { unary<f32>(LOG, args, first, last); }
export function unary_log1p_f32(args: usize, first: i32, last: i32): void { unary<f32>(LOG1P, args, first, last); }
export function unary_sin_f32(args: usize, first: i32, last: i32): void { unary<f32>(SIN, args, first, last); }
export function unary_cos_f32(args: usize, first: i32, last: i32): void { unary<f32>(COS, args, first, last); }
export function unary_tanh_f32(args: usize, first: i32, last: i32): void { unary<f32>(TANH, args, first, last); }
export function unary_sigmoid_f32(args: usize, first: i32, last: i32): void { unary<f32>(SIGMOID, args, first, last); }
export function unary_erf_f32(args: usize, first: i32, last: i32): void { unary<f32>(ERF, args, first, last); }
export function unary_relu_f32(args: usize, first: i32, last: i32): void { unary<f32>(RELU, args, first, last); }
export function unary_floor_f32(args: usize, first: i32, last: i32): void { unary<f32>(FLOOR, args, first, last); }
export function unary_ceil_f32(args: usize, first: i32, last: i32): void { unary<f32>(CEIL, args, first, last); }
export function unary_round_f32(args: usize, first: i32, last: i32): void { unary<f32>(ROUND, args, first, last); }
export function unary_neg_f64(args: usize, first: i32, last: i32): void { unary<f64>(NEG, args, first, last); }
export function unary_abs_f64(args: usize, first: i32, last: i32): void { unary<f64>(ABS, args, first, last); }
export function unary_sign_f64(args: usize, first: i32, last: i32): void { unary<f64>(SIGN, args, first, last); }
export function unary_square_f64(args: usize, first: i32, last: i32): void { unary<f64>(SQUARE, args, first, last); }
export function unary_reciprocal_f64(args: usize, first: i32, last: i32): void { unary<f64>(RECIPROCAL, args, first, last); }
export function unary_sqrt_f64(args: usize, first: i32, last: i32): void { unary<f64>(SQRT, args, first, last); }
export function unary_exp_f64(args: usize, first: i32, last: i32): void { unary<f64>(EXP, args, first, last); }
export function unary_expm1_f64(args: usize, first: i32, last: i32): void { unary<f64>(EXPM1, args, first, last); }
export function unary_log_f64(args: usize, first: i32, last: i32): void { unary<f64>(LOG, args, first, last); }
export function unary_log1p_f64(args: usize, first: i32, last: i32): void { unary<f64>(LOG1P, args, first, last); }
export function unary_sin_f64(args: usize, first: i32, last: i32): void { unary<f64>(SIN, args, first, last); }
export function unary_cos_f64(args: usize, first: i32, last: i32): void { unary<f64>(COS, args, first, last); }
export function unary_tanh_f64(args: usize, first: i32, last: i32): void { unary<f64>(TANH, args, first, last); }
export function unary_sigmoid_f64(args: usize, first: i32, last: i32): void { unary<f64>(SIGMOID, args, first, last); }
export function unary_erf_f64(args: usize, first: i32, last: i32): void { unary<f64>(ERF, args, first, last); }
export function unary_relu_f64(args: usize, first: i32, last: i32): void { unary<f64>(RELU, args, first, last); }
export function unary_floor_f64(args: usize, first: i32, last: i32): void { unary<f64>(FLOOR, args, first, last); }
export function unary_ceil_f64(args: usize, first: i32, last: i32): void { unary<f64>(CEIL, args, first, last); }
export function unary_round_f64(args: usize, first: i32, last: i32): void { unary<f64>(ROUND, args, first, last); }
export function unary_neg_i32(args: usize, first: i32, last: i32): void { unary<i32>(NEG, args, first, last); }
export function unary_abs_i32(args: usize, first: i32, last: i32): void { unary<i32>(ABS, args, first, last); }
export function unary_sign_i32(args: usize, first: i32, last: i32): void { unary<i32>(SIGN, args, first, last); }
export function unary_square_i32(args: usize, first: i32, last: i32): void { unary<i32>(SQUARE, args, first, last); }
export function unary_relu_i32(args: usize, first: i32, last: i32): void { unary<i32>(RELU, args, first, last); }

export function binary_add_f32(args: usize, first: i32, last: i32): void { binary<f32>(ADD, args, first, last); }
export function binary_sub_f32(args: usize, first: i32, last: i32): void { binary<f32>(SUB, args, first, last); }
export function binary_mul_f32(args: usize, first: i32, last: i32): void { binary<f32>(MUL, args, first, last); }
export function binary_div_f32(args: usize, first: i32, last: i32): void { binary<f32>(DIV, args, first, last); }
export function binary_pow_f32(args: usize, first: i32, last: i32): void { binary<f32>(POW, args, first, last); }
export function binary_maximum_f32(args: usize, first: i32, last: i32): void { binary<f32>(MAXIMUM, args, first, last); }
export function binary_minimum_f32(args: usize, first: i32, last: i32): void { binary<f32>(MINIMUM, args, first, last); }
export function binary_add_f64(args: usize, first: i32, last: i32): void { binary<f64>(ADD, args, first, last); }
export function binary_sub_f64(args: usize, first: i32, last: i32): void { binary<f64>(SUB, args, first, last); }
export function binary_mul_f64(args: usize, first: i32, last: i32): void { binary<f64>(MUL, args, first, last); }
export function binary_div_f64(args: usize, first: i32, last: i32): void { binary<f64>(DIV, args, first, last); }
export function binary_pow_f64(args: usize, first: i32, last: i32): void { binary<f64>(POW, args, first, last); }
export function binary_maximum_f64(args: usize, first: i32, last: i32): void { binary<f64>(MAXIMUM, args, first, last); }
export function binary_minimum_f64(args: usize, first: i32, last: i32): void { binary<f64>(MINIMUM, args, first, last); }
export function binary_add_i32(args: usize, first: i32, last: i32): void { binary<i32>(ADD, args, first, last); }
export function binary_sub_i32(args: usize, first: i32, last: i32): void { binary<i32>(SUB, args, first, last); }
export function binary_mul_i32(args: usize, first: i32, last: i32): void { binary<i32>(MUL, args, first, last); }
export function binary_maximum_i32(args: usize, first: i32, last: i32): void { binary<i32>(MAXIMUM, args, first, last); }
export function binary_minimum_i32(args: usize, first: i32, last: i32): void { binary<i32>(MINIMUM, args, first, last); }

export function compare_eq_f32(args: usize, first: i32, last: i32): void { compare<f32>(EQ, args, first, last); }
export function compare_ne_f32(args: usize, first: i32, last: i32): void { compare<f32>(NE, args, first, last); }
export function compare_lt_f32(args: usize, first: i32, last: i32): void { compare<f32>(LT, args, first, last); }
export function compare_le_f32(args: usize, first: i32, last: i32): void { compare<f32>(LE, args, first, last); }
export function compare_gt_f32(args: usize, first: i32, last: i32): void { compare<f32>(GT, args, first, last); }
export function compare_ge_f32(args: usize, first: i32, last: i32): void { compare<f32>(GE, args, first, last); }
export function compare_eq_f64(args: usize, first: i32, last: i32): void { compare<f64>(EQ, args, first, last); }
export function compare_ne_f64(args: usize, first: i32, last: i32): void { compare<f64>(NE, args, first, last); }
export function compare_lt_f64(args: usize, first: i32, last: i32): void { compare<f64>(LT, args, first, last); }
export function compare_le_f64(args: usize, first: i32, last: i32): void { compare<f64>(LE, args, first, last); }
export function compare_gt_f64(args: usize, first: i32, last: i32): void { compare<f64>(GT, args, first, last); }
export function compare_ge_f64(args: usize, first: i32, last: i32): void { compare<f64>(GE, args, first, last); }
export function compare_eq_i32(args: usize, first: i32, last: i32): void { compare<i32>(EQ, args, first, last); }
export function compare_ne_i32(args: usize, first: i32, last: i32): void { compare<i32>(NE, args, first, last); }
export function compare_lt_i32(args: usize, first: i32, last: i32): void { compare<i32>(LT, args, first, last); }
export function compare_le_i32(args: usize, first: i32, last: i32): void { compare<i32>(LE, args, first, last); }
export function compare_gt_i32(args: usize, first: i32, last: i32): void { compare<i32>(GT, args, first, last); }
export function compare_ge_i32(args: usize, first: i32, last: i32): void { compare<i32>(GE, args, first, last); }
export function compare_eq_u8(args: usize, first: i32, last: i32): void { compare<u8>(EQ, args, first, last); }
export function compare_ne_u8(args: usize, first: i32, last: i32): void { compare<u8>(NE, args, first, last); }
export function compare_lt_u8(args: usize, first: i32, last: i32): void { compare<u8>(LT, args, first, last); }
export function compare_le_u8(args: usize, first: i32, last: i32): void { compare<u8>(LE, args, first, last); }
export function compare_gt_u8(args: usize, first: i32, last: i32): void { compare<u8>(GT, args, first, last); }
export function compare_ge_u8(args: usize, first: i32, last: i32): void { compare<u8>(GE, args, first, last); }

export function where_8(args: usize, first: i32, last: i32): void { where<u8>(args, first, last); }
export function where_32(args: usize, first: i32, last: i32): void { where<i32>(args, first, last); }
export function where_64(args: usize, first: i32, last: i32): void { where<i64>(args, first, last); }
