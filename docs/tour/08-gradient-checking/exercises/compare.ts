/** Exercise 8.2: comparing two gradients. */
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns whether two gradients agree: they are equally long, and |a − b| ≤ atol + rtol·|b| holds for all elements a of
 * `analytic` and b of `numeric`. NaN agrees with nothing.
 */
export function agrees(analytic: readonly number[], numeric: readonly number[], atol: number, rtol: number): boolean {
  return notWritten(analytic, numeric, atol, rtol);
}
