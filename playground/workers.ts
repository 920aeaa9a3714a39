/**
 * Workers of the page. The page is one file, which holds their script as a text.
 */

/** The programs that a worker can run: one for each panel. */
export type ProgramName = 'graph' | 'train' | 'se' | 'gradcheck';

export type WorkerProgram = (scope: WorkerScope) => void;

/** What a program uses of its worker. */
export interface WorkerScope {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
}

/** Starts a worker that runs a program. */
export function startWorker(name: ProgramName): Worker {
  const script = document.getElementById('compute')!.textContent;
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  // The name tells the worker which program to run.
  const worker = new Worker(url, { name });
  URL.revokeObjectURL(url);
  return worker;
}
