/**
 * Loads a state dict: checks all of it before the first write.
 */
import { copyAll_, isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { foreignKind } from '../core/copies.ts';
import { peek } from '../core/describe.ts';
import { isFloat } from '../core/dtype.ts';
import { ArgumentError, isArray, kindOf, stateDictMismatch } from '../core/errors.ts';
import { checkFunction, isPlainObject, refuseOptions, withDefaults } from '../core/options.ts';
import { formatShape, sameShape } from '../core/shape.ts';

/** Tensors by name. */
export type StateDict = Readonly<Record<string, Tensor>>;

/** Options of loadStateDict. */
export interface LoadOptions {
  /** Whether missing and unexpected names throw. Wrong shapes always throw. Default true. */
  readonly strict?: boolean;
  /** Maps a name of the state to the module's name. Default: the same name. */
  readonly rename?: (name: string) => string;
}

/** The names that loadStateDict could not match. */
export interface LoadReport {
  /** Names of the module that the state lacks. */
  readonly missing: string[];
  /** Names of the state that the module lacks. */
  readonly unexpected: string[];
}

/** Returns the tensor that `name` leads to, or undefined, and the entry's value in the module's own shape. */
export type FindTarget = (name: string, value: Tensor) => [target: Tensor | undefined, value: Tensor];

/**
 * Copies `state` into the module's own tensors, all or nothing. `owner` names the module in errors. The state may lack the tensors
 * whose names are in `optional`; they keep their values.
 */
export function loadInto(
  owner: string,
  ownTensors: StateDict,
  optional: ReadonlySet<string>,
  findTarget: FindTarget,
  state: StateDict,
  options: LoadOptions,
): LoadReport {
  const { strict, rename } = withDefaults('loadStateDict', options, { strict: true, rename: (name: string) => name });
  checkFunction('loadStateDict', 'rename', rename);
  if (typeof state !== 'object' || state === null) throw stateDictMismatch(owner, `expected a record of tensors, got ${kindOf(state)}`);
  const valueOfTarget = new Map<Tensor, Tensor>();
  const unexpected: string[] = [];
  const problems: string[] = [];
  return noGrad(() => {
    for (const [key, given] of Object.entries(state)) {
      const name = rename(key);
      const [target, found] = findTarget(name, given);
      if (target === undefined) {
        unexpected.push(key);
        continue;
      }
      // As in PyTorch, whose oldest versions stored numbers as [1].
      const isNumber = isTensor(found) && target.ndim === 0 && found.ndim === 1 && found.numel === 1;
      const value = isNumber ? found.reshape([]) : found;
      const problem = problemOf(name, target, value);
      if (problem !== null) problems.push(problem);
      valueOfTarget.set(target, value);
    }
    const missing = Object.keys(ownTensors).filter((name) => !valueOfTarget.has(ownTensors[name]!) && !optional.has(name));
    if (strict && unexpected.length > 0) problems.unshift(`unexpected ${unexpected.join(', ')}`);
    if (strict && missing.length > 0) problems.unshift(`missing ${missing.join(', ')}`);
    if (problems.length > 0) throw stateDictMismatch(owner, problems.join('; '));
    copyAll_('loadStateDict', [...valueOfTarget]);
    return { missing, unexpected };
  });
}

/** Returns why `value` cannot be copied into `target`, or null. */
function problemOf(name: string, target: Tensor, value: Tensor): string | null {
  if (!isTensor(value)) return `${name} is ${kindOf(value)} in the state, expected a tensor`;
  // Throws here, before the first copy, if the value was released.
  void value.storage;
  if (!sameShape(target.shape, value.shape)) {
    return `${name} has shape ${formatShape(value.shape)} in the state, ${formatShape(target.shape)} in the module`;
  }
  const converts = target.dtype === value.dtype || (isFloat(target.dtype) && isFloat(value.dtype));
  if (!converts) return `${name} is ${value.dtype} in the state, ${target.dtype} in the module`;
  return null;
}

/** The tensors of each copy that cloneStateDict has made. */
const tensorsOfCopy = new WeakMap<object, readonly Tensor[]>();

/**
 * Returns a deep copy of a state dict, as `copy.deepcopy(model.state_dict())` does in PyTorch: the best weights so far, for example.
 * Takes the state of anything: a module, an optimizer, a scheduler.
 *
 * No scope frees the copy's tensors. `disposeStateDict` does, or `using best = cloneStateDict(…)`. Without either, the garbage
 * collector frees them once the copy is unreachable, but not during a synchronous loop.
 * Throws: ArgumentError for a value in it that is no tensor, record, array or plain value
 * @example
 * let best = cloneStateDict(model.stateDict());
 * // … when a later epoch is better: disposeStateDict(best); best = cloneStateDict(model.stateDict());
 * model.loadStateDict(best);
 */
export function cloneStateDict<S extends object>(state: S): S {
  refuseOptions('cloneStateDict', arguments[1]);
  if (typeof state !== 'object' || state === null || isTensor(state)) {
    throw new ArgumentError(`cloneStateDict: expected a state dict, such as model.stateDict(), got ${kindOf(state)}`);
  }
  const tensors: Tensor[] = [];
  // The scope frees the copies already made if memory runs out.
  const copy = noGrad(() => copyTree(state, new Map(), tensors)) as S;
  for (const t of tensors) t.keep();
  tensorsOfCopy.set(copy, tensors);
  if (typeof Symbol.dispose === 'symbol') {
    Object.defineProperty(copy, Symbol.dispose, { value: () => disposeStateDict(copy), configurable: true });
  }
  return copy;
}

/** Frees the tensors of a copy that cloneStateDict has made. Throws: ArgumentError for any other value, such as a live state dict */
export function disposeStateDict(copy: object): void {
  refuseOptions('disposeStateDict', arguments[1]);
  const tensors = typeof copy === 'object' && copy !== null ? tensorsOfCopy.get(copy) : undefined;
  if (tensors === undefined) {
    throw new ArgumentError('disposeStateDict: expected what cloneStateDict has returned; to free a model, call model.dispose()');
  }
  for (const t of tensors) t.dispose();
}

/** Describes an object by its class. */
function constructorName(value: object): string {
  const name = peek(peek(value, 'constructor'), 'name');
  return typeof name === 'string' ? `a ${name}` : kindOf(value);
}

/** Copies a tree. What appears in it several times is copied once, as structuredClone does. */
function copyTree(value: unknown, copies: Map<object, unknown>, tensors: Tensor[]): unknown {
  if (typeof value !== 'object' || value === null) {
    if (typeof value !== 'function') return value;
    throw new ArgumentError('cloneStateDict: expected tensors, records, arrays and plain values, got a function');
  }
  if (copies.has(value)) return copies.get(value);
  if (isTensor(value)) {
    const copy = value.clone();
    tensors.push(copy);
    copies.set(value, copy);
    return copy;
  }
  // A typed array, as an ArrayData has one.
  if (ArrayBuffer.isView(value) && 'slice' in value) return (value as Float32Array).slice();
  if (!isArray(value) && !isPlainObject(value)) {
    const kind = foreignKind(value) ?? constructorName(value);
    throw new ArgumentError(`cloneStateDict: expected tensors, records, arrays and plain values, got ${kind}`);
  }
  const copy: object = isArray(value) ? [] : {};
  copies.set(value, copy);
  // Not by assignment: a tensor may be called __proto__.
  for (const [key, v] of Object.entries(value)) {
    Object.defineProperty(copy, key, { value: copyTree(v, copies, tensors), enumerable: true, configurable: true, writable: true });
  }
  return copy;
}
