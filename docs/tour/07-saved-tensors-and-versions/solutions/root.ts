import { type Tensor, defineOp } from 'chainrule';

/** y = √x.   ∂x = g / (2y) */
export const root = defineOp({
  name: 'root',
  forward: (_kernels, x: Tensor) => x.sqrt(),
  save: (_needs, _args, [y]) => ({ y }),
  backward: (g, { y }) => [g.div(y.mul(2))],
});
