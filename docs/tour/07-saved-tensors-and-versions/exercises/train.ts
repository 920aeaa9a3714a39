/** Exercise 7.3: two updates of one parameter. */
import type { Tensor } from 'chainrule';
import { notWritten } from '../../support/exercise.ts';

/**
 * Makes one step of gradient descent on lossA, then one on lossB from the w that the first step left. Changes w in place.
 * Each loss maps w to a tensor without dims. A step subtracts rate · gradient from w.
 */
export function twoSteps(w: Tensor, lossA: (w: Tensor) => Tensor, lossB: (w: Tensor) => Tensor, rate: number): void {
  notWritten(w, lossA, lossB, rate);
}
