/**
 * Limits the time of a blocking call of MPI, from a thread of its own: the calling thread cannot do anything meanwhile.
 */
import { nodeModules } from '../platform/node.ts';
import { FORWARD_MS } from './faults.ts';

const PROGRAM = `
const { workerData: { stopped, ms, text } } = process.getBuiltinModule('node:worker_threads');
if (Atomics.wait(stopped, 0, 0, ms) === 'timed-out') {
  process.getBuiltinModule('node:fs').writeSync(2, text);
  Atomics.wait(stopped, 0, 0, ${FORWARD_MS});
  process.kill(process.pid, 'SIGKILL');
}`;

/**
 * Runs `call`. If it takes longer than `ms` milliseconds, prints `text` and kills this process, whereupon the launcher ends the others: the
 * call of another rank waits for this one, or this one for another.
 */
export function withWatchdog<T>(ms: number, text: string, call: () => T): T {
  const { Worker } = nodeModules()!('node:worker_threads');
  const stopped = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(PROGRAM, { eval: true, workerData: { stopped, ms, text }, execArgv: [], env: {} });
  worker.unref();
  try {
    return call();
  } finally {
    Atomics.store(stopped, 0, 1);
    Atomics.notify(stopped, 0);
  }
}
