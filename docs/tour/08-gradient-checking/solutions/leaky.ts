import { type Tensor, defineOp, where } from 'chainrule';

/** y = x for x > 0, and 0.1·x otherwise. */
export const leaky = defineOp({
  name: 'leaky',
  forward: (_kernels, x: Tensor) => x.mul(x.gt(0).to(x.dtype).mul(0.9).add(0.1)),
  save: (_needs, [x]) => ({ x }),
  backward: (g, { x }) => [where(x.gt(0), g, g.mul(0.1))],
  branch: ([x]) => x.gt(0),
});
