/**
 * Which taps of a convolution read inside the image along one axis; see ConvGeometry.
 */

/** The first tap that reads an input of at least 0, where tap 0 reads input `at`. */
// @ts-ignore: decorator
@inline
export function firstTap(at: i32, tapStep: i32): i32 {
  return at >= 0 ? 0 : (tapStep - 1 - at) / tapStep;
}

/** One past the last tap that reads inside 0 … size − 1, where tap 0 reads input `at`. */
// @ts-ignore: decorator
@inline
export function endTap(at: i32, tapStep: i32, taps: i32, size: i32): i32 {
  return at >= size ? 0 : min(taps, (size - at + tapStep - 1) / tapStep);
}

/** The first output position p ≥ 0 whose input start + p·step is at least `least`. */
// @ts-ignore: decorator
@inline
export function firstAtLeast(least: i32, start: i32, step: i32): i32 {
  return start >= least ? 0 : (least - start + step - 1) / step;
}
