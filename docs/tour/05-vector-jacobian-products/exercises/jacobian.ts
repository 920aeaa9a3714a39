/** Exercise 5.3: a Jacobian from vector–Jacobian products. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/** Returns the Jacobian [m,n] of a function with m outputs and n inputs. `vjp` returns gᵀJ [n] for a g [m]. */
export function jacobianOf(vjp: (g: Tensor) => Tensor, m: number): Tensor {
  return notWritten(vjp, m);
}
