/** Exercise 4.1: the shape of a broadcast result. */
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns the shape of a + b for tensors of the shapes a and b.
 * Shapes are aligned at their last dims. In each dim the sizes are equal, or one of them is 1 or missing: then the other one counts.
 * Throws an Error if the sizes differ otherwise.
 */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  return notWritten(a, b);
}
