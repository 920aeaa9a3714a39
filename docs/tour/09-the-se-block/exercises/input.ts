/** Exercise 9.3: the gradient of the image, along both paths. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';
import { gateBackward } from './gate.ts';

/**
 * Returns the gradient of x [N,C,H,W] for y = squeezeExcite(x, W1, W2), where g is the gradient of y.
 * Written with tensor operations, without `backward` or `grad`.
 */
export function inputBackward(g: Tensor, x: Tensor, W1: Tensor, W2: Tensor): Tensor {
  return notWritten(g, x, W1, W2, gateBackward);
}
