/**
 * Reference elementwise kernels and random numbers.
 */
import type { DType } from '../../core/dtype.ts';
import { threefry, uniform24, uniform53 } from '../../core/random.ts';
import { sizeOf } from '../../core/shape.ts';
import { erf } from './erf.ts';
import type { BinaryOp, CompareOp, Kernels, UnaryOp } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import { at, forEachIndex } from './strided.ts';

/** Rounds half to even: 0.5 → 0, 1.5 → 2, −2.5 → −2. */
function round(x: number): number {
  const r = Math.round(x); // half up
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** 1 / (1 + e^−x), written so that the exponential does not overflow. */
function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

/** C's pow: 1 to any power, NaN included, is 1, and (−1)^±∞ = 1. JavaScript returns NaN in these cases. */
function pow(a: number, b: number): number {
  return a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b;
}

const UNARY: Record<UnaryOp, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  square: (x) => x * x,
  reciprocal: (x) => 1 / x,
  sqrt: Math.sqrt,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  erf,
  relu: (x) => Math.max(x, 0),
  floor: Math.floor,
  ceil: Math.ceil,
  round,
};

const BINARY: Record<BinaryOp, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow,
  maximum: Math.max,
  minimum: Math.min,
  reluGrad: (g, y) => (y <= 0 ? 0 : g),
  sigmoidGrad: (g, y) => g * y * (1 - y),
  tanhGrad: (g, y) => g * (1 - y * y),
};

const COMPARE: Record<CompareOp, (a: number, b: number) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

/** Converts a number to `dtype`, except that storing it rounds to float32 and turns NaN into int32 0. */
function convert(x: number, dtype: DType): number {
  if (dtype === 'bool') return x !== 0 ? 1 : 0;
  if (dtype === 'int32') return Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));
  return x;
}

/** int32 products need all 64 bits before they wrap, but a float64 product has 53. The other operations are exact in float64. */
function binaryOf(op: BinaryOp, dtype: DType): (a: number, b: number) => number {
  return op === 'mul' && dtype === 'int32' ? Math.imul : BINARY[op];
}

function unaryOf(op: UnaryOp, dtype: DType): (x: number) => number {
  return op === 'square' && dtype === 'int32' ? (x) => Math.imul(x, x) : UNARY[op];
}

export const elementwise: Pick<Kernels, 'fill' | 'copy' | 'unary' | 'binary' | 'compare' | 'where' | 'uniform'> = {
  /** y = value */
  fill(value, y) {
    const Y = viewOf(y.dtype);
    const element = convert(value, y.dtype);
    forEachIndex(y.shape, [at(y)], (j) => (Y[j] = element));
  },

  /** y = x in y's dtype */
  copy(x, y) {
    const X = viewOf(x.dtype);
    const Y = viewOf(y.dtype);
    forEachIndex(y.shape, [at(x), at(y)], (i, j) => (Y[j] = convert(X[i]!, y.dtype)));
  },

  /** y = f(x) */
  unary(op, x, y) {
    const f = unaryOf(op, y.dtype);
    const X = viewOf(x.dtype);
    const Y = viewOf(y.dtype);
    forEachIndex(y.shape, [at(x), at(y)], (i, j) => (Y[j] = f(X[i]!)));
  },

  /** y = f(a, b) */
  binary(op, a, b, y) {
    const f = binaryOf(op, y.dtype);
    const A = viewOf(a.dtype);
    const B = viewOf(b.dtype);
    const Y = viewOf(y.dtype);
    forEachIndex(y.shape, [at(a), at(b), at(y)], (i, j, k) => (Y[k] = f(A[i]!, B[j]!)));
  },

  /** y = a ∘ b, 0 or 1 */
  compare(op, a, b, y) {
    const f = COMPARE[op];
    const A = viewOf(a.dtype);
    const B = viewOf(b.dtype);
    const Y = viewOf(y.dtype);
    forEachIndex(y.shape, [at(a), at(b), at(y)], (i, j, k) => (Y[k] = f(A[i]!, B[j]!) ? 1 : 0));
  },

  /** y = c ? a : b */
  where(c, a, b, y) {
    const C = viewOf(c.dtype);
    const A = viewOf(a.dtype);
    const B = viewOf(b.dtype);
    const Y = viewOf(y.dtype);
    forEachIndex(y.shape, [at(c), at(a), at(b), at(y)], (h, i, j, k) => (Y[k] = C[h] !== 0 ? A[i]! : B[j]!));
  },

  /** y[i] = 24 bits (float32) or 53 bits (float64) of threefry(key, (i, stream)) as a fraction */
  uniform(key, stream, y) {
    const Y = viewOf(y.dtype);
    const { start } = at(y);
    const n = sizeOf(y.shape);
    for (let i = 0; i < n; i++) {
      const [a, b] = threefry(key[0], key[1], i, stream);
      Y[start + i] = y.dtype === 'float64' ? uniform53(a, b) : uniform24(a);
    }
  },
};
