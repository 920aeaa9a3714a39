/**
 * Scoped loops: each iteration is a scope.
 */
import { ScopeError } from '../core/errors.ts';
import { whenCollected } from './gc-fallback.ts';
import {
  abandonScope,
  closeScope,
  currentScope,
  dissolveScope,
  followTasks,
  openIteration,
  openTaskScope,
  resumeIn,
  type Scope,
} from './scope-stack.ts';

/** Steps through an iterator. The scope of an iteration opens before its value is made and closes before the next step. */
abstract class ScopedSteps<T> {
  protected readonly inner: Iterator<T>;
  protected scope: Scope | null = null;
  #done = false;

  constructor(inner: Iterator<T>) {
    this.inner = inner;
  }

  /** Whether the loop has ended. */
  get isDone(): boolean {
    return this.#done;
  }

  /** Ends the current iteration. */
  abstract end(): void;

  /** Opens a scope and takes a step of the inner iterator in it. */
  protected abstract open(): IteratorResult<T, unknown>;

  next(): IteratorResult<T, unknown> {
    this.end();
    // If the inner iterator throws, it is finished, and return() must not be called.
    this.#done = true;
    const step = this.open();
    this.#done = step.done === true;
    return step;
  }

  /** Handles a loop that was dropped before its end: the iteration's tensors are transferred to the enclosing scope. */
  abandon(): void {
    if (this.scope !== null) dissolveScope(this.scope);
    this.scope = null;
    this.#done = true;
  }

  /** Ends the loop, and the inner iterator unless it is finished. */
  stop(): void {
    const done = this.#done;
    this.#done = true;
    try {
      this.end();
    } finally {
      if (!done) this.inner.return?.();
    }
  }
}

/** The steps of a `for` loop. */
class SyncSteps<T> extends ScopedSteps<T> {
  /** Ends the current iteration. Throws if its scope is not the innermost one. */
  override end(): void {
    const s = this.scope;
    this.scope = null;
    if (s === null || s.gaveUp) return;
    const nested = currentScope() === s;
    const closedByOther = s.closed;
    closeScope(s, []);
    if (nested) return;
    this.stop();
    throw new ScopeError(
      closedByOther
        ? 'scoped loop: the scope around this loop has ended before the loop did. Finish the loop inside it'
        : 'scoped loop: two scoped loops run at the same time, and one began an iteration inside the other’s. ' +
            'Run them one after the other, or walk both in one loop with zip(a, b)',
    );
  }

  protected override open(): IteratorResult<T, unknown> {
    this.scope = openIteration();
    return this.inner.next();
  }
}

/** A scoped loop: `for … of` walks it, and in an asynchronous function `for await … of`. */
export interface ScopedLoop<T> extends IterableIterator<T> {
  [Symbol.asyncIterator](): AsyncIterableIterator<T>;
}

/** Returns an iterator over `source` that runs each iteration in its own scope. */
export function scopedIterator<T>(source: Iterable<T>): ScopedLoop<T> {
  const steps = new SyncSteps(source[Symbol.iterator]());
  const iterator = abandonWhenCollected(steps, loop(steps));
  return Object.assign(iterator, { [Symbol.asyncIterator]: () => scopedAsyncIterator(source) });
}

function* loop<T>(steps: ScopedSteps<T>): Generator<T, void> {
  try {
    for (let step = steps.next(); step.done !== true; step = steps.next()) yield step.value;
  } finally {
    steps.stop();
  }
}

/** Abandons the loop when its iterator is collected, as after `loader[Symbol.iterator]().next()`. */
function abandonWhenCollected<I extends object>(steps: { abandon(): void }, iterator: I): I {
  whenCollected(iterator, () => steps.abandon());
  return iterator;
}

/** The longest time between two turns of the event loop in an asynchronous scoped loop, in milliseconds. */
const TURN_MS = 50;

/** When a loop last gave the event loop a turn: one time for all loops, as many short ones would else give none. */
let lastTurn = performance.now();

type Settle<T> = (result: IteratorResult<T, void>) => void;

function deliverAfterTurn(deliver: () => void): void {
  lastTurn = performance.now();
  deliver();
}

/** What the source of a `for await` loop yields before a value that it has to wait for. */
export class Wait {
  /** Is fulfilled when the source can make the value, or throw its error. */
  readonly until: Promise<void>;

  constructor(until: Promise<void>) {
    this.until = until;
  }
}

/** The steps of a `for await` loop. */
class AsyncSteps<T> extends ScopedSteps<T | Wait> {
  /** What the source waits for now. */
  #waitsFor: Promise<void> | null = null;
  /**
   * The iterators whose next step is not settled. They stay reachable, as `await loader[Symbol.asyncIterator]().next()` has no other
   * reference to one, and a collected iterator ends the loop.
   */
  readonly #waiting: object[] = [];

  override end(): void {
    const s = this.scope;
    this.scope = null;
    if (s !== null) closeScope(s, []);
  }

  protected override open(): IteratorResult<T | Wait, unknown> {
    return openTaskScope((s) => {
      this.scope = s;
      return this.inner.next();
    });
  }

  /** Ends the iteration, and promises `iterator` the next one: at once, or after a turn of the event loop. */
  request(iterator: object): Promise<IteratorResult<T, void>> {
    this.end();
    this.#waiting.push(iterator);
    return new Promise((fulfil, refuse) => {
      const resolve: Settle<T> = (result) => {
        this.#waiting.pop();
        fulfil(result);
      };
      const reject = (error: unknown): void => {
        this.#waiting.pop();
        refuse(error);
      };
      const deliver = (): void => this.#deliver(resolve, reject);
      if (performance.now() - lastTurn < TURN_MS) queueMicrotask(deliver);
      else setTimeout(() => deliverAfterTurn(deliver), 0);
    });
  }

  #deliver(resolve: Settle<T>, reject: (error: unknown) => void): void {
    const retry = (): void => this.#deliver(resolve, reject);
    // A step was requested while another one waits.
    if (this.#waitsFor !== null) {
      void this.#waitsFor.then(retry);
      return;
    }
    try {
      const step = this.isDone ? null : this.next();
      const s = this.scope;
      if (step === null || step.done === true || s === null) {
        this.stop();
        resolve({ done: true, value: undefined });
      } else if (step.value instanceof Wait) {
        // Functions of the source's user have begun in this scope, and go on: an asynchronous `get` of a dataset.
        abandonScope(s);
        this.scope = null;
        this.#waitsFor = step.value.until.finally(() => {
          this.#waitsFor = null;
        });
        void this.#waitsFor.then(retry);
      } else {
        const { value } = step;
        resumeIn(s, () => resolve({ done: false, value }));
      }
    } catch (error) {
      this.stop();
      reject(error);
    }
  }
}

/** The iterator of a `for await` loop. No async generator, as the promise must be fulfilled in a moment that `resumeIn` knows. */
class AsyncLoop<T> implements AsyncIterableIterator<T, void> {
  readonly #steps: AsyncSteps<T>;

  constructor(steps: AsyncSteps<T>) {
    this.#steps = steps;
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.#steps.request(this);
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#steps.stop();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/**
 * The same for `for await`. Lets the event loop turn between iterations, at most every 50 ms. An iteration owns what its body makes
 * before its first `await`, and in Node after it too; elsewhere the garbage collector frees that. Where the source yields a Wait, the loop
 * takes its next value once that has settled.
 */
export function scopedAsyncIterator<T>(source: Iterable<T | Wait>): AsyncIterableIterator<T> {
  followTasks();
  const steps = new AsyncSteps(source[Symbol.iterator]());
  return abandonWhenCollected(steps, new AsyncLoop(steps));
}
