/**
 * The thread pool: deals the chunks of one kernel call to worker threads and the calling thread.
 *
 * A call's chunks are fixed by its problem, so results do not depend on who computes them, nor on how many there are. The owner
 * posts a job as a number of units, contiguous ranges of chunks. Whoever decrements `open` from a positive number has claimed
 * the unit; the owner claims too, then waits until none is pending. Workers that have not started yet claim nothing, so nobody
 * waits for them. Between calls workers spin for SPIN microseconds, then sleep.
 */
import { ArgumentError, WorkerError } from '../../core/errors.ts';
import { availableCpus } from '../../platform/cpus.ts';
import { ARGS, wasmMemory, type CompiledKernels, type WasmMemory } from '../memory/wasm-memory.ts';
import { canThread, CONTROL, SPIN, startWorker, threadRuns } from './worker.ts';

/** Every kernel: see assembly/abi.ts. */
export type Kernel = (args: number, first: number, last: number) => void;

const MAX_THREADS = 64;
/** Units a thread has on average: many enough that the last ones end at about the same time, few enough to cost nothing. */
const UNITS_PER_THREAD = 16;
/** Nanoseconds of work in a unit at most, if chunks are small enough: its end is the only sign of life of who computes it. */
const MOST_WORK = 20e6;
/** Milliseconds of one wait for workers, and how many in a row without progress mean that there will be none. */
const WAIT = 100;
const WAITS = 10;

export class Pool {
  /** The block of numbers shared with the workers. */
  readonly control = new Int32Array(new SharedArrayBuffer(4 * (CONTROL.workers + CONTROL.workerSize * MAX_THREADS)));
  readonly #stop: (() => void)[] = [];
  readonly #threads: number;
  #ended = false;

  /** Starts `workers` workers on a compiled module of kernels; they begin to help when they are there. */
  constructor(module: CompiledKernels, memory: WasmMemory, workers: number) {
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

  /** How many workers have started. */
  get started(): number {
    return Atomics.load(this.control, CONTROL.started);
  }

  /** Whether a worker has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Runs all chunks of the kernel that is the `id`-th export of the module; `kernel` is the caller's own instance of it, `work` about
   * how many nanoseconds they take.
   *
   * Throws: WorkerError if a worker fails, ends or stands still, after every worker has let go of the memory; the pool is of no
   *         use then. What `kernel` throws, after the workers are done.
   */
  run(name: string, id: number, kernel: Kernel, chunks: number, work: number): void {
    const c = this.control;
    const units = Math.min(chunks, Math.max(UNITS_PER_THREAD * this.#threads, Math.ceil(work / MOST_WORK)));
    c[CONTROL.kernel] = id;
    c[CONTROL.chunks] = chunks;
    c[CONTROL.units] = units;
    Atomics.store(c, CONTROL.pending, units);
    Atomics.store(c, CONTROL.open, units);
    Atomics.add(c, CONTROL.jobs, 1);
    if (Atomics.load(c, CONTROL.sleeping) > 0) Atomics.notify(c, CONTROL.jobs, units - 1);
    try {
      for (let left = Atomics.sub(c, CONTROL.open, 1); left > 0; left = Atomics.sub(c, CONTROL.open, 1)) {
        const unit = units - left;
        kernel(ARGS, Math.floor((unit * chunks) / units), Math.floor(((unit + 1) * chunks) / units));
        Atomics.sub(c, CONTROL.pending, 1);
      }
    } catch (error) {
      // The unit that failed, and those that nobody has begun.
      Atomics.sub(c, CONTROL.pending, 1 + Math.max(0, Atomics.exchange(c, CONTROL.open, 0)));
      this.#finish(name);
      throw error;
    }
    this.#finish(name);
  }

  /** Waits for the workers' units. */
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

  /** Looks for the end of the last unit for a while; whether it came. */
  #spin(): boolean {
    const c = this.control;
    if (Atomics.load(c, CONTROL.pending) === 0) return true;
    const end = performance.now() + SPIN / 1000;
    do {
      for (let i = 0; i < 32; i++) if (Atomics.load(c, CONTROL.pending) === 0) return true;
    } while (performance.now() < end);
    return false;
  }

  /** Sleeps until the last unit is done; false where there is no progress. Waits count, not the clock: the process may be suspended. */
  #sleep(): boolean {
    const c = this.control;
    let pending = Atomics.load(c, CONTROL.pending);
    for (let still = 0; pending > 0 && still < WAITS; ) {
      Atomics.wait(c, CONTROL.pending, pending, WAIT);
      const now = Atomics.load(c, CONTROL.pending);
      still = now === pending ? still + 1 : 0;
      pending = now;
      const gone = still > 0 && this.#busy().every((i) => threadRuns(c[i + CONTROL.thread]!) === false);
      // Whoever held the unit may have ended it while we looked, and hold nothing now.
      if (gone && Atomics.load(c, CONTROL.pending) === pending) return false;
    }
    return pending === 0;
  }

  /** Where the numbers of each worker begin that may hold a unit. */
  #busy(): number[] {
    return this.#stop
      .map((_, index) => CONTROL.workers + CONTROL.workerSize * index)
      .filter((i) => Atomics.load(this.control, i + CONTROL.busy) === 1);
  }

  /** Ends the workers, and returns when none that holds a unit can write to the memory any more. */
  stop(): void {
    for (const stop of this.#stop) stop();
    const c = this.control;
    for (const i of this.#busy()) {
      const thread = c[i + CONTROL.thread]!;
      // Where nobody can tell, one wait must do: a stopped thread ends at the next turn of any loop.
      let known = threadRuns(thread);
      if (known === null) Atomics.wait(c, CONTROL.never, 0, WAIT);
      for (let waits = 0; known === true && waits < 1000; waits++) {
        Atomics.wait(c, CONTROL.never, 0, 1);
        known = threadRuns(thread);
      }
    }
  }
}

/** What decides whether a call is worth a job. Tests set it to 0, so that every call is one. */
export const tuning = {
  /** Nanoseconds of work, as the callers of `launch` estimate it, below which the calling thread computes alone. */
  leastWork: 40_000,
};

let threads: number | null = fromEnvironment();
/** Whether threads can be had; null: not tried yet. */
let usable: boolean | null = null;
let pool: Pool | null = null;

function fromEnvironment(): number | null {
  const text = typeof process === 'object' ? process.env?.CHAINRULE_THREADS : undefined;
  if (text === undefined || text === '') return null;
  return checked('CHAINRULE_THREADS', /^\d+$/.test(text) ? Number(text) : NaN, `'${text}'`);
}

function checked(what: string, n: number, got = String(n)): number {
  if (Number.isInteger(n) && n >= 1 && n <= MAX_THREADS) return n;
  throw new ArgumentError(`${what}: expected a whole number from 1 to ${MAX_THREADS}, got ${got}`);
}

/**
 * Sets how many threads compute, the calling one included. Results are the same to the bit for any number. Workers start with the
 * first call that is big enough for them (in a browser when the caller then returns to its event loop, as `for await` over a loader does),
 * and are ended by a change. Where there can be none (a page's main thread, or one that is not `crossOriginIsolated`) the calling
 * thread computes alone.
 *
 * Default: `CHAINRULE_THREADS`, else one a processor, less where a control group grants fewer.
 * Throws: ArgumentError unless n is a whole number from 1 to 64
 */
export function setNumThreads(n: number): void {
  threads = checked('setNumThreads', n);
  usable = null;
  pool?.stop();
  pool = null;
}

/** How many threads compute, the calling one included; see setNumThreads. 1 where there can be no others. */
export function getNumThreads(): number {
  usable ??= canThread();
  threads ??= Math.min(availableCpus(), MAX_THREADS);
  return usable ? threads : 1;
}

/** The pool in use, started where there is none yet; null where the calling thread computes alone. */
export function poolFor(module: CompiledKernels): Pool | null {
  if (pool?.ended === true) {
    // A platform that ends workers before they begin would go on to do so.
    if (pool.started === 0) usable = false;
    pool.stop();
    pool = null;
  }
  if (pool === null && getNumThreads() > 1) {
    try {
      pool = new Pool(module, wasmMemory, getNumThreads() - 1);
    } catch {
      // Forbidden by a permission or a policy: as where there are no workers at all.
      usable = false;
    }
  }
  return pool;
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
