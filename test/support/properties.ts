/**
 * The properties that every differentiable operation must have, and the number of cases in which they are checked.
 */
import fc from 'fast-check';
import { full, grad, memory, scope, tensor, type Tensor } from '../../src/autograd/index.ts';
import { kernels } from '../../src/kernels/index.ts';
import { checkGradients } from '../../src/testing/index.ts';
import { Draw, type Case, type TensorSample } from './arbitraries.ts';

/** A line of the gradient table: one operation, and how to draw a case for it. */
export interface Line {
  readonly name: string;
  /** The exports of autograd/ops that the line checks. Default: the export of its name. */
  readonly covers?: readonly string[];
  readonly draw: (d: Draw) => Case;
}

const SEED = Number(process.env.CHAINRULE_SEED ?? 20261124);
/** Number of cases that the environment asks for; 0: the defaults. */
const requested = Number(process.env.CHAINRULE_CASES ?? 0);
const onReference = kernels.name === 'reference';

/** Cases of a short run and of a long one. The reference kernels are slow, so they get fewer. */
const DEFAULT_CASES = onReference
  ? { short: { first: 6, second: 2 }, long: { first: 20, second: 10 } }
  : { short: { first: 25, second: 6 }, long: { first: 200, second: 50 } };
const DEFAULTS = process.env.CHAINRULE_LONG === '1' ? DEFAULT_CASES.long : DEFAULT_CASES.short;

/** Cases per operation. `CHAINRULE_LONG=1` or `CHAINRULE_CASES=10000` makes a long run; docs/testing.md has more. */
export const FIRST_ORDER_CASES = requested > 0 ? requested : DEFAULTS.first;
export const SECOND_ORDER_CASES = requested > 0 ? Math.ceil(requested / 4) : DEFAULTS.second;

/** Milliseconds that a test of so many cases may take. */
export const TIMEOUT = 120_000 + 100 * requested;

// A mutation run needs no smallest case.
const SHRINKS = !onReference && process.env.CHAINRULE_MUTATED === undefined;

/** Checks a property. A failure prints the seed and, if `shrink` is true, the smallest failing case. */
export function holds<T>(property: fc.IProperty<T>, numRuns: number, { seed = SEED, shrink = SHRINKS } = {}): void {
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

/** The gradients agree with central differences, and all memory is freed. */
export function firstOrder(line: Line): fc.IProperty<[fc.GeneratorValue]> {
  return checked(line, 1);
}

/** The gradients of the gradients agree with central differences, and all memory is freed. */
export function secondOrder(line: Line): fc.IProperty<[fc.GeneratorValue]> {
  return checked(line, 2);
}

/** Equal maxima share the gradient equally, as in PyTorch's amax and maximum. Finite differences cannot check a tie. */
export function sharesTies(op: (x: Tensor) => Tensor): fc.IProperty<[number, number]> {
  return fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: -3, max: 3 }), (n, value) =>
    scope(() => {
      const x = full([n], value, { dtype: 'float64', requiresGrad: true });
      const found = [...grad(op(x).sum(), x).data()];
      if (found.some((g) => Math.abs(g - 1 / n) > 1e-12)) throw new Error(`${n} equal elements got the gradients ${found.join(', ')}`);
    }),
  );
}

/** A fused operation. `op` must record it as its last operation. */
export interface FusedLine {
  readonly name: string;
  readonly draw: (d: Draw) => { inputs: readonly TensorSample[]; args: (inputs: readonly Tensor[]) => readonly unknown[] };
  readonly op: (...args: never[]) => Tensor | Tensor[];
}

/** Value, gradient and second gradient of a fused operation agree with those of its definition. */
export function agreesWithDefinition(line: FusedLine): fc.IProperty<[fc.GeneratorValue]> {
  return fc.property(fc.gen(), (g) => {
    const { inputs, args } = line.draw(new Draw(g));
    scope(() => {
      const bases = inputs.map((i) => i.base({ requiresGrad: true }));
      // Each call gets views of its own, because backward consumes the graph that it visits.
      const freshArgs = (): readonly unknown[] => args(bases.map((b, i) => inputs[i]!.view(b)));
      const fast = first(line.op(...(freshArgs() as never[])));
      const slow = first(fast.node!.op!.definition!(...freshArgs()));
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

/** Returns the gradients of the sum of all elements of the gradients, where the k-th element has the weight sin(k). */
function secondGradients(y: Tensor, inputs: readonly Tensor[], v: Tensor): Tensor[] {
  const grads = grad(y, inputs, { gradOutputs: v, createGraph: true });
  const weighted = grads.map((g) => {
    const weights = g.data().map((_, i) => Math.sin(i + 1));
    return g.mul(tensor(weights, { shape: g.shape })).sum();
  });
  const total = weighted.reduce((a, b) => a.add(b));
  return grad(total, inputs, { allowUnused: true }).map((g, i) => g ?? inputs[i]!.mul(0));
}

/** Throws if an element differs by more than 1e-9, relative where it is above 1. */
function agree(what: string, found: readonly Tensor[], expected: readonly Tensor[]): void {
  found.forEach((tensorFound, k) => {
    const want = expected[k]!.data();
    tensorFound.data().forEach((x, i) => {
      const y = want[i]!;
      // Negated, so that NaN does not agree.
      if (!(Math.abs(x - y) <= 1e-9 * (1 + Math.abs(y)))) {
        throw new Error(`${what} ${k}: element ${i} is ${x} fused, ${y} by definition`);
      }
    });
  });
}
