/**
 * Waits for operations among ranks, for a limited time.
 */
import type { Mpi } from './mpi.ts';
import { sleep } from './sleep.ts';
import { type Operation, Queue } from './steps.ts';
import type { Overdue } from './overdue.ts';

/** Milliseconds for which a wait polls without a pause. A transfer between two processes of one machine takes microseconds. */
const SPIN_MS = 0.2;
/** Milliseconds of the pauses that follow: they grow with the time waited, by this factor, between these bounds. */
const PAUSE = { factor: 0.05, least: 0.02, most: 1 } as const;
/** Milliseconds that count at most between two polls: the process may have been suspended, and its peers with it. */
const MOST_COUNTED_MS = 100;

/** Runs the operations of a group one after the other. */
export class Runner {
  readonly #queue: Queue;
  readonly #overdue: Overdue;

  constructor(mpi: Mpi, overdue: Overdue) {
    this.#queue = new Queue(mpi);
    this.#overdue = overdue;
  }

  /** Adds an operation behind the others. */
  start<T>(operation: Operation<T>): Operation<T> {
    this.#queue.add(operation);
    return operation;
  }

  /** Makes progress without waiting. */
  poll(): void {
    this.#queue.poll();
  }

  /** Waits for an operation, and so for all before it; returns its result or throws its error. Ends all ranks if it takes too long. */
  wait<T>(operation: Operation<T>): T {
    const queue = this.#queue;
    queue.poll();
    let last = performance.now();
    let waited = 0;
    let { number } = queue;
    while (!operation.isDone) {
      const now = performance.now();
      waited += Math.min(now - last, MOST_COUNTED_MS);
      last = now;
      if (queue.number !== number) {
        // Each operation has the whole time for itself.
        ({ number } = queue);
        waited = 0;
      }
      if (waited > SPIN_MS) {
        sleep(Math.min(Math.max(PAUSE.factor * waited, PAUSE.least), PAUSE.most));
        this.#overdue.check(waited, { number, title: queue.current!.title });
      }
      queue.poll();
    }
    return operation.result();
  }
}
