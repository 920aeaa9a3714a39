/**
 * The windows of average pools. Plain and adaptive pools differ only in their windows, so one kernel serves both.
 */
import type { Shape } from '../core/shape.ts';
import type { AvgPoolParams } from './interface.ts';

/** A window along one dim: it covers first … end−1, and counts as `size` elements in the divisor. */
export interface Span {
  readonly first: number;
  readonly end: number;
  readonly size: number;
}

/**
 * The windows of every row and column of the output, with starts and ends in ascending order. The sum over a window is
 * divided by divisor · row size · column size.
 */
export interface Windows {
  readonly rows: readonly Span[];
  readonly columns: readonly Span[];
  readonly divisor: number;
}

/** Returns the windows of an average pool from images of shape `x` to `y`. */
export function averageWindows(x: Shape, y: Shape, p: AvgPoolParams): Windows {
  const spans = (side: 0 | 1): Span[] => {
    const n = x[2 + side]!;
    const padding = p.padding[side];
    return Array.from({ length: y[2 + side]! }, (_, o) => {
      const start = o * p.stride[side] - padding;
      const first = Math.max(start, 0);
      const end = Math.max(Math.min(start + p.kernel[side], n), first);
      if (p.divisor !== null) return { first, end, size: 1 };
      const paddedSize = Math.min(start + p.kernel[side], n + padding) - start;
      return { first, end, size: p.countIncludePad ? paddedSize : end - first };
    });
  };
  return { rows: spans(0), columns: spans(1), divisor: p.divisor ?? 1 };
}

/** Returns the windows ⌊o·n/out⌋ … ⌈(o+1)·n/out⌉ − 1 of an adaptive pool. */
export function adaptiveWindows(x: Shape, y: Shape): Windows {
  const spans = (n: number, out: number): Span[] =>
    Array.from({ length: out }, (_, o) => {
      const first = Math.floor((o * n) / out);
      const end = Math.ceil(((o + 1) * n) / out);
      return { first, end, size: end - first };
    });
  return { rows: spans(x[2]!, y[2]!), columns: spans(x[3]!, y[3]!), divisor: 1 };
}
