/** Exercise 3.1: a topological order. */
import type { Value } from '../../01-scalar-engine/exercises/engine.ts';
import { notWritten } from '../../support/exercise.ts';

/**
 * Returns root and all values that it depends on, each once, in an order in which each value comes before its inputs.
 * A chain of 100,000 values must not overflow the stack.
 */
export function order(root: Value): Value[] {
  return notWritten(root);
}
