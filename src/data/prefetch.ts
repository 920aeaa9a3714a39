/**
 * Batches that are made before a loop takes them.
 */
import { isPromise, type Item } from './dataset.ts';

/** The items of a batch, or a promise of them. */
export type Made = readonly Item[] | Promise<readonly Item[]>;

/** How a promise ended. */
type Outcome = { readonly items: readonly Item[] } | { readonly error: unknown };

/** A batch that is waited for. Its outcome is read without `await`, as a generator must. */
class Pending {
  readonly settled: Promise<void>;
  outcome: Outcome | null = null;

  constructor(promise: Promise<readonly Item[]>) {
    this.settled = this.#settle(promise);
  }

  async #settle(promise: Promise<readonly Item[]>): Promise<void> {
    try {
      this.outcome = { items: await promise };
    } catch (error) {
      this.outcome = { error };
    }
  }
}

/** Makes batches in order, and those that have to be waited for ahead of time. */
export class Prefetch {
  readonly #make: (position: number) => Made;
  readonly #end: number;
  readonly #ahead: number;
  readonly #pending = new Map<number, Pending>();

  /** @param end the number of batches · @param ahead how many are made before they are taken */
  constructor(make: (position: number) => Made, end: number, ahead: number) {
    this.#make = make;
    this.#end = end;
    this.#ahead = ahead;
  }

  /** Returns the items of a batch; null if `settled` must be waited for, and `outcome` called then. */
  take(position: number): readonly Item[] | null {
    if (!this.#pending.has(position)) {
      const made = this.#make(position);
      if (!isPromise(made)) return made;
      this.#pending.set(position, new Pending(made));
    }
    const last = Math.min(position + this.#ahead, this.#end - 1);
    for (let next = position + 1; next <= last; next++) if (!this.#pending.has(next)) this.#start(next);
    return null;
  }

  /** Starts a batch ahead of time. Its error is thrown when it is taken. */
  #start(position: number): void {
    const start = async (): Promise<readonly Item[]> => this.#make(position);
    this.#pending.set(position, new Pending(start()));
  }

  /** Settles, and never rejects, when the batch is made or has failed. */
  settled(position: number): Promise<void> {
    return this.#pending.get(position)!.settled;
  }

  /** Returns the items of a batch that has settled, and forgets it. Throws its error. */
  outcome(position: number): readonly Item[] {
    const { outcome } = this.#pending.get(position)!;
    this.#pending.delete(position);
    if (outcome === null) throw new Error('the batch has not settled');
    if ('error' in outcome) throw outcome.error;
    return outcome.items;
  }
}
