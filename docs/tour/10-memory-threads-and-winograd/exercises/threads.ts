/** Exercise 10.2: a sum whose bits do not depend on the threads. */
import { notWritten } from '../../support/exercise.ts';

/**
 * Adds the values in chunks of `size` elements, of which the last may be shorter. `finished` lists the numbers of the chunks in the order
 * in which threads finish them, such as [1, 0, 2]. The result is the same in every bit for every such order.
 */
export function chunkedSum(values: readonly number[], size: number, finished: readonly number[]): number {
  return notWritten(values, size, finished);
}
