/**
 * Converts state trees, the values that `stateDict()` returns, to JSON plus arrays, and back.
 *
 * Tensors go into a map, named by their path in the tree (`model.fc.weight`); `{"$tensor": name}` takes their place in the JSON.
 * `{"$number": text}` stands for numbers that JSON lacks: NaN, ±Infinity, −0. A record's own keys that begin with $ are
 * escaped by another $.
 */
import { isTensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError } from '../core/errors.ts';
import { toTensor } from './safetensors.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Converts state trees to JSON and arrays. */
export class Packer {
  readonly #arrays: Map<string, ArrayData> | null;
  /** The ancestors of the value being packed, to detect cycles. */
  readonly #ancestors = new Set<object>();

  /** @param arrays receives copies of the tensors; if null, a tensor throws */
  constructor(arrays: Map<string, ArrayData> | null) {
    this.#arrays = arrays;
  }

  pack(value: unknown, path: string): Json {
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'number') return packNumber(value);
    if (typeof value !== 'object') return throwUnsupported(path, value);
    const array = toArrayData(value);
    if (array !== null) return { $tensor: this.#store(array, path) };
    if (this.#ancestors.has(value)) throw new ArgumentError(`saveCheckpoint: ${path}: it contains itself`);
    this.#ancestors.add(value);
    const json = this.#packChildren(value, path);
    this.#ancestors.delete(value);
    return json;
  }

  #packChildren(value: object, path: string): Json {
    if (Array.isArray(value)) return Array.from(value, (v, i) => this.pack(v, `${path}.${i}`));
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return throwUnsupported(path, value);
    // As in JSON, keys with the value undefined are left out.
    const members = Object.entries(value).filter(([, v]) => v !== undefined);
    return Object.fromEntries(members.map(([key, v]) => [escapeKey(key), this.pack(v, `${path}.${key}`)]));
  }

  /** Stores the array under its path; returns the name it got. */
  #store(array: ArrayData, path: string): string {
    if (this.#arrays === null) {
      throw new ArgumentError(`saveCheckpoint: ${path}: a tensor cannot be part of extra; put it into a state, or use toArray()`);
    }
    let name = path;
    // { 'a.b': x, a: { b: y } } has the same path twice.
    while (this.#arrays.has(name)) name += "'";
    this.#arrays.set(name, array);
    return name;
  }
}

function packNumber(x: number): Json {
  if (Object.is(x, -0)) return { $number: '-0' };
  return Number.isFinite(x) ? x : { $number: String(x) };
}

function escapeKey(key: string): string {
  return key.startsWith('$') ? `$${key}` : key;
}

function unescapeKey(key: string): string {
  return key.startsWith('$') ? key.slice(1) : key;
}

/** Returns the elements of a tensor, or of any other object with shape, dtype and data; null if the value is neither. */
function toArrayData(value: object): ArrayData | null {
  if (isTensor(value)) return { data: value.data(), shape: value.shape, dtype: value.dtype };
  return 'data' in value && 'shape' in value && 'dtype' in value && ArrayBuffer.isView(value.data) ? (value as ArrayData) : null;
}

function throwUnsupported(path: string, value: unknown): never {
  throw new ArgumentError(`saveCheckpoint: ${path}: expected a tensor, a record, an array or a JSON value, got ${typeText(value)}`);
}

/** Describes the type of a value for a message: `a Map`, `a string`, `null`. */
export function typeText(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? `a ${value.constructor?.name ?? 'record'}` : `a ${typeof value}`;
}

/** Converts JSON and arrays back to state trees. `dispose` frees their tensors. */
export class Unpacker {
  readonly #arrays: ReadonlyMap<string, ArrayData>;
  readonly #missing: (name: string) => never;
  readonly #tensors: Tensor[] = [];

  /** @param missing throws an error about a tensor that is not among the arrays; gets its name */
  constructor(arrays: ReadonlyMap<string, ArrayData>, missing: (name: string) => never) {
    this.#arrays = arrays;
    this.#missing = missing;
  }

  unpack(json: Json): unknown {
    if (typeof json !== 'object' || json === null) return json;
    if (Array.isArray(json)) return json.map((v) => this.unpack(v));
    if (typeof json.$number === 'string') return Number(json.$number);
    if (typeof json.$tensor === 'string') return this.#tensor(json.$tensor);
    return Object.fromEntries(Object.entries(json).map(([key, v]) => [unescapeKey(key), this.unpack(v)]));
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
