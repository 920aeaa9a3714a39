import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import workerThreads from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ArgumentError, WorkerError } from '../../src/core/errors.ts';
import { quotaOf } from '../../src/platform/cpus.ts';
import { BYTES, writeMatvecEntry } from '../../src/kernels/wasm/arguments.generated.ts';
import { launch } from '../../src/kernels/wasm/launch.ts';
import { kernelModule } from '../../src/kernels/wasm/module.ts';
import { allocate } from '../../src/kernels/memory/allocator.ts';
import { elementView, memoryViews, wasmMemory } from '../../src/kernels/memory/wasm-memory.ts';
import {
  getNumThreads,
  isWorthSharing,
  onThisThread,
  Pool,
  poolFor,
  runShared,
  setNumThreads,
  tuning,
  type Kernel,
} from '../../src/kernels/threads/pool.ts';
import { CONTROL, threadRuns } from '../../src/kernels/threads/worker.ts';
import { empty } from '../../src/kernels/view.ts';
import { wasm } from '../../src/kernels/wasm/index.ts';
import { started, workItemsDone } from '../support/workers.ts';
import { freed } from './layouts.ts';

// The thread pool: its counts, its start and end, and the handling of workers that fail.

const LONG = process.env.CHAINRULE_LONG === '1';
/** Other platforms cannot report whether a thread has ended. */
const onLinux = process.platform === 'linux';

/** Every worker thread made in this file. */
const made: workerThreads.Worker[] = [];
const { Worker } = workerThreads;

class Recorded extends Worker {
  constructor(...args: ConstructorParameters<typeof Worker>) {
    super(...args);
    made.push(this);
  }
}

beforeAll(() => {
  // The pool warns once where no worker can start; test/runtimes/forbidden-workers.test.ts reads the warning.
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  workerThreads.Worker = Recorded;
});

afterAll(() => {
  vi.restoreAllMocks();
  workerThreads.Worker = Worker;
});

afterEach(() => {
  setNumThreads(1);
});

/** A module of three kernels: `trap` executes `unreachable`, `hang` loops for ever, `nothing` returns at once. */
const KERNELS = ['trap', 'hang', 'nothing'] as const;
const badModule = new WebAssembly.Module(
  // prettier-ignore
  Uint8Array.from([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 3, 127, 127, 127, 0, 3, 4, 3, 0, 0, 0, 7, 25, 3, 4, 116, 114, 97, 112, 0, 0, 4, 104, 97, 110,
    103, 0, 1, 7, 110, 111, 116, 104, 105, 110, 103, 0, 2, 10, 16, 3, 3, 0, 0, 11, 7, 0, 3, 64, 12, 0, 11, 11, 2, 0, 11,
  ]),
);

/** Makes a pool for the bad module and waits until its workers have started. */
async function badPool(workers = 1): Promise<Pool> {
  const pool = new Pool(badModule, wasmMemory, workers);
  await started(pool, workers);
  return pool;
}

/** A kernel for the calling thread. It waits until the workers have claimed the other chunks, then calls `then`. */
function afterClaim(pool: Pool, then: () => void = () => {}): Kernel {
  return () => {
    while (Atomics.load(pool.control, CONTROL.open) > 0 && Atomics.load(pool.control, CONTROL.failed) === 0);
    then();
  };
}

/** Runs a job of the bad module. By default it has enough work to wake workers. */
function run(pool: Pool, kernel: (typeof KERNELS)[number], own: Kernel, chunks = 2, work = tuning.leastWork): void {
  pool.run(kernel, KERNELS.indexOf(kernel), own, chunks, work);
}

/** Returns what `fn` throws, and the time it took in milliseconds. */
function failure(fn: () => void): { error: unknown; ms: number } {
  const start = performance.now();
  try {
    fn();
  } catch (error) {
    return { error, ms: performance.now() - start };
  }
  throw new Error('nothing was thrown');
}

/** Computes a matrix product that is large enough to be shared among threads, and returns its bytes. */
function product(): Uint8Array {
  const N = 64;
  return freed(() => {
    const x = allocate(N * 16 * 4);
    const w = allocate(16 * 4);
    elementView(x.ptr, 'float32', N * 16).forEach((_, i, v) => (v[i] = Math.sin(i)));
    elementView(w.ptr, 'float32', 16).forEach((_, i, v) => (v[i] = Math.cos(i)));
    const y = allocate(N * 64 * 4);
    const table = allocate(BYTES.MatvecEntry * N);
    for (let i = 0; i < N; i++) {
      writeMatvecEntry({ a: x.ptr + i * 64, v: w.ptr, y: y.ptr + i * 4 }, table.ptr + i * BYTES.MatvecEntry, memoryViews());
    }
    launch('matvec_f32', { chunks: N, work: tuning.leastWork }, { entries: table.ptr, M: 1, K: 16, aRow: 64 });
    return memoryViews().u8.slice(y.ptr, y.ptr + N * 4);
  });
}

describe('numbers of threads', () => {
  test('setNumThreads accepts whole numbers from 1 to 64, and rejects all else without a change', () => {
    setNumThreads(3);
    for (const [n, got] of [
      [0, '0'],
      [65, '65'],
      [2.5, '2.5'],
      [NaN, 'NaN'],
      ['2' as unknown as number, "'2'"],
    ] as const) {
      expect(() => setNumThreads(n)).toThrow(new ArgumentError(`setNumThreads: expected a whole number from 1 to 64, got ${got}`));
    }
    expect(getNumThreads()).toBe(3);
  });

  describe('the limit of a control group', () => {
    const files = (content: Record<string, string>) => (path: string) => content[path] ?? null;

    test('is infinite without a control group or without a limit', () => {
      expect(quotaOf(files({}))).toBe(Infinity);
      expect(quotaOf(files({ '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/cpu.max': 'max 100000\n' }))).toBe(Infinity);
      const first = { '/proc/self/cgroup': '4:memory:/b\n3:cpu,cpuacct:/a\n' };
      expect(
        quotaOf(files({ ...first, '/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': '-1\n', '/sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '100000\n' })),
      ).toBe(Infinity);
    });

    test('version 2: the least limit of the group and its ancestors, or that at the root inside a container', () => {
      const group = { '/proc/self/cgroup': '0::/a/b\n' };
      expect(quotaOf(files({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '350000 100000\n' }))).toBe(3.5);
      expect(
        quotaOf(files({ ...group, '/sys/fs/cgroup/a/b/cpu.max': '350000 100000\n', '/sys/fs/cgroup/a/cpu.max': '50000 50000\n' })),
      ).toBe(1);
      expect(quotaOf(files({ ...group, '/sys/fs/cgroup/cpu.max': '200000 100000\n' }))).toBe(2);
    });

    test('version 1', () => {
      const group = { '/proc/self/cgroup': '4:memory:/m\n3:cpu,cpuacct:/a\n0::/\n' };
      const limit = { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '250000\n', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' };
      expect(quotaOf(files({ ...group, ...limit }))).toBe(2.5);
    });
  });
});

describe('the pool', () => {
  test('starts with the first call that is large enough, and gives the same results', async () => {
    setNumThreads(1);
    const alone = product();
    const before = made.length;
    setNumThreads(3);
    launch('fill_f32', { chunks: 0, work: 0 }, { value: 0, nest: 0 });
    expect(made.length).toBe(before);
    expect(product()).toEqual(alone);
    expect(made.length).toBe(before + 2);
    const pool = poolFor(kernelModule)!;
    await started(pool, 2);
    while (workItemsDone(pool) === 0) expect(product()).toEqual(alone);
  });

  test('assigns every chunk once, in 16 work items per thread or work items of 20 milliseconds', async () => {
    const pool = await badPool(2);
    const jobs = [
      [2, 5e4, 2],
      [47, 5e4, 47],
      [48, 5e4, 48],
      [49, 5e4, 48],
      [1000, 5e4, 48],
      [1000, 2e9, 100],
      [1000, 1e12, 1000],
    ] as const;
    for (const [chunks, work, dealt] of jobs) {
      const before = workItemsDone(pool);
      const mine = new Set<number>();
      let count = 0;
      let ownItems = 0;
      run(
        pool,
        'nothing',
        (_, first, last) => {
          ownItems++;
          for (let i = first; i < last; i++, count++) mine.add(i);
        },
        chunks,
        work,
      );
      expect(mine.size).toBe(count);
      expect(ownItems + workItemsDone(pool) - before).toBe(dealt);
      if (workItemsDone(pool) === before) expect(count).toBe(chunks);
    }
    pool.stop();
  });

  test('shares a small job with workers that are awake, and wakes none for it', async () => {
    const pool = await badPool(1);
    const small = tuning.leastWork - 1;
    while (pool.isAwake) await sleep(1);
    let own = 0;
    const count: Kernel = (_, first, last) => {
      own += last - first;
    };
    run(pool, 'nothing', count, 8, small);
    expect(own).toBe(8);
    expect(pool.isAwake).toBe(false);
    // A large job wakes the worker, which is awake for a moment after it. The small job leaves it time to claim.
    own = 0;
    let dealt = 0;
    const unhurried: Kernel = (...range) => {
      for (let polls = 0; polls < 1e6 && Atomics.load(pool.control, CONTROL.open) > 0; polls++);
      count(...range);
    };
    for (let tries = 0; own === dealt && tries < 1000; tries++) {
      run(pool, 'nothing', afterClaim(pool));
      run(pool, 'nothing', unhurried, 8, small);
      dealt += 8;
    }
    expect(own).toBeLessThan(dealt);
    pool.stop();
  });

  test('is used from a quarter of the least work on if a worker is awake', async () => {
    const least = tuning.leastWork;
    setNumThreads(1);
    expect([least - 1, least].map(isWorthSharing)).toEqual([false, true]);
    setNumThreads(2);
    const pool = poolFor(kernelModule)!;
    expect(isWorthSharing(least - 1)).toBe(false);
    await started(pool, 1);
    while (pool.isAwake) await sleep(1);
    expect(isWorthSharing(least - 1)).toBe(false);
    Atomics.sub(pool.control, CONTROL.sleeping, 1);
    expect([least / 4 - 1, least / 4].map(isWorthSharing)).toEqual([false, true]);
    Atomics.add(pool.control, CONTROL.sleeping, 1);
    expect(onThisThread(() => isWorthSharing(1e12))).toBe(false);
  });

  test('passes on what the calling thread throws after the workers have finished, and can be used again', async () => {
    const pool = await badPool();
    const wrong = new RangeError('mine');
    const throwing = (): never => {
      throw wrong;
    };
    // On a busy machine the worker may claim all work items of a job before this thread claims one.
    const runUntilClaimed = (): void => {
      for (;;) run(pool, 'nothing', throwing, 40);
    };
    expect(runUntilClaimed).toThrow(wrong);
    expect(Atomics.load(pool.control, CONTROL.pending)).toBe(0);
    let ownItems = 0;
    const before = workItemsDone(pool);
    run(pool, 'nothing', () => void ownItems++, 2);
    expect(ownItems + workItemsDone(pool) - before).toBe(2);
    pool.stop();
  });

  test(`${LONG ? 1000 : 20} pools one after another leave no threads behind, and no memory`, async () => {
    const threads = (): number => (onLinux ? readdirSync('/proc/self/task').length : 0);
    const cycle = async (): Promise<void> => {
      made.length = 0;
      setNumThreads(3);
      product();
      await started(poolFor(kernelModule)!, 2);
      product();
      const ended = made.map((w) => new Promise((resolve) => w.once('exit', resolve)));
      setNumThreads(1);
      await Promise.all(ended);
    };
    for (let i = 0; i < 5; i++) await cycle();
    const before = { threads: threads(), rss: process.memoryUsage().rss, pages: wasmMemory.buffer.byteLength };
    for (let i = 0; i < (LONG ? 1000 : 20); i++) await cycle();
    expect(threads()).toBeLessThanOrEqual(before.threads);
    expect(wasmMemory.buffer.byteLength).toBe(before.pages);
    expect((process.memoryUsage().rss - before.rss) / 2 ** 20).toBeLessThan(64);
  }, 900_000);
});

describe('a worker that', () => {
  test('traps causes a WorkerError with the text of the trap', async () => {
    const pool = await badPool();
    const { error } = failure(() => run(pool, 'trap', afterClaim(pool)));
    expect(error).toEqual(
      new WorkerError(
        'trap: a worker thread failed (RuntimeError: unreachable). The next call starts new ones; setNumThreads(1) does without',
      ),
    );
  });

  test('traps claims no more work items, because its scratch area stays reserved', async () => {
    const pool = await badPool();
    const own = () => {
      while (Atomics.load(pool.control, CONTROL.failed) === 0);
      // Long enough for the other work items, which are empty.
      Atomics.wait(pool.control, CONTROL.never, 0, 5);
    };
    const { error } = failure(() => run(pool, 'trap', own, 8));
    expect(error).toBeInstanceOf(WorkerError);
    expect(pool.control[CONTROL.workers + CONTROL.done]).toBe(1);
  });

  test('finishes its work item while the calling thread checks whether it is alive is no failure', async () => {
    const pool = await badPool();
    const { load } = Atomics;
    let looked = 0;
    Atomics.load = ((c: Int32Array, i: number) => {
      if (i === CONTROL.workers + CONTROL.busy && ++looked === 1) Atomics.store(pool.control, CONTROL.pending, 0);
      return load(c, i);
    }) as typeof load;
    try {
      // One work item more than there are, as if a worker had claimed it.
      run(pool, 'nothing', () => Atomics.add(pool.control, CONTROL.pending, 1), 1);
    } finally {
      Atomics.load = load;
      pool.stop();
    }
    expect(looked).toBe(1);
  });

  test('makes no progress for ten waits is stopped, with a WorkerError within about a second', async () => {
    const pool = await badPool(2);
    const { error, ms } = failure(() => run(pool, 'hang', afterClaim(pool), 3));
    expect(error).toEqual(
      new WorkerError(
        'hang: a worker thread made no progress over 10 waits of 100 ms and was stopped. The next call starts new ones; setNumThreads(1) does without',
      ),
    );
    expect(ms).toBeGreaterThan(950);
    expect(ms).toBeLessThan(3000);
    // The workers had ended before the error was thrown, as this thread's event loop has not run since.
    for (const worker of [0, 1])
      expect(threadRuns(pool.control[CONTROL.workers + CONTROL.workerSize * worker + CONTROL.thread]!)).not.toBe(true);
  });

  test.runIf(onLinux)('ends during its work causes a WorkerError', async () => {
    const pool = await badPool();
    const worker = made.at(-1)!;
    const { error, ms } = failure(() =>
      run(
        pool,
        'hang',
        afterClaim(pool, () => void worker.terminate()),
      ),
    );
    expect(error).toEqual(
      new WorkerError(
        'hang: a worker thread ended in the middle of its work. The next call starts new ones; setNumThreads(1) does without',
      ),
    );
    // Detected before ten waits are over.
    expect(ms).toBeLessThan(950);
  });

  test('fails in a kernel of the library is replaced, and the next call works', async () => {
    setNumThreads(2);
    const alone = product();
    const pool = poolFor(kernelModule)!;
    await started(pool, 1);
    expect(() => runShared(kernelModule, 'none', -1, afterClaim(pool), 2, tuning.leastWork)).toThrow(WorkerError);
    expect(product()).toEqual(alone);
    const next = poolFor(kernelModule)!;
    expect(next).not.toBe(pool);
    await started(next, 1);
    while (workItemsDone(next) === 0) expect(product()).toEqual(alone);
  });

  test('ends between calls is replaced', async () => {
    setNumThreads(2);
    const alone = product();
    const pool = poolFor(kernelModule)!;
    await started(pool, 1);
    await made.at(-1)!.terminate();
    expect(product()).toEqual(alone);
    expect(poolFor(kernelModule)).not.toBe(pool);
    expect(pool.ended).toBe(true);
  });

  test('ends before it has started is not started again; the calling thread computes alone', async () => {
    setNumThreads(2);
    const alone = product();
    const pool = poolFor(kernelModule)!;
    await made.at(-1)!.terminate();
    expect(pool.started).toBe(0);
    expect(poolFor(kernelModule)).toBeNull();
    expect(getNumThreads()).toBe(1);
    expect(product()).toEqual(alone);
  });

  test('cannot be made is not needed; the calling thread computes alone', () => {
    workerThreads.Worker = function forbidden(): never {
      throw new Error('forbidden');
    } as unknown as typeof Worker;
    setNumThreads(2);
    const some = product();
    workerThreads.Worker = Recorded;
    expect(getNumThreads()).toBe(1);
    setNumThreads(1);
    expect(product()).toEqual(some);
  });
});

test('workers can use memory that has grown between calls, also for bulk copies', async () => {
  setNumThreads(3);
  product();
  const pool = poolFor(kernelModule)!;
  await started(pool, 2);
  const before = { items: workItemsDone(pool), bytes: wasmMemory.buffer.byteLength };
  for (let i = 0; i < 20; i++) {
    freed(() => {
      const n = 2 ** 21 + i * 2 ** 18;
      const [x, y] = [empty([n], 'float32'), empty([n], 'float32')];
      wasm.fill(i + 1, x);
      wasm.copy(x, y);
      expect(elementView(y.storage.ptr, 'float32', n).every((v) => v === i + 1)).toBe(true);
    });
  }
  expect(wasmMemory.buffer.byteLength).toBeGreaterThan(before.bytes + 2 ** 24);
  expect(workItemsDone(pool)).toBeGreaterThan(before.items);
});
