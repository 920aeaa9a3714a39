/**
 * Operations among ranks as generators that yield while a transfer is in flight, and the queue that runs them one after the other.
 *
 * MPI demands that all ranks start their transfers in one order. An operation consists of several, so one that began before the last has
 * ended could start its transfers in another order on another rank.
 */
import { DistributedError } from '../core/errors.ts';
import type { Mpi } from './mpi.ts';

/** The steps of an operation. Each `yield` means: not before the transfer in flight is complete. */
export type Steps<T> = Generator<void, T, void>;

/** An operation in the queue. */
export class Operation<T> {
  /** What it is, for messages: `allReduce of float32 [3,4]`. */
  readonly title: string;
  readonly #steps: Steps<T>;
  #result: { readonly value: T } | null = null;
  #error: unknown = null;
  #isDone = false;

  constructor(title: string, steps: Steps<T>) {
    this.title = title;
    this.#steps = steps;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Runs to the next transfer, or to the end. */
  advance(): void {
    this.#step(() => this.#steps.next());
  }

  /** Ends it with an error of the transfer that it waits for. */
  fail(error: unknown): void {
    this.#step(() => this.#steps.throw(error));
  }

  #step(step: () => IteratorResult<void, T>): void {
    try {
      const { done, value } = step();
      if (done !== true) return;
      this.#result = { value };
    } catch (error) {
      this.#error = error;
    }
    this.#isDone = true;
  }

  /** Returns the result of an operation that is done, or throws its error. */
  result(): T {
    if (this.#result === null) throw this.#located();
    return this.#result.value;
  }

  /** Returns the error, whose stack begins at the caller: the steps' own functions would fill it. */
  #located(): unknown {
    if (this.#error instanceof DistributedError) Error.captureStackTrace(this.#error, Operation.prototype.result);
    return this.#error;
  }
}

/** Runs operations in the order in which they are added. */
export class Queue {
  readonly #mpi: Mpi;
  readonly #waiting: Operation<unknown>[] = [];
  /** Whether the first operation has begun. */
  #hasBegun = false;
  /** Counts operations that have ended. */
  #ended = 0;

  constructor(mpi: Mpi) {
    this.#mpi = mpi;
  }

  add(operation: Operation<unknown>): void {
    this.#waiting.push(operation);
    this.poll();
  }

  /** The operation that runs; null if there is none. */
  get current(): Operation<unknown> | null {
    return this.#waiting[0] ?? null;
  }

  /** The number of the operation that runs, from 1 on. It is the same on all ranks. */
  get number(): number {
    return this.#ended + 1;
  }

  /** Makes all progress that is possible without waiting. */
  poll(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      try {
        if (this.#hasBegun && !this.#mpi.test()) return;
        this.#hasBegun = true;
        first.advance();
      } catch (error) {
        first.fail(error);
      }
      if (!first.isDone) continue;
      this.#waiting.shift();
      this.#ended++;
      this.#hasBegun = false;
    }
  }
}
