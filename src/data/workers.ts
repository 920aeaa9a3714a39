/**
 * Threads that make the batches of a dataset.
 *
 * A dataset has functions, which no thread can receive. So each thread imports the module that makes the dataset, and the module offers it
 * with serveDataset. A batch depends only on its Draw, so threads make the same bits as the loop's own thread would.
 */
import { startInScope } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { newArray } from '../core/dtype.ts';
import { peek } from '../core/describe.ts';
import { ArgumentError, kindOf, shown, WorkerError } from '../core/errors.ts';
import { checkCount, checkOptions, refuseOptions } from '../core/options.ts';
import { absoluteUrl, listenTo, startThread, threadPort, type Loaded, type Thread, type WebWorker } from './threads.ts';
import { elements, listed, makeItems, type Draw } from './batches.ts';
import { copyElements, later, lengthOf, type AsyncDataset, type Item } from './dataset.ts';

/** Threads that make a loader's batches. */
export interface WorkerOptions {
  /** The number of threads, a whole number ≥ 1. */
  readonly count: number;
  /**
   * The module that calls serveDataset with the loader's dataset: `new URL('./dataset.js', import.meta.url)`.
   *
   * In a page that a bundler builds: a function that starts it as a Web Worker, which bundlers recognize by its text:
   * `() => new Worker(new URL('./dataset.js', import.meta.url), { type: 'module' })`. Its module must call serveDataset within 60 seconds: a
   * page is not told that a script has run, so this limit alone finds a module that does not call it. Batches may take any time.
   */
  readonly module: string | { readonly href: string } | (() => WebWorker);
}

/** Marks the messages between a loader and its threads. */
const REQUEST = 'chainrule:draw';
const ANSWER = 'chainrule:items';
/** The loader's question whether a thread serves a dataset, and the reply, which the thread also sends once it does. */
const HELLO = 'chainrule:hello';
const READY = 'chainrule:ready';

/** Seconds in which a Web Worker that the caller starts must call serveDataset. */
const START_SECONDS = 60;

interface Request {
  readonly type: typeof REQUEST;
  readonly id: number;
  /** The number of samples of the loader's dataset. */
  readonly samples: number;
  readonly draw: Draw;
}

interface Answer {
  readonly type: typeof ANSWER;
  readonly id: number;
  /** Null after an error. */
  readonly items: readonly ArrayData[] | null;
  readonly error: { readonly name: string; readonly message: string; readonly stack: string } | null;
}

/** Set in a thread whose module has called serveDataset. */
const served: { dataset: AsyncDataset | null } = { dataset: null };

/**
 * Offers a dataset to the loader that started this thread: a module that `workers` names calls it. On a main thread it does nothing, so that
 * the program can import the same module.
 *
 * Throws: ArgumentError for what is no dataset, or if the module calls it a second time in a thread
 * @example
 * export const dataset = withTransform(imageFolder('pictures'), resize([32, 32]));
 * serveDataset(dataset);
 */
export function serveDataset(dataset: AsyncDataset): void {
  lengthOf('serveDataset', dataset);
  refuseOptions('serveDataset', arguments[1]);
  const port = threadPort();
  if (port === null) return;
  if (served.dataset !== null) throw new ArgumentError('serveDataset: this module has offered a dataset already; make a module for each');
  served.dataset = dataset;
  const tellReady = (): void => port.post({ type: READY }, []);
  port.onMessage((message) => {
    const type = peek(message, 'type');
    if (type === HELLO) tellReady();
    if (type === REQUEST) void answer(dataset, message as Request).then((reply) => port.post(reply, buffersOf(reply)));
  });
  tellReady();
}

async function answer(dataset: AsyncDataset, { id, samples, draw }: Request): Promise<Answer> {
  try {
    if (dataset.length !== samples)
      throw new ArgumentError(
        `serveDataset: the thread's dataset has ${dataset.length} samples, the loader's ${samples}; offer the same one`,
      );
    const items = await startInScope(() => later(makeItems(dataset, draw), copyAll));
    return { type: ANSWER, id, items, error: null };
  } catch (error) {
    return { type: ANSWER, id, items: null, error: described(error, draw) };
  }
}

/** Returns what of an error a message can hold. What is no error names no sample yet. */
function described(error: unknown, { indices }: Draw): NonNullable<Answer['error']> {
  const text = (key: string): string | null => {
    const value = peek(error, key);
    return typeof value === 'string' ? value : null;
  };
  const message = text('message');
  if (message !== null) return { name: text('name') ?? 'Error', message, stack: text('stack') ?? '' };
  return { name: 'Error', message: `DataLoader: samples ${listed(indices)}: ${shown(error)} was thrown, which is no error`, stack: '' };
}

/** Returns copies: the dataset may keep what getBatch returned, and a transferred array is lost to it. */
function copyAll(items: readonly Item[]): ArrayData[] {
  return items.map((item) => {
    const { shape, dtype } = item;
    const values = elements(item);
    const data = newArray(dtype, values.length);
    copyElements('DataLoader: an item of the batch', values, dtype, data, 0);
    return { data, shape, dtype };
  });
}

function buffersOf({ items }: Answer): ArrayBuffer[] {
  return (items ?? []).map(({ data }) => data.buffer as ArrayBuffer);
}

/** Throws unless the options of workers are right. */
export function checkWorkers(options: WorkerOptions, hasTransform: boolean): void {
  checkOptions('DataLoader: workers', options, ['count', 'module']);
  const { count, module } = options;
  checkCount('DataLoader: workers', 'count', count);
  if (typeof module !== 'function') absoluteUrl('DataLoader: workers: module', module);
  if (hasTransform)
    throw new ArgumentError(
      'DataLoader: a worker cannot receive the function transform; put withTransform(dataset, transform) into the workers’ module',
    );
}

interface Task {
  readonly resolve: (items: readonly Item[]) => void;
  readonly reject: (error: unknown) => void;
}

/** One thread, and the batches that it was asked for. */
class DatasetThread {
  readonly #thread: Thread;
  readonly #place: string;
  readonly #tasks = new Map<number, Task>();
  /** Requests that wait until the module serves its dataset; null from then on. One that came earlier could be lost. */
  #queue: Request[] | null = [];
  #failure: WorkerError | null = null;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  constructor(module: WorkerOptions['module']) {
    const listener = {
      message: (value: unknown) => this.#receive(value),
      failed: (why: string, cause?: unknown) => this.#fail(why, cause),
    };
    if (typeof module === 'function') {
      this.#place = 'a worker';
      this.#thread = listenTo(startedBy(module), listener);
    } else {
      const url = absoluteUrl('DataLoader: workers: module', module);
      this.#place = `a worker of ${url}`;
      this.#thread = startThread(url, listener);
    }
    this.#thread.hold(false);
    if (typeof module === 'function') this.#awaitReady();
  }

  /** Waits for a Web Worker that the caller started. It may serve its dataset already, so it is asked. */
  #awaitReady(): void {
    const remedy = "import { serveDataset } from 'chainrule/data' in the module and call it with the dataset";
    this.#deadline = setTimeout(
      () => this.#fail(`its module has not called serveDataset within ${START_SECONDS} s; ${remedy}`),
      START_SECONDS * 1000,
    );
    this.#thread.post({ type: HELLO });
  }

  /** The number of batches that it is making. */
  get tasks(): number {
    return this.#tasks.size;
  }

  make(request: Request): Promise<readonly Item[]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#tasks.set(request.id, { resolve, reject });
      this.#thread.hold(true);
      if (this.#queue !== null) this.#queue.push(request);
      else this.#thread.post(request);
    });
  }

  #receive(message: unknown): void {
    const type = peek(message, 'type');
    if (type === READY) this.#start();
    else if (type === ANSWER) this.#finish(message as Answer);
    else if (peek(message, 'loaded') === true) this.#checkLoaded(message as Loaded);
  }

  #checkLoaded({ error, listens }: Loaded): void {
    if (error !== null) this.#fail(`its module throws ${error}`);
    else if (!listens) this.#fail('its module does not call serveDataset');
  }

  /** Sends what has waited for the module. */
  #start(): void {
    clearTimeout(this.#deadline);
    const queue = this.#queue ?? [];
    this.#queue = null;
    for (const request of queue) this.#thread.post(request);
  }

  #finish({ id, items, error }: Answer): void {
    const task = this.#tasks.get(id);
    this.#tasks.delete(id);
    if (this.#tasks.size === 0) this.#thread.hold(false);
    if (items !== null) task?.resolve(items);
    else task?.reject(errorOf(this.#place, error!));
  }

  #fail(why: string, cause?: unknown): void {
    clearTimeout(this.#deadline);
    this.#failure ??= new WorkerError(`DataLoader: ${this.#place} failed: ${why}`, { cause });
    this.#thread.hold(false);
    for (const { reject } of this.#tasks.values()) reject(this.#failure);
    this.#tasks.clear();
  }

  stop(): void {
    this.#fail('the loop has ended');
    this.#thread.stop();
  }
}

function startedBy(start: () => WebWorker): WebWorker {
  const worker: unknown = start();
  if (typeof peek(worker, 'addEventListener') === 'function') return worker as WebWorker;
  throw new ArgumentError(`DataLoader: workers: the function module must return a Web Worker, got ${kindOf(worker)}`);
}

/** Returns the error of a thread, with the thread's own as its cause. */
function errorOf(place: string, { name, message, stack }: NonNullable<Answer['error']>): WorkerError {
  const cause = Object.assign(new Error(message), { name, stack });
  return new WorkerError(`${message} (${name} in ${place})`, { cause });
}

/** Ends the threads of a loop that was dropped in the middle. */
const dropped = new FinalizationRegistry<readonly DatasetThread[]>((threads) => {
  for (const thread of threads) thread.stop();
});

/** The threads of one loop. Each makes whole batches. */
export class DatasetWorkers {
  readonly #threads: readonly DatasetThread[];
  readonly #samples: number;
  #requests = 0;

  /** @param samples the number of samples of the loader's dataset */
  constructor({ count, module }: WorkerOptions, samples: number) {
    this.#threads = Array.from({ length: count }, () => new DatasetThread(module));
    this.#samples = samples;
    dropped.register(this, this.#threads, this);
  }

  /** Makes a batch in the thread that has the fewest to make. */
  make(draw: Draw): Promise<readonly Item[]> {
    const thread = this.#threads.reduce((least, other) => (other.tasks < least.tasks ? other : least));
    // A copy: with a part of an array, all of its buffer would be sent.
    const own = { ...draw, indices: draw.indices.slice(), repeats: draw.repeats?.slice() ?? null };
    return thread.make({ type: REQUEST, id: this.#requests++, samples: this.#samples, draw: own });
  }

  /** Ends the threads, also in the middle of a batch. */
  end(): void {
    dropped.unregister(this);
    for (const thread of this.#threads) thread.stop();
  }
}
