/**
 * The function or module under check, as a function of all its inputs.
 */
import { foreignKind } from '../../core/copies.ts';
import { isRevoked, peek } from '../../core/describe.ts';
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, AutogradError, DTypeError, kindOf, isArray } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { checkTensor, isTensor, type Tensor } from '../../autograd/tensor.ts';
import type { Subject } from './perturbed-input.ts';

/** A function to check: tensors to one result or several. */
export type CheckedFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** A module to check: any object with parameters and a forward. */
export interface CheckedModule {
  /** The module's function. */
  forward(...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** The parameters to check, with the names that reports use. */
  namedParameters(): Iterable<readonly [string, Tensor]>;
  /** Tensors that forward may write to; restored after every evaluation. */
  namedBuffers?(): Iterable<readonly [string, Tensor]>;
}

/**
 * Makes a subject of a function or module; a module reads its parameters itself, so only the given inputs are arguments.
 *
 * @param float32 Whether float32 inputs and parameters are allowed.
 */
export function subjectOf(
  name: string,
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  { float32 = false } = {},
): Subject {
  const xs = isTensor(inputs) ? [inputs] : inputs;
  if (!isArray(xs)) throw new ArgumentError(`${name}: inputs must be a tensor or an array of tensors, got ${kindOf(xs)}`);
  xs.forEach((x, i) => checkTensor(name, `input ${i}`, x));
  if (!isFunction(fn) && !isModule(fn)) throw new ArgumentError(`${name}: expected a function or a module, got ${kindOf(fn)}`);
  const module = typeof fn === 'function' ? null : fn;
  const parameters = module === null ? [] : [...module.namedParameters()].filter(([, p]) => !isFloat(p.dtype) || p.requiresGrad);
  if (!float32) requireFloat64(name, xs, parameters);
  if (!xs.some((x) => x.requiresGrad) && parameters.length === 0) {
    throw new AutogradError(`${name}: no input requires a gradient; make one with { requiresGrad: true }`);
  }
  return {
    inputs: [...xs, ...parameters.map(([, p]) => p)],
    labels: [...xs.map((x) => x.label), ...parameters.map(([path]) => path)],
    names: [...xs.map((x, i) => (x.label === null ? `input ${i}` : `input ${i} '${x.label}'`)), ...parameters.map(([path]) => path)],
    argumentCount: xs.length,
    buffers: Array.from(module?.namedBuffers?.() ?? [], ([, buffer]) => buffer),
    call: (all) => {
      const args = all.slice(0, xs.length);
      return checkedResult(name, module === null ? (fn as CheckedFunction)(...args) : module.forward(...args));
    },
  };
}

/** Returns whether the value can be called. */
function isFunction(value: unknown): value is CheckedFunction {
  return typeof value === 'function' && !isRevoked(value);
}

/** Returns whether the value has the methods of a module that the check calls. Those of another copy have its tensors. */
function isModule(value: unknown): value is CheckedModule {
  const hasMethods = typeof peek(value, 'forward') === 'function' && typeof peek(value, 'namedParameters') === 'function';
  return hasMethods && foreignKind(value) === null;
}

/** Throws unless the result of a checked function is a tensor, or an array of them. */
function checkedResult(name: string, result: Tensor | readonly Tensor[]): Tensor | readonly Tensor[] {
  if (isTensor(result)) return result;
  if (!isArray(result)) throw new ArgumentError(`${name}: the function must return a tensor or an array of tensors, got ${kindOf(result)}`);
  result.forEach((y, i) => checkTensor(name, `result ${i}`, y));
  return result;
}

/** Throws for a float32 input or parameter. */
function requireFloat64(name: string, inputs: readonly Tensor[], parameters: readonly (readonly [string, Tensor])[]): void {
  const require = (x: Tensor, what: string, remedy: string): void => {
    if (!isFloat(x.dtype) || x.dtype === 'float64') return;
    throw new DTypeError(`${name}: ${what} ${formatShape(x.shape)} is ${x.dtype}; finite differences need float64: ${remedy}`);
  };
  inputs.forEach((x, i) => require(x, `input ${i}`, "use .to('float64')"));
  for (const [path, p] of parameters) require(p, `parameter '${path}'`, "convert the module with .to('float64')");
}
