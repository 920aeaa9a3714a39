import type { Shape } from '../core/shape.ts';

/** Returns the index, one number per dim, of the i-th element in row-major order. */
export function unravelIndex(i: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  for (let d = shape.length - 1; d >= 0; d--) {
    index[d] = i % shape[d]!;
    i = Math.floor(i / shape[d]!);
  }
  return index;
}
