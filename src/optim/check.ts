import { ArgumentError } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';

export { checkNotNegative, checkRange } from '../core/options.ts';

/** Throws unless `value` is one of the two. */
export const checkEither =
  <T>(a: T, b: T) =>
  (name: string, option: string, value: unknown): void => {
    const show = (v: unknown): string => (typeof v === 'string' ? `'${v}'` : String(v));
    if (value !== a && value !== b) throw new ArgumentError(`${name}: ${option} must be ${show(a)} or ${show(b)}, got ${show(value)}`);
  };

/** Throws for a list that has not one of `things` for each of the optimizer's groups. */
export function checkPerGroup(name: string, option: string, value: unknown, groups: number, things: string): void {
  if (Array.isArray(value) && value.length !== groups)
    throw new ArgumentError(`${name}: ${option} has ${value.length} ${things}, the optimizer ${groups} groups`);
}

/** Throws unless `value`, for an optimizer of so many groups, is one that `option` of `name` may have. */
type Check = (name: string, option: string, value: unknown, groups: number) => void;

/** How each option is checked, and its default if it has one. */
export type Spec = Readonly<Record<string, readonly [check: Check, fallback?: unknown]>>;

/** The options, defaults in place of what is not given, each checked. */
export function readOptions(name: string, options: object, spec: Spec, groups = 1): object {
  const fallbacks = Object.fromEntries(Object.entries(spec).map(([key, [, fallback]]) => [key, fallback]));
  const read: Record<string, unknown> = withDefaults<Record<string, unknown>>(name, options as Record<string, unknown>, fallbacks);
  for (const [key, [check]] of Object.entries(spec)) check(name, key, read[key], groups);
  return read;
}
