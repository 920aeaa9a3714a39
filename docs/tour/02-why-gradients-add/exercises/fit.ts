/** Exercise 2.3: gradient descent with your engine. */
import { type Value, backward, mul, power, sub, value } from '../../01-scalar-engine/exercises/engine.ts';
import { notWritten } from '../../support/exercise.ts';

/** (w·x − y)², the loss of one point. */
export function lossOf(w: Value, x: number, y: number): Value {
  return power(sub(mul(w, value(x)), value(y)), 2);
}

/**
 * Returns w after `steps` steps of gradient descent on the loss of all points, Σᵢ (w·xᵢ − yᵢ)². The first w is 0.
 * Each step calls `backward` once for each point, and then subtracts rate · w.grad from w.data.
 */
export function fit(xs: readonly number[], ys: readonly number[], steps: number, rate: number): number {
  return notWritten(xs, ys, steps, rate, backward);
}
