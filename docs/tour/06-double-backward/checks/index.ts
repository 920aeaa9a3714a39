import { AutogradError, type NestedArray, type Tensor, tensor } from 'chainrule';
import { type Exercise, Wrong, exercise, expectNumber, expectTensor } from '../../support/exercise.ts';
import type * as Derivative from '../exercises/derivative.ts';
import type * as Hessian from '../exercises/hessian.ts';
import type * as Penalty from '../exercises/penalty.ts';

const leaf = (values: NestedArray): Tensor => tensor(values, { dtype: 'float64', requiresGrad: true });

/** Runs `fn`. A gradient without a graph becomes a message. */
function withGraph<T>(what: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof AutogradError)) throw error;
    const [problem] = error.message.split('\n');
    throw new Wrong(`${what}: a gradient was taken without createGraph, so it has no graph to differentiate (${error.name}: ${problem})`);
  }
}

function checkDerivative({ nthDerivative }: typeof Derivative): void {
  const fourth = (x: Tensor): Tensor => x.square().square();
  expectNumber('x⁴ at 2, n = 0', nthDerivative(fourth, 2, 0), 16, { 'For n = 0 return f(x) itself': 32 });
  expectNumber('x⁴ at 2, n = 1', nthDerivative(fourth, 2, 1), 32);
  const second = withGraph('x⁴ at 2, n = 2', () => nthDerivative(fourth, 2, 2));
  expectNumber('x⁴ at 2, n = 2', second, 48, {
    'This is the first derivative again': 32,
    'This is the square of the first derivative': 1024,
  });
  expectNumber(
    'x⁴ at 2, n = 4',
    withGraph('x⁴ at 2, n = 4', () => nthDerivative(fourth, 2, 4)),
    24,
  );
  const sine = withGraph('sin at 0.5, n = 5', () => nthDerivative((x) => x.sin(), 0.5, 5));
  expectNumber('sin at 0.5, n = 5', sine, Math.cos(0.5), {
    'This has the precision of float32: give the tensor the dtype float64': Math.fround(Math.cos(0.5)),
  });
}

function checkPenalty({ gradientPenalty }: typeof Penalty): void {
  const w = leaf(3);
  const x = leaf([1, 2]);
  const penalty: unknown = gradientPenalty((x) => w.mul(x.square()).sum(), x);
  const title = 'f = Σ w·x² at w = 3, x = [1, 2]';
  expectTensor(`${title}: the penalty`, penalty, tensor(180), {
    'The squares are missing': tensor(18),
    'This is the mean: add the squares': tensor(90),
    'This is the square of the sum. Square first': tensor(324),
    'This has one element for each xᵢ: add them': tensor([36, 144]),
  });
  withGraph(`${title}, backward from the penalty`, () => (penalty as Tensor).backward());
  expectTensor(`${title}: the gradient of w`, w.grad, tensor(120));
  const b = leaf(0);
  gradientPenalty((x) => x.square().mul(x).sum().add(b.mul(x.sum())), leaf([2, 1])).backward();
  expectTensor('f = Σ x³ + b·Σx at x = [2, 1]: the gradient of b', b.grad, tensor(2 * 12 + 2 * 3));
}

function checkHessian({ hessianVector }: typeof Hessian): void {
  // f = x₀² x₁ + x₁³ has H = [[2x₁, 2x₀], [2x₀, 6x₁]].
  const f = (x: Tensor): Tensor => {
    const [a, b] = [x.select(0, 0), x.select(0, 1)];
    return a.square().mul(b).add(b.square().mul(b));
  };
  const title = 'f = x₀²x₁ + x₁³ at x = [1, 2], where H = [[4, 2], [2, 12]]';
  const of = (v: readonly number[]): Tensor => {
    return withGraph(title, () => hessianVector(f, leaf([1, 2]), tensor([...v], { dtype: 'float64' })));
  };
  expectTensor(`${title}: H v for v = [1, −1]`, of([1, -1]), tensor([2, -10]), {
    'v was left out: these are the sums of the rows of H': tensor([6, 14]),
    'The gradient of the gradient was multiplied by v element by element. Multiply the first gradient by v, and sum': tensor([6, -14]),
    'This is the diagonal of H times v': tensor([4, -12]),
    'This is the gradient of f, or its product with v': tensor([4, -13]),
  });
  expectTensor(`${title}: H v for v = [1, 0]`, of([1, 0]), tensor([4, 2]));
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Derivative>({
    title: 'Derivatives of any order',
    file: 'derivative',
    functions: ['nthDerivative'],
    hint: 'Call grad n times, each time on the result of the call before.',
    check: checkDerivative,
  }),
  exercise<typeof Penalty>({
    title: 'A penalty on a gradient',
    file: 'penalty',
    functions: ['gradientPenalty'],
    hint: 'grad returns a tensor. With createGraph you can compute on with it.',
    check: checkPenalty,
  }),
  exercise<typeof Hessian>({
    title: 'A Hessian times a vector',
    file: 'hessian',
    functions: ['hessianVector'],
    hint: 'Row i of H is the gradient of ∂f/∂xᵢ. So H v is the gradient of Σᵢ vᵢ ∂f/∂xᵢ.',
    check: checkHessian,
  }),
];
