/**
 * Tells apart the copies of this library in one process: ESM beside CommonJS, or two versions. Each copy has a memory of its own,
 * so a tensor of one copy must not reach the kernels of another, where its address means other elements.
 */

/** Registered under one name in all copies. */
const BRAND = Symbol.for('chainrule.brand');

/** What a class of the library makes, and the copy that the class belongs to. */
interface Brand {
  readonly kind: string;
  readonly copy: object;
}

/** Stands for this copy. */
const COPY: object = {};

/** Marks the instances of a class as `kind` (`a tensor`) of this copy. */
export function brand(prototype: object, kind: string): void {
  Object.defineProperty(prototype, BRAND, { value: { kind, copy: COPY } satisfies Brand });
}

function brandOf(value: unknown): Brand | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    return (value as { readonly [BRAND]?: Brand })[BRAND];
  } catch {
    // A proxy that cannot be read.
    return undefined;
  }
}

/** Returns whether a class of this library, in any copy, made the value. */
export function isBranded(value: unknown): boolean {
  return brandOf(value) !== undefined;
}

/** Describes a value that another copy made, such as `a tensor of another copy of chainrule`; returns null for all other values. */
export function foreignKind(value: unknown): string | null {
  const found = brandOf(value);
  return found === undefined || found.copy === COPY ? null : `${found.kind} of another copy of chainrule`;
}

/** Describes a value that a class of this library made, in any copy; returns null for all other values. */
export function brandedKind(value: unknown): string | null {
  return foreignKind(value) ?? brandOf(value)?.kind ?? null;
}
