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
import { putSome } from '../simd/vector';

const a: f64 = 0.625;
const b: f64 = 1.5;
/** 1 / ∏(p − q) over the other finite points q, for p = 0, ±a, ±b. */
const n0: f64 = 1.0 / (a * a * b * b);
const na: f64 = 1.0 / (2.0 * a * a * (a * a - b * b));
const nb: f64 = 1.0 / (2.0 * b * b * (b * b - a * a));

// @ts-ignore: decorator
@inline
function times<T>(v: v128, c: f64): v128 {
  return v128.mul<T>(v, v128.splat<T>(<T>c));
}

/** Stores a vector, and its neighbour where `vectors` is 2. */
// @ts-ignore: decorator
@inline
function put2(vectors: i32, q: usize, v: v128, w: v128): void {
  v128.store(q, v);
  if (vectors > 1) v128.store(q, w, 16);
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
  const d1 = v128.load(p1), D1 = right(vectors, p1, d1);
  const d3 = v128.load(p3), D3 = right(vectors, p3, d3);
  let f = v128.sub<T>(d3, times<T>(d1, b * b)), F = v128.sub<T>(D3, times<T>(D1, b * b));
  const h = times<T>(v128.sub<T>(d3, times<T>(d1, a * a)), b), H = times<T>(v128.sub<T>(D3, times<T>(D1, a * a)), b);
  const d5 = v128.load(p5), D5 = right(vectors, p5, d5);
  const last = v128.sub<T>(v128.sub<T>(d5, times<T>(d3, b * b)), times<T>(f, a * a));
  put2(vectors, q + 5 * t, last, v128.sub<T>(v128.sub<T>(D5, times<T>(D3, b * b)), times<T>(F, a * a)));
  f = times<T>(f, a);
  F = times<T>(F, a);
  const d2 = v128.load(p2), D2 = right(vectors, p2, d2);
  const d4 = v128.load(p4), D4 = right(vectors, p4, d4);
  const e = v128.sub<T>(d4, times<T>(d2, b * b)), E = v128.sub<T>(D4, times<T>(D2, b * b));
  const g = v128.sub<T>(d4, times<T>(d2, a * a)), G = v128.sub<T>(D4, times<T>(D2, a * a));
  put2(vectors, q + t, v128.add<T>(e, f), v128.add<T>(E, F));
  put2(vectors, q + 2 * t, v128.sub<T>(e, f), v128.sub<T>(E, F));
  put2(vectors, q + 3 * t, v128.add<T>(g, h), v128.add<T>(G, H));
  put2(vectors, q + 4 * t, v128.sub<T>(g, h), v128.sub<T>(G, H));
  const d0 = v128.load(p0), D0 = right(vectors, p0, d0);
  const first = v128.sub<T>(e, times<T>(v128.sub<T>(d2, times<T>(d0, b * b)), a * a));
  put2(vectors, q, first, v128.sub<T>(E, times<T>(v128.sub<T>(D2, times<T>(D0, b * b)), a * a)));
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
  put2(vectors, q + t, v128.add<T>(times<T>(t1, a), times<T>(t2, b)), v128.add<T>(times<T>(T1, a), times<T>(T2, b)));
  const square = v128.add<T>(times<T>(s1, a * a), times<T>(s2, b * b)), SQUARE = v128.add<T>(times<T>(S1, a * a), times<T>(S2, b * b));
  put2(vectors, q + 2 * t, square, SQUARE);
  const cube = v128.add<T>(times<T>(t1, a * a * a), times<T>(t2, b * b * b));
  const CUBE = v128.add<T>(times<T>(T1, a * a * a), times<T>(T2, b * b * b));
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
  const g1 = v128.load(p1), G1 = right(vectors, p1, g1), g3 = v128.load(p3), G3 = right(vectors, p3, g3);
  put2(vectors, q + 5 * t, g3, G3);
  const f = times<T>(v128.add<T>(g1, times<T>(g3, a * a)), a), F = times<T>(v128.add<T>(G1, times<T>(G3, a * a)), a);
  const h = times<T>(v128.add<T>(g1, times<T>(g3, b * b)), b), H = times<T>(v128.add<T>(G1, times<T>(G3, b * b)), b);
  const g0 = v128.load(p0), G0 = right(vectors, p0, g0), g2 = v128.load(p2), G2 = right(vectors, p2, g2);
  put2(vectors, q, g0, G0);
  const e = v128.add<T>(g0, times<T>(g2, a * a)), E = v128.add<T>(G0, times<T>(G2, a * a));
  put2(vectors, q + t, v128.add<T>(e, f), v128.add<T>(E, F));
  put2(vectors, q + 2 * t, v128.sub<T>(e, f), v128.sub<T>(E, F));
  const g = v128.add<T>(g0, times<T>(g2, b * b)), G = v128.add<T>(G0, times<T>(G2, b * b));
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
