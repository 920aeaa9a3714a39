/**
 * Parses the JSON header of a safetensors file strictly.
 *
 * JSON.parse is too lenient: it keeps the last of two equal keys, rounds large integers, and accepts 1.0 and 1e2 as integers.
 * In its result, `__proto__` has a special meaning.
 * This parser accepts what the reference implementation does: objects, strings, arrays of natural numbers. The metadata may be null,
 * as some writers leave it, and an entry may have further keys, whose values are ignored.
 */
import { brief } from '../core/text.ts';

/** The header's description of one tensor. */
export interface StoredEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offsets: readonly [begin: number, end: number];
}

export interface Header {
  readonly entries: Map<string, StoredEntry>;
  readonly metadata: Map<string, string>;
}

/** The header's key for free texts instead of a tensor. */
export const METADATA = '__metadata__';

/** Half of a surrogate pair, which is not valid Unicode and has no UTF-8 encoding. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export function hasLoneSurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text);
}

/** Maximum length of a name in a message. */
const NAME_IN_MESSAGE = 200;

/** The keys of an entry that are read. */
const ENTRY_KEYS = ['dtype', 'shape', 'data_offsets'];

/** Levels of nesting in a value that is ignored, as in the reference implementation. */
const MAX_DEPTH = 128;

/** A number, null, true or false in JSON. */
const SCALAR = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|null|true|false)(?![\w.+-])/y;

/** Parses the header's text. On an error it calls `fail`, which throws, with the problem and its position. */
export function parseHeader(text: string, fail: (what: string) => never): Header {
  return new HeaderReader(text, fail).header();
}

class HeaderReader {
  readonly #text: string;
  readonly #fail: (what: string) => never;
  #position = 0;

  constructor(text: string, fail: (what: string) => never) {
    this.#text = text;
    this.#fail = fail;
  }

  header(): Header {
    if (this.#text[0] !== '{') this.#failExpected("'{'");
    const entries = new Map<string, StoredEntry>();
    let metadata: Map<string, string> | undefined;
    this.#object((name) => {
      if (name === METADATA) metadata = this.#texts();
      else entries.set(name, this.#entry(name));
    });
    this.#skipSpace();
    if (this.#position < this.#text.length) this.#failExpected('the end');
    return { entries, metadata: metadata ?? new Map() };
  }

  /** Reads the metadata: an object whose values are strings, or null for none. */
  #texts(): Map<string, string> {
    const texts = new Map<string, string>();
    this.#skipSpace();
    if (this.#text.startsWith('null', this.#position)) {
      this.#position += 'null'.length;
      return texts;
    }
    this.#object((key) => texts.set(key, this.#string()));
    return texts;
  }

  /** Reads the description of the tensor `name`. */
  #entry(name: string): StoredEntry {
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    this.#object((key) => {
      if (key === 'dtype') dtype = this.#string();
      else if (key === 'shape') shape = this.#numbers();
      else if (key === 'data_offsets') offsets = this.#numbers();
      else this.#skipValue(0);
    }, ENTRY_KEYS);
    if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
      return this.#fail(`${brief(name, NAME_IN_MESSAGE)}: expected dtype, shape and two data_offsets`);
    }
    return { dtype, shape, offsets: [offsets[0]!, offsets[1]!] };
  }

  /** Skips a value of any type that is valid JSON. */
  #skipValue(depth: number): void {
    if (depth > MAX_DEPTH) this.#fail(`values are nested more than ${MAX_DEPTH} levels deep`);
    this.#skipSpace();
    const next = this.#text[this.#position];
    if (next === '{') return this.#object(() => this.#skipValue(depth + 1), []);
    if (next === '[') return this.#list('[', ']', () => this.#skipValue(depth + 1));
    if (next === '"') return void this.#string();
    SCALAR.lastIndex = this.#position;
    const scalar = SCALAR.exec(this.#text) ?? this.#failExpected('a value');
    this.#position += scalar[0].length;
  }

  /**
   * Reads `{"key": value, …}`; calls `readValue` at each value, which must consume it. Keys in `unique`, by default all, may appear
   * once only.
   */
  #object(readValue: (key: string) => void, unique?: readonly string[]): void {
    const keys = new Set<string>();
    this.#list('{', '}', () => {
      const key = this.#string();
      if (keys.has(key)) this.#fail(`key ${JSON.stringify(brief(key, NAME_IN_MESSAGE))} appears twice`);
      if (unique === undefined || unique.includes(key)) keys.add(key);
      this.#expect(':');
      readValue(key);
    });
  }

  #numbers(): number[] {
    const numbers: number[] = [];
    this.#list('[', ']', () => numbers.push(this.#number()));
    return numbers;
  }

  /** Reads items separated by commas; calls `readItem` at each, which must consume it. */
  #list(open: string, close: string, readItem: () => void): void {
    this.#expect(open);
    if (this.#accept(close)) return;
    do {
      readItem();
    } while (this.#accept(','));
    this.#expect(close);
  }

  #string(): string {
    this.#skipSpace();
    const start = this.#position;
    if (this.#text[start] !== '"') this.#failExpected('a string');
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') {
      // A backslash escapes the next character.
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    this.#position = end + 1;
    return this.#decodeString(this.#text.slice(start, this.#position));
  }

  /** Decodes one string literal with JSON.parse, which accepts nothing ambiguous here except lone surrogates. */
  #decodeString(literal: string): string {
    let text: string;
    try {
      text = JSON.parse(literal);
    } catch {
      return this.#fail(`string ${brief(literal)} is no JSON`);
    }
    return hasLoneSurrogate(text) ? this.#fail(`string ${brief(literal)} is no Unicode text`) : text;
  }

  /** Reads a whole number written in plain digits, the only form that all readers interpret alike. */
  #number(): number {
    this.#skipSpace();
    const start = this.#position;
    while (/[\d.eE+-]/.test(this.#text[this.#position] ?? '')) this.#position++;
    const literal = this.#text.slice(start, this.#position);
    if (literal === '') this.#failExpected('a whole number');
    if (!/^(0|[1-9]\d*)$/.test(literal)) this.#fail(`expected a whole number ≥ 0 written in digits, got ${brief(literal)}`);
    if (!Number.isSafeInteger(Number(literal))) this.#fail(`number ${brief(literal)} is above 2^53 − 1`);
    return Number(literal);
  }

  #skipSpace(): void {
    while (' \t\n\r'.includes(this.#text[this.#position] ?? 'end')) this.#position++;
  }

  /** Skips white space, then consumes `character` if it is next; returns whether it was. */
  #accept(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#position] !== character) return false;
    this.#position++;
    return true;
  }

  /** Consumes `character`, or fails. */
  #expect(character: string): void {
    if (!this.#accept(character)) this.#failExpected(`'${character}'`);
  }

  #failExpected(what: string): never {
    const rest = this.#text.slice(this.#position, this.#position + 12);
    return this.#fail(`expected ${what} at character ${this.#position}, got ${rest === '' ? 'the end' : JSON.stringify(rest)}`);
  }
}
