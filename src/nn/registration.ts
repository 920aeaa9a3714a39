/**
 * What a module has registered: its own enumerable properties that are modules, parameters or buffers, also inside arrays
 * and plain records, however deep.
 */
import type { Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import type { Module } from './module.ts';
import { BufferTensor, Parameter } from './parameter.ts';

/** Tells modules; `Module` itself is not here, as it imports this file. */
type IsModule = (v: unknown) => v is Module;

/** A registered value under its path from the module, such as `blocks.0`; `holder[key]` is where it sits. */
export interface Registered {
  readonly path: string;
  readonly value: Module | Parameter | BufferTensor;
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/**
 * What `owner` has registered itself, in the order of its properties, but tensors before modules and containers: as PyTorch
 * orders a state dict.
 * Throws: ArgumentError for a Map or Set that holds any
 */
export function registered(owner: object, isModule: IsModule): Registered[] {
  const found: Registered[] = [];
  const seen = new Set<object>();
  const isRegistrable = (v: unknown): v is Registered['value'] => v instanceof Parameter || v instanceof BufferTensor || isModule(v);
  const visit = (holder: Record<string, unknown>, prefix: string): void => {
    seen.add(holder);
    for (const key of Object.keys(holder)) {
      const value = holder[key];
      if (typeof value !== 'object' || value === null) continue;
      const path = prefix + key;
      if (isRegistrable(value)) {
        if (key.includes('.'))
          throw new ArgumentError(`${owner.constructor.name}: the name '${key}' contains a dot, which separates names in a state dict`);
        found.push({ path, value, holder, key });
      } else if (value instanceof Map || value instanceof Set) {
        refuseCollection(owner, path, value, isRegistrable);
      } else if (isContainer(value) && !seen.has(value)) {
        visit(value, `${path}.`);
      }
    }
  };
  visit(owner as Record<string, unknown>, '');
  const late = ({ value, path }: Registered): number => Number(isModule(value) || path.includes('.'));
  return found.sort((a, b) => late(a) - late(b));
}

/**
 * The parameter or buffer that a dotted path from `owner` leads to (a shared one has several), and `value` as the modules on
 * the way take it.
 */
export function resolve(owner: object, path: string, value: Tensor, isModule: IsModule): [target: Tensor | undefined, value: Tensor] {
  let at: unknown = owner;
  for (let keys = path.split('.'); keys.length > 0; ) {
    let name = keys.join('.');
    if (isModule(at)) [name, value] = at.adopt(name, value);
    const [key, ...rest] = name.split('.') as [string, ...string[]];
    const passable = typeof at === 'object' && at !== null && (isModule(at) || isContainer(at)) && Object.hasOwn(at, key);
    if (!passable) return [undefined, value];
    [at, keys] = [(at as Record<string, unknown>)[key], rest];
  }
  return [at instanceof Parameter || at instanceof BufferTensor ? at : undefined, value];
}

function isContainer(v: object): v is Record<string, unknown> {
  if (Array.isArray(v)) return true;
  const prototype: unknown = Object.getPrototypeOf(v);
  return prototype === Object.prototype || prototype === null;
}

function refuseCollection(owner: object, path: string, value: Map<unknown, unknown> | Set<unknown>, holds: (v: unknown) => boolean): void {
  if (![...value.values()].some(holds)) return;
  const kind = value instanceof Map ? 'Map' : 'Set';
  throw new ArgumentError(
    `${owner.constructor.name}: ${path} is a ${kind} of modules or tensors, which have no names in a state dict; ` +
      `use ${kind === 'Map' ? 'a record' : 'an array'}`,
  );
}
