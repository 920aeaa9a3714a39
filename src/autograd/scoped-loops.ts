/**
 * Loops each of whose iterations is a scope.
 */
import { ScopeError } from '../core/errors.ts';
import { whenCollected } from './gc-fallback.ts';
import { closeScope, currentScope, dissolveScope, openScope, type Scope } from './scope-stack.ts';

/** What `scoped` and data loaders have in common: an iteration's scope opens before its value is made and closes before the next. */
class ScopedSteps<T> {
  readonly #inner: Iterator<T>;
  #scope: Scope | null = null;
  #done = false;

  constructor(inner: Iterator<T>) {
    this.#inner = inner;
  }

  /** Ends the current iteration. Throws where scopes of others have been left above it. */
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
    // What has thrown is done too, and has nothing to return from.
    this.#done = true;
    const step = this.#inner.next();
    this.#done = step.done === true;
    return step;
  }

  /** The loop was dropped in the middle: what its iteration made passes to the scope around. */
  abandon(): void {
    if (this.#scope !== null) dissolveScope(this.#scope);
    this.#scope = null;
    this.#done = true;
  }

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

/** Each iteration of `source` in a scope of its own. */
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

/** An iterator that nobody holds any more, as after `loader[Symbol.iterator]().next()`, gives up its scope. */
function abandonWhenCollected<I extends object>(steps: { abandon(): void }, iterator: I): I {
  whenCollected(iterator, () => steps.abandon());
  return iterator;
}

/** How long an asynchronous scoped loop may keep the event loop from turning, in milliseconds. */
const TURN_MS = 50;

/** The same for `for await`: gives the event loop a turn, between iterations, at most every 50 ms. */
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
