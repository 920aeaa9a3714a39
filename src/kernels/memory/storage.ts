/**
 * Reference-counted storages: blocks of memory that tensors share.
 */

/** A kernel call that has not run yet; see deferred.ts. */
export interface Waiting {
  /** What it will write. */
  readonly output: Storage;
  /** Runs it now. */
  run(): void;
  /** Gives it up. */
  drop(): void;
}

const NOTHING: readonly Waiting[] = [];
let rawAddresses = false;

/** Runs `fn`, for which addresses are mere numbers: asking for one runs nothing. */
export function withRawAddresses(fn: () => void): void {
  const before = rawAddresses;
  rawAddresses = true;
  try {
    fn();
  } finally {
    rawAddresses = before;
  }
}

/** A block of memory that tensors share. Freed when the last reference is released. */
export class Storage {
  readonly #ptr: number;
  readonly bytes: number;
  /** The operation that made it, for out-of-memory reports. */
  readonly op: string;
  /** Tensors and saved values that hold it. A new storage has none: whoever adopts it retains it. */
  refs = 0;
  /** Counts writes, so that backward can tell that a saved value has changed. */
  version = 0;
  /** Live tensors on this storage that require a gradient: while there are any, writing in place is refused. */
  gradRefs = 0;
  /** Calls that will write to it or read it. */
  waiting = NOTHING;
  readonly #giveBack: (s: Storage, ptr: number) => void;
  #freed = false;

  /** @param giveBack returns the block to the allocator */
  constructor(ptr: number, bytes: number, op: string, giveBack: (s: Storage, ptr: number) => void) {
    this.#ptr = ptr;
    this.bytes = bytes;
    this.op = op;
    this.#giveBack = giveBack;
  }

  /** The address. Whoever asks may read or write: what waits here runs first. */
  get ptr(): number {
    if (!rawAddresses) for (const call of this.waiting) call.run();
    return this.#ptr;
  }

  get freed(): boolean {
    return this.#freed;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs <= 0) this.free();
  }

  /** Gives the block back, whoever still counts on it; twice is once. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const call of this.waiting) if (call.output === this) call.drop();
    this.#giveBack(this, this.#ptr);
  }
}
