/**
 * The group of processes that train together.
 */
import { checkTensor, isTensor, mayWrite, untracked, type Tensor } from '../autograd/index.ts';
import { checkFits, isFloat, type DType } from '../core/dtype.ts';
import { isIterable } from '../core/describe.ts';
import { ArgumentError, DTypeError, DistributedError, ShapeError, kindOf, shown } from '../core/errors.ts';
import { checkBoolean, checkOptions, refuseSurplus } from '../core/options.ts';
import { formatShape, isRowMajor, sameShape, sizeOf } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { elementView } from '../kernels/memory/wasm-memory.ts';
import { addressOf, empty, type View } from '../kernels/view.ts';
import { combine, type Collectives, type ReduceOp } from './collectives.ts';
import type { Member } from './members.ts';
import { Operation, type Steps } from './steps.ts';
import type { Runner } from './runner.ts';

/** Options of allReduce. */
export interface ReduceOptions {
  /** How the values of the ranks are combined. Default sum. */
  readonly op?: ReduceOp;
}

/** Options of reduceShards. */
export interface ShardOptions {
  /** The sum of the shards, or the sum divided by their number. Default sum. */
  readonly op?: 'sum' | 'mean';
}

/** Options of broadcast and broadcastBytes. */
export interface BroadcastOptions {
  /** The rank whose values all get. Default 0. */
  readonly from?: number;
}

/** An operation that was started and perhaps is not complete. */
export interface Pending {
  /** Whether it is complete. Reading it makes progress. Throws if the operation failed. */
  readonly done: boolean;
  /** Waits until it is complete. Throws if the operation failed. */
  wait(): void;
}

/**
 * Processes that call the same operations in the same order. Every operation waits for all ranks.
 *
 * Results are bitwise identical on all ranks, and for the same number of ranks on every run: sums are taken in rank order.
 *
 * Before it transfers anything, every operation compares what the ranks call. If that differs, all ranks throw the same
 * DisagreementError, which names ranks and shapes. A rank that ends, or that does not call in time, ends all: see init.
 *
 * None of them is recorded. Those that write in place throw as `copy_` does: in grad mode, if a gradient is required. They increment the
 * version, also in a group of one.
 */
export interface Group {
  /** This process's number, from 0. By convention rank 0 alone prints and writes files. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  /** All processes, in rank order. MPICH's mpiexec reports a killed process by host and pid alone. */
  readonly members: readonly Member[];

  /**
   * t ← the values of all ranks, combined; returns t. Any dtype and layout.
   *   sum = ((t₀ + t₁) + t₂) + … in rank order; mean = sum / n
   * Shape:  t [...], the same on all ranks
   * Throws: DTypeError for a sum of int32 that overflows (on all ranks, t unchanged), for a mean of int32, and for sum and mean of bool;
   *         max and min of bool are or and and
   */
  allReduce(t: Tensor, options?: ReduceOptions): Tensor;

  /**
   * Starts an allReduce and returns at once. The values of t are undefined until it is done. Operations run one after the other, in the order
   * in which they were started; they progress while this process calls anything of the group or reads `done`, not by themselves.
   * The memory of t stays until then. Where WebAssembly memory is not shared, it may move; then this waits.
   */
  startAllReduce(t: Tensor, options?: ReduceOptions): Pending;

  /**
   * Returns `into` ← all shards of all ranks, added in the order of their numbers: shard i of rank r has the number r·k + i if each rank has k.
   * With S shards in all, the result has the same bits for every number of ranks that divides S. Costs k times the transfer of allReduce.
   * Shape:  shards k × [...], into [...] of the same float dtype; k and the shapes are the same on all ranks
   */
  reduceShards(shards: readonly Tensor[], into: Tensor, options?: ShardOptions): Tensor;

  /** t ← t of rank `from`; returns t. Any dtype and layout.   Shape:  t [...], the same on all ranks */
  broadcast(t: Tensor, options?: BroadcastOptions): Tensor;

  /** Returns a new tensor with the values of all ranks.   Shape:  t [...] → [n, ...], t the same on all ranks */
  allGather(t: Tensor): Tensor;

  /** Returns a copy of the bytes that rank `from` gives; the others give null. */
  broadcastBytes(bytes: Uint8Array | null, options?: BroadcastOptions): Uint8Array;

  /** Returns copies of the bytes of all ranks, in rank order. Their lengths may differ. */
  allGatherBytes(bytes: Uint8Array): Uint8Array[];

  /** Returns whether `flag` is true on any rank: the way to agree on an end, as a signal reaches ranks at different times. */
  any(flag: boolean): boolean;

  /** Waits until all ranks call it. */
  barrier(): void;

  /** Makes progress with operations that were started, without waiting. */
  poll(): void;

  /**
   * Waits for all ranks and ends MPI. The group cannot be used after that; a second call has no effect. A process that ends with exit code 0
   * does this by itself.
   */
  finalize(): void;
}

/** What a group of several processes works with. */
export interface Connection {
  readonly collectives: Collectives;
  readonly runner: Runner;
  /** Whether the memory of tensors keeps its place when it grows. */
  readonly keepsMemory: boolean;
  /** Ends MPI. */
  end(): void;
}

const OPS: readonly ReduceOp[] = ['sum', 'mean', 'max', 'min'];

/** A group of several processes, or of one, which needs no connection. */
export class ProcessGroup implements Group {
  readonly rank: number;
  readonly members: readonly Member[];
  readonly #connection: Connection | null;
  #isFinalized = false;

  constructor(rank: number, members: readonly Member[], connection: Connection | null) {
    this.rank = rank;
    this.members = members;
    this.#connection = connection;
  }

  get size(): number {
    return this.members.length;
  }

  /** Whether finalize was called. */
  get isFinalized(): boolean {
    return this.#isFinalized;
  }

  allReduce(t: Tensor, options: ReduceOptions = {}): Tensor {
    refuseSurplus('allReduce', arguments, 2);
    this.startAllReduce(t, options).wait();
    return t;
  }

  startAllReduce(t: Tensor, options: ReduceOptions = {}): Pending {
    refuseSurplus('startAllReduce', arguments, 2);
    this.#check('allReduce');
    checkTensor('allReduce', 't', t);
    checkOptions('allReduce', options, ['op']);
    const { op = 'sum' } = options;
    if (!OPS.includes(op)) throw new ArgumentError(`allReduce: op must be ${OPS.join(', ')}, got ${shown(op)}`);
    const dtype = workingDType(op, t.dtype);
    if (!mayWrite('allReduce', t)) return COMPLETE;
    const target = viewOf(t);
    return this.#start(`allReduce of ${describe(t)} (${op})`, [target], (collectives) =>
      through(target, dtype, function* (work) {
        yield* collectives.reduce([work], op, work);
        if (target.dtype === 'int32' && dtype === 'float64') checkSums(work);
      }),
    );
  }

  reduceShards(shards: readonly Tensor[], into: Tensor, options: ShardOptions = {}): Tensor {
    refuseSurplus('reduceShards', arguments, 3);
    this.#check('reduceShards');
    checkOptions('reduceShards', options, ['op']);
    const { op = 'sum' } = options;
    if (op !== 'sum' && op !== 'mean') throw new ArgumentError(`reduceShards: op must be sum or mean, got ${shown(op)}`);
    const list = checkShards(shards, into);
    if (!mayWrite('reduceShards', into)) return into;
    const views = list.map(viewOf);
    const target = viewOf(into);
    this.#start(
      `reduceShards of ${list.length} × ${describe(into)} (${op})`,
      [...views, target],
      (collectives) => reduceInto(collectives, views, op, target),
      () => finish(reduceInto(null, views, op, target)),
    ).wait();
    return into;
  }

  broadcast(t: Tensor, options: BroadcastOptions = {}): Tensor {
    refuseSurplus('broadcast', arguments, 2);
    this.#check('broadcast');
    checkTensor('broadcast', 't', t);
    const from = this.#from('broadcast', options);
    if (!mayWrite('broadcast', t)) return t;
    const call = `broadcast of ${describe(t)} from rank ${from}`;
    const target = viewOf(t);
    this.#start(call, [target], (collectives) => through(target, t.dtype, (work) => collectives.broadcast(work, from))).wait();
    return t;
  }

  allGather(t: Tensor): Tensor {
    refuseSurplus('allGather', arguments, 1);
    this.#check('allGather');
    checkTensor('allGather', 't', t);
    t.checkReadable();
    const y = empty([this.size, ...t.shape], t.dtype);
    y.storage.retain();
    try {
      const x = dense(t, t.dtype);
      x.storage.retain();
      try {
        if (this.#connection === null) kernels.copy(x, { ...y, shape: x.shape, strides: x.strides });
        else this.#run(`allGather of ${describe(t)}`, (collectives) => collectives.allGather(x, y));
      } finally {
        x.storage.release();
      }
      return untracked(y);
    } finally {
      y.storage.release();
    }
  }

  broadcastBytes(bytes: Uint8Array | null, options: BroadcastOptions = {}): Uint8Array {
    refuseSurplus('broadcastBytes', arguments, 2);
    this.#check('broadcastBytes');
    const from = this.#from('broadcastBytes', options);
    if (this.rank === from) checkBytes('broadcastBytes', bytes);
    if (this.#connection === null) return bytes!.slice();
    return this.#run(`broadcastBytes from rank ${from}`, (collectives) => collectives.broadcastBytes(bytes, from));
  }

  allGatherBytes(bytes: Uint8Array): Uint8Array[] {
    refuseSurplus('allGatherBytes', arguments, 1);
    this.#check('allGatherBytes');
    checkBytes('allGatherBytes', bytes);
    if (this.#connection === null) return [bytes.slice()];
    return this.#run('allGatherBytes', (collectives) => collectives.gatherBytes(bytes));
  }

  any(flag: boolean): boolean {
    refuseSurplus('any', arguments, 1);
    this.#check('any');
    checkBoolean('any', 'flag', flag);
    if (this.#connection === null) return flag;
    return this.#run('any', (collectives) => collectives.any(flag));
  }

  barrier(): void {
    refuseSurplus('barrier', arguments, 0);
    this.#check('barrier');
    if (this.#connection !== null) this.#run('barrier', nothing);
  }

  poll(): void {
    refuseSurplus('poll', arguments, 0);
    this.#check('poll');
    this.#connection?.runner.poll();
  }

  finalize(): void {
    refuseSurplus('finalize', arguments, 0);
    if (this.#isFinalized) return;
    this.#isFinalized = true;
    if (this.#connection === null) return;
    this.#run('finalize', nothing);
    this.#connection.end();
  }

  #check(op: string): void {
    if (this.#isFinalized) throw new DistributedError(`${op}: the group is finalized`);
  }

  #from(op: string, options: BroadcastOptions): number {
    checkOptions(op, options, ['from']);
    const { from = 0 } = options;
    if (!Number.isInteger(from) || from < 0 || from >= this.size)
      throw new ArgumentError(`${op}: from must be a rank from 0 to ${this.size - 1}, got ${shown(from)}`);
    return from;
  }

  /** Runs an operation on all ranks, which must agree on `call`, and returns its result. */
  #run<T>(call: string, steps: (collectives: Collectives) => Steps<T>): T {
    const { runner, collectives } = this.#connection!;
    return runner.wait(runner.start(new Operation(call, agreed(collectives, call, steps))));
  }

  /** Starts an operation that writes the last of `views`. Their memory is retained until it is done. `alone` is what a group of one does. */
  #start(call: string, views: readonly View[], steps: (collectives: Collectives) => Steps<void>, alone: () => void = () => {}): Pending {
    const { storage } = views.at(-1)!;
    if (this.#connection === null) {
      alone();
      storage.version++;
      return COMPLETE;
    }
    const { runner, collectives, keepsMemory } = this.#connection;
    // A graph that has saved the tensor must not be walked while the operation writes it, nor after.
    storage.version++;
    const operation = runner.start(new Operation(call, retaining(views, agreed(collectives, call, steps))));
    const pending = {
      get done(): boolean {
        runner.poll();
        if (operation.isDone) operation.result();
        return operation.isDone;
      },
      wait: () => runner.wait(operation),
    };
    if (!keepsMemory) pending.wait();
    return pending;
  }
}

const COMPLETE: Pending = { done: true, wait: () => {} };

function* nothing(): Steps<void> {}

function* agreed<T>(collectives: Collectives, call: string, steps: (collectives: Collectives) => Steps<T>): Steps<T> {
  yield* collectives.agree(call);
  return yield* steps(collectives);
}

/** Retains the memory of views, of which `steps` writes the last, from now on until it ends. Their tensors may be freed meanwhile. */
function retaining<T>(views: readonly View[], steps: Steps<T>): Steps<T> {
  for (const { storage } of views) storage.retain();
  return (function* () {
    try {
      return yield* steps;
    } finally {
      // Views that were read since the operation started may hold any values.
      views.at(-1)!.storage.version++;
      for (const { storage } of views) storage.release();
    }
  })();
}

/** Runs `steps` on the view itself if it is dense and of `dtype`; else on such a copy, which is copied back if `steps` succeeds. */
function* through(target: View, dtype: DType, steps: (work: View) => Steps<void>): Steps<void> {
  const work = dense(target, dtype);
  work.storage.retain();
  try {
    yield* steps(work);
    if (work !== target) kernels.copy(work, target);
  } finally {
    work.storage.release();
  }
}

/** into ← the shards combined in order, over all ranks, or on this one alone without `collectives`. */
function* reduceInto(collectives: Collectives | null, shards: readonly View[], op: ReduceOp, into: View): Steps<void> {
  const rows = shards.map((shard) => dense(shard, into.dtype));
  for (const row of rows) row.storage.retain();
  // What the result's memory holds may be a shard, and must be read before it is written.
  const isFree = isRowMajor(into.shape, into.strides) && shards.every((shard) => shard.storage !== into.storage);
  const work = isFree ? into : empty(into.shape, into.dtype);
  work.storage.retain();
  try {
    if (collectives === null) combine(rows, op, work);
    else yield* collectives.reduce(rows, op, work);
    if (work !== into) kernels.copy(work, into);
  } finally {
    work.storage.release();
    for (const row of rows) row.storage.release();
  }
}

/** Returns what the tensor is now, however its handle changes. */
function viewOf({ storage, offset, shape, strides, dtype }: Tensor): View {
  return { storage, offset, shape, strides, dtype };
}

/** Runs steps that wait for nothing. */
function finish(steps: Steps<void>): void {
  steps.next();
}

/** Returns the view itself if it is row-major without gaps and of `dtype`, else such a copy. */
function dense(x: View, dtype: DType): View {
  if (x.dtype === dtype && isRowMajor(x.shape, x.strides)) return x;
  const y = empty(x.shape, dtype);
  kernels.copy(x, y);
  return y;
}

/** Returns the dtype in which values are combined. */
function workingDType(op: ReduceOp, dtype: DType): DType {
  if (isFloat(dtype)) return dtype;
  if (op === 'mean') throw new DTypeError(`allReduce: the mean of ${dtype} is no ${dtype}; convert the tensor with .to('float32') first`);
  if (dtype === 'bool' && op === 'sum')
    throw new DTypeError("allReduce: a sum of bool does not fit bool; convert the tensor with .to('int32') first");
  // Exact for 2²² ranks, and shows an overflow of int32.
  return op === 'sum' ? 'float64' : 'int32';
}

/** Throws if a sum does not fit int32. All ranks have the same sums. */
function checkSums(sums: View): void {
  const values = elementView(addressOf(sums), 'float64', sizeOf(sums.shape));
  for (const value of values) checkFits('allReduce', value, 'int32');
}

function checkShards(shards: readonly Tensor[], into: Tensor): readonly Tensor[] {
  checkTensor('reduceShards', 'into', into);
  if (isTensor(shards) || !isIterable(shards))
    throw new ArgumentError(`reduceShards: expected an array of tensors, got ${isTensor(shards) ? 'one tensor' : kindOf(shards)}`);
  const list = [...shards];
  if (list.length === 0) throw new ArgumentError('reduceShards: expected at least one shard');
  if (!isFloat(into.dtype)) throw new DTypeError(`reduceShards: into must be float32 or float64, got ${into.dtype}`);
  list.forEach((shard, i) => {
    checkTensor('reduceShards', `shard ${i}`, shard);
    shard.checkReadable();
    if (shard.dtype === into.dtype && sameShape(shard.shape, into.shape)) return;
    throw new ShapeError(`reduceShards: shard ${i} is ${describe(shard)}, into is ${describe(into)}`);
  });
  return list;
}

function checkBytes(op: string, bytes: unknown): asserts bytes is Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new ArgumentError(`${op}: expected a Uint8Array, got ${kindOf(bytes)}`);
}

/** `float32 [3,4]` */
function describe({ dtype, shape }: View): string {
  return `${dtype} ${formatShape(shape)}`;
}
