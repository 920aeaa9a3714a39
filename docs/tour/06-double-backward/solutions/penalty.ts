import { type Tensor, grad } from 'chainrule';

/** Returns the sum of the squares of the gradient of f at x, with its graph. */
export function gradientPenalty(f: (x: Tensor) => Tensor, x: Tensor): Tensor {
  return grad(f(x), x, { createGraph: true }).square().sum();
}
