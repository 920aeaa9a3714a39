import type { Tensor } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import { sumTo } from '../solutions/sum-to.ts';

const shape = (title: string, broadcastShape: (a: readonly number[], b: readonly number[]) => number[], says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { broadcastShape },
  says,
});

const sum = (title: string, sumTo: (g: Tensor, shape: readonly number[]) => Tensor, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { sumTo },
  says,
});

const mul = (title: string, mulBackward: (g: Tensor, a: Tensor, b: Tensor) => [Tensor, Tensor], says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: { mulBackward },
  says,
});

/** Aligns at the last dims and applies `size` to each pair of sizes. */
const aligned =
  (size: (a: number, b: number) => number) =>
  (a: readonly number[], b: readonly number[]): number[] => {
    const rank = Math.max(a.length, b.length);
    return Array.from({ length: rank }, (_, i) => size(a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1));
  };

function alignedLeft(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => Math.max(a[i] ?? 1, b[i] ?? 1));
}

function strict(a: number, b: number): number {
  if (a !== b && a !== 1 && b !== 1) throw new Error('the sizes differ');
  return Math.max(a, b);
}

/** Sums over the last dims until the number of dims is right. */
function fromTheEnd(g: Tensor, to: readonly number[]): Tensor {
  let sum = g;
  while (sum.ndim > to.length) sum = sum.sum(-1);
  return sum.numel === 1 || sum.ndim !== 1 || sum.size(0) === to[0] ? sumTo(sum, to) : sumTo(g, to);
}

export const mistakes: readonly Mistake[] = [
  shape('aligned at the first dims', alignedLeft, /aligned at their first dims/),
  shape(
    'sizes that differ are accepted',
    aligned((a, b) => (a === 1 ? b : a)),
    /must throw/,
  ),
  shape('the larger size counts', aligned(strict), /also for 0/),
  sum('the sum is missing', (g) => g, /nothing was summed/),
  sum('the mean', (g, to) => sumTo(g, to).div(g.numel / to.reduce((n, size) => n * size, 1)), /This is the mean/),
  sum('dims of size 1 are dropped', (g, to) => sumTo(g, to).squeeze(), /Dims of size 1 must stay/),
  sum('the sum over the last dim', fromTheEnd, /adds a first dim/),
  mul('the broadcast sum is missing', (g, a, b) => [g.mul(b), g.mul(a)], /broadcast sum is missing/),
  mul('the factors are exchanged', (g, a, b) => [sumTo(g.mul(a), a.shape), sumTo(g.mul(b), b.shape)], /derivative of a·b by a is b/),
  mul('sums before multiplying', (g, a, b) => [g.mul(b), sumTo(g, b.shape).mul(sumTo(a, b.shape))], /sum comes too late/),
  mul('the mean', (g, a, b) => [g.mul(b), g.mul(a).mean(0)], /the mean over the rows/),
];
