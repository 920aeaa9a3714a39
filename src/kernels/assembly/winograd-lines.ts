/**
 * The one-dimensional transforms of Winograd's F(4, 3): y = Aᵀ((G w) ⊙ (Bᵀ d)) are the 4 outputs of a 3-tap correlation that reads
 * 6 inputs, with 6 multiplications instead of 12. Two dimensions are one after the other; the adjoint of each transform, which
 * the weight gradient needs, is its transpose.
 *
 * It multiplies polynomials by their values at the points 0, ±a, ±b, ∞. With a = 5/8 and b = 3/2 rounding errors are about half of
 * those of the usual 1 and 2, and less than at other pairs tried; all powers used are exact in binary.
 *
 * Each function reads vectors from the pointers or every `s` bytes from p on, and writes every `t` bytes from q on. They are ordered for
 * few live vectors: V8 has 15 registers for them.
 */
import { putSome } from './lanes';

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

/** Bᵀ d: rows ∏(x − q) over the other finite points q; the last over all of them. */
// @ts-ignore: decorator
@inline
export function inputLine<T>(p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, q: usize, t: usize): void {
  const d1 = v128.load(p1);
  const d3 = v128.load(p3);
  let f = v128.sub<T>(d3, times<T>(d1, b * b));
  const h = times<T>(v128.sub<T>(d3, times<T>(d1, a * a)), b);
  v128.store(q + 5 * t, v128.sub<T>(v128.sub<T>(v128.load(p5), times<T>(d3, b * b)), times<T>(f, a * a)));
  f = times<T>(f, a);
  const d2 = v128.load(p2);
  const d4 = v128.load(p4);
  const e = v128.sub<T>(d4, times<T>(d2, b * b));
  const g = v128.sub<T>(d4, times<T>(d2, a * a));
  v128.store(q + t, v128.add<T>(e, f));
  v128.store(q + 2 * t, v128.sub<T>(e, f));
  v128.store(q + 3 * t, v128.add<T>(g, h));
  v128.store(q + 4 * t, v128.sub<T>(g, h));
  v128.store(q, v128.sub<T>(e, times<T>(v128.sub<T>(d2, times<T>(v128.load(p0), b * b)), a * a)));
}

/** G w: rows [1, p, p²] · 1/∏(p − q), the last [0, 0, 1]. */
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

/** Writes result i of a line, of which the first `count` results and `columns` lanes are wanted; all of them where `whole`. */
// @ts-ignore: decorator
@inline
function put<T>(q: usize, v: v128, i: i32, count: i32, columns: i32, whole: bool): void {
  if (whole) v128.store(q, v);
  else if (i < count) putSome<T>(q, v, columns, false);
}

// @ts-ignore: decorator
@inline
function outputOf<T>(p: usize, s: usize, q: usize, t: usize, count: i32, columns: i32, whole: bool): void {
  const m1 = v128.load(p + s), m2 = v128.load(p + 2 * s);
  const s1 = v128.add<T>(m1, m2), t1 = v128.sub<T>(m1, m2);
  const m3 = v128.load(p + 3 * s), m4 = v128.load(p + 4 * s);
  const s2 = v128.add<T>(m3, m4), t2 = v128.sub<T>(m3, m4);
  put<T>(q, v128.add<T>(v128.load(p), v128.add<T>(s1, s2)), 0, count, columns, whole);
  put<T>(q + t, v128.add<T>(times<T>(t1, a), times<T>(t2, b)), 1, count, columns, whole);
  put<T>(q + 2 * t, v128.add<T>(times<T>(s1, a * a), times<T>(s2, b * b)), 2, count, columns, whole);
  const odd = v128.add<T>(times<T>(t1, a * a * a), times<T>(t2, b * b * b));
  put<T>(q + 3 * t, v128.add<T>(odd, v128.load(p + 5 * s)), 3, count, columns, whole);
}

/** Aᵀ m: row i is pⁱ, the last has 1 for ∞ in addition. */
// @ts-ignore: decorator
@inline
export function outputLine<T>(p: usize, s: usize, q: usize, t: usize): void {
  outputOf<T>(p, s, q, t, 4, 0, true);
}

/** The first `count` results of outputLine, and of them the first `columns` lanes. */
export function outputEnd<T>(p: usize, s: usize, q: usize, t: usize, count: i32, columns: i32): void {
  outputOf<T>(p, s, q, t, count, columns, false);
}

/** A g, the adjoint of outputLine: the values of the polynomial g at the points. */
// @ts-ignore: decorator
@inline
export function gradientLine<T>(p0: usize, p1: usize, p2: usize, p3: usize, q: usize, t: usize): void {
  const g1 = v128.load(p1), g3 = v128.load(p3);
  v128.store(q + 5 * t, g3);
  const f = times<T>(v128.add<T>(g1, times<T>(g3, a * a)), a);
  const h = times<T>(v128.add<T>(g1, times<T>(g3, b * b)), b);
  const g0 = v128.load(p0), g2 = v128.load(p2);
  v128.store(q, g0);
  const e = v128.add<T>(g0, times<T>(g2, a * a));
  v128.store(q + t, v128.add<T>(e, f));
  v128.store(q + 2 * t, v128.sub<T>(e, f));
  const g = v128.add<T>(g0, times<T>(g2, b * b));
  v128.store(q + 3 * t, v128.add<T>(g, h));
  v128.store(q + 4 * t, v128.sub<T>(g, h));
}

/** Gᵀ m, the adjoint of weightLine. */
// @ts-ignore: decorator
@inline
export function filterLine<T>(p: usize, s: usize, q: usize, t: usize): void {
  const m1 = v128.load(p + s), m2 = v128.load(p + 2 * s);
  const s1 = times<T>(v128.add<T>(m1, m2), na), t1 = times<T>(v128.sub<T>(m1, m2), na * a);
  const m3 = v128.load(p + 3 * s), m4 = v128.load(p + 4 * s);
  const s2 = times<T>(v128.add<T>(m3, m4), nb), t2 = times<T>(v128.sub<T>(m3, m4), nb * b);
  const last = v128.load(p + 5 * s);
  v128.store(q, v128.add<T>(times<T>(v128.load(p), n0), v128.add<T>(s1, s2)));
  v128.store(q + t, v128.add<T>(t1, t2));
  v128.store(q + 2 * t, v128.add<T>(v128.add<T>(times<T>(s1, a * a), times<T>(s2, b * b)), last));
}
