/**
 * Properties that differentiable functions have, one line each in a test.
 */
import fc, { type Arbitrary, type IPropertyWithHooks } from 'fast-check';
import { scope, type Tensor } from '../autograd/index.ts';
import { isFloat } from '../core/dtype.ts';
import { gradcheck, gradgradcheck, type CheckedModule, type GradcheckOptions } from '../inspect/index.ts';
import { TensorSample } from './sample.ts';

/** Arguments with a tensor for every sample among them. */
export type Made<A extends readonly unknown[]> = { [K in keyof A]: MadeOne<A[K]> };
type MadeOne<T> = T extends TensorSample ? Tensor : T;

/** A function of these arguments, or a module whose forward takes them. */
export type Differentiable<Args extends readonly unknown[]> =
  | ((...args: Args) => Tensor | readonly Tensor[])
  | (Omit<CheckedModule, 'forward'> & { forward(...args: Args): Tensor | readonly Tensor[] });

/** Options of gradientProperty: those of gradcheck, and which derivatives are checked. */
export interface GradientPropertyOptions extends Omit<GradcheckOptions, 'raise'> {
  /** 1: gradients, 2: gradients of gradients. Default both. */
  readonly orders?: readonly (1 | 2)[];
}

/**
 * The property that the gradients of `op`, of first and second order, agree with central differences. `op` is a function, or
 * a module, whose parameters are checked too. `arb` draws one sample, or the arguments: tensors are made from the samples
 * among them, and whatever else is passed on.
 *
 * A failure shrinks to a small shape, and its message is gradcheck's report.
 * @example fc.assert(gradientProperty((x) => x.gelu(), tensors({ dtype: 'float64' })))
 * @example fc.assert(gradientProperty((a, b) => a.div(b), fc.tuple(tensors(…), tensors(…))))
 */
export function gradientProperty(
  op: Differentiable<[x: Tensor]>,
  arb: Arbitrary<TensorSample>,
  options?: GradientPropertyOptions,
): IPropertyWithHooks<[TensorSample]>;
export function gradientProperty<A extends readonly unknown[]>(
  op: Differentiable<Made<A>>,
  arb: Arbitrary<A>,
  options?: GradientPropertyOptions,
): IPropertyWithHooks<[A]>;
export function gradientProperty(
  op: Differentiable<never[]>,
  arb: Arbitrary<TensorSample | readonly unknown[]>,
  options: GradientPropertyOptions = {},
): IPropertyWithHooks<[TensorSample | readonly unknown[]]> {
  return fc.property(arb, (drawn) => checkGradients(op, drawn instanceof TensorSample ? [drawn] : drawn, options));
}

/**
 * Checks the gradients of `op` at one set of arguments: the step of gradientProperty. Where no sample requires a gradient,
 * the first that can does. Leaves nothing in memory.
 * Throws: GradcheckError with the report
 */
export function checkGradients(
  op: Differentiable<never[]>,
  args: readonly unknown[],
  { orders = [1, 2], ...options }: GradientPropertyOptions = {},
): void {
  scope(() => {
    const at = args.flatMap((a, i) => (a instanceof TensorSample ? [i] : []));
    const samples = at.map((i) => args[i] as TensorSample);
    const none = typeof op === 'function' && !samples.some((s) => s.requiresGrad);
    const first = samples.findIndex((s) => isFloat(s.dtype));
    const bases = samples.map((s, i) => s.base({ requiresGrad: s.requiresGrad || (none && i === first) }));
    const forward = (...given: Tensor[]): Tensor | readonly Tensor[] => {
      const made = args.map((a, i) => (a instanceof TensorSample ? a.view(given[at.indexOf(i)]!) : a)) as never[];
      return typeof op === 'function' ? op(...made) : op.forward(...made);
    };
    const checked = typeof op === 'function' ? forward : moduleWith(op, forward);
    if (orders.includes(1)) gradcheck(checked, bases, options);
    if (orders.includes(2)) gradgradcheck(checked, bases, options);
  });
}

/** The module with another forward. */
function moduleWith(module: Omit<CheckedModule, 'forward'>, forward: CheckedModule['forward']): CheckedModule {
  return { forward, namedParameters: () => module.namedParameters(), namedBuffers: () => module.namedBuffers?.() ?? [] };
}
