/**
 * The elements of batch norm with and without a ReLU: y = x·s − t, and its gradient. If `relu`, batch norm is followed by a ReLU.
 */

/** max(x·s − t, floor). pmax is a single instruction and propagates a NaN in its first operand. */
// @ts-ignore: decorator
@inline
export function raised<T>(x: v128, s: v128, t: v128, floor: v128): v128 {
  return v128.pmax<T>(v128.sub<T>(v128.mul<T>(x, s), t), floor);
}

/** As raised, for a number. */
// @ts-ignore: decorator
@inline
export function raisedNumber<T>(x: T, s: T, t: T, floor: T): T {
  const y = x * s - t;
  return y < floor ? floor : y;
}

/**
 * The gradient of batch norm's output: g, or 0 where a ReLU follows and y = x·s − t is neither above 0 nor a NaN. For a finite t, the rounded y
 * is ≤ 0 exactly where x·s ≤ t.
 */
// @ts-ignore: decorator
@inline
export function outputGrad<T>(relu: bool, g: v128, x: v128, s: v128, t: v128): v128 {
  return relu ? v128.andnot(g, v128.le<T>(v128.mul<T>(x, s), t)) : g;
}

/** As outputGrad, for a number. */
// @ts-ignore: decorator
@inline
export function outputGradNumber<T>(relu: bool, g: T, x: T, s: T, t: T): T {
  return relu && x * s <= t ? <T>0 : g;
}

/** The gradient of batch norm's input: g·s + (b + x·k), with outputGrad of g. */
// @ts-ignore: decorator
@inline
export function inputGrad<T>(relu: bool, g: v128, x: v128, s: v128, t: v128, k: v128, b: v128): v128 {
  return v128.add<T>(v128.mul<T>(outputGrad<T>(relu, g, x, s, t), s), v128.add<T>(b, v128.mul<T>(x, k)));
}

/** As inputGrad, for a number. */
// @ts-ignore: decorator
@inline
export function inputGradNumber<T>(relu: bool, g: T, x: T, s: T, t: T, k: T, b: T): T {
  return outputGradNumber<T>(relu, g, x, s, t) * s + (x * k + b);
}
