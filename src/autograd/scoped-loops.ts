/**
 * Scoped loops: each iteration is a scope.
 */
import { ScopeError } from '../core/errors.ts';
import { whenCollected } from './gc-fallback.ts';
import { closeScope, currentScope, dissolveScope, openScope, type Scope } from './scope-stack.ts';

/** Steps through an iterator. The scope of an iteration opens before its value is made and closes before the next step. */
class ScopedSteps<T> {
  readonly #inner: Iterator<T>;
  #scope: Scope | null = null;
  #done = false;

  constructor(inner: Iterator<T>) {
    this.#inner = inner;
  }

  /** Ends the current iteration. Throws if its scope is not the innermost one. */
  end(): void {
    const s = this.#scope;
    this.#scope = null;
    if (s === null) return;
    const nested = currentScope() === s;
    const closedByOther = s.closed;
    closeScope(s, []);
    if (nested) return;
    this.#done = true;
    this.#inner.return?.();
    throw new ScopeError(
      closedByOther
        ? 'scoped loop: the scope around this loop has ended before the loop did. Finish the loop inside it'
        : 'scoped loop: two scoped loops run at the same time, and one began an iteration inside the other’s. ' +
            'Run them one after the other, or walk both in one loop with zip(a, b)',
    );
  }

  next(): IteratorResult<T, unknown> {
    this.end();
    this.#scope = openScope('iteration');
    // If next() throws, the iterator is finished, and return() must not be called.
    this.#done = true;
    const step = this.#inner.next();
    this.#done = step.done === true;
    return step;
  }

  /** Handles a loop that was dropped before its end: the iteration's tensors are transferred to the enclosing scope. */
  abandon(): void {
    if (this.#scope !== null) dissolveScope(this.#scope);
    this.#scope = null;
    this.#done = true;
  }

  /** Ends the loop, and the inner iterator unless it is finished. */
  stop(): void {
    const done = this.#done;
    this.#done = true;
    try {
      this.end();
    } finally {
      if (!done) this.#inner.return?.();
    }
  }
}

/** Returns an iterator over `source` that runs each iteration in its own scope. */
export function scopedIterator<T>(source: Iterable<T>): IterableIterator<T> {
  const steps = new ScopedSteps(source[Symbol.iterator]());
  return abandonWhenCollected(steps, loop(steps));
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

/** The same for `for await`. Lets the event loop turn between iterations, at most every 50 ms. */
export function scopedAsyncIterator<T>(source: Iterable<T>): AsyncIterableIterator<T> {
  const steps = new ScopedSteps(source[Symbol.iterator]());
  return abandonWhenCollected(steps, loopInTurns(steps));
}

async function* loopInTurns<T>(steps: ScopedSteps<T>): AsyncGenerator<T, void> {
  let turned = performance.now();
  try {
    for (let step = steps.next(); step.done !== true; step = steps.next()) {
      yield step.value;
      steps.end();
      if (performance.now() - turned < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      turned = performance.now();
    }
  } finally {
    steps.stop();
  }
}
