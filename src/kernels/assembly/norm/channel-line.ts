/**
 * The elements of batch norm with and without a ReLU: y = x·s − t, and its gradient.
 */

/** max(x·s − t, floor). pmax is a single instruction and propagates a NaN in its first operand. */
// @ts-ignore: decorator
@inline
export function raised<T>(x: v128, s: v128, t: v128, floor: v128): v128 {
  return v128.pmax<T>(v128.sub<T>(v128.mul<T>(x, s), t), floor);
}

/** A ReLU's gradient: g where y = x·s − t is above 0 or a NaN, else 0. For a finite t, the rounded y is ≤ 0 exactly where x·s ≤ t. */
// @ts-ignore: decorator
@inline
export function passed<T>(g: v128, x: v128, s: v128, t: v128): v128 {
  return v128.andnot(g, v128.le<T>(v128.mul<T>(x, s), t));
}

/** As passed, for a number. */
// @ts-ignore: decorator
@inline
export function passedNumber<T>(g: T, x: T, s: T, t: T): T {
  return x * s <= t ? <T>0 : g;
}
