/**
 * Helpers for tests of the thread pool.
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

/** Returns the number of work items that all workers together have finished since the pool was made. */
export function workItemsDone(pool: Pool): number {
  let items = 0;
  for (let i = CONTROL.workers + CONTROL.done; i < pool.control.length; i += CONTROL.workerSize) items += Atomics.load(pool.control, i);
  return items;
}
