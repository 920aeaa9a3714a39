import { type Tensor, eye, stack } from 'chainrule';

/** Returns the Jacobian of a function, row by row: gᵀJ is row i of J where g is row i of the identity matrix. */
export function jacobianOf(vjp: (g: Tensor) => Tensor, m: number): Tensor {
  const identity = eye(m, m, { dtype: 'float64' });
  return stack(Array.from({ length: m }, (_, i) => vjp(identity.select(0, i))));
}
