/**
 * Operations among all ranks of MPI, on views and on bytes.
 *
 * Letters: n = ranks, S = shards (all summands together, S/n on each rank).
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { DisagreementError } from '../core/errors.ts';
import { sizeOf } from '../core/shape.ts';
import { rowsOfRank } from '../data/sharding.ts';
import { kernels, type BinaryOp } from '../kernels/index.ts';
import { allocate, withTemporaries } from '../kernels/memory/allocator.ts';
import type { Storage } from '../kernels/memory/storage.ts';
import { memoryViews } from '../kernels/memory/wasm-memory.ts';
import { addressOf, empty, materialize, type View } from '../kernels/view.ts';
import { MAX_BYTES, type Block, type Mpi, type Ranges } from './mpi.ts';
import { rankList } from './members.ts';
import type { Steps } from './steps.ts';

/** How values are combined. */
export type ReduceOp = 'sum' | 'mean' | 'max' | 'min';

const KERNEL: Readonly<Record<ReduceOp, BinaryOp>> = { sum: 'add', mean: 'add', max: 'maximum', min: 'minimum' };

/** Sizes that decide how data are transferred. Tests set them, so that small tensors take every path. */
export const transfers = {
  /** Bytes that a rank sends at once, of all its shards together. It receives as many. */
  blockBytes: 2 ** 22,
  /** If all summands together have at most so many bytes, each rank gets them all: one transfer instead of two. */
  smallBytes: 2 ** 14,
  /** The most bytes of one transfer. */
  maxBytes: MAX_BYTES,
};

/**
 * y ← the rows combined from left to right: ((r₀ + r₁) + r₂) + …, divided by their number for a mean. y may be the first row. The order
 * is that of the rows, so the bits depend neither on how the elements are divided among ranks nor on their number.
 */
export function combine(rows: readonly View[], op: ReduceOp, y: View): void {
  const [first, ...others] = rows;
  if (first !== y) kernels.copy(first!, y);
  for (const row of others) kernels.binary(KERNEL[op], y, row, y);
  if (op !== 'mean' || rows.length === 1) return;
  withTemporaries('mean', () => {
    const divisor = empty([], y.dtype);
    kernels.fill(rows.length, divisor);
    kernels.binary('div', y, { ...divisor, shape: y.shape, strides: y.shape.map(() => 0) }, y);
  });
}

/** Returns elements [first, last) of a dense view, as a vector. */
function part(v: View, first: number, last: number): View {
  return { storage: v.storage, offset: v.offset + first, shape: [last - first], strides: [1], dtype: v.dtype };
}

/** Returns the bounds of `parts` contiguous parts of [0, length), of equal length or one apart. */
function boundsOf(length: number, parts: number): number[] {
  const starts = Array.from({ length: parts }, (_, rank) => rowsOfRank(length, { rank, size: parts }).start);
  return [...starts, length];
}

const differences = (bounds: readonly number[]): number[] => bounds.slice(1).map((end, i) => end - bounds[i]!);

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Collectives {
  readonly #mpi: Mpi;
  readonly #own: Block;
  readonly #all: Block;

  constructor(mpi: Mpi) {
    this.#mpi = mpi;
    this.#own = mpi.allocate(8);
    this.#all = mpi.allocate(8 * mpi.size);
  }

  /**
   * Waits for all ranks, and throws on all of them unless they call the same: no rank waits for an operation that another does not take
   * part in, nor receives data of another shape. Eight bytes of each rank are compared, and only if they differ the texts are exchanged.
   * @param call what this rank calls
   */
  *agree(call: string): Steps<void> {
    this.#own.bytes.set(new Uint8Array(digest(call).buffer));
    this.#mpi.startAllGather(this.#own.address, 8, this.#all.address);
    yield;
    const all = new BigUint64Array(this.#all.bytes.buffer);
    if (all.every((value) => value === all[0])) return;
    const calls = yield* this.gatherBytes(encoder.encode(call));
    throw new DisagreementError(disagreement(calls.map((bytes) => decoder.decode(bytes))));
  }

  /** Returns the bytes of all ranks, in rank order. Their numbers may differ. */
  *gatherBytes(bytes: Uint8Array): Steps<Uint8Array[]> {
    const mpi = this.#mpi;
    const [own, lengths] = [mpi.allocate(8), mpi.allocate(8 * mpi.size)];
    new Float64Array(own.bytes.buffer)[0] = bytes.length;
    mpi.startAllGather(own.address, 8, lengths.address, own, lengths);
    yield;
    const parts: Uint8Array[] = [];
    for (const [rank, n] of new Float64Array(lengths.bytes.buffer).entries()) {
      const block = mpi.allocate(n);
      if (rank === mpi.rank) block.bytes.set(bytes);
      yield* this.#spread(block.address, n, rank, block);
      parts.push(block.bytes);
    }
    return parts;
  }

  /** Returns the bytes of rank `from`, which alone must give some. */
  *broadcastBytes(bytes: Uint8Array | null, from: number): Steps<Uint8Array> {
    const mpi = this.#mpi;
    const length = mpi.allocate(8);
    const count = new Float64Array(length.bytes.buffer);
    if (mpi.rank === from) count[0] = bytes!.length;
    mpi.startBroadcast(length.address, 8, from, length);
    yield;
    const block = mpi.allocate(count[0]!);
    if (mpi.rank === from) block.bytes.set(bytes!);
    yield* this.#spread(block.address, count[0]!, from, block);
    return block.bytes;
  }

  /** Returns whether `flag` is true on any rank. */
  *any(flag: boolean): Steps<boolean> {
    this.#own.bytes.fill(Number(flag));
    this.#mpi.startAllGather(this.#own.address, 8, this.#all.address);
    yield;
    return this.#all.bytes.some((byte) => byte === 1);
  }

  /** Dense v ← that of rank `from`. */
  *broadcast(v: View, from: number): Steps<void> {
    yield* this.#spread(this.#addressOf(v), sizeOf(v.shape) * ITEM_SIZE[v.dtype], from);
  }

  /** y [n, …] ← x [...] of all ranks, both dense. */
  *allGather(x: View, y: View): Steps<void> {
    const mpi = this.#mpi;
    const n = sizeOf(x.shape) * ITEM_SIZE[x.dtype];
    if (n === 0) return;
    if (n * mpi.size <= transfers.maxBytes) {
      mpi.startAllGather(this.#addressOf(x), n, this.#addressOf(y));
      yield;
      return;
    }
    const length = sizeOf(x.shape);
    kernels.copy(part(x, 0, length), part(y, mpi.rank * length, (mpi.rank + 1) * length));
    for (let rank = 0; rank < mpi.size; rank++) yield* this.#spread(this.#addressOf(part(y, rank * length, (rank + 1) * length)), n, rank);
  }

  /**
   * y ← all shards of all ranks, combined in the order of their numbers: shard i of rank r is number r·S/n + i. All are dense, of y's shape.
   * Each rank combines one slice of the elements: an all-to-all transfer brings it the slices of all shards, and an all-gather spreads the
   * results. y may be one of the shards.
   */
  *reduce(shards: readonly View[], op: ReduceOp, y: View): Steps<void> {
    const length = sizeOf(y.shape);
    const { blockBytes, smallBytes } = transfers;
    const size = ITEM_SIZE[y.dtype];
    if (length * size * shards.length * this.#mpi.size <= smallBytes) {
      yield* this.#reduceWhole(shards, op, y);
      return;
    }
    const perBlock = Math.max(1, Math.floor(blockBytes / (size * shards.length)));
    for (let first = 0; first < length; first += perBlock) {
      const last = Math.min(length, first + perBlock);
      yield* this.#reduceBlock(
        shards.map((shard) => part(shard, first, last)),
        op,
        part(y, first, last),
      );
    }
  }

  /** As reduce, for few elements: every rank gets and combines all. */
  *#reduceWhole(shards: readonly View[], op: ReduceOp, y: View): Steps<void> {
    const length = sizeOf(y.shape);
    if (length === 0) return;
    const { size } = this.#mpi;
    const { length: perRank } = shards;
    const bytes = length * ITEM_SIZE[y.dtype];
    const { rows, storage } = takeRows(y.dtype, perRank * size, length);
    try {
      for (const [i, shard] of shards.entries()) {
        const starts = Array.from({ length: size }, (_, rank) => (rank * perRank + i) * bytes);
        const to = { address: this.#addressOf(rows[0]!), counts: starts.map(() => bytes), starts };
        this.#mpi.startAllGatherRanges(this.#addressOf(shard), bytes, to);
        yield;
      }
      combine(rows, op, rows[0]!);
      kernels.copy(rows[0]!, part(y, 0, length));
    } finally {
      storage.release();
    }
  }

  *#reduceBlock(shards: readonly View[], op: ReduceOp, y: View): Steps<void> {
    const mpi = this.#mpi;
    const { length: perRank } = shards;
    const itemSize = ITEM_SIZE[y.dtype];
    const bounds = boundsOf(sizeOf(y.shape), mpi.size).map((at) => at * itemSize);
    const counts = differences(bounds);
    const own = counts[mpi.rank]!;
    const { rows, storage } = takeRows(y.dtype, perRank * mpi.size, own / itemSize);
    try {
      for (const [i, shard] of shards.entries()) {
        const starts = counts.map((_, rank) => (rank * perRank + i) * own);
        const to = { address: this.#addressOf(rows[0]!), counts: counts.map(() => own), starts };
        mpi.startAllToAll(this.#ranges(shard, bounds), to);
        yield;
      }
      if (own > 0) combine(rows, op, rows[0]!);
      mpi.startAllGatherRanges(this.#addressOf(rows[0]!), own, this.#ranges(y, bounds));
      yield;
    } finally {
      storage.release();
    }
  }

  #ranges(v: View, bounds: readonly number[]): Ranges {
    return { address: this.#addressOf(v), counts: differences(bounds), starts: bounds.slice(0, -1) };
  }

  /** Copies bytes of rank `from` to all, in pieces that MPI can count. */
  *#spread(address: bigint, n: number, from: number, ...hold: readonly Block[]): Steps<void> {
    for (let first = 0; first < n; first += transfers.maxBytes) {
      this.#mpi.startBroadcast(address + BigInt(first), Math.min(transfers.maxBytes, n - first), from, ...hold);
      yield;
    }
  }

  /** The address of a view in this process. Asked for at the start of each transfer, because memory that is not shared may move as it grows. */
  #addressOf(v: View): bigint {
    materialize(v, 'write');
    return this.#mpi.addressOf(memoryViews().u8) + BigInt(addressOf(v));
  }
}

/** Allocates `count` vectors of `length` elements, which follow each other. The caller releases the storage. */
function takeRows(dtype: View['dtype'], count: number, length: number): { readonly rows: readonly View[]; readonly storage: Storage } {
  const storage = allocate(count * length * ITEM_SIZE[dtype]);
  storage.retain();
  const rows = Array.from({ length: count }, (_, i) => ({ storage, offset: i * length, shape: [length], strides: [1], dtype }));
  return { rows, storage };
}

/** Returns 64 bits that differ for different texts, as far as 64 bits can: FNV-1a with 64 bits. */
function digest(text: string): BigUint64Array {
  let hash = 0xcbf29ce484222325n;
  for (const byte of encoder.encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return BigUint64Array.of(hash);
}

/** `ranks do not call the same: rank 0 calls allReduce of float32 [3,4], ranks 1 and 2 call allReduce of float32 [4,3]`. */
function disagreement(calls: readonly string[]): string {
  const ranksOf = new Map<string, number[]>();
  calls.forEach((call, rank) => ranksOf.set(call, [...(ranksOf.get(call) ?? []), rank]));
  const groups = [...ranksOf].map(([call, ranks]) => `${rankList(ranks)} ${ranks.length === 1 ? 'calls' : 'call'} ${call}`);
  return `the ranks do not call the same: ${groups.join('; ')}`;
}
