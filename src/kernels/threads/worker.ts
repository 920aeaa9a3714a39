/**
 * The worker threads of the pool: whether the platform has them, their program, and the control block that they share with the calling
 * thread.
 *
 * The program is a text, so that no bundler has to find a second file: Node evaluates it, a browser loads it from a Blob.
 */
import { nodeModules } from '../../platform/node.ts';
import { ARGS, isShared, TURBO_SECTIONS, type CompiledKernels, type WasmMemory } from '../memory/wasm-memory.ts';

/** Indices of the int32 numbers in the control block. Numbers that are written at different times lie on different cache lines. */
export const CONTROL = {
  /** Counts jobs. Workers sleep on it. */
  jobs: 0,
  /** Work items of the job that no thread has claimed; at most 0 if there are none. Set last when a job is posted. */
  open: 16,
  /** Work items of the job that are not done. The calling thread sleeps on it. */
  pending: 32,
  /** The job: the kernel's number, its chunks, and the number of work items. Constant while work items are open or pending. */
  kernel: 48,
  chunks: 49,
  workItems: 50,
  /** The number of workers asleep. */
  sleeping: 64,
  /** The number of workers that have started. */
  started: 80,
  /** Not 0 if a worker caught an error; `message` holds its text. */
  failed: 81,
  /** Always 0. Atomics.wait on it is a sleep with a time limit. */
  never: 82,
  message: 96,
  messageLength: 160,
  /**
   * From here on `workerSize` numbers per worker: whether it may hold a work item (`busy`), how many it has done, and its thread's number in
   * the operating system.
   */
  workers: 256,
  workerSize: 16,
  busy: 0,
  done: 1,
  thread: 2,
} as const;

/** Microseconds for which an idle thread polls before it sleeps. Waking up costs about ten. */
export const SPIN = 50;

/** The data that a worker receives when it starts. */
export interface WorkerData {
  readonly module: CompiledKernels;
  readonly memory: WasmMemory;
  readonly control: Int32Array;
  readonly index: number;
}

/**
 * The program of a worker. Work item i of n has the chunks ⌊i · chunks / n⌋ … ⌊(i + 1) · chunks / n⌋ − 1, as in Pool.run. A trapped worker
 * writes its error to the control block and takes no more work; its scratch area stays reserved (assembly/runtime/scratch.ts). The other
 * workers have enough areas, provided that it takes no second one.
 */
const PROGRAM = `
function work({ module, memory, control: c, index }) {
  const abort = () => { throw new Error('a kernel aborted'); };
  const [wide, fused] = ${JSON.stringify(TURBO_SECTIONS)}.map((name) => WebAssembly.Module.customSections(module, name).length);
  const kernels = Object.values(new WebAssembly.Instance(module, { env: { memory, abort, wide, fused } }).exports);
  // This refreshes V8's cached memory size, which can be stale in Node 20 if the memory grew while this thread started. Bulk writes check
  // their bounds against it, and failed twice in 300 starts; with the refresh, never in 1,500.
  memory.grow(0);
  const me = ${CONTROL.workers} + ${CONTROL.workerSize} * index;
  const run = (left) => {
    const items = c[${CONTROL.workItems}], chunks = c[${CONTROL.chunks}], item = items - left;
    let failed = false;
    try {
      kernels[c[${CONTROL.kernel}]](${ARGS}, Math.floor(item * chunks / items), Math.floor((item + 1) * chunks / items));
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
// Without /proc, or permission to read it, the number stays 0, which means unknown.
try {
  workerData.control[${CONTROL.workers + CONTROL.thread} + ${CONTROL.workerSize} * workerData.index] = Number(readlinkSync('/proc/thread-self').split('/').pop());
} catch {}
work(workerData);`;

const BROWSER_PROGRAM = `${PROGRAM}
onmessage = (event) => work(event.data);`;

/** Returns whether workers are possible: memory that can be posted, and a calling thread that may wait, unlike a page's main thread. */
export function canThread(): boolean {
  if (!isShared) return false;
  if (nodeModules() === undefined && !(globalThis.crossOriginIsolated && typeof Worker === 'function')) return false;
  try {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0) === 'timed-out';
  } catch {
    // Atomics.wait throws on a thread that may not wait.
    return false;
  }
}

/** Starts a worker, which never keeps the process alive. Calls `ended` when it ends for any reason. Returns a function that stops it. */
export function startWorker(data: WorkerData, ended: () => void): () => void {
  const load = nodeModules();
  if (load === undefined) return startBrowserWorker(data, ended);
  const { Worker } = load('node:worker_threads');
  // The program needs neither the loaders nor the preloads of the command line.
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

/** Returns whether the thread with this number in the operating system still runs; null if the platform cannot tell. */
export function threadRuns(thread: number): boolean | null {
  const load = nodeModules();
  return thread === 0 || load === undefined ? null : load('node:fs').existsSync(`/proc/self/task/${thread}`);
}
