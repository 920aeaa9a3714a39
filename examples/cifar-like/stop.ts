/**
 * What ends a run early: a signal, or an output that cannot be written.
 */
import { systemProblem } from './errors.ts';

/** Signals that end a run after it has saved, with the exit codes of a shell. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Signals within a second count as one, as npm sends each twice. */
const REPEAT_MS = 1000;

type Signal = keyof typeof EXIT_CODES;

/**
 * Watches signals and standard output until `dispose`.
 *
 * A second signal exits at once, after `beforeExit`: the last checkpoint is complete at any moment.
 */
export class StopRequest {
  readonly #controller = new AbortController();
  #code: number | null = null;
  #outputProblem: string | null = null;
  #signalledAt = 0;
  readonly #beforeExit: () => void;
  readonly #handlers: readonly (readonly [Signal, () => void])[];

  constructor(beforeExit: () => void) {
    this.#beforeExit = beforeExit;
    this.#handlers = (Object.keys(EXIT_CODES) as Signal[]).map((signal) => [signal, () => this.#stopFor(signal)] as const);
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
    process.stdout.on('error', this.#onOutputError);
  }

  /** Is aborted when the run shall stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The exit code of a run that was stopped. */
  get code(): number {
    return this.#code ?? 0;
  }

  /** Why standard output cannot be written, such as `EPIPE: broken pipe`; null if it can. */
  get outputProblem(): string | null {
    return this.#outputProblem;
  }

  dispose(): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
    process.stdout.off('error', this.#onOutputError);
  }

  #stopFor(signal: Signal): void {
    const now = performance.now();
    if (this.#signalledAt > 0 && now - this.#signalledAt > REPEAT_MS) {
      this.#beforeExit();
      process.exit(EXIT_CODES[signal]);
    }
    if (this.#signalledAt === 0) this.#signalledAt = now;
    this.#stop(EXIT_CODES[signal]);
  }

  readonly #onOutputError = (error: Error): void => {
    this.#outputProblem ??= systemProblem(error) ?? error.message;
    this.#stop(1);
  };

  #stop(code: number): void {
    this.#code ??= code;
    this.#controller.abort();
  }
}

/** Waits until the errors of earlier writes to standard output have been reported. */
export function outputSettled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
