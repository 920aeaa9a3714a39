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

/** Throws unless `value` is true or false. */
export function checkBoolean(name: string, option: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw new ArgumentError(`${name}: ${option} must be true or false, got ${typeof value === 'string' ? `'${value}'` : String(value)}`);
  }
}

/** How each option is checked, and its default if it has one. */
export type Spec = Readonly<Record<string, readonly [check: (name: string, option: string, value: unknown) => void, fallback?: unknown]>>;

/** The options, defaults in place of what is not given, each checked. */
export function readOptions(name: string, options: object, spec: Spec): object {
  checkOptions(name, options, Object.keys(spec));
  const given = options as Record<string, unknown>;
  const read = Object.entries(spec).map(([key, [, fallback]]) => [key, given[key] === undefined ? fallback : given[key]] as const);
  for (const [key, value] of read) spec[key]![0](name, key, value);
  return Object.fromEntries(read);
}
