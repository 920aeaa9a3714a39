/**
 * The one-dimensional transforms of Winograd's F(4, 3). y = Aᵀ((G w) ⊙ (Bᵀ d)) computes the 4 outputs of a 3-tap correlation of 6 inputs
 * with 6 multiplications instead of 12. A two-dimensional transform applies one along each axis. The weight gradient needs the adjoint of
 * each transform, which is its transpose.
 *
 * The algorithm multiplies polynomials by their values at the points 0, ±a, ±b, ∞. With a = 5/8 and b = 3/2, rounding errors are about half
 * those of the usual 1 and 2, and smaller than at the other pairs tried. All powers used are exact in binary.
 *
 * Each function loads vectors from the given pointers, or every `s` bytes from p on, and stores every `t` bytes from q on. Operations are
 * ordered to keep few vectors alive: V8 has 15 registers for them. Functions with a parameter `vectors` do the same for the right-hand
 * neighbours of all vectors where it is 2; these have capital letters. That halves the bookkeeping and forms the pairs of 256-bit code.
 */
import { mulAdd, putSome } from '../simd/vector';

const a: f64 = 0.625;
const b: f64 = 1.5;
/** 1 / ∏(p − q) over the other finite points q, for p = 0, ±a, ±b. */
const n0: f64 = 1.0 / (a * a * b * b);
const na: f64 = 1.0 / (2.0 * a * a * (a * a - b * b));
const nb: f64 = 1.0 / (2.0 * b * b * (b * b - a * a));

/**
 * The numbers by which lines multiply. They are loaded where they are used: V8 computes constant vectors again at each use (see simd/math.ts).
 */
const FACTORS_F32: usize = memory.data<f32>([
  <f32>a, <f32>b, <f32>(a * a), <f32>(b * b), <f32>(-a * a), <f32>(-b * b), <f32>(a * a * a), <f32>(b * b * b),
]);
const FACTORS_F64: usize = memory.data<f64>([a, b, a * a, b * b, -a * a, -b * b, a * a * a, b * b * b]);
/** Their indices: a, b, their squares, the squares' negatives, and their cubes. */
const A = 0, B = 1, A2 = 2, B2 = 3, MINUS_A2 = 4, MINUS_B2 = 5, A3 = 6, B3 = 7;

/** Returns the factor at index i in each lane. */
// @ts-ignore: decorator
@inline
function factor<T>(i: usize): v128 {
  return sizeof<T>() == 4 ? v128.load32_splat(FACTORS_F32 + 4 * i) : v128.load64_splat(FACTORS_F64 + 8 * i);
}

// @ts-ignore: decorator
@inline
function times<T>(v: v128, c: f64): v128 {
  return v128.mul<T>(v, v128.splat<T>(<T>c));
}

/** Stores a vector, and before it its neighbour where `vectors` is 2, for the reason given at putRow. */
// @ts-ignore: decorator
@inline
function put2(vectors: i32, q: usize, v: v128, w: v128): void {
  if (vectors > 1) v128.store(q, w, 16);
  v128.store(q, v);
}

/** Loads the right-hand neighbour of the vector v at p where `vectors` is 2; otherwise returns v, which is not used. */
// @ts-ignore: decorator
@inline
function right(vectors: i32, p: usize, v: v128): v128 {
  return vectors > 1 ? v128.load(p, 16) : v;
}

/** Bᵀ d: the rows are ∏(x − q) over the other finite points q; the last row is over all of them. */
// @ts-ignore: decorator
@inline
export function inputLine<T>(
  vectors: i32, p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, q: usize, t: usize,
): void {
  const minusA2 = factor<T>(MINUS_A2), minusB2 = factor<T>(MINUS_B2), ca = factor<T>(A), cb = factor<T>(B);
  const d1 = v128.load(p1), D1 = right(vectors, p1, d1);
  const d3 = v128.load(p3), D3 = right(vectors, p3, d3);
  let f = mulAdd<T>(d1, minusB2, d3), F = mulAdd<T>(D1, minusB2, D3);
  const h = v128.mul<T>(mulAdd<T>(d1, minusA2, d3), cb), H = v128.mul<T>(mulAdd<T>(D1, minusA2, D3), cb);
  const d5 = v128.load(p5), D5 = right(vectors, p5, d5);
  const part = mulAdd<T>(d3, minusB2, d5), PART = mulAdd<T>(D3, minusB2, D5);
  put2(vectors, q + 5 * t, mulAdd<T>(f, minusA2, part), mulAdd<T>(F, minusA2, PART));
  f = v128.mul<T>(f, ca);
  F = v128.mul<T>(F, ca);
  const d2 = v128.load(p2), D2 = right(vectors, p2, d2);
  const d4 = v128.load(p4), D4 = right(vectors, p4, d4);
  const e = mulAdd<T>(d2, minusB2, d4), E = mulAdd<T>(D2, minusB2, D4);
  const g = mulAdd<T>(d2, minusA2, d4), G = mulAdd<T>(D2, minusA2, D4);
  put2(vectors, q + t, v128.add<T>(e, f), v128.add<T>(E, F));
  put2(vectors, q + 2 * t, v128.sub<T>(e, f), v128.sub<T>(E, F));
  put2(vectors, q + 3 * t, v128.add<T>(g, h), v128.add<T>(G, H));
  put2(vectors, q + 4 * t, v128.sub<T>(g, h), v128.sub<T>(G, H));
  const d0 = v128.load(p0), D0 = right(vectors, p0, d0);
  const k = mulAdd<T>(d0, minusB2, d2), K = mulAdd<T>(D0, minusB2, D2);
  put2(vectors, q, mulAdd<T>(k, minusA2, e), mulAdd<T>(K, minusA2, E));
}

/** G w: the rows are [1, p, p²] · 1/∏(p − q); the last row is [0, 0, 1]. */
// @ts-ignore: decorator
@inline
export function weightLine<T>(p: usize, s: usize, q: usize, t: usize): void {
  const w0 = v128.load(p);
  const w1 = v128.load(p + s);
  const w2 = v128.load(p + 2 * s);
  const e = v128.add<T>(times<T>(w0, na), times<T>(w2, na * a * a));
  const f = times<T>(w1, na * a);
  const g = v128.add<T>(times<T>(w0, nb), times<T>(w2, nb * b * b));
  const h = times<T>(w1, nb * b);
  v128.store(q, times<T>(w0, n0));
  v128.store(q + t, v128.add<T>(e, f));
  v128.store(q + 2 * t, v128.sub<T>(e, f));
  v128.store(q + 3 * t, v128.add<T>(g, h));
  v128.store(q + 4 * t, v128.sub<T>(g, h));
  v128.store(q + 5 * t, w2);
}

/** Aᵀ m. Row i of Aᵀ holds pⁱ for each point p; the last row also has a 1 for ∞. */
// @ts-ignore: decorator
@inline
export function outputLine<T>(vectors: i32, p: usize, s: usize, q: usize, t: usize): void {
  const m1 = v128.load(p + s), M1 = right(vectors, p + s, m1), m2 = v128.load(p + 2 * s), M2 = right(vectors, p + 2 * s, m2);
  const s1 = v128.add<T>(m1, m2), S1 = v128.add<T>(M1, M2), t1 = v128.sub<T>(m1, m2), T1 = v128.sub<T>(M1, M2);
  const m3 = v128.load(p + 3 * s), M3 = right(vectors, p + 3 * s, m3), m4 = v128.load(p + 4 * s), M4 = right(vectors, p + 4 * s, m4);
  const s2 = v128.add<T>(m3, m4), S2 = v128.add<T>(M3, M4), t2 = v128.sub<T>(m3, m4), T2 = v128.sub<T>(M3, M4);
  const m0 = v128.load(p), M0 = right(vectors, p, m0);
  put2(vectors, q, v128.add<T>(m0, v128.add<T>(s1, s2)), v128.add<T>(M0, v128.add<T>(S1, S2)));
  const ca = factor<T>(A), cb = factor<T>(B), a2 = factor<T>(A2), b2 = factor<T>(B2), a3 = factor<T>(A3), b3 = factor<T>(B3);
  let z = v128.mul<T>(t2, cb), Z = v128.mul<T>(T2, cb);
  put2(vectors, q + t, mulAdd<T>(t1, ca, z), mulAdd<T>(T1, ca, Z));
  z = v128.mul<T>(s2, b2);
  Z = v128.mul<T>(S2, b2);
  put2(vectors, q + 2 * t, mulAdd<T>(s1, a2, z), mulAdd<T>(S1, a2, Z));
  z = v128.mul<T>(t2, b3);
  Z = v128.mul<T>(T2, b3);
  const cube = mulAdd<T>(t1, a3, z), CUBE = mulAdd<T>(T1, a3, Z);
  const m5 = v128.load(p + 5 * s), M5 = right(vectors, p + 5 * s, m5);
  put2(vectors, q + 3 * t, v128.add<T>(cube, m5), v128.add<T>(CUBE, M5));
}

/** Stores `columns` lanes of the first `count` results of outputLine, for one vector. Overwrites the values it loads. */
export function outputEnd<T>(p: usize, s: usize, q: usize, t: usize, count: i32, columns: i32): void {
  outputLine<T>(1, p, s, p, s);
  for (let i = 0; i < min(4, count); i++) putSome<T>(q + <usize>i * t, v128.load(p + <usize>i * s), columns, false);
}

/** A g: the adjoint of outputLine, the values of the polynomial g at the points. */
// @ts-ignore: decorator
@inline
export function gradientLine<T>(vectors: i32, p0: usize, p1: usize, p2: usize, p3: usize, q: usize, t: usize): void {
  const ca = factor<T>(A), cb = factor<T>(B), a2 = factor<T>(A2), b2 = factor<T>(B2);
  const g1 = v128.load(p1), G1 = right(vectors, p1, g1), g3 = v128.load(p3), G3 = right(vectors, p3, g3);
  put2(vectors, q + 5 * t, g3, G3);
  const f = v128.mul<T>(mulAdd<T>(g3, a2, g1), ca), F = v128.mul<T>(mulAdd<T>(G3, a2, G1), ca);
  const h = v128.mul<T>(mulAdd<T>(g3, b2, g1), cb), H = v128.mul<T>(mulAdd<T>(G3, b2, G1), cb);
  const g0 = v128.load(p0), G0 = right(vectors, p0, g0), g2 = v128.load(p2), G2 = right(vectors, p2, g2);
  put2(vectors, q, g0, G0);
  const e = mulAdd<T>(g2, a2, g0), E = mulAdd<T>(G2, a2, G0);
  put2(vectors, q + t, v128.add<T>(e, f), v128.add<T>(E, F));
  put2(vectors, q + 2 * t, v128.sub<T>(e, f), v128.sub<T>(E, F));
  const g = mulAdd<T>(g2, b2, g0), G = mulAdd<T>(G2, b2, G0);
  put2(vectors, q + 3 * t, v128.add<T>(g, h), v128.add<T>(G, H));
  put2(vectors, q + 4 * t, v128.sub<T>(g, h), v128.sub<T>(G, H));
}

/** Gᵀ m: the adjoint of weightLine. */
// @ts-ignore: decorator
@inline
export function weightGradLine<T>(p: usize, s: usize, q: usize, t: usize): void {
  const m1 = v128.load(p + s), m2 = v128.load(p + 2 * s);
  const s1 = times<T>(v128.add<T>(m1, m2), na), t1 = times<T>(v128.sub<T>(m1, m2), na * a);
  const m3 = v128.load(p + 3 * s), m4 = v128.load(p + 4 * s);
  const s2 = times<T>(v128.add<T>(m3, m4), nb), t2 = times<T>(v128.sub<T>(m3, m4), nb * b);
  const last = v128.load(p + 5 * s);
  v128.store(q, v128.add<T>(times<T>(v128.load(p), n0), v128.add<T>(s1, s2)));
  v128.store(q + t, v128.add<T>(t1, t2));
  v128.store(q + 2 * t, v128.add<T>(v128.add<T>(times<T>(s1, a * a), times<T>(s2, b * b)), last));
}
