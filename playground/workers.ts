/**
 * Workers of the page. The page is one file, so a worker runs the same script as the page, and `main.ts` finds out which of the two it is.
 */

/** The programs that a worker can run. */
export type WorkerProgram = (scope: WorkerScope) => void;

/** What a program uses of its worker. */
export interface WorkerScope {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
}

/** Starts a worker that runs the program `name`. */
export function startWorker(name: string): Worker {
  const script = document.getElementById('script')!.textContent;
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  // The name tells the worker which program to run.
  const worker = new Worker(url, { name });
  URL.revokeObjectURL(url);
  return worker;
}
