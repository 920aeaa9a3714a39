/**
 * State trees as JSON and arrays, and back: how a checkpoint holds what `stateDict()` gives.
 *
 * Tensors go into a map, named by their path in the tree (`model.fc.weight`), with `{"$tensor": name}` in their place;
 * `{"$number": text}` stands for what JSON lacks: NaN, ±Infinity, −0. A record's own keys that begin with $ get another one.
 */
import { isTensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError } from '../core/errors.ts';
import { toTensor } from './safetensors.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Turns state trees into JSON and arrays. */
export class Packer {
  readonly #arrays: Map<string, ArrayData> | null;
  /** The objects around the value being packed. */
  readonly #around = new Set<object>();

  /** @param arrays where copies of tensors go; null refuses tensors */
  constructor(arrays: Map<string, ArrayData> | null) {
    this.#arrays = arrays;
  }

  pack(value: unknown, path: string): Json {
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'number') return plainNumber(value) ? value : { $number: Object.is(value, -0) ? '-0' : String(value) };
    if (typeof value !== 'object') return refuse(path, value);
    const array = arrayIn(value);
    if (array !== null) return { $tensor: this.#store(array, path) };
    if (this.#around.has(value)) throw new ArgumentError(`saveCheckpoint: ${path}: it contains itself`);
    this.#around.add(value);
    const json = this.#children(value, path);
    this.#around.delete(value);
    return json;
  }

  #children(value: object, path: string): Json {
    if (Array.isArray(value)) return Array.from(value, (v, i) => this.pack(v, `${path}.${i}`));
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return refuse(path, value);
    // As in JSON, a key whose value is undefined is no key.
    const members = Object.entries(value).filter(([, v]) => v !== undefined);
    return Object.fromEntries(members.map(([key, v]) => [key.startsWith('$') ? `$${key}` : key, this.pack(v, `${path}.${key}`)]));
  }

  #store(array: ArrayData, path: string): string {
    if (this.#arrays === null) {
      throw new ArgumentError(`saveCheckpoint: ${path}: a tensor cannot be part of extra; put it into a state, or use toArray()`);
    }
    let name = path;
    // { 'a.b': x, a: { b: y } } gives one path twice.
    while (this.#arrays.has(name)) name += "'";
    this.#arrays.set(name, array);
    return name;
  }
}

function plainNumber(x: number): boolean {
  return Number.isFinite(x) && !Object.is(x, -0);
}

/** The elements of a tensor, or of anything else with shape, dtype and data. */
function arrayIn(value: object): ArrayData | null {
  if (isTensor(value)) return { data: value.data(), shape: value.shape, dtype: value.dtype };
  return 'data' in value && 'shape' in value && 'dtype' in value && ArrayBuffer.isView(value.data) ? (value as ArrayData) : null;
}

function refuse(path: string, value: unknown): never {
  throw new ArgumentError(`saveCheckpoint: ${path}: expected a tensor, a record, an array or a JSON value, got ${kindOf(value)}`);
}

export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? `a ${value.constructor?.name ?? 'record'}` : `a ${typeof value}`;
}

/** Turns JSON and arrays back into state trees, whose tensors live until `dispose`. */
export class Unpacker {
  readonly #arrays: ReadonlyMap<string, ArrayData>;
  readonly #missing: (name: string) => never;
  readonly #tensors: Tensor[] = [];

  /** @param missing called, to throw, with the name of a tensor that is not among the arrays */
  constructor(arrays: ReadonlyMap<string, ArrayData>, missing: (name: string) => never) {
    this.#arrays = arrays;
    this.#missing = missing;
  }

  unpack(json: Json): unknown {
    if (typeof json !== 'object' || json === null) return json;
    if (Array.isArray(json)) return json.map((v) => this.unpack(v));
    if (typeof json.$number === 'string') return Number(json.$number);
    if (typeof json.$tensor === 'string') return this.#tensor(json.$tensor);
    return Object.fromEntries(Object.entries(json).map(([key, v]) => [key.startsWith('$') ? key.slice(1) : key, this.unpack(v)]));
  }

  dispose(): void {
    for (const t of this.#tensors) t.dispose();
  }

  #tensor(name: string): Tensor {
    const t = toTensor(this.#arrays.get(name) ?? this.#missing(name));
    this.#tensors.push(t);
    return t;
  }
}
