/**
 * The thread pool: distributes the chunks of one kernel call over worker threads and the calling thread.
 *
 * The problem alone fixes a call's chunks, so results do not depend on the number of threads, nor on which thread computes a chunk.
 * The calling thread posts a job as a number of work items, contiguous ranges of chunks. A thread claims a work item by atomically
 * decrementing `open` while it is positive. The calling thread claims work items too, then waits until none is pending. Workers that
 * have not started yet claim nothing, so the calling thread does not wait for them. Between calls workers poll for SPIN microseconds,
 * then sleep. Large jobs wake them; small jobs are shared with those that poll, and wake none.
 */
import { ArgumentError, WorkerError, shown } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { availableCpus } from '../../platform/cpus.ts';
import { environment } from '../../platform/node.ts';
import { ARGS, wasmMemory, type CompiledKernels, type WasmMemory } from '../memory/wasm-memory.ts';
import { canThread, CONTROL, SPIN, startWorker, threadRuns } from './worker.ts';

/** The type of every kernel: see assembly/runtime/abi.ts. */
export type Kernel = (args: number, first: number, last: number) => void;

const MAX_THREADS = 64;
/** Average number of work items per thread: enough that all threads finish at about the same time, few enough to cost nothing. */
const WORK_ITEMS_PER_THREAD = 16;
/**
 * Nanoseconds of work in a work item at most, if chunks are small enough. The calling thread detects progress only when a work item ends.
 */
const MOST_WORK_PER_ITEM = 20e6;
/** Milliseconds of one wait for workers. */
const WAIT = 100;
/** The number of waits in a row without progress after which the pool throws. */
const WAITS = 10;

export class Pool {
  /** The control block. */
  readonly control: Int32Array = new Int32Array(new SharedArrayBuffer(4 * (CONTROL.workers + CONTROL.workerSize * MAX_THREADS)));
  /** The module whose kernels the workers run. */
  readonly module: CompiledKernels;
  readonly #stop: (() => void)[] = [];
  readonly #threads: number;
  #ended = false;

  /** Starts `workers` workers on a compiled module of kernels. Each claims work items as soon as it has started. */
  constructor(module: CompiledKernels, memory: WasmMemory, workers: number) {
    this.module = module;
    this.#threads = workers + 1;
    const ended = (): void => {
      this.#ended = true;
    };
    try {
      for (let index = 0; index < workers; index++) this.#stop.push(startWorker({ module, memory, control: this.control, index }, ended));
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** The number of workers that have started. */
  get started(): number {
    return Atomics.load(this.control, CONTROL.started);
  }

  /** Whether a worker polls for jobs or computes, so that it claims work items of the next job at once. */
  get isAwake(): boolean {
    return Atomics.load(this.control, CONTROL.sleeping) < this.started;
  }

  /** Whether a worker has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Runs all chunks of the kernel that is the `id`-th export of the module. `kernel` is the calling thread's instance of it, `work` an
   * estimate of the nanoseconds that one thread takes for all chunks.
   *
   * Throws: WorkerError if a worker fails, ends or makes no progress, once no worker can write to the memory any more. The pool cannot
   *         be used after that. An error of `kernel` itself is rethrown once the workers have finished.
   */
  run(name: string, id: number, kernel: Kernel, chunks: number, work: number): void {
    const c = this.control;
    const workItems = Math.min(chunks, Math.max(WORK_ITEMS_PER_THREAD * this.#threads, Math.ceil(work / MOST_WORK_PER_ITEM)));
    c[CONTROL.kernel] = id;
    c[CONTROL.chunks] = chunks;
    c[CONTROL.workItems] = workItems;
    Atomics.store(c, CONTROL.pending, workItems);
    Atomics.store(c, CONTROL.open, workItems);
    Atomics.add(c, CONTROL.jobs, 1);
    if (work >= tuning.leastWork && Atomics.load(c, CONTROL.sleeping) > 0) Atomics.notify(c, CONTROL.jobs, workItems - 1);
    try {
      let left = Atomics.sub(c, CONTROL.open, 1);
      while (left > 0) {
        const item = workItems - left;
        kernel(ARGS, Math.floor((item * chunks) / workItems), Math.floor(((item + 1) * chunks) / workItems));
        Atomics.sub(c, CONTROL.pending, 1);
        left = Atomics.sub(c, CONTROL.open, 1);
      }
    } catch (error) {
      // The work item that failed, and those that no thread has claimed.
      Atomics.sub(c, CONTROL.pending, 1 + Math.max(0, Atomics.exchange(c, CONTROL.open, 0)));
      this.#finish(name);
      throw error;
    }
    this.#finish(name);
  }

  /** Waits until the workers have finished their work items; throws a WorkerError if one fails to. */
  #finish(name: string): void {
    const c = this.control;
    if (!this.#spin() && !this.#sleep()) {
      const gone = this.#busy().some((i) => threadRuns(c[i + CONTROL.thread]!) === false);
      this.stop();
      const what = gone ? 'ended in the middle of its work' : `made no progress over ${WAITS} waits of ${WAIT} ms and was stopped`;
      throw new WorkerError(`${name}: a worker thread ${what}. The next call starts new ones; setNumThreads(1) does without`);
    }
    if (Atomics.load(c, CONTROL.failed) === 0) return;
    this.stop();
    const text = String.fromCharCode(...c.subarray(CONTROL.message, CONTROL.message + CONTROL.messageLength)).trimEnd();
    throw new WorkerError(`${name}: a worker thread failed (${text}). The next call starts new ones; setNumThreads(1) does without`);
  }

  /** Polls for SPIN microseconds; returns whether all work items are done. */
  #spin(): boolean {
    const c = this.control;
    if (Atomics.load(c, CONTROL.pending) === 0) return true;
    const end = performance.now() + SPIN / 1000;
    do {
      for (let i = 0; i < 32; i++) if (Atomics.load(c, CONTROL.pending) === 0) return true;
    } while (performance.now() < end);
    return false;
  }

  /**
   * Sleeps until all work items are done; returns false if there is no progress. It counts waits instead of reading the clock, because the
   * process may be suspended.
   */
  #sleep(): boolean {
    const c = this.control;
    let pending = Atomics.load(c, CONTROL.pending);
    let idleWaits = 0;
    while (pending > 0 && idleWaits < WAITS) {
      Atomics.wait(c, CONTROL.pending, pending, WAIT);
      const now = Atomics.load(c, CONTROL.pending);
      idleWaits = now === pending ? idleWaits + 1 : 0;
      pending = now;
      const gone = idleWaits > 0 && this.#busy().every((i) => threadRuns(c[i + CONTROL.thread]!) === false);
      // A worker may have finished its work item between the two checks.
      if (gone && Atomics.load(c, CONTROL.pending) === pending) return false;
    }
    return pending === 0;
  }

  /** Returns, for each worker that may hold a work item, the index of its first number in the control block. */
  #busy(): number[] {
    return this.#stop
      .map((_, index) => CONTROL.workers + CONTROL.workerSize * index)
      .filter((i) => Atomics.load(this.control, i + CONTROL.busy) === 1);
  }

  /** Ends the workers. Returns when no worker that held a work item can write to the memory any more. */
  stop(): void {
    for (const stop of this.#stop) stop();
    const c = this.control;
    for (const i of this.#busy()) {
      const thread = c[i + CONTROL.thread]!;
      // Without a thread number, wait once: a terminated thread stops at its next loop iteration.
      let runs = threadRuns(thread);
      if (runs === null) Atomics.wait(c, CONTROL.never, 0, WAIT);
      for (let waits = 0; runs === true && waits < 1000; waits++) {
        Atomics.wait(c, CONTROL.never, 0, 1);
        runs = threadRuns(thread);
      }
    }
  }
}

/** Decides which calls are shared among threads. Tests set `leastWork` to 0, so that every call is. */
export const tuning = {
  /**
   * Nanoseconds of work, as estimated in `Split.work`, from which on a call wakes sleeping workers: that takes the calling thread 11 µs, and the
   * worker begins 30 µs after the call.
   */
  leastWork: 40_000,
};

/** The share of `leastWork` from which on a call is shared with workers that are awake. They begin within a microsecond. */
const AWAKE_SHARE = 1 / 4;

/** Returns whether a call with so many nanoseconds of work, as estimated in `Split.work`, is shared among threads. */
export function isWorthSharing(work: number): boolean {
  return work >= tuning.leastWork || (work >= AWAKE_SHARE * tuning.leastWork && pool?.isAwake === true);
}

/** Runs `fn` on the calling thread alone. Its kernels start no workers. */
export function onThisThread<T>(fn: () => T): T {
  const before = tuning.leastWork;
  tuning.leastWork = Infinity;
  try {
    return fn();
  } finally {
    tuning.leastWork = before;
  }
}

let threads: number | null = fromEnvironment();
/** Whether workers can be made; null while that has not been tried. */
let usable: boolean | null = null;
let pool: Pool | null = null;
let hasWarned = false;

function fromEnvironment(): number | null {
  const text = environment('CHAINRULE_THREADS');
  if (text === undefined || text === '') return null;
  return checked('CHAINRULE_THREADS', /^\d+$/.test(text) ? Number(text) : NaN, `'${text}'`);
}

function checked(what: string, n: number, got = shown(n)): number {
  if (Number.isInteger(n) && n >= 1 && n <= MAX_THREADS) return n;
  throw new ArgumentError(`${what}: expected a whole number from 1 to ${MAX_THREADS}, got ${got}`);
}

/**
 * Sets how many threads compute, the calling thread included. Results are bitwise identical for any number. Workers start with the
 * first call that is large enough to share (in a browser once the caller returns to its event loop, as `for await` over a loader does).
 * A change of the number ends them. Where workers are impossible (a page's main thread, or a page that is not `crossOriginIsolated`) the
 * calling thread computes alone. Where a policy or a permission forbids them it does too, and a warning says so once.
 *
 * Default: `CHAINRULE_THREADS`, else one per processor, less where a control group grants fewer.
 * Throws: ArgumentError unless n is a whole number from 1 to 64
 */
export function setNumThreads(n: number): void {
  refuseOptions('setNumThreads', arguments[1]);
  threads = checked('setNumThreads', n);
  usable = null;
  pool?.stop();
  pool = null;
}

/** Returns how many threads compute, the calling thread included; 1 where workers are impossible. See setNumThreads. */
export function getNumThreads(): number {
  dropEndedPool();
  usable ??= canThread();
  threads ??= Math.min(availableCpus(), MAX_THREADS);
  return usable ? threads : 1;
}

/** Returns the pool that runs this module, and starts one if there is none; null where the calling thread computes alone. */
export function poolFor(module: CompiledKernels): Pool | null {
  if (pool !== null && pool.module !== module) {
    pool.stop();
    pool = null;
  }
  if (getNumThreads() > 1 && pool === null) {
    try {
      pool = new Pool(module, wasmMemory, getNumThreads() - 1);
    } catch {
      proceedAlone();
    }
  }
  return pool;
}

/** Forgets a pool of which a worker has ended. The next call starts a new one, unless no worker of the old one had started. */
function dropEndedPool(): void {
  if (pool?.ended !== true) return;
  // A platform that ends workers before they start would do so again.
  if (pool.started === 0) proceedAlone();
  pool.stop();
  pool = null;
}

/** Proceeds as on a platform without workers, where a permission or a policy forbids them. Says so once: it costs speed, not results. */
function proceedAlone(): void {
  usable = false;
  if (hasWarned) return;
  hasWarned = true;
  console.warn(
    'chainrule: no worker thread could start, so one thread computes. A Content-Security-Policy must allow worker-src blob:, ' +
      "Node's permission model --allow-worker; setNumThreads(1) does without workers",
  );
}

/** Runs all chunks of a kernel on all threads; see Pool.run. */
export function runShared(module: CompiledKernels, ...job: Parameters<Pool['run']>): void {
  const shared = poolFor(module);
  const [, , kernel, chunks] = job;
  if (shared === null) return kernel(ARGS, 0, chunks);
  try {
    shared.run(...job);
  } catch (error) {
    if (error instanceof WorkerError) pool = null;
    throw error;
  }
}
