import { type Exercise, exercise, expect, expectNumber } from '../../support/exercise.ts';
import { type EngineModule, validated } from '../../01-scalar-engine/checks/engine.ts';
import type { Value } from '../../01-scalar-engine/exercises/engine.ts';
import type * as Fit from '../exercises/fit.ts';
import type * as Paths from '../exercises/paths.ts';

const node = (inputs: readonly Value[] = [], locals: readonly number[] = []): Value => ({ data: 0, grad: 0, inputs, locals });

function checkPaths({ pathGradient }: typeof Paths): void {
  const x = node();
  const a = node([x], [1]);
  const b = node([x], [2]);
  const y = node([a, b], [4, 3]);
  expectNumber('pathGradient(x, x)', pathGradient(x, x), 1, { 'The path without a step has the product 1': 0 });
  expectNumber('a = x + 1: pathGradient(a, x)', pathGradient(a, x), 1, {
    'The local derivatives along a path are multiplied, not added': 2,
  });
  expectNumber('y = a·b with a = x + 1, b = 2x at x = 2: pathGradient(y, x)', pathGradient(y, x), 10, {
    'This is the first path alone': 4,
    'This is the last path alone': 6,
    'The paths are added, not multiplied': 24,
  });
  expectNumber('no path leads from a to b: pathGradient(a, b)', pathGradient(a, b), 0, {
    'A leaf other than x ends a path that does not count': 1,
  });
  const z = node([y, y], [0.5, 0.25]);
  expectNumber('z uses y twice, with local derivatives 0.5 and 0.25: pathGradient(z, x)', pathGradient(z, x), 7.5, {
    'An input that occurs twice begins two paths': 5,
  });
  expect(
    [x, a, b, y, z].every(({ grad }) => grad === 0),
    'pathGradient must not write to grad',
  );
}

function checkBackward({ value, add, mul, backward }: EngineModule): void {
  const square = value(3);
  backward(mul(square, square));
  expectNumber('y = x·x at x = 3: the gradient of x', square.grad, 6, {
    'Both arguments are x. The second gradient replaced the first, and must be added to it': 3,
  });
  const x = value(2);
  backward(mul(add(x, value(1)), mul(x, value(2))));
  expectNumber('y = (x + 1)·2x at x = 2: the gradient of x', x.grad, 10, {
    'This is the path through x + 1 alone': 4,
    'This is the path through 2x alone: it replaced the other': 6,
  });
  const u = value(3);
  const a = mul(value(2), u);
  backward(mul(a, a));
  expectNumber('y = a·a with a = 2u at u = 3: the gradient of u', u.grad, 24, {
    'a passed on its sum each time that a gradient arrived, so the first one counts twice': 36,
    'One path is missing': 12,
  });
  const v = value(3);
  const loss = mul(v, v);
  backward(loss);
  backward(loss);
  expectNumber('backward called twice for y = x·x at x = 3: the gradient of x', v.grad, 12, {
    'The second call replaced the gradient of the first. The gradients of several calls add': 6,
  });
}

/** fit with the order of operations that `variant` names, by formulas instead of an engine. */
function simulate(
  xs: readonly number[],
  ys: readonly number[],
  steps: number,
  rate: number,
  variant: 'right' | 'never zero' | 'last point',
): number {
  let w = 0;
  let grad = 0;
  for (let step = 0; step < steps; step++) {
    if (variant !== 'never zero') grad = 0;
    for (const [i, x] of xs.entries()) grad = (variant === 'last point' ? 0 : grad) + 2 * x * (w * x - ys[i]!);
    w -= rate * grad;
  }
  return w;
}

function checkFit({ fit }: typeof Fit): void {
  const xs = [1, 2];
  const ys = [3, 5];
  for (const steps of [0, 1, 2, 30]) {
    const of = (variant: 'right' | 'never zero' | 'last point'): number => simulate(xs, ys, steps, 0.05, variant);
    expectNumber(`fit([1, 2], [3, 5], ${steps}, 0.05)`, fit(xs, ys, steps, 0.05), of('right'), {
      'w.grad still holds the gradients of the step before. Set it to 0 once in each step': of('never zero'),
      'Only the last point counts. Set w.grad to 0 once in each step, not before each point': of('last point'),
      'The update has the wrong sign: descent subtracts the gradient': -of('right'),
    });
  }
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Paths>({
    title: 'The gradient as a sum over paths',
    file: 'paths',
    functions: ['pathGradient'],
    hint: 'The paths from y to x begin with one of the inputs of y. Let pathGradient call itself for each of them.',
    check: checkPaths,
  }),
  exercise<EngineModule>({
    title: 'backward, where values are used several times',
    file: 'engine',
    functions: ['value', 'add', 'mul', 'backward'],
    hint: 'Add to grad what arrives, and pass on what arrived, not the sum.',
    check: (engine) => checkBackward(validated(engine)),
  }),
  exercise<typeof Fit>({
    title: 'Gradient descent over several points',
    file: 'fit',
    functions: ['fit'],
    hint: 'By hand: w is 1.3 after one step, 1.95 after two, and tends to 2.6.',
    check: checkFit,
  }),
];
