import type { Mistake } from '../../support/exercise.ts';
import * as solution from '../solutions/engine.ts';
import type { Value } from '../solutions/engine.ts';

const { value } = solution;

/** A mistake in exercise 1 or 2: one operation has another local derivative. */
function local(exercise: number, title: string, functions: Partial<typeof solution>, says: RegExp): Mistake {
  return { exercise, title, module: { ...solution, ...functions }, says };
}

/** A mistake in exercise 3: another rule for what a node passes on. */
function rule(title: string, pass: (node: Value, g: number) => void, says: RegExp): Mistake {
  return { exercise: 3, title, module: { ...solution, backward: (root: Value) => pass(root, 1) }, says };
}

function withoutGradient(node: Value, g: number): void {
  node.grad = g;
  for (const [i, input] of node.inputs.entries()) withoutGradient(input, node.locals[i]!);
}

function oneStep(node: Value, g: number): void {
  node.grad = g;
  for (const [i, input] of node.inputs.entries()) input.grad = g * node.locals[i]!;
}

function fromZero(node: Value): void {
  for (const [i, input] of node.inputs.entries()) {
    input.grad = node.grad * node.locals[i]!;
    fromZero(input);
  }
}

export const mistakes: readonly Mistake[] = [
  local(1, 'sub: both derivatives are 1', { sub: (a, b) => value(a.data - b.data, [a, b], [1, 1]) }, /a − b falls when b grows/),
  local(1, 'mul: the derivatives are exchanged', { mul: (a, b) => value(a.data * b.data, [a, b], [a.data, b.data]) }, /by a is b/),
  local(1, 'div: the sign', { div: (a, b) => value(a.data / b.data, [a, b], [1 / b.data, a.data / b.data ** 2]) }, /sign is missing/),
  local(1, 'div: no square', { div: (a, b) => value(a.data / b.data, [a, b], [1 / b.data, -a.data / b.data]) }, /b is squared/),
  local(1, 'mul: one input is not recorded', { mul: (a, b) => value(a.data * b.data, [a], [b.data]) }, /not recorded as an input/),
  local(
    2,
    'exp: the rule of powers',
    { exp: (a) => value(Math.exp(a.data), [a], [a.data * Math.exp(a.data - 1)]) },
    /derivative of eᵃ is eᵃ/,
  ),
  local(2, 'tanh: the input instead of the result', { tanh: (a) => value(Math.tanh(a.data), [a], [1 - a.data ** 2]) }, /1 − y²/),
  local(2, 'relu: the derivative is always 1', { relu: (a) => value(Math.max(a.data, 0), [a], [1]) }, /relu\(−2\).*the derivative is 0/),
  local(2, 'relu: 1 at 0', { relu: (a) => value(Math.max(a.data, 0), [a], [a.data >= 0 ? 1 : 0]) }, /by convention/),
  local(2, 'power: no factor', { power: (a, n) => value(a.data ** n, [a], [a.data ** (n - 1)]) }, /factor n is missing/),
  local(2, 'power: the exponent', { power: (a, n) => value(a.data ** n, [a], [n * a.data ** n]) }, /exponent of the derivative/),
  rule('the gradient of the result is left out', withoutGradient, /local derivative alone|not multiplied in/),
  rule('the pass stops after one step', oneStep, /stops/),
  rule('nothing sets the gradient of the root', fromZero, /Nothing starts the pass/),
];
