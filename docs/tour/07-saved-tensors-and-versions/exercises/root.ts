/** Exercise 7.2: what an operation saves. */
import { type Tensor, defineOp } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/** y = √x.   ∂x = g / (2√x) */
export const root = defineOp({
  name: 'root',
  forward: (_kernels, x: Tensor) => x.sqrt(),
  // Returns what backward reads, such as { x } or { y }. Save one tensor, such that x may be overwritten before backward.
  save: (_needs, [x], [y]): { x?: Tensor; y?: Tensor } => notWritten(x, y),
  // Returns the gradient of x, in an array as there is one argument. `g` is the gradient of y.
  backward: (g, saved) => notWritten(g, saved),
});
