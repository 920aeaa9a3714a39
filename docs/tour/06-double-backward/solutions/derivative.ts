import { type Tensor, grad, tensor } from 'chainrule';

/** Returns the n-th derivative of f at x. */
export function nthDerivative(f: (x: Tensor) => Tensor, x: number, n: number): number {
  const at = tensor(x, { dtype: 'float64', requiresGrad: true });
  let y = f(at);
  for (let order = 0; order < n; order++) y = grad(y, at, { createGraph: true });
  return y.item();
}
