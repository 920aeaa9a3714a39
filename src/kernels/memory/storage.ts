/**
 * Reference-counted storages: blocks of memory that tensors share.
 */

/** A kernel call that has not run yet; see wasm/fusion/deferred-call.ts. */
export interface PendingCall {
  /** The storage that the call writes. */
  readonly output: Storage;
  /** Runs the call now. */
  run(): void;
  /** Cancels the call, because nothing can read its output any more. */
  drop(): void;
}

const NO_CALLS: readonly PendingCall[] = [];

let count = 0;

/** Returns the number of storages made so far: the serial number of the next one. */
export function storageCount(): number {
  return count;
}

/** A block of memory that tensors share. It is freed when the last reference is released. */
export class Storage {
  /** Creation order. */
  readonly serial: number = count++;
  /** The address. Read it through view.ts, which materializes deferred calls first. */
  readonly ptr: number;
  readonly bytes: number;
  /** The operation that allocated it, for out-of-memory reports. */
  readonly op: string;
  /** The number of tensors and saved values that retain it; 0 for a new storage. */
  refs = 0;
  /** Counts writes, so that backward detects a saved value that has changed. */
  version = 0;
  /** The number of live tensors on this storage that require a gradient. While it is positive, in-place writes throw. */
  gradRefs = 0;
  /** Deferred calls that write it or read it. */
  pendingCalls = NO_CALLS;
  /** Whether the operation that allocated it is still running. If so, only the end of that operation may free it; see allocator.ts. */
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

  /** Drops a reference. Dropping the last one frees the block, at once or when the operation that allocated it ends. */
  release(): void {
    if (--this.refs <= 0 && !this.isTemporary) this.free();
  }

  /** Returns the block to the allocator, regardless of references. A second call does nothing. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const call of this.pendingCalls) if (call.output === this) call.drop();
    this.#giveBack(this);
  }
}
