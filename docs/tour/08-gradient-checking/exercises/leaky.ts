/** Exercise 8.3: an operation with a kink. */
import { type Tensor, defineOp } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/** y = x for x > 0, and 0.1·x otherwise. */
export const leaky = defineOp({
  name: 'leaky',
  forward: (_kernels, x: Tensor) => x.mul(x.gt(0).to(x.dtype).mul(0.9).add(0.1)),
  save: (_needs, [x]) => ({ x }),
  // Returns the gradient of x, in an array.
  backward: (g, { x }) => notWritten(g, x),
  // Returns a tensor that tells for each element on which side of the kink it lies.
  branch: ([x]) => notWritten(x),
});
