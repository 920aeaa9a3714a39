/** Exercise 4.3: the gradients of a product whose factors broadcast. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';
import { sumTo } from './sum-to.ts';

/** Returns the gradients of a and b, where y = a.mul(b) and g is the gradient of y. Each has the shape of its tensor. */
export function mulBackward(g: Tensor, a: Tensor, b: Tensor): [Tensor, Tensor] {
  return notWritten(g, a, b, sumTo);
}
