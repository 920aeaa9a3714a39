import { brandedKind, isBranded } from './copies.ts';
import { isReadable, isRevoked } from './describe.ts';
import { ArgumentError, isArray, kindOf, shown } from './errors.ts';

/**
 * Throws for an unknown option, for options that are not an object, and for a value other than true and false of an option in
 * `booleans`. Each of them would be ignored silently, or read as its opposite.
 */
export function checkOptions(name: string, options: object, known: readonly string[], booleans: readonly string[] = []): void {
  if (!isRecord(options))
    throw new ArgumentError(`${name}: expected an object of options (${known.join(', ')}), got ${brandedKind(options) ?? kindOf(options)}`);
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError(`${name}: unknown option '${unknown}'; the options are ${known.join(', ')}`);
  for (const option of booleans) {
    const value = (options as Readonly<Record<string, unknown>>)[option];
    if (value !== undefined) checkBoolean(name, option, value);
  }
}

/** Returns whether the value can name options: a plain object of any realm, or another object with properties of its own. */
function isRecord(value: unknown): value is object {
  return isPlainObject(value) || (isOwnObject(value) && isReadable(value) && Object.keys(value).length > 0);
}

/** Returns whether the value is an object of options, rather than an argument. */
export function isPlainObject(value: unknown): value is object {
  if (!isOwnObject(value) || !isReadable(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns whether the value is an object that is neither an array nor made by a class of the library. */
function isOwnObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !isArray(value) && !isBranded(value);
}

/**
 * Returns the options, with defaults for those that are missing or undefined. `defaults` must name every option. An option whose
 * default is true or false, or an object of the library such as a generator, takes its like only.
 */
export function withDefaults<O extends object>(name: string, options: O, defaults: Required<O>): Required<O> {
  checkOptions(name, options, Object.keys(defaults));
  const complete: Record<string, unknown> = { ...defaults };
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const fallback = complete[option];
    if (typeof fallback === 'boolean') checkBoolean(name, option, value);
    else if (isBranded(fallback)) checkLike(name, option, value, brandedKind(fallback)!);
    complete[option] = value;
  }
  return complete as Required<O>;
}

/**
 * Throws for an object of options, or true or false, behind the arguments of a function that has no options: PyTorch's has, and here
 * it would be ignored silently. Other values pass, as `list.map(fn)` gives an index and the list.
 */
export function refuseOptions(name: string, surplus: unknown): void {
  if (typeof surplus === 'boolean' || isPlainObject(surplus))
    throw new ArgumentError(`${name}: there are no options, got ${kindOf(surplus)}`);
}

/**
 * Throws for arguments behind those that a method takes: PyTorch's method may have them, and here they would be ignored silently. Undefined
 * passes. Functions use refuseOptions, as they are passed to `list.map`.
 */
export function refuseSurplus(name: string, args: ArrayLike<unknown>, takes: number): void {
  if (args.length <= takes) return;
  const surplus = Array.from(args).findLast((value, i) => i >= takes && value !== undefined);
  if (surplus === undefined) return;
  const kind = brandedKind(surplus) ?? kindOf(surplus);
  const many = takes === 1 ? 'argument' : 'arguments';
  const problem =
    takes === 0 ? `expected no argument, got ${kind}` : `expected at most ${takes} ${many}, got ${args.length}; the last is ${kind}`;
  throw new ArgumentError(`${name}: ${problem}`);
}

/** Throws unless `value` is true or false. */
export function checkBoolean(name: string, option: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new ArgumentError(`${name}: ${option} must be true or false, got ${shown(value)}`);
}

/** Throws unless `value` is of a kind that this copy of the library makes. */
function checkLike(name: string, option: string, value: unknown, kind: string): void {
  if (brandedKind(value) !== kind)
    throw new ArgumentError(`${name}: ${option} must be ${kind}, got ${brandedKind(value) ?? kindOf(value)}`);
}

/** Throws unless `value` is a number; NaN is one. */
export function checkNumber(name: string, option: string, value: unknown): void {
  if (typeof value !== 'number') throw new ArgumentError(`${name}: ${option} must be a number, got ${shown(value)}`);
}

/** Throws unless `value` is a function. */
export function checkFunction(name: string, option: string, value: unknown): void {
  if (typeof value !== 'function' || isRevoked(value))
    throw new ArgumentError(`${name}: ${option} must be a function, got ${brandedKind(value) ?? kindOf(value)}`);
}

/** Throws unless `value` is a whole number ≥ 1. */
export function checkCount(name: string, option: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw new ArgumentError(`${name}: ${option} must be a whole number ≥ 1, got ${shown(value)}`);
}

/** Makes a check that throws unless `value` is a number that passes `test`. `range` describes the test in the message. */
export const checkRange =
  (range: string, test: (value: number) => boolean) =>
  (name: string, option: string, value: unknown): void => {
    if (typeof value !== 'number' || !test(value))
      throw new ArgumentError(`${name}: ${option} must be a number ${range}, got ${shown(value)}`);
  };

/** Throws unless `value` is a number ≥ 0. */
export const checkNotNegative = checkRange('≥ 0', (v) => v >= 0);

/** Throws: ArgumentError unless `value` is a text with a character. `what` names it. */
export function checkText(op: string, what: string, value: unknown): void {
  if (typeof value === 'string' && value !== '') return;
  throw new ArgumentError(`${op}: ${what} must be a text that is not empty, got ${value === '' ? 'an empty one' : kindOf(value)}`);
}
