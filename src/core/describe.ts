/**
 * Values of users in messages. Plain JavaScript may pass anything, and a message about a wrong value must not throw: a symbol has no
 * implicit text, a BigInt no JSON, and an object may throw when it is read or converted.
 */
import { foreignKind } from './copies.ts';
import { brief, oneLine } from './text.ts';

/** Elements of an array that a message shows. */
const SHOWN_ELEMENTS = 8;

/** Describes a value of the wrong kind for messages: `an array`, `a string`, `null`, `a tensor of another copy of chainrule`. */
export function kindOf(value: unknown): string {
  if (value == null) return String(value);
  const type = typeof value;
  if (type !== 'object' && type !== 'function') return `a ${type}`;
  if (isRevoked(value)) return 'a revoked proxy';
  if (Array.isArray(value)) return 'an array';
  return foreignKind(value) ?? (type === 'object' ? 'an object' : 'a function');
}

/** Formats any value for messages: `3`, `'text'`, `10n`, `Symbol(a)`, `[1,'a']`, and objects and functions by their kind. */
export function shown(value: unknown): string {
  return isArray(value) ? shownArray(value) : shownElement(value);
}

function shownArray(value: readonly unknown[]): string {
  try {
    const elements = Array.from({ length: Math.min(value.length, SHOWN_ELEMENTS) }, (_, i) => shownElement(value[i]));
    return `[${elements.join(',')}${value.length > SHOWN_ELEMENTS ? ',…' : ''}]`;
  } catch {
    // A proxy whose traps throw.
    return kindOf(value);
  }
}

function shownElement(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `'${oneLine(brief(value))}'`;
    case 'bigint':
      return brief(`${value}n`);
    case 'symbol':
      return oneLine(brief(String(value)));
    case 'object':
    case 'function':
      return kindOf(value);
    default:
      return String(value);
  }
}

/** Returns whether the value is an array. Array.isArray throws for a revoked proxy. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** Returns whether the value is an instance of the class. `instanceof` throws for a proxy that cannot be read. */
export function isInstance<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** Returns a property of any value; undefined where there is none, and for a proxy that cannot be read. */
export function peek(value: unknown, key: PropertyKey): unknown {
  try {
    return (value as Readonly<Record<PropertyKey, unknown>> | null | undefined)?.[key];
  } catch {
    return undefined;
  }
}

/** Returns whether the value is an object whose properties can be read: no proxy that is revoked or whose traps throw. */
export function isReadable(value: unknown): value is object {
  try {
    return typeof value === 'object' && value !== null && Object.keys(value).length >= 0;
  } catch {
    return false;
  }
}

/** Returns whether the value has an iterator. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof peek(value, Symbol.iterator) === 'function';
}

/** Returns whether the value is the name of a property of `table` itself: not of one that every object has, such as `toString`. */
export function isKeyOf<T extends object>(value: unknown, table: T): value is keyof T {
  return typeof value === 'string' && Object.hasOwn(table, value);
}

/** Returns whether the value is a revoked proxy, of which nothing can be read. */
export function isRevoked(value: unknown): boolean {
  try {
    // Looks through a proxy at its target, without a call of its traps.
    Array.isArray(value);
    return false;
  } catch {
    return true;
  }
}

/** Describes the result of a function whose work goes on after it has returned: `a Promise`, `an iterator`; null for any other value. */
export function kindOfLaterWork(result: unknown): string | null {
  if (typeof peek(result, 'then') === 'function') return 'a Promise';
  return typeof peek(result, 'next') === 'function' ? 'an iterator' : null;
}
