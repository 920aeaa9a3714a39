/**
 * What tests of the thread pool share.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from '../../src/kernels/threads/pool.ts';
import { CONTROL } from '../../src/kernels/threads/worker.ts';

/** Waits until `workers` workers of the pool have started. */
export async function started(pool: Pool, workers: number): Promise<void> {
  for (let waits = 0; pool.started < workers; waits++) {
    if (waits === 3000) throw new Error(`${pool.started} of ${workers} workers have started after 30 seconds`);
    await sleep(10);
  }
}

/** Units that workers have done since the pool was made, all of them together. */
export function unitsOfWorkers(pool: Pool): number {
  let units = 0;
  for (let i = CONTROL.workers + CONTROL.done; i < pool.control.length; i += CONTROL.workerSize) units += Atomics.load(pool.control, i);
  return units;
}
