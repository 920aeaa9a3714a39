/**
 * The page's end of the worker that trains.
 */
import { startWorker } from '../workers.ts';
import type { Reply, Request } from './messages.ts';

export interface TrainWorkerEvents {
  readonly onReply: (reply: Reply) => void;
  /** Called when the worker could not start or has ended. The next request starts another one. */
  readonly onEnd: (message: string) => void;
}

/** Starts the worker at the first request. */
export class TrainWorker {
  readonly #events: TrainWorkerEvents;
  #worker: Worker | null = null;

  constructor(events: TrainWorkerEvents) {
    this.#events = events;
  }

  tell(request: Request): void {
    try {
      this.#worker ??= this.#start();
      this.#worker.postMessage(request, []);
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error));
    }
  }

  #start(): Worker {
    const worker = startWorker('train');
    worker.addEventListener('message', ({ data }) => this.#events.onReply(data as Reply));
    worker.addEventListener('error', (event) => this.#end(event.message));
    return worker;
  }

  #end(problem: string): void {
    this.#worker?.terminate();
    this.#worker = null;
    const what = problem === '' ? 'the browser gave no reason' : problem;
    this.#events.onEnd(`The worker that trains has ended: ${what}. Press Reset; if it ends again, reload the page.`);
  }
}
