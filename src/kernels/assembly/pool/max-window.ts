/**
 * Parts of max pooling that vectors of channels and vectors of windows share: comparisons with indices, and the exact computation of a
 * window.
 */
import { lanes } from '../simd/vector';

/** a + b for integers as wide as an element of T. */
// @ts-ignore: decorator
@inline
export function plus<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? v128.add<i32>(a, b) : v128.add<i64>(a, b);
}

/** The mask of lanes in which a and b have the same bits. */
// @ts-ignore: decorator
@inline
export function same<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? v128.eq<i32>(a, b) : v128.eq<i64>(a, b);
}

/** The larger of two integers ≥ 0, as wide as an element of T. 64-bit integers have the order of the float64 numbers with the same bits. */
// @ts-ignore: decorator
@inline
export function later<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? v128.max<i32>(a, b) : v128.pmax<f64>(a, b);
}

/** Stores integers as wide as an element of T as int32. */
// @ts-ignore: decorator
@inline
export function storeIndex<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 4) v128.store(p, v);
  else v128.store64_lane(p, v128.shuffle<i32>(v, v, 0, 2, 0, 2), 0);
}

// @ts-ignore: decorator
@inline
export function hasNaN<T>(v: v128): bool {
  return v128.bitmask<i32>(v128.ne<T>(v, v)) != 0;
}

/** The new index of the maximum: `here` where v is larger than best, else `where`. Taps are visited in ascending order of index. */
// @ts-ignore: decorator
@inline
export function moved<T>(where: v128, here: v128, v: v128, best: v128): v128 {
  return later<T>(where, v128.andnot(here, v128.le<T>(v, best)));
}

/** a + b + c + d */
// @ts-ignore: decorator
@inline
export function sum4<T>(a: v128, b: v128, c: v128, d: v128): v128 {
  return v128.add<T>(v128.add<T>(a, b), v128.add<T>(c, d));
}

/**
 * Returns the index of the maximum y of a, b and, below them, c, d. t is the maximum of a and b, u that of c and d. `at` is the index
 * after a's, `below` the index after c's: a true comparison is −1.
 */
// @ts-ignore: decorator
@inline
export function place<T>(at: v128, below: v128, a: v128, c: v128, t: v128, u: v128, y: v128): v128 {
  return later<T>(plus<T>(at, same<T>(t, a)), v128.andnot(plus<T>(below, same<T>(u, c)), same<T>(y, t)));
}

/** One window of one channel. The last NaN takes precedence. A window without taps has maximum −∞ and index `position`. */
export function maxExact<T>(
  x: usize, rows: i32, down: usize, taps: i32, right: usize, position: i32, indexDown: i32, indexRight: i32, y: usize, index: usize,
): void {
  let best = -<T>Infinity;
  let where = position;
  for (let i = 0; i < rows; i++, x += down, position += indexDown) {
    let tap = x;
    for (let j = 0; j < taps; j++, tap += right) {
      const v = load<T>(tap);
      if (v > best || v != v) {
        best = v;
        where = position + j * indexRight;
      }
    }
  }
  store<T>(y, best);
  store<i32>(index, where);
}
