/** Exercise 9.2: from the gradient of the scaled image to that of the gates. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns the gradient of u [N,C], where s = σ(u) [N,C] are the gates, y = x · s with each gate repeated over H and W,
 * and g is the gradient of y. x, y and g are [N,C,H,W].
 */
export function gateBackward(g: Tensor, x: Tensor, s: Tensor): Tensor {
  return notWritten(g, x, s);
}
