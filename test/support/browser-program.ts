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
  /** Number of warnings of the library. */
  readonly warnings: number;
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
  let warnings = 0;
  console.warn = () => warnings++;
  setNumThreads(1);
  const alone = product();
  setNumThreads(3);
  let same = product() === alone;
  let helped = 0;
  const end = performance.now() + 20_000;
  // Null once the browser has refused to start workers.
  for (let pool = poolFor(kernelModule); pool !== null && helped < 2 && performance.now() < end; pool = poolFor(kernelModule)) {
    for (let i = 0; i < 10; i++) {
      if (product() !== alone) same = false;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
    helped = helpersOf(pool);
  }
  return { threads: getNumThreads(), same, helped, warnings };
}

function helpersOf(pool: Pool): number {
  const done = (worker: number): number => Atomics.load(pool.control, CONTROL.workers + CONTROL.workerSize * worker + CONTROL.done);
  return [0, 1].filter((worker) => done(worker) > 0).length;
}
