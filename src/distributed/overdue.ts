/**
 * Ends all ranks when an operation waits too long, and names those that it waits for.
 *
 * A rank that has waited for the whole time asks all others. A rank that waits too answers, from within its own wait. Those that do not
 * answer are the ones that have not called the operation.
 */
import type { Faults } from './faults.ts';
import type { Mpi } from './mpi.ts';
import { memberText, rankList, type Member } from './members.ts';

/** The operation that a rank waits for. */
export interface Waiting {
  /** Its number, the same on all ranks. */
  readonly number: number;
  readonly title: string;
}

/** Milliseconds of a wait after which a rank listens for questions, and between two looks. */
const LISTEN_AFTER_MS = 500;
const LISTEN_EVERY_MS = 20;
/** Milliseconds for which a rank waits for answers. */
const ANSWER_MS = 2000;
/** Milliseconds that a rank leaves to lower ranks which wait too, so that one message appears. */
const LOWER_RANKS_FIRST_MS = 1500;

/** A note: the operation that its sender waits for, and whether it asks for an answer. */
const NOTE_BYTES = 16;
const encode = (number: number, asks: boolean): Uint8Array => new Uint8Array(Float64Array.of(number, Number(asks)).buffer);

export class Overdue {
  readonly #mpi: Mpi;
  readonly #faults: Faults;
  readonly #limit: number;
  /** The processes, once they have told each other. */
  members: readonly Member[] = [];
  /** The number of the operation that the fields below are about. */
  #number = 0;
  #listenedAt = 0;
  #askedAt: number | null = null;
  /** The operation of the last note of each rank. */
  readonly #heard: number[];

  /** @param limit milliseconds */
  constructor(mpi: Mpi, faults: Faults, limit: number) {
    this.#mpi = mpi;
    this.#faults = faults;
    this.#limit = limit;
    this.#heard = Array.from({ length: mpi.size }, () => 0);
  }

  /** Called repeatedly while an operation has waited for `waited` milliseconds. Ends all ranks if that is too long. */
  check(waited: number, waiting: Waiting): void {
    const { number } = waiting;
    if (number !== this.#number) {
      this.#number = number;
      this.#listenedAt = 0;
      this.#askedAt = null;
    }
    if (waited < Math.min(LISTEN_AFTER_MS, this.#limit) || waited - this.#listenedAt < LISTEN_EVERY_MS) return;
    this.#listenedAt = waited;
    this.#listen(number);
    if (waited < this.#limit) return;
    if (this.#askedAt === null) {
      this.#askedAt = waited;
      for (const rank of this.#others()) this.#mpi.sendNote(encode(number, true), rank);
    }
    const silent = this.#others().filter((rank) => this.#heard[rank] !== number);
    const isLowest = this.#others().every((rank) => rank > this.#mpi.rank || silent.includes(rank));
    const patience = (silent.length > 0 ? ANSWER_MS : 0) + (isLowest ? 0 : LOWER_RANKS_FIRST_MS);
    if (waited - this.#askedAt >= patience) this.#faults.end(this.#report(silent, waiting));
  }

  /** Takes the notes that have arrived, and answers questions. */
  #listen(number: number): void {
    for (const rank of this.#others()) {
      const note = this.#mpi.receiveNote(rank, NOTE_BYTES);
      if (note === null) continue;
      const [heard, asks] = new Float64Array(note.slice().buffer);
      this.#heard[rank] = heard!;
      if (asks === 1) this.#mpi.sendNote(encode(number, false), rank);
    }
  }

  #others(): number[] {
    return this.#heard.flatMap((_, rank) => (rank === this.#mpi.rank ? [] : [rank]));
  }

  #report(silent: readonly number[], { number, title }: Waiting): string {
    const what = `waited ${this.#limit / 1000} s in ${title} (operation ${number})`;
    if (silent.length === 0) return `${what}, as all others do: the connection between them does not deliver`;
    const who = silent.length === 1 ? (memberText(this.members[silent[0]!]) ?? rankList(silent)) : rankList(silent);
    const others = this.#others().filter((rank) => !silent.includes(rank));
    const too = others.length === 0 ? '' : `; ${rankList(others)} ${others.length === 1 ? 'waits' : 'wait'} too`;
    const [verb, pronoun] = silent.length === 1 ? ['has', 'it computes, stands'] : ['have', 'they compute, stand'];
    return `${what} for ${who}, which ${verb} not called it: ${pronoun} still or cannot be reached${too}`;
  }
}
