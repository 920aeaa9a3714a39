import type { Tensor } from 'chainrule';
import { sumTo } from './sum-to.ts';

/** Returns the gradients of a and b for y = a.mul(b). */
export function mulBackward(g: Tensor, a: Tensor, b: Tensor): [Tensor, Tensor] {
  return [sumTo(g.mul(b), a.shape), sumTo(g.mul(a), b.shape)];
}
