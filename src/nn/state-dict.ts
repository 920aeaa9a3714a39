/**
 * Loading a state dict: everything is checked before anything is written.
 */
import { isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { isFloat } from '../core/dtype.ts';
import { kindOf, misfit } from '../core/errors.ts';
import { formatShape, sameShape } from '../core/shape.ts';

/** Tensors by name. */
export type StateDict = Readonly<Record<string, Tensor>>;

/** Options of loadStateDict. */
export interface LoadOptions {
  /** Whether names that are missing or unexpected throw. Wrong shapes always do. Default true. */
  readonly strict?: boolean;
  /** The module's name for each name of the state. Default: the same. */
  readonly rename?: (name: string) => string;
}

/** What loadStateDict found that did not match by name. */
export interface LoadReport {
  /** Names of the module that the state lacks. */
  readonly missing: string[];
  /** Names of the state that the module lacks. */
  readonly unexpected: string[];
}

/** Copies `state` into `own`; `find` knows `own`'s tensors by all their names, and gives the value in their terms. */
export function loadInto(
  owner: string,
  own: StateDict,
  find: (name: string, value: Tensor) => [target: Tensor | undefined, value: Tensor],
  state: StateDict,
  { strict = true, rename = (name) => name }: LoadOptions,
): LoadReport {
  if (typeof state !== 'object' || state === null) throw misfit(owner, `expected a record of tensors, got ${kindOf(state)}`);
  const found = new Map<Tensor, Tensor>();
  const unexpected: string[] = [];
  const problems: string[] = [];
  return noGrad(() => {
    for (const [key, given] of Object.entries(state)) {
      const name = rename(key);
      const [target, value] = find(name, given);
      if (target === undefined) {
        unexpected.push(key);
        continue;
      }
      const problem = problemOf(name, target, value);
      if (problem !== null) problems.push(problem);
      found.set(target, value);
    }
    const missing = Object.keys(own).filter((name) => !found.has(own[name]!));
    if (strict && unexpected.length > 0) problems.unshift(`unexpected ${unexpected.join(', ')}`);
    if (strict && missing.length > 0) problems.unshift(`missing ${missing.join(', ')}`);
    if (problems.length > 0) throw misfit(owner, problems.join('; '));
    for (const [target, value] of found) target.copy_(value);
    return { missing, unexpected };
  });
}

function problemOf(name: string, target: Tensor, value: Tensor): string | null {
  if (!isTensor(value)) return `${name} is ${kindOf(value)} in the state, expected a tensor`;
  // A tensor whose memory is gone must say so before the first copy.
  void value.storage;
  if (!sameShape(target.shape, value.shape)) {
    return `${name} has shape ${formatShape(value.shape)} in the state, ${formatShape(target.shape)} in the module`;
  }
  const converts = target.dtype === value.dtype || (isFloat(target.dtype) && isFloat(value.dtype));
  if (!converts) return `${name} is ${value.dtype} in the state, ${target.dtype} in the module`;
  return null;
}
