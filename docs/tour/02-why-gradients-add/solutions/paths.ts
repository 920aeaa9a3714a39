import type { Value } from './engine.ts';

/** Returns ∂y/∂x as a sum over the paths from y to x. */
export function pathGradient(y: Value, x: Value): number {
  if (y === x) return 1;
  return y.inputs.reduce((sum, input, i) => sum + y.locals[i]! * pathGradient(input, x), 0);
}
