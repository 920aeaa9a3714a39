/**
 * Waits for operations among ranks, for a limited time.
 */
import type { Mpi } from './mpi.ts';
import { sleep } from './sleep.ts';
import { type Operation, Queue } from './steps.ts';
import type { Overdue } from './overdue.ts';

/**
 * Milliseconds for which a wait polls without a pause: for any transfer, and for each MB of it. MPI moves data only while it is polled, so a pause
 * would stop a transfer that fills the buffers between two ranks. Within a machine a transfer takes microseconds, and 0.2 to 0.6 ms a MB.
 */
const SPIN_MS = { any: 0.2, perMB: 4 } as const;
/** Milliseconds of the pauses that follow: they grow with the time waited, by this factor, between these bounds. */
const PAUSE = { factor: 0.05, least: 0.02, most: 1 } as const;
/** Milliseconds that count at most between two polls: the process may have been suspended, and its peers with it. */
const MOST_COUNTED_MS = 100;

/** Runs the operations of a group one after the other. */
export class Runner {
  readonly #mpi: Mpi;
  readonly #queue: Queue;
  readonly #overdue: Overdue;

  /** Whether ranks take turns on processors, so that one which polls without a pause keeps another from its work. */
  sharesProcessors = false;

  constructor(mpi: Mpi, overdue: Overdue) {
    this.#mpi = mpi;
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
    const inOperation = new Wait();
    const inTransfer = new Wait();
    while (!operation.isDone) {
      const { transfer } = this.#mpi;
      const now = performance.now();
      // Each operation has the whole time for itself.
      const waited = inOperation.until(now, queue.number);
      const idle = inTransfer.until(now, transfer.number);
      const spin = SPIN_MS.any + (this.sharesProcessors ? 0 : SPIN_MS.perMB * (transfer.bytes / 1e6));
      if (idle > spin) {
        sleep(Math.min(Math.max(PAUSE.factor * idle, PAUSE.least), PAUSE.most));
        this.#overdue.check(waited, { number: queue.number, title: queue.current!.title });
      }
      queue.poll();
    }
    return operation.result();
  }
}

/** The time of a wait, which begins again for each of several things that are waited for. */
class Wait {
  #number = -1;
  #last = 0;
  #waited = 0;

  /** Returns the milliseconds for which thing `number` has been waited for. */
  until(now: number, number: number): number {
    this.#waited = number === this.#number ? this.#waited + Math.min(now - this.#last, MOST_COUNTED_MS) : 0;
    this.#number = number;
    this.#last = now;
    return this.#waited;
  }
}
