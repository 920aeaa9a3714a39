/** Exercise 6.3: a Hessian times a vector. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns H v [n], where H[i,j] = ∂²f/∂xᵢ∂xⱼ, with two backwards and without H.
 * f maps x to a tensor without dims. x [n] requires a gradient, and v [n] does not.
 */
export function hessianVector(f: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Tensor {
  return notWritten(f, x, v);
}
