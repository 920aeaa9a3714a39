import { type EngineModule, validated } from '../../01-scalar-engine/checks/engine.ts';
import type { Value } from '../../01-scalar-engine/exercises/engine.ts';
import { type Exercise, Wrong, exercise, expect, expectNumber } from '../../support/exercise.ts';
import type * as Order from '../exercises/order.ts';
import { compareWithChainrule } from './random-graphs.ts';

/** Reads of the inputs and local derivatives that one node may cause. A walk over all paths needs far more. */
const READS_PER_NODE = 50;
const MAX_LINES = 100;
const DEEP = 100_000;

const node = (inputs: readonly Value[] = []): Value => ({ data: 0, grad: 0, inputs, locals: inputs.map(() => 1) });

/** Runs `fn`. A stack overflow becomes a message. */
function onDeepChain<T>(what: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Wrong(`${what}: the stack overflows. A function that calls itself for each value cannot be this deep; use a list of values`);
  }
}

/** Throws once a walk over the chain has read its nodes too often. */
function limitReads(nodes: readonly Value[]): void {
  let reads = 0;
  for (const value of nodes) {
    for (const key of ['inputs', 'locals'] as const) {
      const list = value[key];
      const get = (): typeof list => {
        if (++reads > READS_PER_NODE * nodes.length)
          throw new Wrong(`${nodes.length} values, each the sum of the one before with itself: they are read more than ${READS_PER_NODE} \
times each. Every path is walked, and there are 2^${nodes.length - 1}. Visit each value once`);
        return list;
      };
      Object.defineProperty(value, key, { get });
    }
  }
}

/** Throws unless `order` lists the graph of `names`, whose first entry is the root, in a topological order. */
function expectOrder(what: string, order: typeof Order.order, names: Readonly<Record<string, Value>>): void {
  const nodes = Object.values(names);
  const nameOf = (value: Value | undefined): string => Object.keys(names).find((name) => names[name] === value) ?? 'an unknown value';
  const got = order(nodes[0]!);
  expect(Array.isArray(got), `${what}: order must return an array`);
  const listed = `${what}: the order is ${got.map(nameOf).join(' ')}`;
  for (const [name, value] of Object.entries(names)) {
    const count = got.filter((other) => other === value).length;
    expect(count > 0, `${listed}, and ${name} is missing`);
    expect(count === 1, `${listed}, and ${name} is listed ${count} times; each value must be visited once`);
  }
  for (const [i, value] of got.entries()) {
    const early = value.inputs.find((input) => got.indexOf(input) < i);
    expect(
      early === undefined,
      `${listed}: ${nameOf(early)} comes before ${nameOf(value)}, whose input it is. Its gradient is not complete there`,
    );
  }
}

function checkOrder({ order }: typeof Order): void {
  const x = node();
  expectOrder('a leaf x alone', order, { x });
  const a = node([x]);
  const b = node([a]);
  expectOrder('y = a + b, b = a², a = 2x', order, { y: node([a, b]), b, a, x });
  expectOrder('y = b + a, b = a², a = 2x', order, { y: node([b, a]), b, a, x });
  const c = node([x, b]);
  const d = node([c, c]);
  expectOrder('y = d + x, d = c·c, c = x + b, b = a², a = 2x', order, { y: node([d, x]), d, c, b, a, x });

  const doubled = [node()];
  while (doubled.length <= 60) doubled.push(node([doubled.at(-1)!, doubled.at(-1)!]));
  limitReads(doubled);
  expect(order(doubled.at(-1)!).length === 61, 'the order of 60 doublings has 61 values');

  const chain = [node()];
  while (chain.length < DEEP) chain.push(node([chain.at(-1)!]));
  const got = onDeepChain(`a chain of ${DEEP} values`, () => order(chain.at(-1)!));
  expect(got.length === DEEP && got.every((value, i) => value === chain[DEEP - 1 - i]), `a chain of ${DEEP} values: the order is wrong`);
}

function checkBackward({ value, add, mul, backward }: EngineModule): void {
  const x = value(3);
  const a = mul(value(2), x);
  const y = add(a, mul(a, a));
  backward(y);
  const wrong = {
    'a was visited before a² had passed its gradient on, and was not visited again': 2,
    'a was visited twice, and passed on its first gradient both times': 28,
  };
  expectNumber('y = a + a² with a = 2x at x = 3: the gradient of x', x.grad, 26, wrong);
  backward(y);
  expectNumber('backward called twice for the same y: the gradient of x', x.grad, 52, {
    'a still held the gradient of the first call, and passed it on again. Collect what arrives in each call apart from grad': 102,
    'The second call replaced the first': 26,
  });

  const chain = [value(1)];
  while (chain.length <= 60) chain.push(add(chain.at(-1)!, chain.at(-1)!));
  limitReads(chain);
  backward(chain.at(-1)!);
  expectNumber('60 doublings of x: the gradient of x', chain[0]!.grad, 2 ** 60);
}

/** Lines that are neither blank nor comment. */
function codeLines(source: string): number {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
  return code.split('\n').filter((line) => line.trim() !== '').length;
}

function checkEngine(engine: EngineModule, source: string): void {
  const lines = codeLines(source);
  expect(lines <= MAX_LINES, `the engine has ${lines} lines of code, and should have at most ${MAX_LINES}`);
  let y = engine.value(1);
  const x = y;
  for (let i = 1; i < DEEP; i++) y = engine.add(y, x);
  onDeepChain(`backward over a chain of ${DEEP} values`, () => engine.backward(y));
  expectNumber(`x added to itself ${DEEP - 1} times: the gradient of x`, x.grad, DEEP, {
    'Values are visited before their gradients are complete': 2,
  });
  compareWithChainrule(engine, 100);
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Order>({
    title: 'A topological order',
    file: 'order',
    functions: ['order'],
    hint: 'Count the uses of each value first. A value is ready when as many uses of it have been visited.',
    check: checkOrder,
  }),
  exercise<EngineModule>({
    title: 'backward visits each value once',
    file: 'engine',
    functions: ['value', 'add', 'mul', 'backward'],
    hint: 'Keep the gradients that arrive during one call in a Map from value to number. Add to grad at the visit.',
    check: (engine) => checkBackward(validated(engine)),
  }),
  exercise<EngineModule>({
    title: 'The engine agrees with chainrule on 100 random graphs',
    file: 'engine',
    functions: ['value', 'add', 'sub', 'mul', 'div', 'exp', 'tanh', 'relu', 'power', 'backward'],
    hint: 'Exercise 3.2 comes first. Then compute the gradients of the graph in the message by hand, value by value.',
    check: (engine, source) => checkEngine(validated(engine), source),
  }),
];
