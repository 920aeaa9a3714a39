/** Exercise 6.2: a loss that contains a gradient. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns Σᵢ (∂f/∂xᵢ)² as a tensor without dims. Backward from it reaches the parameters that f reads.
 * f maps x to a tensor without dims. x [n] requires a gradient.
 */
export function gradientPenalty(f: (x: Tensor) => Tensor, x: Tensor): Tensor {
  return notWritten(f, x);
}
