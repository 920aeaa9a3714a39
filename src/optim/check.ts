import { ArgumentError } from '../core/errors.ts';

/** Throws unless `value` is a whole number ≥ 1. */
export function checkCount(name: string, option: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw new ArgumentError(`${name}: ${option} must be a whole number ≥ 1, got ${String(value)}`);
}

/** Throws unless `value` is a number ≥ 0. */
export function checkNotNegative(name: string, option: string, value: unknown): void {
  if (typeof value !== 'number' || !(value >= 0)) throw new ArgumentError(`${name}: ${option} must be a number ≥ 0, got ${String(value)}`);
}
