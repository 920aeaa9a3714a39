import { ArgumentError, kindOf } from './errors.ts';

/** Throws for an option that is not known, or for something else in the options' place: either would silently do nothing. */
export function checkOptions(name: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ArgumentError(`${name}: expected an object of options (${known.join(', ')}), got ${kindOf(options)}`);
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError(`${name}: unknown option '${unknown}'; the options are ${known.join(', ')}`);
}

/** The options, with `defaults`, which name all there are, in place of what is not given. */
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

/** Throws unless `value` is a number that passes `test`, which `range` describes. */
export const checkRange =
  (range: string, test: (value: number) => boolean) =>
  (name: string, option: string, value: unknown): void => {
    if (typeof value !== 'number' || !test(value))
      throw new ArgumentError(`${name}: ${option} must be a number ${range}, got ${String(value)}`);
  };

/** Throws unless `value` is a number ≥ 0. */
export const checkNotNegative = checkRange('≥ 0', (v) => v >= 0);
