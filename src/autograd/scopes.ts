/**
 * The public functions for scopes and scoped loops, and the memory report.
 */
import { isIterable, kindOfLaterWork } from '../core/describe.ts';
import { ArgumentError, ScopeError, kindOf, shown } from '../core/errors.ts';
import { checkFunction, refuseOptions, withDefaults } from '../core/options.ts';
import { memoryUse, resetPeak } from '../kernels/memory/allocator.ts';
import { tensorCount } from './gc-fallback.ts';
import { withGradMode } from './grad-mode.ts';
import { closeScopeAndAbove, openScope } from './scope-stack.ts';
import { scopedIterator, type ScopedLoop } from './scoped-loops.ts';
import { isTensor, type Tensor } from './tensor.ts';

/**
 * Runs `fn`, then frees every tensor created inside that is neither owned (parameters, `keep()`) nor returned. Tensors may be
 * returned alone or within arrays, records, Map and Set. Frees them also if `fn` throws. The enclosing scope owns the results and
 * their graph.
 * Throws ScopeError if `fn` returns a Promise or an iterator.
 */
export function scope<T>(fn: () => T): T {
  refuseOptions('scope', arguments[1]);
  return runScoped('scope', fn);
}

/** Runs `fn` in a scope without recording operations: for evaluation, and for writing to parameters. */
export function noGrad<T>(fn: () => T): T {
  refuseOptions('noGrad', arguments[1]);
  return withGradMode(false, () => runScoped('noGrad', fn));
}

/** Runs `fn` in its own scope, for the function `name`. Also closes scopes that loops inside `fn` have left open. */
export function runScoped<T>(name: string, fn: () => T): T {
  checkFunction(name, 'fn', fn);
  const s = openScope('scope');
  let result: T | undefined;
  let results: Tensor[] = [];
  try {
    result = fn();
    rejectPromiseOrIterator(name, result);
    results = tensorsIn(result);
    return result;
  } finally {
    closeScopeAndAbove(s, results);
  }
}

/** Throws ScopeError for results whose work runs after the scope has ended. */
function rejectPromiseOrIterator(name: string, result: unknown): void {
  const what = kindOfLaterWork(result);
  if (what === null) return;
  throw new ScopeError(
    `${name}: the function returned ${what}, whose work would run after the scope has ended. ` +
      `Give ${name} a synchronous function, or loop with for (const i of scoped(n))`,
  );
}

/** Returns all tensors in a result: itself, or in arrays, records, Map and Set at any depth. */
function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  const found: Tensor[] = [];
  const seen = new Set<object>();
  const visit = (v: unknown): void => {
    if (typeof v !== 'object' || v === null || seen.has(v)) return;
    seen.add(v);
    if (isTensor(v)) {
      found.push(v);
    } else if (Array.isArray(v) || v instanceof Set) {
      v.forEach(visit);
    } else if (v instanceof Map) {
      for (const [k, x] of v) {
        visit(k);
        visit(x);
      }
    } else if (Object.getPrototypeOf(v) === Object.prototype || Object.getPrototypeOf(v) === null) {
      Object.values(v).forEach(visit);
    }
  };
  visit(value);
  return found;
}

/** An iterable with an iterator that opens no scopes. Data loaders have one, so that a scoped loop over them opens one scope only. */
export interface Unscoped<T> {
  unscoped(): Iterable<T>;
}

function plain<T>(name: string, source: Iterable<T>): Iterable<T> {
  if (!isIterable(source))
    throw new ArgumentError(
      `${name}: expected ${name === 'scoped' ? 'a whole number ≥ 0 or an iterable' : 'two iterables'}, got ${kindOf(source)}`,
    );
  const u = (source as Partial<Unscoped<T>>).unscoped;
  return typeof u === 'function' ? u.call(source) : source;
}

/**
 * Iterates over an iterable, or over 0 … n−1, with a scope for each iteration.
 * In an asynchronous function write `for await`: then an iteration owns its tensors across `await`. A plain `for` whose body awaits
 * leaves them to the garbage collector.
 * @example for (const step of scoped(1000)) { … }
 */
export function scoped(n: number): ScopedLoop<number>;
export function scoped<T>(source: Iterable<T>): ScopedLoop<T>;
export function scoped<T>(source: Iterable<T> | number): ScopedLoop<T | number> {
  refuseOptions('scoped', arguments[1]);
  if (typeof source === 'number') {
    if (!Number.isSafeInteger(source) || source < 0)
      throw new ArgumentError(`scoped: expected a whole number ≥ 0 or an iterable, got ${shown(source)}`);
    return scopedIterator(count(source));
  }
  return scopedIterator(plain('scoped', source));
}

function* count(n: number): Generator<number> {
  for (let i = 0; i < n; i++) yield i;
}

/** Iterates over two iterables in one scoped loop, until the shorter ends. */
export function zip<A, B>(a: Iterable<A>, b: Iterable<B>): ScopedLoop<[A, B]> {
  refuseOptions('zip', arguments[2]);
  return scopedIterator(pairs(plain('zip', a), plain('zip', b)));
}

function* pairs<A, B>(a: Iterable<A>, b: Iterable<B>): Generator<[A, B]> {
  const other = b[Symbol.iterator]();
  try {
    for (const x of a) {
      const y = other.next();
      if (y.done === true) return;
      yield [x, y.value];
    }
  } finally {
    other.return?.();
  }
}

/** The report of `memory`. */
export interface MemoryReport {
  /** Bytes in live tensors and in tensors that graphs have saved. */
  readonly bytes: number;
  /** The largest `bytes` since the start, or since `memory({ resetPeak: true })`. */
  readonly peakBytes: number;
  /** The number of live tensors. */
  readonly tensors: number;
  /** Size of the WebAssembly memory, in pages of 64 KiB; it never shrinks. */
  readonly pages: number;
}

/** Returns exact figures about the memory. `resetPeak` restarts the peak after reading it. */
export function memory(options: { resetPeak?: boolean } = {}): MemoryReport {
  const reset = withDefaults('memory', options, { resetPeak: false }).resetPeak;
  const report = { ...memoryUse(), tensors: tensorCount() };
  if (reset) resetPeak();
  return report;
}
