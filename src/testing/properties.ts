/**
 * Gradient properties of differentiable functions and modules, for one-line tests.
 */
import fc, { type Arbitrary, type IPropertyWithHooks } from 'fast-check';
import { scope, type Tensor } from '../autograd/index.ts';
import { isInstance, isRevoked, peek } from '../core/describe.ts';
import { isFloat } from '../core/dtype.ts';
import { ArgumentError, checkArray, isArray, kindOf, shown } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { GRADCHECK_DEFAULTS, gradcheck, gradgradcheck, type CheckedModule, type GradcheckOptions } from '../inspect/index.ts';
import { isArbitrary } from './arbitraries.ts';
import { TensorSample } from './sample.ts';

/** The type of arguments after a tensor is made of every sample among them. */
export type Made<A extends readonly unknown[]> = { [K in keyof A]: MadeOne<A[K]> };
type MadeOne<T> = T extends TensorSample ? Tensor : T;

/** A function of these arguments, or a module whose forward takes them. */
export type Differentiable<Args extends readonly unknown[]> =
  | ((...args: Args) => Tensor | readonly Tensor[])
  | (Omit<CheckedModule, 'forward'> & { forward(...args: Args): Tensor | readonly Tensor[] });

/** Options of gradientProperty: those of gradcheck, and the orders of derivatives to check. */
export interface GradientPropertyOptions extends Omit<GradcheckOptions, 'raise'> {
  /** 1 checks gradients, 2 gradients of gradients. Default: both. */
  readonly orders?: readonly (1 | 2)[];
}

/**
 * Returns the property that the first and second derivatives of `op` agree with central differences. `op` is a function, or a
 * module, whose parameters are checked too. `arb` draws one sample, or all arguments: samples among them become tensors, other
 * arguments are passed unchanged.
 *
 * A failure shrinks to a small shape; its message is gradcheck's report.
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
  checkPropertyOptions('gradientProperty', op, options);
  if (!isArbitrary(arb))
    throw new ArgumentError(`gradientProperty: arb must be an arbitrary, such as tensors({ dtype: 'float64' }), got ${shown(arb)}`);
  return fc.property(arb, (drawn) => checkGradients(op, isInstance(drawn, TensorSample) ? [drawn] : drawn, options));
}

/**
 * Checks the gradients of `op` at one set of arguments, as gradientProperty does for each draw. If no sample requires a gradient,
 * the first float sample does. Frees all tensors it makes.
 * Throws: GradcheckError with the report
 */
export function checkGradients(op: Differentiable<never[]>, args: readonly unknown[], given: GradientPropertyOptions = {}): void {
  checkPropertyOptions('checkGradients', op, given);
  checkArray('checkGradients', args);
  const { orders = [1, 2], ...options } = given;
  scope(() => {
    const samplePositions = args.flatMap((a, i) => (isInstance(a, TensorSample) ? [i] : []));
    const samples = samplePositions.map((i) => args[i] as TensorSample);
    const noneRequiresGrad = typeof op === 'function' && !samples.some((s) => s.requiresGrad);
    const firstFloat = samples.findIndex((s) => isFloat(s.dtype));
    const bases = samples.map((s, i) => s.base({ requiresGrad: s.requiresGrad || (noneRequiresGrad && i === firstFloat) }));
    const forward = (...tensors: Tensor[]): Tensor | readonly Tensor[] => {
      const made = args.map((a, i) => (isInstance(a, TensorSample) ? a.view(tensors[samplePositions.indexOf(i)]!) : a)) as never[];
      return typeof op === 'function' ? op(...made) : op.forward(...made);
    };
    const checked = typeof op === 'function' ? forward : withForward(op, forward);
    if (orders.includes(1)) gradcheck(checked, bases, options);
    if (orders.includes(2)) gradgradcheck(checked, bases, options);
  });
}

function checkPropertyOptions(name: string, op: Differentiable<never[]>, options: GradientPropertyOptions): void {
  const known = Object.keys(GRADCHECK_DEFAULTS).filter((option) => option !== 'raise');
  checkOptions(name, options, ['orders', ...known], ['fastMode', 'checkUndefinedGrad']);
  if (options.orders !== undefined && (!isArray(options.orders) || !options.orders.every((n) => n === 1 || n === 2)))
    throw new ArgumentError(`${name}: orders must be an array of 1 and 2, got ${shown(options.orders)}`);
  const isModule = typeof peek(op, 'forward') === 'function' && typeof peek(op, 'namedParameters') === 'function';
  if (isRevoked(op) || (typeof op !== 'function' && !isModule))
    throw new ArgumentError(`${name}: expected a function or a module, got ${kindOf(op)}`);
}

/** Returns the module with another forward. */
function withForward(module: Omit<CheckedModule, 'forward'>, forward: CheckedModule['forward']): CheckedModule {
  return { forward, namedParameters: () => module.namedParameters(), namedBuffers: () => module.namedBuffers?.() ?? [] };
}
