/**
 * Finds what a module has registered: the modules, parameters and buffers among its own enumerable properties, also inside arrays
 * and plain records at any depth.
 *
 * `Module` imports this file, so the functions take the type of modules as a parameter.
 */
import type { Tensor } from '../autograd/index.ts';
import { foreignKind } from '../core/copies.ts';
import { isInstance, isReadable } from '../core/describe.ts';
import { ArgumentError, isArray } from '../core/errors.ts';
import { BufferTensor, Parameter } from './parameter.ts';

/** A registered value with its path from the module, such as `blocks.0`. It is stored as `holder[key]`. */
export interface Registered<M extends object> {
  readonly path: string;
  readonly value: M | Parameter | BufferTensor;
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/** The part of a module that `resolve` calls; see Module.adopt. */
interface AdoptsState {
  adopt(name: string, value: Tensor): readonly [name: string, value: Tensor];
}

/**
 * Returns what `owner` itself has registered, in the order of its properties. As in PyTorch's state dict, tensors come before
 * modules and containers.
 * Throws: ArgumentError for a Map or Set with modules or tensors in it, and for a name with a dot
 */
export function registered<M extends object>(owner: object, isModule: (v: unknown) => v is M): Registered<M>[] {
  const found: Registered<M>[] = [];
  const seen = new Set<object>();
  const isRegistrable = (v: unknown): v is Registered<M>['value'] => isInstance(v, Parameter) || isInstance(v, BufferTensor) || isModule(v);
  const collect = (holder: Record<string, unknown>, prefix: string): void => {
    seen.add(holder);
    for (const key of Object.keys(holder)) {
      const value = holder[key];
      if (typeof value !== 'object' || value === null) continue;
      const path = prefix + key;
      refuseForeign(owner, path, value);
      if (isRegistrable(value)) {
        if (key.includes('.')) throw dottedNameError(owner, key);
        found.push({ path, value, holder, key });
      } else if (isInstance(value, Map<unknown, unknown>) || isInstance(value, Set<unknown>)) {
        refuseCollection(owner, path, value, isRegistrable);
      } else if (isContainer(value) && !seen.has(value)) {
        collect(value, `${path}.`);
      }
    }
  };
  collect(owner as Record<string, unknown>, '');
  const isOwnTensor = ({ value, path }: Registered<M>): boolean => !isModule(value) && !path.includes('.');
  return [...found.filter((entry) => isOwnTensor(entry)), ...found.filter((entry) => !isOwnTensor(entry))];
}

/**
 * Follows a dotted path from `owner` to a parameter or buffer; a shared tensor has several paths. Every module on the way may
 * rename the rest of the path and convert the value by its `adopt`. Returns the tensor, if there is one, and the value.
 */
export function resolve<M extends AdoptsState>(
  owner: object,
  path: string,
  value: Tensor,
  isModule: (v: unknown) => v is M,
): [target: Tensor | undefined, value: Tensor] {
  let current: unknown = owner;
  let adopted = value;
  let keys = path.split('.');
  while (keys.length > 0) {
    let name = keys.join('.');
    if (isModule(current)) [name, adopted] = current.adopt(name, adopted);
    const [key, ...rest] = name.split('.') as [string, ...string[]];
    if (!canContainTensors(current, isModule) || !Object.hasOwn(current, key)) return [undefined, adopted];
    current = current[key];
    keys = rest;
  }
  if (current instanceof Parameter || current instanceof BufferTensor) return [current, adopted];
  return [undefined, adopted];
}

function canContainTensors(v: unknown, isModule: (v: unknown) => boolean): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && (isModule(v) || isContainer(v));
}

function isContainer(v: object): v is Record<string, unknown> {
  if (isArray(v)) return true;
  if (!isReadable(v)) return false;
  const prototype: unknown = Object.getPrototypeOf(v);
  return prototype === Object.prototype || prototype === null;
}

/** Throws for a tensor or module of another copy of the library, which would be left out silently. */
function refuseForeign(owner: object, path: string, value: object): void {
  const foreign = foreignKind(value);
  if (foreign !== null) throw new ArgumentError(`${owner.constructor.name}: ${path} is ${foreign}; load chainrule once`);
}

function dottedNameError(owner: object, key: string): ArgumentError {
  return new ArgumentError(`${owner.constructor.name}: the name '${key}' contains a dot, which separates names in a state dict`);
}

/** Throws if a Map or Set has registrable values: they have no names. */
function refuseCollection(
  owner: object,
  path: string,
  collection: Map<unknown, unknown> | Set<unknown>,
  isRegistrable: (v: unknown) => boolean,
): void {
  if (![...collection.values()].some(isRegistrable)) return;
  const kind = collection instanceof Map ? 'Map' : 'Set';
  throw new ArgumentError(
    `${owner.constructor.name}: ${path} is a ${kind} of modules or tensors, which have no names in a state dict; ` +
      `use ${kind === 'Map' ? 'a record' : 'an array'}`,
  );
}
