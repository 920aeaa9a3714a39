/** Random graphs of scalars, computed by the reader's engine and by chainrule. */
import { type Tensor, tensor } from 'chainrule';
import fc from 'fast-check';
import type { EngineModule } from '../../01-scalar-engine/checks/engine.ts';
import { expectNumber } from '../../support/exercise.ts';

/** What a graph is made of: one implementation for the reader's values, one for tensors. */
interface Algebra<T> {
  readonly leaf: (data: number) => T;
  readonly add: (a: T, b: T) => T;
  readonly sub: (a: T, b: T) => T;
  readonly mul: (a: T, b: T) => T;
  readonly div: (a: T, b: T) => T;
  readonly exp: (a: T) => T;
  readonly tanh: (a: T) => T;
  readonly relu: (a: T) => T;
  readonly power: (a: T, n: number) => T;
}

const OPERATIONS = ['add', 'sub', 'mul', 'div', 'exp', 'tanh', 'relu', 'square', 'cube'] as const;
type Operation = (typeof OPERATIONS)[number];

/** A graph: its leaves, and operations on earlier values, whose numbers are taken modulo how many there are. */
interface Program {
  readonly leaves: readonly number[];
  readonly steps: readonly (readonly [Operation, number, number])[];
}

const programs = fc.record<Program>({
  leaves: fc.array(
    fc.integer({ min: -20, max: 20 }).map((n) => n / 10),
    { minLength: 1, maxLength: 3 },
  ),
  steps: fc.array(fc.tuple(fc.constantFrom(...OPERATIONS), fc.nat(99), fc.nat(99)), { minLength: 1, maxLength: 20 }),
});

/** The operation in parts that keep numbers small: a divisor is at least 1, and what is exponentiated or cubed lies in (−1, 1). */
function apply<T>(algebra: Algebra<T>, operation: Operation, a: T, b: T): T {
  const { leaf, add, sub, mul, div, exp, tanh, relu, power } = algebra;
  switch (operation) {
    case 'add':
      return add(a, b);
    case 'sub':
      return sub(a, b);
    case 'mul':
      return mul(tanh(a), b);
    case 'div':
      return div(a, add(power(b, 2), leaf(1)));
    case 'exp':
      return exp(tanh(a));
    case 'tanh':
      return tanh(a);
    case 'relu':
      return relu(a);
    case 'square':
      return power(tanh(a), 2);
    case 'cube':
      return power(tanh(a), 3);
  }
}

/** Runs a program. Returns its leaves, and its result: the last value. */
function evaluate<T>(algebra: Algebra<T>, { leaves, steps }: Program): { leaves: T[]; result: T } {
  const values = leaves.map((data) => algebra.leaf(data));
  const first = [...values];
  for (const [operation, i, k] of steps) {
    values.push(apply(algebra, operation, values[i % values.length]!, values[k % values.length]!));
  }
  return { leaves: first, result: values.at(-1)! };
}

/** A program as text, such as "v0 = 1.5, v1 = tanh(v0)". */
function describe({ leaves, steps }: Program): string {
  const lines = leaves.map((data, i) => `v${i} = ${data}`);
  for (const [operation, i, k] of steps) {
    const count = lines.length;
    const algebra: Algebra<string> = {
      leaf: String,
      add: (a, b) => `add(${a}, ${b})`,
      sub: (a, b) => `sub(${a}, ${b})`,
      mul: (a, b) => `mul(${a}, ${b})`,
      div: (a, b) => `div(${a}, ${b})`,
      exp: (a) => `exp(${a})`,
      tanh: (a) => `tanh(${a})`,
      relu: (a) => `relu(${a})`,
      power: (a, n) => `power(${a}, ${n})`,
    };
    lines.push(`v${count} = ${apply(algebra, operation, `v${i % count}`, `v${k % count}`)}`);
  }
  return lines.join(', ');
}

const tensors: Algebra<Tensor> = {
  leaf: (data) => tensor(data, { dtype: 'float64', requiresGrad: true }),
  add: (a, b) => a.add(b),
  sub: (a, b) => a.sub(b),
  mul: (a, b) => a.mul(b),
  div: (a, b) => a.div(b),
  exp: (a) => a.exp(),
  tanh: (a) => a.tanh(),
  relu: (a) => a.relu(),
  power: (a, n) => a.pow(n),
};

/** Compares the engine with chainrule on `count` random graphs, small ones first. */
export function compareWithChainrule(engine: EngineModule, count: number): void {
  const drawn = fc.sample(programs, { numRuns: count, seed: 3 });
  for (const program of drawn.sort((a, b) => a.steps.length - b.steps.length)) {
    const own = evaluate({ ...engine, leaf: engine.value }, program);
    engine.backward(own.result);
    const reference = evaluate(tensors, program);
    reference.result.backward();
    const where = describe(program);
    expectNumber(`${where}: the result, compared with chainrule`, own.result.data, reference.result.item());
    for (const [i, leaf] of own.leaves.entries()) {
      expectNumber(`${where}: the gradient of v${i}, compared with chainrule`, leaf.grad, reference.leaves[i]!.grad?.item() ?? 0);
    }
  }
}
