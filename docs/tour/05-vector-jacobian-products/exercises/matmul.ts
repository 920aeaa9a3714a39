/** Exercise 5.1: the vector–Jacobian product of a matrix product. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/** Returns the gradients of a [n,k] and b [k,m], where y = a.matmul(b) and g [n,m] is the gradient of y. */
export function matmulBackward(g: Tensor, a: Tensor, b: Tensor): [Tensor, Tensor] {
  return notWritten(g, a, b);
}
