/**
 * Checks programs in a worker, so that the page stays responsive.
 */
import { startWorker, type WorkerProgram } from '../workers.ts';
import { checkProgram, type CheckOutcome, type CheckRequest } from './model.ts';

/** The worker's program in main.ts. */
export const GRADCHECK_WORKER = 'gradcheck';

/** Answers each request with its outcome. */
export const gradcheckProgram: WorkerProgram = (scope) => {
  scope.addEventListener('message', (event) => scope.postMessage(checkProgram(event.data as CheckRequest), []));
};

/** After this time a check is given up, in milliseconds. */
const LIMIT = 20_000;

/** Runs one check at a time. Of requests that arrive meanwhile only the last is kept. */
export class Checker {
  readonly #onOutcome: (outcome: CheckOutcome) => void;
  #worker: Worker | null = null;
  #waiting: CheckRequest | null = null;
  #isBusy = false;
  #timer: number | undefined;

  constructor(onOutcome: (outcome: CheckOutcome) => void) {
    this.#onOutcome = onOutcome;
  }

  check(request: CheckRequest): void {
    this.#waiting = request;
    if (!this.#isBusy) this.#next();
  }

  #next(): void {
    const request = this.#waiting;
    if (request === null) return;
    this.#waiting = null;
    this.#isBusy = true;
    this.#worker ??= this.#start();
    this.#timer = window.setTimeout(() => this.#giveUp(`the check took more than ${LIMIT / 1000} s`), LIMIT);
    this.#worker.postMessage(request, []);
  }

  #start(): Worker {
    const worker = startWorker(GRADCHECK_WORKER);
    worker.addEventListener('message', (event: MessageEvent<CheckOutcome>) => this.#finish(event.data));
    worker.addEventListener('error', (event) => this.#giveUp(event.message));
    return worker;
  }

  #giveUp(message: string): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#finish({ failure: { message, editor: null, line: 1 } });
  }

  #finish(outcome: CheckOutcome): void {
    window.clearTimeout(this.#timer);
    this.#isBusy = false;
    // An outcome that a newer request replaces would flash by.
    if (this.#waiting === null) this.#onOutcome(outcome);
    else this.#next();
  }
}
