import { gradcheck, tensor } from 'chainrule';
import { type Exercise, exercise, expect, expectNumbers, expectTensor } from '../../support/exercise.ts';
import type * as Compare from '../exercises/compare.ts';
import type * as Differences from '../exercises/differences.ts';
import type * as Leaky from '../exercises/leaky.ts';

function checkDifferences({ centralDifferences }: typeof Differences): void {
  // f = a²b + 3c at (2, 1, 5): the gradient is (4, 4, 3). With h = 0.5 central differences are exact, as f is quadratic in each input.
  const f = ([a, b, c]: readonly number[]): number => a! * a! * b! + 3 * c!;
  const xs = [2, 1, 5];
  const got: unknown = centralDifferences(f, xs, 0.5);
  const kept = xs.join();
  expectNumbers('f = a²b + 3c at [2, 1, 5], h = 0.5', got, [4, 4, 3], {
    'This is the one-sided difference: use f(x + h) and f(x − h)': [4.5, 4, 3],
    'The distance between x + h and x − h is 2h': [8, 8, 6],
    'This divides by 2 where it should divide by 2h': [2, 2, 1.5],
    'All inputs move at once. Move one of them at a time': [11.25, 11.25, 11.25],
    'Earlier inputs stay moved. Restore xᵢ before moving the next': [4, 2.25, 3],
  });
  expect(kept === '2,1,5', `f = a²b + 3c at [2, 1, 5]: xs is [${kept}] afterwards, and must be unchanged`);
  expectNumbers(
    'f = x³ at [1], h = 0.1',
    centralDifferences(([x]) => x! ** 3, [1], 0.1),
    [3.01],
  );
}

function checkCompare({ agrees }: typeof Compare): void {
  const cases: readonly (readonly [string, boolean, number[], number[], string])[] = [
    ['equal gradients', true, [1, 2], [1, 2], ''],
    ['1000 and 1000.5', true, [1000], [1000.5], 'For large numbers rtol·|b| counts: 0.001 · 1000 = 1'],
    ['0 and 0.000005', true, [0], [0.000005], 'Near 0 atol counts: add it'],
    ['1 and 2', false, [1], [2], 'The difference −1 is far from 0: take its absolute value'],
    ['[1, 5] and [1, 2]', false, [1, 5], [1, 2], 'All elements must agree'],
    ['[5, 1] and [2, 1]', false, [5, 1], [2, 1], 'All elements must agree'],
    ['−1000 and −1000.5', true, [-1000], [-1000.5], 'The tolerance needs the absolute value of b'],
    ['0.001 and 0.002', false, [0.001], [0.002], 'For small numbers the tolerance is small'],
    ['NaN and 1', false, [NaN], [1], 'A comparison with NaN is always false: test for what must hold'],
    ['[1] and [1, 2]', false, [1], [1, 2], 'The lengths differ'],
    ['[1, 2] and [1]', false, [1, 2], [1], 'The lengths differ'],
  ];
  for (const [what, want, analytic, numeric, why] of cases) {
    const got: unknown = agrees(analytic, numeric, 1e-5, 1e-3);
    expect(got === want, `${what}, atol 1e-5, rtol 1e-3: agrees returns ${String(got)}, expected ${want}. ${why}`);
  }
}

function checkLeaky({ leaky }: typeof Leaky): void {
  const x = tensor([2, -3], { dtype: 'float64', requiresGrad: true });
  const y = leaky(x);
  expectTensor('leaky([2, −3])', y, tensor([2, -0.3]));
  y.backward(tensor([1, 10], { dtype: 'float64' }));
  expectTensor('x = [2, −3], g = [1, 10]: the gradient of x', x.grad, tensor([1, 1]), {
    'For a negative x the slope is 0.1, not 0': tensor([1, 0]),
    'For a negative x the slope is 0.1, not 1': tensor([1, 10]),
    'The slopes of both sides are exchanged': tensor([0.1, 10]),
    'The incoming gradient g is missing': tensor([1, 0.1]),
  });
  for (const near of [2e-7, -2e-7]) {
    const beside = tensor([near, 2, -3], { dtype: 'float64', requiresGrad: true });
    const { ok, inputs } = gradcheck(leaky, beside, { raise: false });
    const worst = inputs[0]?.worst;
    const numbers = worst == null ? '' : ` (analytic ${worst.analytic.toFixed(4)}, numeric ${worst.numeric.toFixed(4)})`;
    expect(ok, `gradcheck fails at x = [${near}, 2, -3]${numbers}. The step crosses the kink at 0, and branch does not show it`);
  }
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Differences>({
    title: 'Central differences',
    file: 'differences',
    functions: ['centralDifferences'],
    hint: 'Make a copy of xs for each evaluation: xs.with(i, xs[i] + h) is a copy with another element i.',
    check: checkDifferences,
  }),
  exercise<typeof Compare>({
    title: 'Comparing two gradients',
    file: 'compare',
    functions: ['agrees'],
    hint: 'Write the condition of the comment as it stands, and require it of every element.',
    check: checkCompare,
  }),
  exercise<typeof Leaky>({
    title: 'An operation with a kink',
    file: 'leaky',
    functions: ['leaky'],
    hint: 'x.gt(0) is a tensor of true and false. where(condition, a, b) selects from a and b by element.',
    check: checkLeaky,
  }),
];
