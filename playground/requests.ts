/**
 * Questions to a worker that answers one after the other.
 */
import { later } from './ui/later.ts';
import { type ProgramName, startWorker, type WorkerProgram } from './workers.ts';

/** What a worker sends: an answer, or what it says unasked when it starts. */
type Message<Answer, Notice> = { readonly answer: Answer } | { readonly notice: Notice };

/** Returns a program that answers each request, and first sends a notice if there is one. */
export function answering<Request, Answer, Notice = never>(answer: (request: Request) => Answer, notice?: () => Notice): WorkerProgram {
  return (scope) => {
    const send = (message: Message<Answer, Notice>): void => scope.postMessage(message, []);
    scope.addEventListener('message', ({ data }) => send({ answer: answer(data as Request) }));
    if (notice !== undefined) send({ notice: notice() });
  };
}

export interface RequestEvents<Answer, Notice> {
  readonly onAnswer: (answer: Answer) => void;
  /** Called each time a worker has started. */
  readonly onNotice?: (notice: Notice) => void;
  /** Called with the reason why there is no answer. The next request starts another worker. */
  readonly onFailure: (reason: string) => void;
}

/**
 * Asks a worker, one request at a time. Of requests that arrive meanwhile only the last is kept, and an answer that a newer request
 * replaces is dropped: the answer is always that of the last request.
 */
export class Requests<Request, Answer, Notice = never> {
  readonly #program: ProgramName;
  readonly #events: RequestEvents<Answer, Notice>;
  readonly #limit: number;
  #worker: Worker | null = null;
  #waiting: { readonly request: Request } | null = null;
  #isBusy = false;
  #timer: number | undefined;

  /** @param limit After this time a request is given up, in milliseconds. */
  constructor(program: ProgramName, events: RequestEvents<Answer, Notice>, limit = Infinity) {
    this.#program = program;
    this.#events = events;
    this.#limit = limit;
  }

  ask(request: Request): void {
    this.#waiting = { request };
    if (this.#isBusy) return;
    if (this.#worker !== null) this.#next();
    // The panel is drawn first: on few cores a worker that starts would delay it.
    else later(this, () => this.#next());
  }

  #next(): void {
    const { request } = this.#waiting!;
    this.#waiting = null;
    this.#isBusy = true;
    try {
      this.#worker ??= this.#start();
      this.#worker.postMessage(request, []);
    } catch (error) {
      // A browser may refuse workers to a file.
      return this.#giveUp(error instanceof Error ? error.message : String(error));
    }
    if (this.#limit < Infinity)
      this.#timer = window.setTimeout(() => this.#giveUp(`it took more than ${this.#limit / 1000} s`), this.#limit);
  }

  #start(): Worker {
    const worker = startWorker(this.#program);
    worker.addEventListener('message', ({ data }) => this.#receive(data as Message<Answer, Notice>));
    worker.addEventListener('error', ({ message }) => this.#giveUp(message === '' ? 'the browser gave no reason' : message));
    return worker;
  }

  #receive(message: Message<Answer, Notice>): void {
    if ('notice' in message) this.#events.onNotice?.(message.notice);
    else this.#finish(() => this.#events.onAnswer(message.answer));
  }

  #giveUp(reason: string): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#finish(() => this.#events.onFailure(reason));
  }

  #finish(report: () => void): void {
    window.clearTimeout(this.#timer);
    this.#isBusy = false;
    if (this.#waiting === null) report();
    else this.#next();
  }
}
