/**
 * What exercises, their checks and their typical mistakes are made of.
 *
 * A check is a function that throws `Wrong` with a message for the reader. It gets the module that the reader wrote.
 */

/** Thrown by a check: the reader's code runs and its result is wrong. */
export class Wrong extends Error {}

/** Thrown by code that the reader has not replaced yet. */
export class NotWritten extends Error {}

/** Stands where the reader writes code. Takes the parameters, so that they count as used. */
export function notWritten(..._parameters: readonly unknown[]): never {
  throw new NotWritten('not written yet');
}

/** An exercise: where the reader writes, and what checks it. */
export interface Exercise {
  readonly title: string;
  /** The file in `exercises` without its extension. A chapter without that file uses the nearest earlier chapter's. */
  readonly file: string;
  /** The functions that the file must export. */
  readonly functions: readonly string[];
  /** What to look at when the check fails. One sentence. */
  readonly hint: string;
  /** Throws if the module is wrong. `source` is the text of the file. */
  readonly check: (module: object, source: string) => void;
}

/** Makes an exercise whose modules have the type `M`. The functions are checked to exist before `check` is called. */
export function exercise<M extends object>(
  spec: Omit<Exercise, 'functions' | 'check'> & {
    readonly functions: readonly (keyof M & string)[];
    readonly check: (module: M, source: string) => void;
  },
): Exercise {
  return {
    ...spec,
    check: (module, source) => {
      for (const name of spec.functions) {
        const exported = (module as Record<string, unknown>)[name];
        if (typeof exported !== 'function') throw new Wrong(`${spec.file}.ts must export a function named ${name}`);
      }
      spec.check(module as M, source);
    },
  };
}

/** A typical mistake: a module that is wrong in one place, and what its check says about it. */
export interface Mistake {
  /** The number of the exercise, from 1. */
  readonly exercise: number;
  readonly title: string;
  readonly module: object;
  /** The text of the file, where the check reads it. Default: that of the solution. */
  readonly source?: string;
  /** What the check's message must contain. */
  readonly says: RegExp;
}

/** Wrong numbers by what led to them. A check that gets such a number adds the explanation. */
export type Explanations<T> = Readonly<Record<string, T>>;

/** Throws if `got` is not `want`, up to rounding: a relative error of 1e-6. */
export function expectNumber(what: string, got: unknown, want: number, explanations: Explanations<number> = {}): void {
  if (typeof got !== 'number') throw new Wrong(`${what}: expected the number ${format(want)}, got ${kind(got)}`);
  if (isClose(got, want)) return;
  throw new Wrong(`${what}: got ${format(got)}, expected ${format(want)}${explain((wrong) => isClose(got, wrong), explanations)}`);
}

/** Throws if `got` is not the list `want`, up to rounding. */
export function expectNumbers(
  what: string,
  got: unknown,
  want: readonly number[],
  explanations: Explanations<readonly number[]> = {},
): void {
  if (!isList(got)) throw new Wrong(`${what}: expected the list ${format(want)}, got ${kind(got)}`);
  const numbers = Array.from(got);
  if (sameNumbers(numbers, want)) return;
  throw new Wrong(
    `${what}: got ${format(numbers)}, expected ${format(want)}${explain((wrong) => sameNumbers(numbers, wrong), explanations)}`,
  );
}

/** A tensor, as far as checks read it. */
export interface TensorLike {
  readonly shape: readonly number[];
  data(): ArrayLike<number>;
}

/** Throws if `got` has not the shape and the elements of `want`, up to rounding. */
export function expectTensor(what: string, got: unknown, want: TensorLike, explanations: Explanations<TensorLike> = {}): void {
  if (!isTensorLike(got)) throw new Wrong(`${what}: expected a tensor of shape ${format(want.shape)}, got ${kind(got)}`);
  if (sameTensor(got, want)) return;
  const why = explain((wrong) => sameTensor(got, wrong), explanations);
  if (format(got.shape) !== format(want.shape))
    throw new Wrong(`${what}: the shape is ${format(got.shape)}, expected ${format(want.shape)}${why}`);
  throw new Wrong(`${what}: got ${format(Array.from(got.data()))}, expected ${format(Array.from(want.data()))}${why}`);
}

/** Throws `Wrong` with the message unless the condition holds. */
export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Wrong(message);
}

/** A number or a list in at most 7 digits. Long lists end in an ellipsis. */
export function format(x: number | readonly number[]): string {
  if (typeof x === 'number') return String(Number(x.toPrecision(7)));
  const shown = x.slice(0, 12).map((v) => format(v));
  return `[${shown.join(', ')}${x.length > 12 ? ', …' : ''}]`;
}

function explain<T>(isWrong: (wrong: T) => boolean, explanations: Explanations<T>): string {
  const found = Object.entries(explanations).find(([, wrong]) => isWrong(wrong));
  return found === undefined ? '' : `. ${found[0]}`;
}

function isClose(a: number, b: number): boolean {
  return Object.is(a, b) || Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b));
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v, i) => isClose(v, b[i]!));
}

function sameTensor(a: TensorLike, b: TensorLike): boolean {
  return format(a.shape) === format(b.shape) && sameNumbers(Array.from(a.data()), Array.from(b.data()));
}

function isList(x: unknown): x is ArrayLike<number> {
  return Array.isArray(x) || (ArrayBuffer.isView(x) && !(x instanceof DataView));
}

function isTensorLike(x: unknown): x is TensorLike {
  return typeof x === 'object' && x !== null && 'shape' in x && 'data' in x && typeof x.data === 'function';
}

function kind(x: unknown): string {
  if (x === null || x === undefined) return String(x);
  if (isTensorLike(x)) return `a tensor of shape ${format(x.shape)}`;
  if (isList(x)) return `the list ${format(Array.from(x))}`;
  if (typeof x === 'string' || typeof x === 'number' || typeof x === 'boolean') return `the ${typeof x} ${x}`;
  return `a value of type ${typeof x}`;
}
