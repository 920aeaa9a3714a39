/**
 * gradcheckSteps: the error of central differences as a function of their step.
 */
import { describe, expect, test } from 'vitest';
import { ArgumentError, AutogradError, defineOp, gradcheckSteps, memory, ones, randn, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';

const leaf = { dtype: 'float64', requiresGrad: true } as const;

/** y = x² with half the right gradient. */
const halfSquare = defineOp({
  name: 'halfSquare',
  forward: (_, x: Tensor) => x.square(),
  save: (_, [x]) => ({ x }),
  backward: (g, { x }) => [g.mul(x)],
});

const errors = (fn: (x: Tensor) => Tensor, x: Tensor, steps: readonly number[]): (number | null)[] =>
  gradcheckSteps(fn, x, steps).map(({ error }) => error);

describe('the error of a right gradient', () => {
  test('is that of the Taylor series for large steps: h² y‴ / 6', () => {
    const [large, small] = errors((x) => x.pow(3), tensor(2, leaf), [1e-1, 1e-2]);
    expect(large! / 1e-2).toBeCloseTo(1, 8);
    expect(small! / 1e-4).toBeCloseTo(1, 8);
  });

  test('grows for small steps, in float32 much earlier', () => {
    const steps = [1e-2, 1e-5, 1e-12];
    const double = errors((x) => x.exp().sum(), tensor([0.5, 1], leaf), steps);
    expect(double[1]!).toBeLessThan(1e-9);
    expect(double[2]!).toBeGreaterThan(1e-6);
    const single = errors((x) => x.exp().sum(), tensor([0.5, 1], { requiresGrad: true }), steps);
    expect(single[0]!).toBeLessThan(1e-3);
    expect(single[1]!).toBeGreaterThan(1e-3);
    // 1 + 1e-12 rounds to 1 in float32.
    expect(single[2]).toBeNaN();
  });
});

test('the error of a wrong gradient has a floor', () => {
  for (const error of errors((x) => halfSquare(x), tensor(3, leaf), [1e-2, 1e-4, 1e-6])) expect(error).toBeCloseTo(3, 4);
});

test('elements with a kink within the step are left out', () => {
  const x = tensor([0.01, 1], leaf);
  expect(gradcheckSteps((a) => a.relu(), x, [1e-1, 1e-3])).toMatchObject([
    { eps: 1e-1, kinks: 1 },
    { eps: 1e-3, kinks: 0 },
  ]);
  expect(gradcheckSteps((a) => a.relu(), tensor(0, leaf), [1e-3])).toEqual([{ eps: 1e-3, error: null, kinks: 1 }]);
});

test('it takes a module, restores everything and frees what it made', () => {
  const layer = new nn.Linear(3, 2).to('float64');
  const x = randn([4, 3], { dtype: 'float64' });
  const before = { weight: layer.weight.data(), memory: memory() };
  const [step] = gradcheckSteps(layer, x, [1e-5]);
  expect(step!.error!).toBeLessThan(1e-8);
  expect(layer.weight.data()).toEqual(before.weight);
  expect(memory()).toMatchObject({ tensors: before.memory.tensors, bytes: before.memory.bytes });
});

describe('errors', () => {
  test('of the steps', () => {
    const x = ones([2], leaf);
    expect(() => gradcheckSteps((a) => a, x, [1e-3, 0])).toThrow(
      new ArgumentError('gradcheckSteps: steps must be numbers > 0, got 0 at 1'),
    );
    expect(() => gradcheckSteps((a) => a, x, 1e-3 as never)).toThrow(
      new ArgumentError('gradcheckSteps: steps must be an array of numbers, got a number'),
    );
  });

  test('of the inputs, and of backward', () => {
    expect(() => gradcheckSteps((a) => a.exp(), ones([2]), [1e-3])).toThrow(AutogradError);
    const cut = defineOp({ name: 'cut', forward: (_, a: Tensor) => a.mul(2), backward: (g) => [g.sum()] });
    expect(() => gradcheckSteps((a) => cut(a), ones([2], leaf), [1e-3])).toThrow(
      'backward of cut: the gradient of argument 0 is float64 [], the argument float64 [2]',
    );
  });
});
