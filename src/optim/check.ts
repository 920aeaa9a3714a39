import { ArgumentError } from '../core/errors.ts';

/** Throws for an option that is not known: a misspelt one would silently do nothing. */
export function checkOptions(name: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError(`${name}: unknown option '${unknown}'; the options are ${known.join(', ')}`);
}

/** Throws unless `value` is a whole number ≥ 1. */
export function checkCount(name: string, option: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw new ArgumentError(`${name}: ${option} must be a whole number ≥ 1, got ${String(value)}`);
}

/** Throws unless `value` is a number ≥ 0. */
export function checkNotNegative(name: string, option: string, value: unknown): void {
  if (typeof value !== 'number' || !(value >= 0)) throw new ArgumentError(`${name}: ${option} must be a number ≥ 0, got ${String(value)}`);
}
