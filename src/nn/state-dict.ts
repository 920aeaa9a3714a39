/**
 * Loads a state dict: checks all of it before the first write.
 */
import { isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { isFloat } from '../core/dtype.ts';
import { kindOf, stateDictMismatch } from '../core/errors.ts';
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
  { strict = true, rename = (name) => name }: LoadOptions,
): LoadReport {
  if (typeof state !== 'object' || state === null) throw stateDictMismatch(owner, `expected a record of tensors, got ${kindOf(state)}`);
  const valueOfTarget = new Map<Tensor, Tensor>();
  const unexpected: string[] = [];
  const problems: string[] = [];
  return noGrad(() => {
    for (const [key, given] of Object.entries(state)) {
      const name = rename(key);
      const [target, value] = findTarget(name, given);
      if (target === undefined) {
        unexpected.push(key);
        continue;
      }
      const problem = problemOf(name, target, value);
      if (problem !== null) problems.push(problem);
      valueOfTarget.set(target, value);
    }
    const missing = Object.keys(ownTensors).filter((name) => !valueOfTarget.has(ownTensors[name]!) && !optional.has(name));
    if (strict && unexpected.length > 0) problems.unshift(`unexpected ${unexpected.join(', ')}`);
    if (strict && missing.length > 0) problems.unshift(`missing ${missing.join(', ')}`);
    if (problems.length > 0) throw stateDictMismatch(owner, problems.join('; '));
    for (const [target, value] of valueOfTarget) target.copy_(value);
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
