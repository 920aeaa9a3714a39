import { type Exercise, exercise, expect, expectNumber } from '../../support/exercise.ts';
import type { Value } from '../exercises/engine.ts';
import { type EngineModule, validated } from './engine.ts';

/** The recorded derivative of `node` by `input`: operations may be built from others, so along all paths. */
function derivative(node: Value, input: Value): number {
  if (node === input) return 1;
  return node.inputs.reduce((sum, next, i) => sum + node.locals[i]! * derivative(next, input), 0);
}

/** Throws unless `node` has these data and derivatives by its inputs. `explanations` gives wrong derivatives by input. */
function expectNode(
  what: string,
  node: Value,
  expected: {
    data: number;
    inputs: readonly Value[];
    locals: readonly number[];
    explanations?: readonly Readonly<Record<string, number>>[];
  },
): void {
  expectNumber(`${what}: data`, node.data, expected.data);
  const { inputs, locals } = node;
  expect(locals.length === inputs.length, `${what}: there are ${locals.length} local derivatives for ${inputs.length} inputs`);
  for (const [i, want] of expected.locals.entries()) {
    expectNumber(`${what}: the derivative by argument ${i + 1}`, derivative(node, expected.inputs[i]!), want, {
      ...expected.explanations?.[i],
      'The argument is not recorded as an input': 0,
    });
  }
}

function checkArithmetic({ value, add, sub, mul, div }: EngineModule): void {
  const a = value(6);
  const b = value(4);
  const inputs = [a, b];
  expectNode('add(6, 4)', add(a, b), { data: 10, inputs, locals: [1, 1] });
  expectNode('sub(6, 4)', sub(a, b), { data: 2, inputs, locals: [1, -1], explanations: [{}, { 'a − b falls when b grows': 1 }] });
  const swapped = 'The derivative of a·b by a is b, and by b it is a';
  expectNode('mul(6, 4)', mul(a, b), { data: 24, inputs, locals: [4, 6], explanations: [{ [swapped]: 6 }, { [swapped]: 4 }] });
  const quotient = { 'a / b falls when b grows: the sign is missing': 6 / 16, 'b is squared in the derivative of a / b by b': -6 / 4 };
  expectNode('div(6, 4)', div(a, b), { data: 1.5, inputs, locals: [0.25, -0.375], explanations: [{}, quotient] });
}

function checkFunctions({ value, exp, tanh, relu, power }: EngineModule): void {
  const e = Math.exp(0.5);
  const t = Math.tanh(0.5);
  const one = (
    what: string,
    fn: (a: Value) => Value,
    at: number,
    data: number,
    local: number,
    wrong: Readonly<Record<string, number>>,
  ): void => {
    const input = value(at);
    expectNode(what, fn(input), { data, inputs: [input], locals: [local], explanations: [wrong] });
  };
  one('exp(0.5)', exp, 0.5, e, e, { 'The derivative of eᵃ is eᵃ itself': 0.5 * Math.exp(-0.5) });
  one('tanh(0.5)', tanh, 0.5, t, 1 - t * t, { 'It is 1 − y² with the result y, and this is 1 − a²': 0.75 });
  one('relu(0.5)', relu, 0.5, 0.5, 1, {});
  one('relu(−2)', relu, -2, 0, 0, { 'A negative input does not change the result: the derivative is 0': 1 });
  one('relu(0)', relu, 0, 0, 0, { 'At 0 the derivative is 0 by convention': 1 });
  one('power(2, 3)', (a) => power(a, 3), 2, 8, 12, { 'The factor n is missing': 4, 'The exponent of the derivative is n − 1': 24 });
  one('power(2, −1)', (a) => power(a, -1), 2, 0.5, -0.25, {});
}

function checkBackward({ value, add, mul, backward }: EngineModule): void {
  const w = value(3);
  const x = value(2);
  const b = value(1);
  const y = mul(add(mul(w, x), b), value(5));
  backward(y);
  expectNumber('y = (w·x + b)·5 at w = 3, x = 2, b = 1: the gradient of y', y.grad, 1, { 'Nothing starts the pass: y by itself is 1': 0 });
  expectNumber('the gradient of b', b.grad, 5, {
    'The gradient stops one step behind y': 0,
    'The gradient of the result is not multiplied in': 1,
  });
  expectNumber('the gradient of w', w.grad, 10, {
    'This is the local derivative alone. Multiply it by the gradient of the result': 2,
    'The gradient stops before it reaches the leaves': 0,
  });
  expectNumber('the gradient of x', x.grad, 15);
}

export const exercises: readonly Exercise[] = [
  exercise<EngineModule>({
    title: 'Arithmetic records its local derivatives',
    file: 'engine',
    functions: ['value', 'add', 'sub', 'mul', 'div'],
    hint: 'Move one input a little and leave the other: by how much does the result move?',
    check: (engine) => checkArithmetic(validated(engine)),
  }),
  exercise<EngineModule>({
    title: 'exp, tanh, relu and power',
    file: 'engine',
    functions: ['value', 'exp', 'tanh', 'relu', 'power'],
    hint: 'Compute the result first: some derivatives are shortest in terms of it.',
    check: (engine) => checkFunctions(validated(engine)),
  }),
  exercise<EngineModule>({
    title: 'backward, where each value is used once',
    file: 'engine',
    functions: ['value', 'add', 'mul', 'backward'],
    hint: 'Write a function that takes a node and its gradient. It calls itself for each input, with the gradient of that input.',
    check: (engine) => checkBackward(validated(engine)),
  }),
];
