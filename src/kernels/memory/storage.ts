/**
 * Reference-counted storages: blocks of memory that tensors share.
 */

/** A kernel call that has not run yet; see wasm/fusion/deferred-call.ts. */
export interface PendingCall {
  /** The storage that it will write. */
  readonly output: Storage;
  /** Runs it now. */
  run(): void;
  /** Gives it up: nothing will read what it writes. */
  drop(): void;
}

const NO_CALLS: readonly PendingCall[] = [];

/** A block of memory that tensors share. Freed when the last reference is released. */
export class Storage {
  /** The address. Go through view.ts: it materializes deferred calls first. */
  readonly ptr: number;
  readonly bytes: number;
  /** The operation that made it, for out-of-memory reports. */
  readonly op: string;
  /** Tensors and saved values that hold it. A new storage has none: whoever adopts it retains it. */
  refs = 0;
  /** Counts writes, so that backward can tell that a saved value has changed. */
  version = 0;
  /** Live tensors on this storage that require a gradient: while there are any, writing in place is refused. */
  gradRefs = 0;
  /** Deferred calls that will write it or read it. */
  pendingCalls = NO_CALLS;
  /** Whether the operation that allocated it is still running: only the operation's end may free it then, see allocator.ts. */
  isTemporary = false;
  readonly #giveBack: (s: Storage) => void;
  #freed = false;

  /** @param giveBack returns the block to the allocator */
  constructor(ptr: number, bytes: number, op: string, giveBack: (s: Storage) => void) {
    this.ptr = ptr;
    this.bytes = bytes;
    this.op = op;
    this.#giveBack = giveBack;
  }

  get freed(): boolean {
    return this.#freed;
  }

  retain(): void {
    this.refs++;
  }

  /** Gives up a reference. The last one frees the block, or leaves that to the end of the operation that is making it. */
  release(): void {
    if (--this.refs <= 0 && !this.isTemporary) this.free();
  }

  /** Gives the block back, whatever references it has; a second call does nothing. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const call of this.pendingCalls) if (call.output === this) call.drop();
    this.#giveBack(this);
  }
}
