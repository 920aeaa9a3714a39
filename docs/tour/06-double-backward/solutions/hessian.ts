import { type Tensor, grad } from 'chainrule';

/** Returns H v: the gradient of (gradient of f) · v, as v is a constant. */
export function hessianVector(f: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Tensor {
  const gradient = grad(f(x), x, { createGraph: true });
  return grad(gradient.dot(v), x);
}
