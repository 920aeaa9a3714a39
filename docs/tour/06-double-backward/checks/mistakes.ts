import { type Tensor, grad, tensor } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import { nthDerivative } from '../solutions/derivative.ts';

type ScalarFunction = (x: Tensor) => Tensor;

const derivative = (title: string, wrong: typeof nthDerivative, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { nthDerivative: wrong },
  says,
});

const penalty = (title: string, gradientPenalty: (f: ScalarFunction, x: Tensor) => Tensor, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { gradientPenalty },
  says,
});

const hessian = (title: string, hessianVector: (f: ScalarFunction, x: Tensor, v: Tensor) => Tensor, says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: { hessianVector },
  says,
});

function withoutGraph(f: ScalarFunction, x: number, n: number): number {
  const at = tensor(x, { dtype: 'float64', requiresGrad: true });
  let y = f(at);
  for (let order = 0; order < n; order++) y = grad(y, at);
  return y.item();
}

const recorded = (f: ScalarFunction, x: Tensor): Tensor => grad(f(x), x, { createGraph: true });

export const mistakes: readonly Mistake[] = [
  derivative('no createGraph', withoutGraph, /without createGraph/),
  derivative('the first derivative n times', (f, x, n) => nthDerivative(f, x, Math.min(n, 1)), /first derivative again/),
  derivative(
    'a power of the first derivative',
    (f, x, n) => (n === 0 ? nthDerivative(f, x, 0) : nthDerivative(f, x, 1) ** n),
    /the square of/,
  ),
  derivative('counts from 1', (f, x, n) => nthDerivative(f, x, n + 1), /return f\(x\) itself/),
  penalty('no createGraph', (f, x) => grad(f(x), x).square().sum(), /without createGraph/),
  penalty('no square', (f, x) => recorded(f, x).sum(), /squares are missing/),
  penalty('the mean', (f, x) => recorded(f, x).square().mean(), /add the squares/),
  penalty('the square of the sum', (f, x) => recorded(f, x).sum().square(), /Square first/),
  hessian('no createGraph', (f, x, v) => grad(grad(f(x), x).dot(v), x), /without createGraph/),
  hessian('v is left out', (f, x) => grad(recorded(f, x).sum(), x), /v was left out/),
  hessian('v comes too late', (f, x, v) => grad(recorded(f, x).sum(), x).mul(v), /element by element/),
];
