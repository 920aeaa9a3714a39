import { type Tensor, defineOp, where } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import { agrees } from '../solutions/compare.ts';
import { centralDifferences } from '../solutions/differences.ts';

type Rule = (g: Tensor, x: Tensor) => Tensor;

const differences = (title: string, wrong: typeof centralDifferences, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { centralDifferences: wrong },
  says,
});

const compare = (title: string, wrong: typeof agrees, says: RegExp): Mistake => ({ exercise: 2, title, module: { agrees: wrong }, says });

/** leaky with another backward or branch. */
const leaky = (title: string, rule: Rule, branch: ((x: Tensor) => Tensor) | null, says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: {
    leaky: defineOp({
      name: 'leaky',
      forward: (_kernels, x: Tensor) => x.mul(x.gt(0).to(x.dtype).mul(0.9).add(0.1)),
      save: (_needs, [x]) => ({ x }),
      backward: (g, { x }) => [rule(g, x)],
      ...(branch === null ? {} : { branch: ([x]: readonly [Tensor]) => branch(x) }),
    }),
  },
  says,
});

const right: Rule = (g, x) => where(x.gt(0), g, g.mul(0.1));
const side = (x: Tensor): Tensor => x.gt(0);

/** Moves inputs in place. `restores` tells whether each is put back. */
const inPlace =
  (restores: boolean) =>
  (f: (xs: readonly number[]) => number, xs: number[], h: number): number[] =>
    Array.from(xs, (x, i) => {
      xs[i] = x + h;
      const above = f(xs);
      xs[i] = x - h;
      const below = f(xs);
      if (restores) xs[i] = x;
      return (above - below) / (2 * h);
    });

/** Moves in place on a copy, so that only the results are wrong. */
const withoutRestoring: typeof centralDifferences = (f, xs, h) => inPlace(false)(f, [...xs], h);

export const mistakes: readonly Mistake[] = [
  differences('one-sided', (f, xs, h) => xs.map((x, i) => (f(xs.with(i, x + h)) - f(xs)) / h), /one-sided/),
  differences('divides by h', (f, xs, h) => centralDifferences(f, xs, h).map((d) => 2 * d), /is 2h/),
  differences('divides by 2', (f, xs, h) => centralDifferences(f, xs, h).map((d) => d * h), /divide by 2h/),
  differences(
    'moves all inputs at once',
    (f, xs, h) => xs.map(() => (f(xs.map((x) => x + h)) - f(xs.map((x) => x - h))) / (2 * h)),
    /one of them at a time/,
  ),
  differences('does not restore', withoutRestoring, /Restore xᵢ/),
  differences('leaves the last state', (f, xs, h) => [centralDifferences(f, xs, h), (xs[2] = 0)][0] as number[], /must be unchanged/),
  compare('no absolute value', (a, b, atol, rtol) => b.every((y, i) => a[i]! - y <= atol + rtol * Math.abs(y)), /take its absolute value/),
  compare('no rtol', (a, b, atol) => agrees(a, b, atol, 0), /rtol·\|b\| counts/),
  compare('no atol', (a, b, _atol, rtol) => agrees(a, b, 0, rtol), /Near 0 atol counts/),
  compare('one agreeing element suffices', (a, b, atol, rtol) => b.some((y, i) => agrees([a[i]!], [y], atol, rtol)), /All elements/),
  compare('a negative tolerance', (a, b, atol, rtol) => b.every((y, i) => Math.abs(a[i]! - y) <= atol + rtol * y), /absolute value of b/),
  compare('NaN passes', (a, b, atol, rtol) => !b.some((y, i) => Math.abs(a[i]! - y) > atol + rtol * Math.abs(y)), /comparison with NaN/),
  leaky('relu', (g, x) => where(x.gt(0), g, 0), side, /0\.1, not 0/),
  leaky('exchanged', (g, x) => where(x.gt(0), g.mul(0.1), g), side, /exchanged/),
  leaky('the incoming gradient is left out', (_g, x) => x.gt(0).to(x.dtype).mul(0.9).add(0.1), side, /incoming gradient g/),
  leaky('no branch', right, null, /branch does not show it/),
  leaky('a branch that is always the same', right, (x) => x.eq(x), /branch does not show it/),
  leaky('a branch at another place', right, (x) => x.gt(1), /branch does not show it/),
];
