import type { Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError, isArray, shown } from '../core/errors.ts';
import { checkNotNegative, checkRange, withDefaults } from '../core/options.ts';

export { checkNotNegative, checkRange };

/** Throws unless `value` is a finite number. */
export const checkFinite = checkRange('that is finite', Number.isFinite);

/** Returns the narrowest dtype of the parameters: a kernel rounds the rates to it. */
export function narrowest(params: readonly Tensor[]): FloatDType {
  return params.some((p) => p.dtype === 'float32') ? 'float32' : 'float64';
}

/** Returns a rate as a kernel computes with it. */
const roundedTo = (dtype: FloatDType, rate: number): number => (dtype === 'float32' ? Math.fround(rate) : rate);

/** Throws unless `value` is a number that is finite, also when it is rounded to the parameters' dtype. */
export function checkFiniteIn(dtype: FloatDType, name: string, option: string, value: unknown): void {
  checkFinite(name, option, value);
  if (Number.isFinite(roundedTo(dtype, value as number))) return;
  throw new ArgumentError(`${name}: ${option} must be finite in ${dtype}, the dtype of a parameter, got ${shown(value)}`);
}

/** Throws for an eps that a kernel would round to 0: it keeps a divisor from 0. An eps of 0 is the user's own choice. */
export function checkEps(dtype: FloatDType, name: string, eps: number): void {
  if (eps !== 0 && roundedTo(dtype, eps) === 0)
    throw new ArgumentError(`${name}: eps ${eps} rounds to 0 in ${dtype}, the dtype of a parameter; give a larger one`);
}

/** Throws unless `value` is a finite number ≥ 0. */
export function checkRate(name: string, option: string, value: unknown): void {
  checkNotNegative(name, option, value);
  checkFinite(name, option, value);
}

/** Makes a check that throws unless the value is `a` or `b`. */
export const checkEither =
  <T>(a: T, b: T) =>
  (name: string, option: string, value: unknown): void => {
    if (value !== a && value !== b) throw new ArgumentError(`${name}: ${option} must be ${shown(a)} or ${shown(b)}, got ${shown(value)}`);
  };

/** Throws for an array whose length is not the number of the optimizer's groups. `things` names its elements. */
export function checkPerGroup(name: string, option: string, value: unknown, groups: number, things: string): void {
  if (isArray(value) && value.length !== groups)
    throw new ArgumentError(`${name}: ${option} has ${value.length} ${things}, the optimizer ${groups} groups`);
}

/** Checks one number, or one for each group. */
export function checkEach(name: string, option: string, value: unknown, groups: number): void {
  checkPerGroup(name, option, value, groups, 'values');
  for (const v of isArray(value) ? value : [value]) checkRate(name, option, v);
}

/** Returns the value for group i of an option that is one number, or one for each group. */
export function valueForGroup(value: number | readonly number[], i: number): number {
  return typeof value === 'number' ? value : value[i]!;
}

/** Throws unless `value` is valid for `option` of `name`, in an optimizer with `groups` groups. */
type Check = (name: string, option: string, value: unknown, groups: number) => void;

/** The check of each option, and its default if it has one. */
export type OptionSpec = Readonly<Record<string, readonly [check: Check, fallback?: unknown]>>;

/** Returns the options with defaults for those that are missing, each checked. */
export function readOptions(name: string, options: object, spec: OptionSpec, groups = 1): object {
  const defaults = Object.fromEntries(Object.entries(spec).map(([option, [, fallback]]) => [option, fallback]));
  const complete = withDefaults<Record<string, unknown>>(name, options as Record<string, unknown>, defaults);
  for (const [option, [check]] of Object.entries(spec)) check(name, option, complete[option], groups);
  return complete;
}
