/**
 * Starts threads that run a module and exchange messages with this one: worker_threads in Node, Web Workers elsewhere.
 */
import { peek } from '../core/describe.ts';
import { ArgumentError, shown } from '../core/errors.ts';
import { nodeModules } from '../platform/node.ts';

/** A Web Worker: the library's declarations need no types of a page. */
export interface WebWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message' | 'error', listen: (event: { readonly data?: unknown; readonly message?: string }) => void): void;
  terminate(): void;
}

/** What a thread tells: a message, or why it can send no more. */
export interface ThreadListener {
  message(value: unknown): void;
  /** The thread failed or ended. */
  failed(why: string, cause?: unknown): void;
}

/** A thread that was started. */
export interface Thread {
  post(message: unknown): void;
  /** Whether the thread keeps the process alive. Without effect in a browser. */
  hold(on: boolean): void;
  stop(): void;
}

/** The key under which a thread of startThread finds true in its workerData. */
export const STARTED = 'chainrule:thread';

/** The message that a thread sends when its module is loaded. `error` is its error, or null. */
export interface Loaded {
  readonly loaded: true;
  readonly error: string | null;
  /** Whether the module listens to messages. */
  readonly listens: boolean;
}

/** The key under which a thread's global object tells that a module listens. The program below has nothing in common with the module. */
const LISTENS = 'chainrule:listens';

/** A module is imported by a program, not the thread's own file: Node 20 starts no thread from TypeScript, even where it can import it. */
const program = (url: string, post: string): string => `import(${JSON.stringify(url)}).then(
  () => ${post}({ loaded: true, error: null, listens: globalThis['${LISTENS}'] === true }),
  (error) => ${post}({ loaded: true, error: String(error), listens: false }),
);`;

/** Starts a thread that imports the module at `url`, then sends Loaded. */
export function startThread(url: string, listener: ThreadListener): Thread {
  const load = nodeModules();
  if (load === undefined) {
    const text = URL.createObjectURL(new Blob([program(url, 'postMessage')], { type: 'text/javascript' }));
    return listenTo(new Worker(text, { type: 'module' }), listener, () => URL.revokeObjectURL(text));
  }
  const threads = load('node:worker_threads');
  const post = "process.getBuiltinModule('node:worker_threads').parentPort.postMessage";
  const worker = new threads.Worker(program(url, post), { eval: true, workerData: { [STARTED]: true } });
  worker.on('message', (value) => listener.message(value));
  worker.on('error', (error) => listener.failed(String(error), error));
  worker.on('exit', (code) => listener.failed(`it ended with code ${code}`));
  return {
    post: (message) => worker.postMessage(message, []),
    hold: (on) => (on ? worker.ref() : worker.unref()),
    stop: () => void worker.terminate(),
  };
}

/** The same with a Web Worker that the caller made. */
export function listenTo(worker: WebWorker, listener: ThreadListener, stopped: () => void = () => {}): Thread {
  worker.addEventListener('message', ({ data }) => listener.message(data));
  worker.addEventListener('error', (event) => listener.failed(event.message || 'its script could not be loaded'));
  return {
    post: (message) => worker.postMessage(message, []),
    hold: () => {},
    stop: () => {
      worker.terminate();
      stopped();
    },
  };
}

/** Answers the messages that a thread gets. */
export interface ThreadPort {
  onMessage(listen: (message: unknown) => void): void;
  post(message: unknown, transfer: ArrayBuffer[]): void;
}

/** Returns this thread's way to who started it; null on a main thread, and in a thread of Node that startThread did not start. */
export function threadPort(): ThreadPort | null {
  const port = findPort();
  if (port === null) return null;
  const onMessage = (listen: (message: unknown) => void): void => {
    port.onMessage(listen);
    Object.assign(globalThis, { [LISTENS]: true });
  };
  return { ...port, onMessage };
}

function findPort(): ThreadPort | null {
  const load = nodeModules();
  if (load !== undefined) {
    const { parentPort, workerData } = load('node:worker_threads');
    // A listener would keep another thread's event loop alive.
    if (parentPort === null || Object(workerData)[STARTED] !== true) return null;
    return {
      onMessage: (listen) => void parentPort.on('message', listen),
      post: (message, transfer) => parentPort.postMessage(message, transfer),
    };
  }
  const scope = globalThis as unknown as Partial<Pick<Worker, 'postMessage' | 'addEventListener'>> & { readonly document?: unknown };
  if (scope.document !== undefined || scope.postMessage === undefined) return null;
  const self = scope as Worker;
  return {
    onMessage: (listen) => self.addEventListener('message', ({ data }) => listen(data)),
    post: (message, transfer) => self.postMessage(message, transfer),
  };
}

/** Returns the text of an absolute URL. Throws: ArgumentError with the remedy for another value */
export function absoluteUrl(op: string, value: unknown): string {
  const text = typeof value === 'string' ? value : peek(value, 'href');
  if (typeof text === 'string' && URL.canParse(text)) return text;
  throw new ArgumentError(`${op} must be an absolute URL, such as new URL('./dataset.js', import.meta.url), got ${shown(value)}`);
}
