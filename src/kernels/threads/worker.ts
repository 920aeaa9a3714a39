/**
 * The worker threads of the pool: where the platform has them, their program, and the block of shared numbers through which owner
 * and workers talk.
 *
 * The program is a text, so that no bundler has to find a second file: Node evaluates it, a browser loads it from a Blob.
 */
import { nodeModules } from '../../platform/node.ts';
import { ARGS, isShared, TURBO_SECTION, type CompiledKernels, type WasmMemory } from '../memory/wasm-memory.ts';

/** Int32 numbers of the control block; those that are written at different times lie on cache lines of their own. */
export const CONTROL = {
  /** Counts jobs; workers sleep on it. */
  jobs: 0,
  /** Units of the job that nobody has claimed; at most 0 where there are none. Set last when a job is posted. */
  open: 16,
  /** Units of the job that are not done; the owner sleeps on it. */
  pending: 32,
  /** The job: a kernel's number, its chunks, and the units they are dealt in. Constant while units are open or pending. */
  kernel: 48,
  chunks: 49,
  units: 50,
  /** Workers asleep. */
  sleeping: 64,
  /** Workers that have started. */
  started: 80,
  /** Not 0 where a worker caught an error, and its text. */
  failed: 81,
  /** Always 0: to wait on for a time. */
  never: 82,
  message: 96,
  messageLength: 160,
  /** From here on as many numbers a worker: whether it may hold a unit, how many it has done, the system's number of its thread. */
  workers: 256,
  workerSize: 16,
  busy: 0,
  done: 1,
  thread: 2,
} as const;

/** Microseconds that whoever has nothing to do goes on looking before it sleeps. Waking up costs about ten. */
export const SPIN = 50;

/** What a worker is told. */
export interface WorkerData {
  readonly module: CompiledKernels;
  readonly memory: WasmMemory;
  readonly control: Int32Array;
  readonly index: number;
}

/** The chunks of unit u of a job are those from ⌊u · chunks / units⌋ up to unit u + 1's. The owner has the same in threads.ts. */
const PROGRAM = `
function work({ module, memory, control: c, index }) {
  const abort = () => { throw new Error('a kernel aborted'); };
  const wide = WebAssembly.Module.customSections(module, '${TURBO_SECTION}').length;
  const kernels = Object.values(new WebAssembly.Instance(module, { env: { memory, abort, wide } }).exports);
  // Node 20 may lose what the memory grows by while a thread gets hold of it (twice in 300 starts, seen in bulk writes, whose bounds V8
  // checks by a number of its own). Asking for nothing more brings that number up to date: not once in 1,500.
  memory.grow(0);
  const me = ${CONTROL.workers} + ${CONTROL.workerSize} * index;
  const run = (left) => {
    const units = c[${CONTROL.units}], chunks = c[${CONTROL.chunks}], unit = units - left;
    let failed = false;
    try {
      kernels[c[${CONTROL.kernel}]](${ARGS}, Math.floor(unit * chunks / units), Math.floor((unit + 1) * chunks / units));
    } catch (error) {
      const text = String(error).slice(0, ${CONTROL.messageLength});
      for (let i = 0; i < ${CONTROL.messageLength}; i++) c[${CONTROL.message} + i] = i < text.length ? text.charCodeAt(i) : 32;
      Atomics.store(c, ${CONTROL.failed}, 1);
      failed = true;
    }
    c[me + ${CONTROL.done}]++;
    if (Atomics.sub(c, ${CONTROL.pending}, 1) === 1) Atomics.notify(c, ${CONTROL.pending});
    return failed;
  };
  Atomics.add(c, ${CONTROL.started}, 1);
  for (;;) {
    const jobs = Atomics.load(c, ${CONTROL.jobs});
    Atomics.store(c, me + ${CONTROL.busy}, 1);
    while (Atomics.load(c, ${CONTROL.open}) > 0) {
      const left = Atomics.sub(c, ${CONTROL.open}, 1);
      // Who failed keeps the scratch memory it had taken (assembly/scratch.ts). There is enough for the others, if it takes no more.
      if (left > 0 && run(left)) return Atomics.store(c, me + ${CONTROL.busy}, 0);
    }
    Atomics.store(c, me + ${CONTROL.busy}, 0);
    const end = performance.now() + ${SPIN / 1000};
    do {
      for (let i = 0; i < 32 && Atomics.load(c, ${CONTROL.jobs}) === jobs; i++);
    } while (Atomics.load(c, ${CONTROL.jobs}) === jobs && performance.now() < end);
    if (Atomics.load(c, ${CONTROL.jobs}) !== jobs) continue;
    Atomics.add(c, ${CONTROL.sleeping}, 1);
    Atomics.wait(c, ${CONTROL.jobs}, jobs);
    Atomics.sub(c, ${CONTROL.sleeping}, 1);
  }
}
`;

const NODE_PROGRAM = `${PROGRAM}
const { workerData } = process.getBuiltinModule('node:worker_threads');
const { readlinkSync } = process.getBuiltinModule('node:fs');
// Without /proc, or permission to read it, the number stays 0: unknown.
try {
  workerData.control[${CONTROL.workers + CONTROL.thread} + ${CONTROL.workerSize} * workerData.index] = Number(readlinkSync('/proc/thread-self').split('/').pop());
} catch {}
work(workerData);`;

const BROWSER_PROGRAM = `${PROGRAM}
onmessage = (event) => work(event.data);`;

/** Whether there can be worker threads: shared memory that may be posted, and a caller that may wait, which a page's main thread may not. */
export function canThread(): boolean {
  if (!isShared) return false;
  if (nodeModules() === undefined && !(globalThis.crossOriginIsolated && typeof Worker === 'function')) return false;
  try {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0) === 'timed-out';
  } catch {
    // Throwing is how a thread that may not wait says so.
    return false;
  }
}

/** Starts a worker, which never keeps the process alive; `ended` is called where it ends, however it does. Gives what stops it. */
export function startWorker(data: WorkerData, ended: () => void): () => void {
  const load = nodeModules();
  if (load === undefined) return startBrowserWorker(data, ended);
  const { Worker } = load('node:worker_threads');
  // Neither loaders nor preloads of the command line concern the program.
  const worker = new Worker(NODE_PROGRAM, { eval: true, workerData: data, execArgv: [], env: {} });
  worker.unref();
  worker.on('error', ended).on('exit', ended);
  return () => void worker.terminate();
}

let programUrl: string | null = null;

function startBrowserWorker(data: WorkerData, ended: () => void): () => void {
  programUrl ??= URL.createObjectURL(new Blob([BROWSER_PROGRAM], { type: 'text/javascript' }));
  const worker = new Worker(programUrl);
  worker.addEventListener('error', ended);
  worker.postMessage(data, []);
  return () => worker.terminate();
}

/** Whether the thread with this number of the system's still runs; null where nobody can tell. */
export function threadRuns(thread: number): boolean | null {
  const load = nodeModules();
  return thread === 0 || load === undefined ? null : load('node:fs').existsSync(`/proc/self/task/${thread}`);
}
