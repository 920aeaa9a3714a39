/**
 * What ends all ranks when one of them cannot go on, so that none waits for it for ever.
 */
import { DisagreementError } from '../core/errors.ts';
import { nodeModules } from '../platform/node.ts';
import type { Mpi } from './mpi.ts';
import { memberText, type Member } from './members.ts';
import { sleep } from './sleep.ts';

/** Milliseconds that a rank leaves to rank 0 to report the same error: of one that all ranks have, and of another that they may have. */
const RANK_0_FIRST_MS = { common: 1500, other: 250 } as const;

/**
 * Milliseconds between a rank's last message and its end. The launcher forwards what a rank prints, and drops what it has not read when the rank
 * aborts: without a pause, MPICH 4.0's lost 2 of 400 messages on a loaded machine.
 */
export const FORWARD_MS = 200;

/** Ends all ranks. */
export class Faults {
  readonly #mpi: Mpi;
  readonly #self: Member;
  #isOver = false;

  constructor(mpi: Mpi, self: Member) {
    this.#mpi = mpi;
    this.#self = self;
  }

  /** From now on, an error that nothing catches and an early exit end all ranks. `leave` ends the group of a process that has succeeded. */
  watch(leave: () => void): void {
    process.on('uncaughtExceptionMonitor', (error: unknown) => {
      // A program that handles such errors goes on.
      if (this.#isOver || process.listenerCount('uncaughtException') > 0) return;
      this.#endFor(error, `an error was not caught: ${error instanceof Error ? (error.stack ?? String(error)) : String(error)}`);
    });
    process.on('exit', (code) => {
      if (this.#isOver) return;
      if (code !== 0) this.#endFor(null, `the process ended with exit code ${code} before finalize()`, code);
      try {
        leave();
      } catch (error) {
        this.#endFor(error, String(error));
      }
    });
  }

  /** As end, but leaves rank 0 some time to do so for the same reason, so that one message appears. */
  #endFor(error: unknown, why: string, code = 1): void {
    if (this.#self.rank > 0) sleep(error instanceof DisagreementError ? RANK_0_FIRST_MS.common : RANK_0_FIRST_MS.other);
    this.end(why, code);
  }

  /** MPI is finalized: nothing is left to end. */
  over(): void {
    this.#isOver = true;
  }

  /** Prints why, and ends all ranks. */
  end(why: string, code = 1): never {
    this.#isOver = true;
    write(`chainrule: ${memberText(this.#self)} ends all ranks: ${why}\n`);
    sleep(FORWARD_MS);
    this.#mpi.abort(code);
    // MPI_Abort does not return.
    return process.kill(process.pid, 'SIGKILL') as never;
  }
}

/** Writes to standard error at once: the process is about to end. */
function write(text: string): void {
  const fs = nodeModules()!('node:fs');
  const bytes = new TextEncoder().encode(text);
  for (let at = 0, attempts = 0; at < bytes.length && attempts < 100; attempts++) {
    try {
      at += fs.writeSync(2, bytes, at);
    } catch {
      // The pipe is full, or nobody reads it any more.
      sleep(10);
    }
  }
}
