/**
 * Converts state trees, the values that `stateDict()` returns, to JSON plus arrays, and back.
 *
 * Tensors go into a map, named by their path in the tree (`model.fc.weight`); `{"$tensor": name}` takes their place in the JSON.
 * `{"$number": text}` stands for numbers that JSON lacks: NaN, ±Infinity, −0. A record's own keys that begin with $ are
 * escaped by another $. Reading accepts nothing that writing does not produce.
 */
import { isTensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { foreignKind } from '../core/copies.ts';
import { isReadable, peek } from '../core/describe.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { brief } from '../core/text.ts';
import { toTensor } from './safetensors.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Levels of nesting in a tree. Trees are walked recursively, and the stack is finite. */
const MAX_DEPTH = 1000;

/** The texts of numbers that JSON lacks. */
const SPECIAL_NUMBERS = ['NaN', 'Infinity', '-Infinity', '-0'];

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
    if (this.#ancestors.size >= MAX_DEPTH) {
      throw new ArgumentError(`saveCheckpoint: ${path.slice(0, 40)}…: it is nested more than ${MAX_DEPTH} levels deep`);
    }
    this.#ancestors.add(value);
    const json = this.#packChildren(value, path);
    this.#ancestors.delete(value);
    return json;
  }

  #packChildren(value: object, path: string): Json {
    if (Array.isArray(value)) return Array.from(value, (v, i) => this.pack(v, `${path}.${i}`));
    if (!isRecord(value)) return throwUnsupported(path, value);
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

/** Returns whether the value is a plain object, of any realm. */
export function isRecord(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
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
  if (typeof value !== 'object') return kindOf(value);
  const name = peek(peek(value, 'constructor'), 'name');
  return foreignKind(value) ?? (isReadable(value) ? `a ${typeof name === 'string' ? name : 'record'}` : kindOf(value));
}

/** Writes a text from a file for a message; names the type of another value, which may be megabytes. */
function literal(value: Json): string {
  return typeof value === 'string' ? JSON.stringify(brief(value)) : kindOf(value);
}

/** Throws an error about what is wrong with a file. */
export type Fail = (what: string, cause?: unknown) => never;

/**
 * Converts JSON and arrays back to state trees. An array becomes one tensor, however often the trees refer to it, so that the memory
 * is bounded by the file's size. `dispose` frees the tensors.
 */
export class Unpacker {
  readonly #arrays: ReadonlyMap<string, ArrayData> | null;
  readonly #fail: Fail;
  readonly #tensors = new Map<string, Tensor>();

  /** @param arrays if null, a tensor throws */
  constructor(arrays: ReadonlyMap<string, ArrayData> | null, fail: Fail) {
    this.#arrays = arrays;
    this.#fail = fail;
  }

  unpack(json: Json, depth = 0): unknown {
    if (typeof json !== 'object' || json === null) return json;
    if (depth > MAX_DEPTH) this.#fail(`it is nested more than ${MAX_DEPTH} levels deep; the file is damaged`);
    if (Array.isArray(json)) return json.map((v) => this.unpack(v, depth + 1));
    const keys = Object.keys(json);
    if (keys.length === 1 && keys[0] === '$number') return this.#number(json.$number!);
    if (keys.length === 1 && keys[0] === '$tensor') return this.#tensor(json.$tensor!);
    return Object.fromEntries(Object.entries(json).map(([key, v]) => [this.#unescapeKey(key), this.unpack(v, depth + 1)]));
  }

  dispose(): void {
    for (const t of this.#tensors.values()) t.dispose();
  }

  #unescapeKey(key: string): string {
    if (!key.startsWith('$')) return key;
    return key.startsWith('$$') ? key.slice(1) : this.#fail(`it has the key ${literal(key)}; the file is damaged`);
  }

  #number(text: Json): number {
    if (!SPECIAL_NUMBERS.includes(text as string)) this.#fail(`$number is ${literal(text)}; the file is damaged`);
    return Number(text);
  }

  #tensor(name: Json): Tensor {
    const existing = this.#tensors.get(name as string);
    if (existing !== undefined) return existing;
    const array = this.#arrays?.get(name as string) ?? this.#fail(`there is no tensor ${literal(name)}; the file is damaged`);
    const t = toTensor(array);
    this.#tensors.set(name as string, t);
    return t;
  }
}
