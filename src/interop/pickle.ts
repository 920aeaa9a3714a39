/**
 * Reads Python's pickle format, protocols 2 to 5, without running any code: https://docs.python.org/3/library/pickletools.html
 *
 * A pickle is a program for a stack machine. Its instructions make numbers, texts, lists, tuples and dicts here. What a pickle names in a
 * module, and what it stores outside (`persistent_load`), the caller provides; everything else is refused.
 */

/** A value of a pickle: dicts are Maps, lists and tuples arrays; the caller's own values are objects of its classes. */
export type Pickled = number | bigint | string | boolean | null | readonly Pickled[] | Map<Pickled, Pickled> | object;

/** What a pickle refers to. Each function throws for what it does not know. */
export interface PickleContext {
  /** Returns what `name` of the Python module `module` stands for. */
  readonly global: (module: string, name: string) => object;
  /** Returns the result of calling such a value with these arguments. */
  readonly call: (callee: object, args: readonly Pickled[]) => Pickled;
  /** Returns what is stored outside of the pickle under this id. */
  readonly persistent: (id: Pickled) => Pickled;
  /** Throws an error about what is wrong with the pickle. */
  readonly fail: (what: string) => never;
}

/** Marks the start of a run of items on the stack. */
const MARK = Symbol('mark');

type Item = Pickled | typeof MARK;

/** Longest integer, in bytes: more takes long to convert and is no number of a training run. */
const MAX_INTEGER = 64;

/** Unpickles. Throws: what the functions of `context` throw */
export function unpickle(bytes: Uint8Array, context: PickleContext): Pickled {
  return new Machine(bytes, context).run();
}

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #context: PickleContext;
  readonly #stack: Item[] = [];
  readonly #memo = new Map<number, Pickled>();
  #at = 0;

  constructor(bytes: Uint8Array, context: PickleContext) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#context = context;
  }

  run(): Pickled {
    for (;;) {
      const code = String.fromCharCode(this.#byte());
      if (code === '.') return this.#pop();
      const instruction = INSTRUCTIONS.get(code);
      if (instruction === undefined) return this.fail(`its instruction ${JSON.stringify(code)} is not supported`);
      instruction(this);
    }
  }

  fail(what: string): never {
    return this.#context.fail(`data.pkl: ${what}`);
  }

  // — reading —

  #byte(): number {
    return this.#bytes[this.skip(1)]!;
  }

  /** Moves past `length` bytes and returns where they begin. */
  skip(length: number): number {
    const start = this.#at;
    if (!(length <= this.#bytes.length - start)) this.fail('it is truncated');
    this.#at += length;
    return start;
  }

  u8(): number {
    return this.#byte();
  }

  u16(): number {
    return this.#view.getUint16(this.skip(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  i32(): number {
    return this.#view.getInt32(this.skip(4), true);
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.skip(8), true));
  }

  f64(): number {
    return this.#view.getFloat64(this.skip(8), false);
  }

  text(length: number, encoding = 'utf-8'): string {
    const start = this.skip(length);
    try {
      return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(this.#bytes.subarray(start, start + length));
    } catch {
      return this.fail('a text is no UTF-8');
    }
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) this.fail('it is truncated');
    const text = this.text(end - this.#at);
    this.skip(1);
    return text;
  }

  /** A little-endian integer in two's complement. */
  integer(length: number): number | bigint {
    if (length > MAX_INTEGER) this.fail(`an integer has ${length} bytes, at most ${MAX_INTEGER} are read`);
    const start = this.skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i]!);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  // — the stack and the memo —

  push(value: Item): void {
    this.#stack.push(value);
  }

  #pop(): Pickled {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) return this.fail('it takes a value that is not there');
    return value;
  }

  pop(): Pickled {
    return this.#pop();
  }

  top(): Pickled {
    const value = this.#pop();
    this.push(value);
    return value;
  }

  /** Takes all values above the last mark, and the mark. */
  popMark(): Pickled[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) this.fail('it takes a run of values that has no start');
    const values = this.#stack.splice(mark + 1) as Pickled[];
    this.#stack.pop();
    return values;
  }

  memoize(index = this.#memo.size): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) return this.fail(`it refers to value ${index}, which is not there`);
    return this.push(value);
  }

  // — objects —

  global(module: string, name: string): void {
    this.push(this.#context.global(module, name));
  }

  stackGlobal(): void {
    const [name, module] = [this.pop(), this.pop()];
    if (typeof name !== 'string' || typeof module !== 'string') return this.fail('the name of a class is no text');
    return this.global(module, name);
  }

  reduce(): void {
    const [args, callee] = [this.pop(), this.pop()];
    if (!Array.isArray(args) || typeof callee !== 'object' || callee === null) return this.fail('it calls what is no function');
    return this.push(this.#context.call(callee, args as readonly Pickled[]));
  }

  persistent(): void {
    this.push(this.#context.persistent(this.pop()));
  }

  append(values: readonly Pickled[]): void {
    const list = this.top();
    if (!Array.isArray(list)) return this.fail('it appends to what is no list');
    for (const value of values) list.push(value);
  }

  setItems(items: readonly Pickled[]): void {
    const dict = this.top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) return this.fail('it sets an item of what is no dict');
    for (let i = 0; i < items.length; i += 2) dict.set(items[i]!, items[i + 1]!);
  }

  /** Drops the state of a dict's attributes, such as the `_metadata` of a state dict; no other object has a state here. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Map)) this.fail('it sets the state of an object that has none');
  }
}

type Instruction = (m: Machine) => void;

/** Removes the values of the stack that make a tuple of `length`. */
const tuple =
  (length: number): Instruction =>
  (m) =>
    m.push(Array.from({ length }, () => m.pop()).reverse());

const pair = (m: Machine): Pickled[] => {
  const value = m.pop();
  return [m.pop(), value];
};

/** The instructions by their code. */
const INSTRUCTIONS: ReadonlyMap<string, Instruction> = new Map<string, Instruction>([
  ['\x80', (m) => checkProtocol(m, m.u8())],
  // A frame is a hint for reading in pieces.
  ['\x95', (m) => void m.skip(8)],
  ['(', (m) => m.push(MARK)],
  ['0', (m) => void m.pop()],
  ['1', (m) => void m.popMark()],
  ['2', (m) => m.push(m.top())],
  ['N', (m) => m.push(null)],
  ['\x88', (m) => m.push(true)],
  ['\x89', (m) => m.push(false)],
  ['J', (m) => m.push(m.i32())],
  ['K', (m) => m.push(m.u8())],
  ['M', (m) => m.push(m.u16())],
  ['\x8a', (m) => m.push(m.integer(m.u8()))],
  ['\x8b', (m) => m.push(m.integer(m.u32()))],
  ['G', (m) => m.push(m.f64())],
  ['X', (m) => m.push(m.text(m.u32()))],
  ['\x8c', (m) => m.push(m.text(m.u8()))],
  ['\x8d', (m) => m.push(m.text(m.u64()))],
  // Texts of Python 2 are bytes; latin1 can read any.
  ['T', (m) => m.push(m.text(m.u32(), 'latin1'))],
  ['U', (m) => m.push(m.text(m.u8(), 'latin1'))],
  [']', (m) => m.push([])],
  ['l', (m) => m.push(m.popMark())],
  ['a', (m) => ((value) => m.append([value]))(m.pop())],
  ['e', (m) => ((values) => m.append(values))(m.popMark())],
  [')', (m) => m.push([])],
  ['t', (m) => m.push(m.popMark())],
  ['\x85', tuple(1)],
  ['\x86', tuple(2)],
  ['\x87', tuple(3)],
  ['}', (m) => m.push(new Map())],
  ['d', (m) => ((items) => (m.push(new Map()), m.setItems(items)))(m.popMark())],
  ['s', (m) => ((items) => m.setItems(items))(pair(m))],
  ['u', (m) => ((items) => m.setItems(items))(m.popMark())],
  ['q', (m) => m.memoize(m.u8())],
  ['r', (m) => m.memoize(m.u32())],
  ['\x94', (m) => m.memoize()],
  ['h', (m) => m.recall(m.u8())],
  ['j', (m) => m.recall(m.u32())],
  ['c', (m) => ((module) => m.global(module, m.line()))(m.line())],
  ['\x93', (m) => m.stackGlobal()],
  ['R', (m) => m.reduce()],
  ['b', (m) => m.build()],
  ['Q', (m) => m.persistent()],
]);

function checkProtocol(m: Machine, protocol: number): void {
  if (protocol < 2 || protocol > 5) m.fail(`pickle protocol ${protocol} is not supported (expected 2 to 5)`);
}
