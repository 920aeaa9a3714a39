import { ArgumentError, kindOf } from './errors.ts';

/** Throws for an unknown option, and for options that are not an object. Either would be ignored silently. */
export function checkOptions(name: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ArgumentError(`${name}: expected an object of options (${known.join(', ')}), got ${kindOf(options)}`);
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError(`${name}: unknown option '${unknown}'; the options are ${known.join(', ')}`);
}

/** Returns the options, with defaults for those that are missing or undefined. `defaults` must name every option. */
export function withDefaults<O extends object>(name: string, options: O, defaults: Required<O>): Required<O> {
  checkOptions(name, options, Object.keys(defaults));
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** Throws unless `value` is a whole number ≥ 1. */
export function checkCount(name: string, option: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw new ArgumentError(`${name}: ${option} must be a whole number ≥ 1, got ${String(value)}`);
}

/** Makes a check that throws unless `value` is a number that passes `test`. `range` describes the test in the message. */
export const checkRange =
  (range: string, test: (value: number) => boolean) =>
  (name: string, option: string, value: unknown): void => {
    if (typeof value !== 'number' || !test(value))
      throw new ArgumentError(`${name}: ${option} must be a number ${range}, got ${String(value)}`);
  };

/** Throws unless `value` is a number ≥ 0. */
export const checkNotNegative = checkRange('≥ 0', (v) => v >= 0);
