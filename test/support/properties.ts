/**
 * The properties that every differentiable operation has, and how often they are tried.
 */
import fc from 'fast-check';
import { full, grad, memory, scope, tensor, type Tensor } from '../../src/autograd/index.ts';
import { kernels } from '../../src/kernels/index.ts';
import { checkGradients } from '../../src/testing/index.ts';
import { Draw, type Case, type TensorSample } from './arbitraries.ts';

/** One operation: how a case for it is drawn. */
export interface Line {
  readonly name: string;
  /** The exports of autograd/ops that it checks; its name by default. */
  readonly covers?: readonly string[];
  readonly draw: (d: Draw) => Case;
}

const SEED = Number(process.env.CHAINRULE_SEED ?? 20261124);
const wanted = Number(process.env.CHAINRULE_CASES ?? 0);
const twins = kernels.name === 'reference';

/** Cases an operation: `CHAINRULE_CASES=10000` for a long run. See docs/testing.md. */
export const FIRST_ORDER_CASES = wanted > 0 ? wanted : twins ? 20 : 200;
export const SECOND_ORDER_CASES = wanted > 0 ? Math.ceil(wanted / 4) : twins ? 10 : 50;

/** Milliseconds that a test of so many cases may take. */
export const TIMEOUT = 120_000 + 100 * wanted;

/** Runs a property; a failure prints the seed and, if `shrink`, the smallest case. */
export function holds<T>(property: fc.IProperty<T>, numRuns: number, { seed = SEED, shrink = !twins } = {}): void {
  fc.assert(property, { numRuns, seed, endOnFailure: !shrink });
}

function checked(line: Line, order: 1 | 2): fc.IProperty<[fc.GeneratorValue]> {
  return fc.property(fc.gen(), (g) => {
    const c = line.draw(new Draw(g));
    const before = memory();
    checkGradients(c.fn, c.inputs, { ...c.options, orders: [order] });
    const after = memory();
    if (after.bytes !== before.bytes || after.tensors !== before.tensors) {
      throw new Error(`${line.name}: ${after.bytes - before.bytes} bytes in ${after.tensors - before.tensors} tensors were not freed`);
    }
  });
}

/** The gradients agree with central differences, and nothing is left in memory. */
export function firstOrder(line: Line): fc.IProperty<[fc.GeneratorValue]> {
  return checked(line, 1);
}

/** The gradients' own gradients do. */
export function secondOrder(line: Line): fc.IProperty<[fc.GeneratorValue]> {
  return checked(line, 2);
}

/** At a tie, where finite differences say nothing, the winners share the gradient equally, as PyTorch's amax and maximum do. */
export function sharesTies(op: (x: Tensor) => Tensor): fc.IProperty<[number, number]> {
  return fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: -3, max: 3 }), (n, value) =>
    scope(() => {
      const x = full([n], value, { dtype: 'float64', requiresGrad: true });
      const found = [...grad(op(x).sum(), x).data()];
      if (found.some((g) => Math.abs(g - 1 / n) > 1e-12)) throw new Error(`${n} equal elements got the gradients ${found.join(', ')}`);
    }),
  );
}

/** A fused operation, called so that it is the last one recorded. */
export interface FusedLine {
  readonly name: string;
  readonly draw: (d: Draw) => { inputs: readonly TensorSample[]; args: (inputs: readonly Tensor[]) => readonly unknown[] };
  readonly op: (...args: never[]) => Tensor | Tensor[];
}

/** Fused and definition agree: value, gradient, second gradient. */
export function agreesWithDefinition(line: FusedLine): fc.IProperty<[fc.GeneratorValue]> {
  return fc.property(fc.gen(), (g) => {
    const { inputs, args } = line.draw(new Draw(g));
    scope(() => {
      const bases = inputs.map((i) => i.base({ requiresGrad: true }));
      // Views of its own for each: a backward consumes what hangs on the nodes it visits.
      const given = (): readonly unknown[] => args(bases.map((b, i) => inputs[i]!.view(b)));
      const fast = first(line.op(...(given() as never[])));
      const slow = first(fast.node!.op!.definition!(...given()));
      const v = tensor(
        fast.data().map((_, i) => Math.cos(i + 1)),
        { shape: fast.shape },
      );
      agree(`${line.name}: value`, [fast], [slow]);
      const options = { gradOutputs: v, retainGraph: true };
      agree(`${line.name}: gradient`, grad(fast, bases, options), grad(slow, bases, options));
      agree(`${line.name}: second gradient`, secondGradients(fast, bases, v), secondGradients(slow, bases, v));
    });
  });
}

function first(y: Tensor | Tensor[]): Tensor {
  return Array.isArray(y) ? y[0]! : y;
}

/** The gradients of Σ sin(k) · (the gradients' elements), k counting them. */
function secondGradients(y: Tensor, inputs: readonly Tensor[], v: Tensor): Tensor[] {
  const grads = grad(y, inputs, { gradOutputs: v, createGraph: true });
  const weighted = grads.map((g) =>
    g
      .mul(
        tensor(
          g.data().map((_, i) => Math.sin(i + 1)),
          { shape: g.shape },
        ),
      )
      .sum(),
  );
  const total = weighted.reduce((a, b) => a.add(b));
  return grad(total, inputs, { allowUnused: true }).map((g, i) => g ?? inputs[i]!.mul(0));
}

function agree(what: string, found: readonly Tensor[], expected: readonly Tensor[]): void {
  found.forEach((f, k) => {
    const [a, b] = [f.data(), expected[k]!.data()];
    a.forEach((x, i) => {
      if (!(Math.abs(x - b[i]!) <= 1e-9 * (1 + Math.abs(b[i]!))))
        throw new Error(`${what} ${k}: element ${i} is ${x} fused, ${b[i]} by definition`);
    });
  });
}
