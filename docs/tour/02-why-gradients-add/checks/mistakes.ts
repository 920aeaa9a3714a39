import { add, backward as assign, div, exp, mul, power, relu, sub, tanh, value } from '../../01-scalar-engine/solutions/engine.ts';
import type { Mistake } from '../../support/exercise.ts';
import { type Value, backward } from '../solutions/engine.ts';
import { lossOf } from '../solutions/fit.ts';

/** A mistake in exercise 1: another recursion. */
const paths = (title: string, pathGradient: (y: Value, x: Value) => number, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { pathGradient },
  says,
});

/** A mistake in exercise 2: another backward. */
const engine = (title: string, backward: (root: Value) => void, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { value, add, sub, mul, div, exp, tanh, relu, power, backward },
  says,
});

/** A mistake in exercise 3: another step, which reads and writes w. */
function fit(title: string, step: (w: Value, points: () => Value[]) => number, says: RegExp): Mistake {
  const wrongFit = (xs: readonly number[], ys: readonly number[], steps: number, rate: number): number => {
    const w = value(0);
    for (let i = 0; i < steps; i++) w.data -= rate * step(w, () => xs.map((x, k) => lossOf(w, x, ys[k]!)));
    return w.data;
  };
  return { exercise: 3, title, module: { fit: wrongFit }, says };
}

function passTheSum(node: Value, g: number): void {
  node.grad += g;
  for (const [i, input] of node.inputs.entries()) passTheSum(input, node.grad * node.locals[i]!);
}

function firstPath(y: Value, x: Value): number {
  if (y === x) return 1;
  return y.inputs.length === 0 ? 0 : y.locals[0]! * firstPath(y.inputs[0]!, x);
}

function sumAlongPaths(y: Value, x: Value): number {
  if (y === x) return 1;
  return y.inputs.reduce((sum, input, i) => sum + y.locals[i]! + sumAlongPaths(input, x), 0);
}

function everyLeaf(y: Value, x: Value): number {
  if (y === x || y.inputs.length === 0) return 1;
  return y.inputs.reduce((sum, input, i) => sum + y.locals[i]! * everyLeaf(input, x), 0);
}

function eachInputOnce(y: Value, x: Value): number {
  if (y === x) return 1;
  return [...new Set(y.inputs)].reduce((sum, input) => sum + y.locals[y.inputs.indexOf(input)]! * eachInputOnce(input, x), 0);
}

export const mistakes: readonly Mistake[] = [
  paths('only the first path', firstPath, /first path alone/),
  paths('local derivatives are added', sumAlongPaths, /multiplied, not added/),
  paths('the path without a step', (y, x) => (y === x ? 0 : 1), /the product 1/),
  paths('every leaf counts', everyLeaf, /does not count/),
  paths('an input that occurs twice counts once', eachInputOnce, /begins two paths/),
  engine('overwrites instead of adding', assign, /The second gradient replaced the first/),
  engine('passes on the sum', (root) => passTheSum(root, 1), /passed on its sum/),
  fit(
    'never sets the gradient to 0',
    (w, points) => {
      for (const loss of points()) backward(loss);
      return w.grad;
    },
    /still holds the gradients of the step before/,
  ),
  fit(
    'sets the gradient to 0 before each point',
    (w, points) => {
      for (const loss of points()) {
        w.grad = 0;
        backward(loss);
      }
      return w.grad;
    },
    /Only the last point counts/,
  ),
  fit(
    'adds the gradient to w',
    (w, points) => {
      w.grad = 0;
      for (const loss of points()) backward(loss);
      return -w.grad;
    },
    /wrong sign/,
  ),
];
