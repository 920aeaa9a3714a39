/**
 * The properties that every differentiable operation has, and how often they are tried.
 */
import fc from 'fast-check';
import { full, grad, gradcheck, gradgradcheck, memory, scope, type CheckedFunction, type GradcheckOptions, type Tensor } from '../../src/autograd/index.ts';
import { kernels } from '../../src/kernels/index.ts';
import { Draw, basesOf, functionOf, type Case } from './arbitraries.ts';

/** One operation: how a case for it is drawn. */
export interface Line {
  readonly name: string;
  /** The exports of autograd/ops that it checks; its name by default. */
  readonly covers?: readonly string[];
  readonly draw: (d: Draw) => Case;
  /** For operations whose first derivative is piecewise constant in a way that cannot be told. Default true. */
  readonly secondOrder?: boolean;
}

const SEED = 20261124;
const wanted = Number(process.env.CHAINRULE_CASES ?? 0);
const twins = kernels.name === 'reference';

/** Cases an operation: `CHAINRULE_CASES=10000` for a long run. */
export const FIRST_ORDER_CASES = wanted > 0 ? wanted : twins ? 20 : 200;
export const SECOND_ORDER_CASES = wanted > 0 ? Math.ceil(wanted / 4) : twins ? 10 : 50;

/** Runs a property; a failure prints the seed and the smallest case. */
export function holds(property: fc.IRawProperty<unknown>, numRuns: number, seed = SEED): void {
  fc.assert(property, { numRuns, seed, endOnFailure: twins });
}

type Check = (fn: CheckedFunction, inputs: readonly Tensor[], options?: GradcheckOptions) => unknown;

function checked(line: Line, check: Check): fc.IRawProperty<unknown> {
  return fc.property(fc.gen(), (g) => {
    const c = line.draw(new Draw(g));
    const before = memory();
    scope(() => check(functionOf(c), basesOf(c), c.options));
    const after = memory();
    if (after.bytes !== before.bytes || after.tensors !== before.tensors) {
      throw new Error(`${line.name}: ${after.bytes - before.bytes} bytes in ${after.tensors - before.tensors} tensors were not freed`);
    }
  });
}

/** The gradients agree with central differences, and nothing is left in memory. */
export function firstOrder(line: Line): fc.IRawProperty<unknown> {
  return checked(line, gradcheck);
}

/** The gradients' own gradients do. */
export function secondOrder(line: Line): fc.IRawProperty<unknown> {
  return checked(line, gradgradcheck);
}

/** At a tie, where finite differences say nothing, the winners share the gradient equally, as PyTorch's amax and maximum do. */
export function sharesTies(op: (x: Tensor) => Tensor): fc.IRawProperty<unknown> {
  return fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: -3, max: 3 }), (n, value) =>
    scope(() => {
      const x = full([n], value, { dtype: 'float64', requiresGrad: true });
      const found = [...grad(op(x).sum(), x).data()];
      if (found.some((g) => Math.abs(g - 1 / n) > 1e-12)) throw new Error(`${n} equal elements got the gradients ${found.join(', ')}`);
    }),
  );
}
