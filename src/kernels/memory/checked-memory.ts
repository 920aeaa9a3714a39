/**
 * Checked memory, for tests: finds kernels that write outside their blocks, and reads and writes of freed blocks.
 *
 * CHAINRULE_CHECKED_MEMORY=1 switches it on when the library is loaded. Each block then lies between two redzones, whose pattern is
 * checked when an operation ends and when the block is freed. New blocks hold NaN. Freed blocks hold another NaN and wait in a quarantine
 * before they are reused; a pattern that has changed by then was written to after the free.
 */
import { CheckedMemoryError } from '../../core/errors.ts';
import { environmentFlag } from '../../platform/node.ts';
import type { Storage } from './storage.ts';
import { memoryViews } from './wasm-memory.ts';

/** Whether the environment asks for checked memory. */
export const isMemoryChecked = environmentFlag('CHAINRULE_CHECKED_MEMORY');

/** Bytes of the redzone before a block, and the least number behind it. A multiple of the allocator's alignment. */
const REDZONE = 64;
/** Words that are NaN in float32, in pairs NaN in float64, negative in int32 and true in bool. */
const POISON = { redzone: 0xffff3333, fresh: 0xffff1111, freed: 0xffff2222 } as const;
/** Bytes of freed blocks that wait before they are reused. */
const QUARANTINE_BYTES = 2 ** 26;
/** Larger blocks are not filled and do not wait, so that a test of a full memory does not touch all its pages. */
const LARGEST_FILLED = 2 ** 26;
/** When an operation ends, so many of the newest blocks are checked, and so many others; the next operations check the rest. */
const NEWEST_CHECKED = 16;
const OTHERS_CHECKED = 200;

interface Block {
  readonly storage: Storage;
  /** The address of the block itself, behind the first redzone. */
  readonly ptr: number;
  readonly bytes: number;
  /** The operation that allocated it. */
  readonly op: string;
  /** The position in the list of live blocks. */
  index: number;
}

/** A block between redzones, as taken from the allocator. */
interface Range {
  readonly start: number;
  readonly bytes: number;
}

interface FreedBlock extends Range {
  readonly ptr: number;
  readonly what: string;
}

/** The allocator's functions on plain blocks. */
export interface BlockSource {
  take(bytes: number): number;
  put(ptr: number, bytes: number): void;
}

/** The blocks that are live, and those that are freed and not yet reused. */
export class CheckedMemory {
  readonly #source: BlockSource;
  readonly #blockOf = new Map<Storage, Block>();
  readonly #live: Block[] = [];
  /** Oldest first. */
  #quarantine: FreedBlock[] = [];
  #quarantineBytes = 0;
  /** Where the next check of live blocks starts. */
  #next = 0;
  /** The first problem that has been found and not reported. */
  #problem: string | null = null;

  constructor(source: BlockSource) {
    this.#source = source;
  }

  /** Returns the address of a new block of `bytes` bytes between redzones. Reuses the quarantine only when the memory is exhausted. */
  take(bytes: number, op: string): number {
    const range = bytesWithRedzones(bytes);
    let start: number;
    try {
      start = this.#source.take(range);
    } catch (error) {
      if (this.#quarantine.length === 0) throw error;
      this.#emptyQuarantine(0, op);
      start = this.#source.take(range);
    }
    if (bytes <= LARGEST_FILLED) fill({ start, bytes: range }, POISON.fresh);
    const ptr = start + REDZONE;
    drawRedzones(ptr, bytes);
    return ptr;
  }

  /** Checks the block of a new storage from now on, and each read of its address. `currentOp` returns the operation that runs. */
  watch(storage: Storage, currentOp: () => string): void {
    const { ptr, bytes, op } = storage;
    const block = { storage, ptr, bytes, op, index: this.#live.length };
    this.#live.push(block);
    this.#blockOf.set(storage, block);
    const get = (): number => {
      const problem = accessProblem(storage);
      if (problem !== null) throw new CheckedMemoryError(`${currentOp()}: the address of ${describe(block)} was read ${problem}`);
      return ptr;
    };
    Object.defineProperty(storage, 'ptr', { get });
  }

  /** Checks a block that is freed, poisons it and puts it into the quarantine. */
  put(storage: Storage, op: string): void {
    const block = this.#blockOf.get(storage)!;
    this.#blockOf.delete(storage);
    const last = this.#live.pop()!;
    if (last !== block) {
      this.#live[block.index] = last;
      last.index = block.index;
    }
    this.#checkRedzones(block, op);
    const { ptr, bytes } = block;
    const range = { start: ptr - REDZONE, bytes: bytesWithRedzones(bytes) };
    if (bytes > LARGEST_FILLED) {
      this.#source.put(range.start, range.bytes);
    } else {
      fill(range, POISON.freed);
      this.#quarantine.push({ ...range, ptr, what: `${describe(block)} and ${op} freed` });
      this.#quarantineBytes += range.bytes;
      if (this.#quarantineBytes > QUARANTINE_BYTES) this.#emptyQuarantine(QUARANTINE_BYTES / 2, op);
    }
  }

  /** Checks the redzones of live blocks; called when operation `op` ends. */
  checkLive(op: string, others = OTHERS_CHECKED): void {
    const { length } = this.#live;
    // Freeing exchanges blocks, so the last ones are new only as a rule. The others have their turn.
    for (let i = Math.max(0, length - NEWEST_CHECKED); i < length; i++) this.#checkRedzones(this.#live[i]!, op);
    for (let n = Math.min(length, others); n > 0; n--) {
      this.#next = this.#next + 1 < length ? this.#next + 1 : 0;
      this.#checkRedzones(this.#live[this.#next]!, op);
    }
  }

  /** Checks all live and all freed blocks, and releases the quarantine. */
  checkAll(op: string): void {
    this.#emptyQuarantine(0, op);
    this.checkLive(op, Infinity);
  }

  /** Throws CheckedMemoryError if a check has found a problem. Apart from the checks, so that the bookkeeping of an operation's end is whole. */
  report(): void {
    const problem = this.#problem;
    this.#problem = null;
    if (problem !== null) throw new CheckedMemoryError(problem);
  }

  /** Finds a write to the redzones of a block, and restores them, so that it is reported once. */
  #checkRedzones(block: Block, op: string): void {
    const { ptr, bytes } = block;
    const start = ptr - REDZONE;
    const end = start + bytesWithRedzones(bytes);
    const before = changedByte(start, ptr, POISON.redzone);
    const behind = changedByte(ptr + bytes, end, POISON.redzone);
    if (before < 0 && behind < 0) return;
    drawRedzones(ptr, bytes);
    const where = before < 0 ? `byte ${behind - ptr - bytes} behind` : `byte ${ptr - before} before`;
    this.#problem ??= `${op}: ${where} ${describe(block)} was overwritten. ${culprit(op)}`;
  }

  /** Checks and releases the oldest freed blocks until at most `most` bytes wait. */
  #emptyQuarantine(most: number, op: string): void {
    let released = 0;
    while (this.#quarantineBytes > most) {
      const freed = this.#quarantine[released++]!;
      this.#quarantineBytes -= freed.bytes;
      const changed = changedByte(freed.start, freed.start + freed.bytes, POISON.freed);
      if (changed >= 0) this.#problem ??= `${op}: byte ${changed - freed.ptr} of ${freed.what} was written to after that. ${culprit(op)}`;
      this.#source.put(freed.start, freed.bytes);
    }
    this.#quarantine = this.#quarantine.slice(released);
  }
}

function bytesWithRedzones(bytes: number): number {
  return REDZONE + Math.ceil(bytes / REDZONE) * REDZONE + REDZONE;
}

function describe({ bytes, op }: Block): string {
  return `a block of ${bytes} bytes that ${op} allocated`;
}

function culprit(op: string): string {
  return `Found in ${op}: it, or code before it, writes outside its own memory`;
}

/** Returns why the storage's address may not be read now, or null. */
function accessProblem(storage: Storage): string | null {
  if (storage.freed) return 'after the block was freed';
  if (storage.pendingCalls.some((call) => call.output === storage)) return 'while the call that writes it is deferred: use addressOf';
  return null;
}

/** Fills a range, aligned to words, with a word. */
function fill({ start, bytes }: Range, word: number): void {
  memoryViews().u32.fill(word, start / 4, (start + bytes) / 4);
}

/** Returns the address of the first byte from `start` to before `end` that is not part of `word` at that place, or −1. */
function changedByte(start: number, end: number, word: number): number {
  const { u8, u32 } = memoryViews();
  let at = start;
  while (at < end) {
    // Whole words are compared at once.
    if (at % 4 === 0 && at + 4 <= end && u32[at / 4] === word) at += 4;
    else if (u8[at] === byteAt(at, word)) at++;
    else return at;
  }
  return -1;
}

/** Draws the redzones before and behind a block. The second one starts at the byte behind the last. */
function drawRedzones(ptr: number, bytes: number): void {
  const start = ptr - REDZONE;
  const end = start + bytesWithRedzones(bytes);
  const { u8 } = memoryViews();
  for (let at = start; at < ptr; at++) u8[at] = byteAt(at, POISON.redzone);
  for (let at = ptr + bytes; at < end; at++) u8[at] = byteAt(at, POISON.redzone);
}

/** Returns the byte at address `at` of memory that is filled with `word`. */
function byteAt(at: number, word: number): number {
  return (word >>> (8 * (at % 4))) & 255;
}
