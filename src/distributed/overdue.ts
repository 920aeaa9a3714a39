/**
 * Names the ranks for which an operation waits too long.
 */
import type { Faults } from './faults.ts';

/** The operation that a rank waits for. */
export interface Waiting {
  /** Its number, the same on all ranks. */
  readonly number: number;
  readonly title: string;
}

export class Overdue {
  readonly #faults: Faults;
  readonly #limit: number;

  constructor(faults: Faults, limit: number) {
    this.#faults = faults;
    this.#limit = limit;
  }

  /** Called repeatedly during a wait of `waited` milliseconds so far. Ends all ranks if that is too long. */
  check(waited: number, { number, title }: Waiting): void {
    if (waited > this.#limit) this.#faults.end(`waited ${waited} ms in ${title} (operation ${number})`);
  }

  /** The wait is over. */
  met(): void {}
}
