import type { Tensor } from 'chainrule';

/** Returns the gradient of x for y = softmax(x). */
export function softmaxBackward(g: Tensor, y: Tensor): Tensor {
  return y.mul(g.sub(g.mul(y).sum()));
}
