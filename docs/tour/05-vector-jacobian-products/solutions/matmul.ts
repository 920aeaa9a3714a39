import type { Tensor } from 'chainrule';

/** Returns the gradients of a and b for y = a.matmul(b). */
export function matmulBackward(g: Tensor, a: Tensor, b: Tensor): [Tensor, Tensor] {
  return [g.matmul(b.transpose(0, 1)), a.transpose(0, 1).matmul(g)];
}
