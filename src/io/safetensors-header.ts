/**
 * The JSON header of a safetensors file, read strictly.
 *
 * Own code because JSON.parse keeps the last of two equal keys, rounds large integers, takes 1.0 and 1e2 for integers, and gives
 * `__proto__` a meaning. Only what a header may contain is understood: objects, strings, arrays of natural numbers.
 */

/** One tensor as the header describes it. */
export interface StoredEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offsets: readonly [begin: number, end: number];
}

export interface Header {
  readonly entries: Map<string, StoredEntry>;
  readonly metadata: Map<string, string>;
}

/** The key under which the header holds free texts instead of a tensor. */
export const METADATA = '__metadata__';

/** Half a surrogate pair: no Unicode text, and nothing that UTF-8 can hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export function hasLoneSurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text);
}

/** At most 40 characters for a message: a damaged file may hold megabytes of one string. */
function brief(literal: string): string {
  return literal.length > 40 ? `${literal.slice(0, 40)}…` : literal;
}

/** Parses the header's text; calls `fail`, which throws, with what is wrong and where. */
export function parseHeader(text: string, fail: (what: string) => never): Header {
  return new HeaderReader(text, fail).header();
}

class HeaderReader {
  readonly #text: string;
  readonly #fail: (what: string) => never;
  #at = 0;

  constructor(text: string, fail: (what: string) => never) {
    this.#text = text;
    this.#fail = fail;
  }

  header(): Header {
    if (this.#text[0] !== '{') this.#expected("'{'");
    const entries = new Map<string, StoredEntry>();
    let metadata: Map<string, string> | undefined;
    this.#object((name) => {
      if (name === METADATA) metadata = this.#texts();
      else entries.set(name, this.#entry(name));
    });
    this.#space();
    if (this.#at < this.#text.length) this.#expected('the end');
    return { entries, metadata: metadata ?? new Map() };
  }

  #texts(): Map<string, string> {
    const texts = new Map<string, string>();
    this.#object((key) => texts.set(key, this.#string()));
    return texts;
  }

  #entry(name: string): StoredEntry {
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    this.#object((key) => {
      if (key === 'dtype') dtype = this.#string();
      else if (key === 'shape') shape = this.#numbers();
      else if (key === 'data_offsets') offsets = this.#numbers();
      else this.#fail(`${name}: unknown key ${JSON.stringify(key)}`);
    });
    if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
      return this.#fail(`${name}: expected dtype, shape and two data_offsets`);
    }
    return { dtype, shape, offsets: [offsets[0]!, offsets[1]!] };
  }

  /** Reads `{"key": value, …}`; `value` is called at each value and must read it. */
  #object(value: (key: string) => void): void {
    const keys = new Set<string>();
    this.#list('{', '}', () => {
      const key = this.#string();
      if (keys.has(key)) this.#fail(`key ${JSON.stringify(key)} appears twice`);
      keys.add(key);
      this.#take(':');
      value(key);
    });
  }

  #numbers(): number[] {
    const numbers: number[] = [];
    this.#list('[', ']', () => numbers.push(this.#number()));
    return numbers;
  }

  #list(open: string, close: string, item: () => void): void {
    this.#take(open);
    if (this.#skips(close)) return;
    do item();
    while (this.#skips(','));
    this.#take(close);
  }

  #string(): string {
    this.#space();
    const start = this.#at;
    if (this.#text[start] !== '"') this.#expected('a string');
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === '\\' ? 2 : 1;
    this.#at = end + 1;
    return this.#decode(this.#text.slice(start, this.#at));
  }

  /** JSON.parse is strict enough for one string literal, but for surrogates. */
  #decode(literal: string): string {
    let text: string;
    try {
      text = JSON.parse(literal);
    } catch {
      return this.#fail(`string ${brief(literal)} is no JSON`);
    }
    return hasLoneSurrogate(text) ? this.#fail(`string ${brief(literal)} is no Unicode text`) : text;
  }

  /** A whole number, in the only way that all readers understand alike. */
  #number(): number {
    this.#space();
    const start = this.#at;
    while (/[\d.eE+-]/.test(this.#text[this.#at] ?? '')) this.#at++;
    const literal = this.#text.slice(start, this.#at);
    if (literal === '') this.#expected('a whole number');
    if (!/^(0|[1-9]\d*)$/.test(literal)) this.#fail(`expected a whole number ≥ 0 written in digits, got ${brief(literal)}`);
    if (!Number.isSafeInteger(Number(literal))) this.#fail(`number ${brief(literal)} is above 2^53 − 1`);
    return Number(literal);
  }

  #space(): void {
    while (' \t\n\r'.includes(this.#text[this.#at] ?? 'end')) this.#at++;
  }

  #skips(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #take(character: string): void {
    if (!this.#skips(character)) this.#expected(`'${character}'`);
  }

  #expected(what: string): never {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    return this.#fail(`expected ${what} at character ${this.#at}, got ${rest === '' ? 'the end' : JSON.stringify(rest)}`);
  }
}
