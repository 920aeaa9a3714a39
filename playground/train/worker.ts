/**
 * The worker's program: trains while the page shows it.
 */
import { FileError, getNumThreads, memory } from 'chainrule';
import type { WorkerScope } from '../workers.ts';
import { unpack } from './files.ts';
import type { Cause, Reply, Request } from './messages.ts';
import { gradientNorms, observe } from './observe.ts';
import type { PerNet } from './nets.ts';
import { Diverged, Session } from './session.ts';
import type { TrainSettings } from './settings.ts';
import { disposeTask, FilesError, mnistTask, syntheticTask, type Task } from './task.ts';

/** The least time between two reports of steps, in milliseconds. */
const REPORT_INTERVAL = 100;
/** The least time between two views, in milliseconds. */
const VIEW_INTERVAL = 1000;
/** After views, training has at least so many times the time that they took. */
const STEPS_PER_VIEW = 5;

/** A reply without the number of the run. */
type Body = Reply extends infer R ? (R extends Reply ? Omit<R, 'run'> : never) : never;

/** Runs in a worker of the page. */
export function trainProgram(worker: WorkerScope): void {
  const trainer = new Trainer((reply) => worker.postMessage(reply, []));
  worker.addEventListener('message', ({ data }) => trainer.handle(data as Request));
}

/** Trains, and reports. */
class Trainer {
  readonly #post: (reply: Reply) => void;
  readonly #channel = new MessageChannel();
  #run = 0;
  #session: Session | null = null;
  #image = 0;
  #playing = false;
  /** True while the loop is active. */
  #looping = false;
  /** The losses since the last report. */
  #losses: PerNet<number[]> = { plain: [], se: [] };
  #reportedAt = -Infinity;
  #viewsDueAt = -Infinity;
  #stepTime: number | null = null;

  constructor(post: (reply: Reply) => void) {
    this.#post = post;
  }

  handle(request: Request): void {
    switch (request.kind) {
      case 'start':
        void this.#start(request);
        break;
      case 'play':
        this.#playing = true;
        void this.#loop();
        break;
      case 'pause':
        this.#playing = false;
        break;
      case 'step':
        this.#playing = false;
        this.#try((session) => {
          this.#step(session);
          this.#flush(session);
        });
        break;
      case 'change':
        this.#try((session) => {
          session.change(request.update);
          this.#reply({ kind: 'schedule', schedule: session.schedule });
        });
        break;
      case 'image':
        this.#image = request.image;
        this.#viewsDueAt = -Infinity;
        if (!this.#playing) this.#try((session) => this.#reportViews(session));
        break;
    }
  }

  async #start({ run, settings, files, image, play }: Request & { readonly kind: 'start' }): Promise<void> {
    this.#run = run;
    this.#playing = play;
    this.#image = image;
    this.#discard();
    try {
      const task = await taskOf(settings, files);
      // Another run may have started while the files were read.
      if (this.#run !== run) return disposeTask(task);
      this.#session = sessionFor(settings, task);
      const { pixels, shape, labels, samples } = task.test;
      this.#reply({ kind: 'pictures', pixels, shape, labels, samples, classes: task.classes });
      this.#reportSteps(this.#session);
      // The first steps come before the first views, so that the curves begin soon.
      this.#viewsDueAt = performance.now() + VIEW_INTERVAL / 4;
    } catch (error) {
      if (this.#run === run) this.#fail(error);
      return;
    }
    await this.#loop();
  }

  /** Trains until the run is paused or has failed. Between two steps the worker receives messages. */
  async #loop(): Promise<void> {
    if (this.#looping) return;
    this.#looping = true;
    while (this.#playing && this.#session !== null) {
      this.#try((session) => this.#advance(session));
      await this.#nextTask();
    }
    this.#looping = false;
    this.#try((session) => this.#flush(session));
  }

  #nextTask(): Promise<void> {
    const { port1, port2 } = this.#channel;
    return new Promise((resolve) => {
      port1.addEventListener('message', () => resolve(), { once: true });
      port1.start();
      port2.postMessage(null);
    });
  }

  #advance(session: Session): void {
    this.#step(session);
    if (performance.now() >= this.#reportedAt + REPORT_INTERVAL) this.#reportSteps(session);
    if (performance.now() >= this.#viewsDueAt) this.#reportViews(session);
  }

  #step(session: Session): void {
    const start = performance.now();
    const { plain, se } = session.step();
    const time = performance.now() - start;
    this.#stepTime = this.#stepTime === null ? time : 0.9 * this.#stepTime + 0.1 * time;
    this.#losses.plain.push(plain);
    this.#losses.se.push(se);
  }

  /** Reports what is not reported yet. */
  #flush(session: Session): void {
    if (this.#losses.plain.length > 0) this.#reportSteps(session);
    this.#reportViews(session);
  }

  #reportSteps(session: Session): void {
    const { plain, se } = this.#losses;
    this.#losses = { plain: [], se: [] };
    this.#reportedAt = performance.now();
    this.#reply({
      kind: 'steps',
      step: session.steps,
      losses: { plain: Float64Array.from(plain), se: Float64Array.from(se) },
      update: session.update,
      norms: gradientNorms(session),
      stepTime: this.#stepTime,
      threads: getNumThreads(),
      bytes: memory().bytes,
    });
  }

  #reportViews(session: Session): void {
    const start = performance.now();
    const { classes } = session.task;
    const image = Math.min(this.#image, session.task.test.labels.length - 1);
    this.#reply({ kind: 'views', step: session.steps, image, classes, ...observe(session, image) });
    const end = performance.now();
    this.#viewsDueAt = end + Math.max(VIEW_INTERVAL, STEPS_PER_VIEW * (end - start));
  }

  #reply(body: Body): void {
    this.#post({ run: this.#run, ...body });
  }

  /** Calls `action` if there is a session, and reports what it throws. */
  #try(action: (session: Session) => void): void {
    if (this.#session === null) return;
    try {
      action(this.#session);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const cause = causeOf(error);
    this.#playing = false;
    if (cause !== 'loss') this.#discard();
    this.#reply({ kind: 'failed', message: error instanceof Error ? error.message : String(error), cause });
  }

  #discard(): void {
    if (this.#session !== null) {
      disposeTask(this.#session.task);
      this.#session.dispose();
    }
    this.#session = null;
    this.#losses = { plain: [], se: [] };
    this.#stepTime = null;
  }
}

async function taskOf(settings: TrainSettings, files: readonly File[]): Promise<Task> {
  if (settings.data === 'synthetic') return syntheticTask(settings);
  return mnistTask(await Promise.all(files.map(unpack)));
}

/** Makes the session, or frees the task if its images do not suit the settings. */
function sessionFor(settings: TrainSettings, task: Task): Session {
  try {
    return new Session(settings, task);
  } catch (error) {
    disposeTask(task);
    throw error;
  }
}

function causeOf(error: unknown): Cause {
  if (error instanceof Diverged) return 'loss';
  if (error instanceof FilesError) return 'missing file';
  return error instanceof FileError ? 'bad file' : 'other';
}
