/** Exercise 10.3: Winograd's F(2, 3). */
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns [d₀w₀ + d₁w₁ + d₂w₂, d₁w₀ + d₂w₁ + d₃w₂] with four calls of `times`, which multiplies two numbers.
 * Other operations are additions, subtractions and divisions by 2.
 */
export function winograd(
  d: readonly [number, number, number, number],
  w: readonly [number, number, number],
  times: (a: number, b: number) => number,
): [number, number] {
  return notWritten(d, w, times);
}
