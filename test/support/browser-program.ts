/**
 * The program that test/browser.test.ts runs in a page or in its worker.
 */
import { getNumThreads, manualSeed, rand, setNumThreads } from '../../src/index.ts';
import { kernelModule } from '../../src/kernels/wasm/module.ts';
import { poolFor, type Pool } from '../../src/kernels/threads/pool.ts';
import { CONTROL } from '../../src/kernels/threads/worker.ts';

export interface Seen {
  readonly threads: number;
  /** Whether the results on one and on three threads were bitwise identical. */
  readonly same: boolean;
  /** Number of workers that finished a work item. */
  readonly helped: number;
}

/** Multiplies two matrices until both workers have taken part, for at most 20 seconds. A browser starts workers between two tasks. */
export async function run(): Promise<Seen> {
  manualSeed(1);
  const a = rand([200, 300]);
  const b = rand([300, 400]);
  const product = (): string => {
    const y = a.matmul(b);
    const bits = new Uint32Array(y.data().buffer as ArrayBuffer).join();
    y.dispose();
    return bits;
  };
  setNumThreads(1);
  const alone = product();
  setNumThreads(3);
  let same = product() === alone;
  const pool = poolFor(kernelModule);
  if (pool !== null) {
    const end = performance.now() + 20_000;
    while (helpersOf(pool) < 2 && performance.now() < end) {
      for (let i = 0; i < 10; i++) {
        if (product() !== alone) same = false;
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  return { threads: getNumThreads(), same, helped: pool === null ? 0 : helpersOf(pool) };
}

function helpersOf(pool: Pool): number {
  const done = (worker: number): number => Atomics.load(pool.control, CONTROL.workers + CONTROL.workerSize * worker + CONTROL.done);
  return [0, 1].filter((worker) => done(worker) > 0).length;
}
