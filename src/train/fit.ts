/**
 * The training loop as an object: a sequence of events that can be left, saved, restored and continued at each of them.
 */
import { defaultGenerator, noGrad, scope, type Tensor } from '../autograd/index.ts';
import { ArgumentError, ChainruleError, StateDictError } from '../core/errors.ts';
import { checkFunction, checkText, refuseSurplus } from '../core/options.ts';
import type { Stateful } from '../core/stateful.ts';
import { cloneStateDict, disposeStateDict } from '../nn/index.ts';
import { clipGradNorm, clipGradValue, type EMA, type Optimizer, ReduceLROnPlateau } from '../optim/index.ts';
import { checkLoss, checkModel, evaluate, type Evaluation, isEvaluated, type Model, readBatch, type TrainingBatch } from './evaluate.ts';
import type { Callback, EndEvent, EvaluationEvent, FitEvent, FitRun, PauseEvent, StepEvent } from './events.ts';
import { BufferCopies } from './buffer-copies.ts';
import { checkFit, type FitOptions } from './fit-options.ts';
import { checkState, type FitState, noProgress } from './fit-state.ts';
import { type Metric, valuesOf } from './metrics.ts';
import { metricsOf } from './parallel.ts';

/** A batch gave a loss that is NaN or infinite. The parameters and buffers are those before the step. */
export class NonFiniteLossError extends ChainruleError {
  /** The step whose loss it is, from 1. */
  readonly step: number;
  /** The loss: NaN, Infinity or −Infinity. */
  readonly loss: number;

  constructor(step: number, loss: number) {
    super(`fit: step ${step}: the loss is ${loss}; the parameters are those of the step before. Try a lower learning rate, or clipNorm`);
    this.step = step;
    this.loss = loss;
  }
}

/**
 * Trains a model: returns a run, which yields an event after each step, epoch and evaluation, and one at the end or at a pause.
 *
 *   for each batch:  zeroGrad, forward, loss, backward, clip, optimizer.step, scheduler.step
 *
 * The run is Stateful as a whole: `saveCheckpoint(path, { run })` at any event, and `loadCheckpoint(path, { run })` into a run that was made
 * in the same way, end with the same bits as a run that was never interrupted. An aborted signal pauses the run: a pause event is the
 * last one of the loop, and another loop goes on. A batch that throws, or cannot be made, ends its step: the loader, the model's buffers and
 * the default generator are put back, and another loop does this step again, with the same bits.
 * If an average or a schedule throws after the update of the parameters, another loop begins there: no update is made twice.
 * A model in evaluation mode is switched to training first; modules that are in evaluation mode within a model in training, such as a
 * frozen batch norm, stay so.
 * Throws: NonFiniteLossError before a step whose loss is NaN or infinite; ArgumentError with clipNorm if the norm of the gradients is
 * @example
 * const run = fit(model, { loader, optimizer, loss: F.crossEntropy, epochs: 10, callbacks: [logProgress()] });
 * for await (const event of run) if (event.type === 'epoch') console.log(event.loss);
 */
export function fit(model: Model, options: FitOptions): Fit {
  return new Fit(model, options);
}

/** A training run; see fit. */
export class Fit implements FitRun, AsyncIterable<FitEvent> {
  /** The model that it trains. */
  readonly model: Model;
  /** Updates the model's parameters. */
  readonly optimizer: Optimizer;
  /** The names of the metrics of steps and evaluations. */
  readonly metricNames: readonly string[];
  readonly #options: FitOptions;
  readonly #callbacks: readonly Callback[];
  readonly #metrics: readonly (readonly [name: string, metric: Metric])[];
  readonly #accumulate: number;
  #progress = noProgress();
  #pending: FitState['pending'] = null;
  #group = noGroup();
  #isRunning = false;
  /** With `parallel`: whether a rank has asked to stop, as of the last step. */
  #isStopAgreed = false;
  /** Whether the model has the averages of its weights, as an evaluation uses them. */
  #hasAverages = false;
  /** A step that has updated the parameters, with what is left to do before its event. */
  #updated: { readonly event: StepEvent; readonly left: (() => void)[] } | null = null;

  /** As fit. */
  constructor(model: Model, options: FitOptions) {
    checkModel('fit', model);
    checkFit(options);
    const { evaluation, callbacks = [], accumulate = 1, metrics = {} } = options;
    this.model = model;
    this.optimizer = options.optimizer;
    this.metricNames = Object.keys({ ...metrics, ...evaluation?.metrics });
    this.#metrics = metricsOf(metrics, options.parallel);
    this.#options = options;
    this.#callbacks = [...callbacks];
    this.#accumulate = accumulate;
  }

  /** Steps done so far. */
  get step(): number {
    return this.#progress.step;
  }

  /** The current epoch, from 0. */
  get epoch(): number {
    return this.#progress.epoch;
  }

  /** Seconds spent on steps and on making their batches, without callbacks, evaluations and the body of the loop. */
  get seconds(): number {
    return this.#progress.seconds;
  }

  /** Batches of an epoch. */
  get batches(): number {
    return this.#options.loader.length;
  }

  /** Steps of the whole run. */
  get totalSteps(): number {
    const { epochs = Infinity, maxSteps = Infinity, loader } = this.#options;
    return Math.min(maxSteps, epochs * Math.ceil(loader.length / this.#accumulate));
  }

  /** Ends the run after the current event. The end event gives the reason. */
  stop(reason: string): void {
    refuseSurplus('stop', arguments, 1);
    checkText('stop', 'the reason', reason);
    this.#progress.reason ??= reason;
  }

  /** Runs to the end, or to a pause, and returns that event. */
  async finish(): Promise<EndEvent | PauseEvent> {
    refuseSurplus('finish', arguments, 0);
    let last: FitEvent | null = null;
    for await (const event of this) last = event;
    if (last?.type === 'end' || last?.type === 'pause') return last;
    throw new ArgumentError('finish: the run has ended already');
  }

  /**
   * Yields the events from here on. Leaving the loop pauses the run: another loop goes on after the last event.
   * Throws: ArgumentError if another loop over the run is active
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<FitEvent, void> {
    if (this.#isRunning) throw new ArgumentError('fit: another loop over this run is active');
    this.#isRunning = true;
    try {
      yield* this.#events();
    } finally {
      this.#isRunning = false;
    }
  }

  /** Runs a synchronous `fn` with the weights that evaluations use: the averages of `ema`, if there is one. Then restores the weights. */
  useEvaluated<T>(fn: () => T): T {
    refuseSurplus('useEvaluated', arguments, 1);
    checkFunction('useEvaluated', 'fn', fn);
    const { ema } = this.#options;
    return ema && !this.#hasAverages ? ema.use(fn) : fn();
  }

  /**
   * Returns the state. Throws: StateDictError between two batches of one step, whose gradients are no part of it, and while an evaluation
   * uses averages in place of the weights
   */
  stateDict(): FitState {
    refuseSurplus('stateDict', arguments, 0);
    if (this.#hasAverages)
      throw new StateDictError('fit.stateDict: an evaluation uses the averages of the weights; save the run at an event');
    if (this.#group.batches > 0) throw new StateDictError('fit.stateDict: a step has only some of its batches; save the run at an event');
    if (this.#updated !== null)
      throw new StateDictError('fit.stateDict: a step has updated the parameters, and what follows has failed; begin another loop first');
    const { loader, scheduler, ema } = this.#options;
    const evaluationLoader = this.#evaluationLoader();
    return {
      model: this.model.stateDict(),
      optimizer: this.optimizer.stateDict(),
      loader: loader.stateDict(),
      evaluationLoader: evaluationLoader?.stateDict() ?? null,
      scheduler: scheduler?.stateDict() ?? null,
      ema: ema?.stateDict() ?? null,
      callbacks: this.#callbacks.map((callback) => callback.stateDict?.() ?? null),
      progress: { ...this.#progress },
      pending: this.#pending,
    };
  }

  /** Restores a state. Throws: StateDictError if it is none or the run was made in another way, before anything changes */
  loadStateDict(state: FitState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    if (this.#isRunning) throw new StateDictError('fit.loadStateDict: a loop over this run is active; leave it first');
    checkState(state, this.#callbacks.length);
    const { loader, scheduler = null, ema = null } = this.#options;
    const parts: [name: string, part: Partial<Stateful> | null, saved: object | null][] = [
      ['model', this.model, state.model],
      ['optimizer', this.optimizer, state.optimizer],
      ['loader', loader, state.loader],
      ['evaluation.loader', this.#evaluationLoader(), state.evaluationLoader],
      ['scheduler', scheduler, state.scheduler],
      ['ema', ema, state.ema],
      ...this.#callbacks.map((c, i): [string, Partial<Stateful>, object | null] => [`callback ${i}`, c, state.callbacks[i] ?? null]),
    ];
    for (const [name, part, saved] of parts) {
      if ((part?.loadStateDict === undefined) !== (saved === null))
        throw new StateDictError(
          `fit.loadStateDict: ${name}: the state has ${saved === null ? 'none' : 'one'}, the run ${saved === null ? 'has one' : 'has none'}`,
        );
    }
    loadAll(parts.flatMap(([, part, saved]) => (saved === null ? [] : [[part as Stateful, saved] as const])));
    this.#progress = { ...state.progress };
    this.#pending = state.pending;
    this.#updated = null;
  }

  /** The loader of evaluations, if it has a state: its epoch decides on the order and augmentation of its samples. */
  #evaluationLoader(): Stateful | null {
    const loader: (AsyncIterable<unknown> & Partial<Stateful>) | undefined = this.#options.evaluation?.loader;
    return loader?.stateDict === undefined || loader.loadStateDict === undefined ? null : (loader as Stateful);
  }

  // — the loop —

  async *#events(): AsyncGenerator<FitEvent, void> {
    const { loader } = this.#options;
    if (this.#pending !== null) yield* this.#deliver(this.#pending.event, this.#pending.next);
    if (this.#progress.ended) return;
    this.#isStopAgreed = false;
    if (!this.model.training) this.model.train();
    if (this.#updated !== null) yield* this.#deliver(this.#completed());
    yield* this.#due();
    // A loader goes on where it is only after its state was loaded; otherwise a loop begins the next epoch.
    if (loader.position > 0) loader.loadStateDict(loader.stateDict() as never);
    while (!this.#isDone()) yield* this.#epochEvents();
    const { step, epoch } = this.#progress;
    // Nothing was left out of a run that is stopped with its last step.
    const reason = this.#hasAllSteps() ? null : this.#progress.reason;
    // Of a run with all its steps, an aborted evaluation may be missing.
    this.#progress.ended = this.#isComplete() && !this.#isEvaluationDue();
    yield* this.#deliver(this.#progress.ended ? { type: 'end', step, epoch, reason } : { type: 'pause', step, epoch });
  }

  async *#epochEvents(): AsyncGenerator<FitEvent, void> {
    for await (const event of this.#steps()) {
      yield* this.#deliver(event);
      yield* this.#due();
      if (this.#isDone()) return;
    }
  }

  /** Does the steps of an epoch. One that throws before its update is undone, so that another loop begins with it. */
  async *#steps(): AsyncGenerator<StepEvent, void> {
    const buffers = new BufferCopies(this.model);
    let undo: (() => void) | null = null;
    let start = performance.now();
    try {
      undo = this.#beginStep(buffers);
      for await (const batch of this.#options.loader) {
        scope(() => this.#train(batch, this.#group));
        const event = this.#updated && this.#completed();
        this.#progress.seconds += (performance.now() - start) / 1000;
        if (event !== null) {
          undo = null;
          yield event;
          undo = this.#beginStep(buffers);
        }
        start = performance.now();
      }
    } catch (error) {
      if (this.#updated === null) undo?.();
      throw error;
    } finally {
      buffers.dispose();
    }
  }

  /** Does what is left of a step that has updated the parameters, and returns its event. What throws is left for the next call. */
  #completed(): StepEvent {
    const { event, left } = this.#updated!;
    for (let act = left[0]; act !== undefined; act = left[0]) {
      act();
      left.shift();
    }
    this.#updated = null;
    return event;
  }

  /** Returns a function that puts back to here what the batches of a step change: the loader, what is counted of them, buffers, random draws. */
  #beginStep(buffers: BufferCopies): () => void {
    const { loader } = this.#options;
    const { lossSum, samples } = this.#progress;
    const place = loader.stateDict();
    const draws = defaultGenerator.stateDict();
    buffers.save();
    return () => {
      this.#group = noGroup();
      Object.assign(this.#progress, { lossSum, samples });
      loader.loadStateDict(place as never);
      defaultGenerator.loadStateDict(draws);
      buffers.restore();
    };
  }

  #hasAllSteps(): boolean {
    const { epochs = Infinity, maxSteps = Infinity } = this.#options;
    const { step, epoch } = this.#progress;
    return step >= maxSteps || epoch >= epochs;
  }

  /** Whether all steps are done, or the run was stopped. */
  #isComplete(): boolean {
    return this.#progress.reason !== null || this.#hasAllSteps();
  }

  /** Whether this loop does no other step. */
  #isDone(): boolean {
    return this.#isComplete() || this.#isAborted();
  }

  #isAborted(): boolean {
    return this.#options.parallel ? this.#isStopAgreed : this.#isSignalled();
  }

  #isSignalled(): boolean {
    return this.#options.signal?.aborted === true;
  }

  /** Calls the callbacks from number `first` on, then yields the event. */
  async *#deliver(event: FitEvent, first = 0): AsyncGenerator<FitEvent, void> {
    for (let i = first; i < this.#callbacks.length; i++) {
      // A callback that saves the run has received the event, those behind it have not. A restored run goes on, so it begins with no pause.
      const isLasting = event.type !== 'pause';
      this.#pending = isLasting ? { event, next: i + 1 } : null;
      try {
        await this.#callbacks[i]!(event, this);
      } catch (error) {
        // As on a full disk: another loop begins with this callback, so that it misses no event.
        if (isLasting) this.#pending = { event, next: i };
        throw error;
      }
    }
    this.#pending = null;
    yield event;
  }

  /** The events that are due after a step: the end of an epoch, and an evaluation. */
  async *#due(): AsyncGenerator<FitEvent, void> {
    const { loader, scheduler, schedulePer = 'step' } = this.#options;
    const progress = this.#progress;
    const isEpochEnd = progress.samples > 0 && (loader.position === 0 || loader.position === loader.length);
    if (isEpochEnd) {
      const { step, epoch, lossSum, samples } = progress;
      if (schedulePer === 'epoch' && scheduler && !(scheduler instanceof ReduceLROnPlateau)) scheduler.step();
      Object.assign(progress, { epoch: epoch + 1, lossSum: 0, samples: 0 });
      yield* this.#deliver({ type: 'epoch', step, epoch, loss: lossSum / samples });
    }
    if (!this.#isEvaluationDue()) return;
    const event = await this.#evaluate();
    if (event === null) return;
    progress.evaluatedAt = progress.step;
    if (scheduler instanceof ReduceLROnPlateau) scheduler.step(event.loss);
    yield* this.#deliver(event);
  }

  #isEvaluationDue(): boolean {
    const { evaluation } = this.#options;
    const { step, evaluatedAt, samples } = this.#progress;
    if (!evaluation || step === 0 || evaluatedAt === step) return false;
    const { every = 'epoch' } = evaluation;
    // Between two epochs no sample of the next one is counted yet.
    const isDue = every === 'epoch' ? samples === 0 : step % every === 0;
    return isDue || step >= this.totalSteps;
  }

  /** Returns the event of an evaluation; null if the signal was aborted before its end. One that ends early is done again in full. */
  async #evaluate(): Promise<EvaluationEvent | null> {
    const { loss, ema, signal = null, parallel = null } = this.#options;
    // A signal may reach one rank only, and all must end an evaluation together.
    const { every: _, ...options } = { loss, signal: parallel ? null : signal, parallel, ...this.#options.evaluation! };
    const { step, epoch } = this.#progress;
    const run = (): Promise<Evaluation> => evaluate(this.model, options);
    const loader = this.#evaluationLoader();
    const place = loader?.stateDict();
    try {
      this.#hasAverages = ema != null;
      return { type: 'evaluation', step, epoch, ...(ema ? await withAverages(this.model, ema, run) : await run()) };
    } catch (error) {
      loader?.loadStateDict(place as never);
      if (this.#isAborted() && error === signal!.reason) return null;
      throw error;
    } finally {
      this.#hasAverages = false;
    }
  }

  /** Trains on a batch, and updates the parameters unless the step needs more batches. */
  #train(batch: TrainingBatch, group: Group): void {
    const { optimizer, loader } = this.#options;
    const { count, input, target } = readBatch('fit', batch);
    if (isEvaluated(this.model))
      throw new ArgumentError('fit: an evaluation of the model is running, so its modules are in evaluation mode; await evaluate(…) first');
    if (group.batches === 0) {
      group.size = Math.min(this.#accumulate, loader.length - loader.position + 1);
      for (const [, metric] of this.#metrics) metric.reset();
      optimizer.zeroGrad();
    }
    const { loss, rows } = this.#backward(input, target, count, group);
    group.losses += loss;
    group.samples += rows;
    this.#progress.lossSum += loss * rows;
    this.#progress.samples += rows;
    if (++group.batches === group.size) this.#update(group);
  }

  /** Adds the gradients of a batch. Returns its mean loss and number of samples, with `parallel` of all ranks. */
  #backward(input: Tensor, target: Tensor, count: number, group: Group): { readonly loss: number; readonly rows: number } {
    const { parallel } = this.#options;
    if (parallel) {
      const lossOf = (x: Tensor, y: Tensor): Tensor => this.#lossOf(x, y);
      const options = { sync: group.batches + 1 === group.size, scale: 1 / group.size, stop: this.#isSignalled() };
      const result = parallel.backward([input, target], lossOf, options);
      this.#isStopAgreed = result.stop;
      if (!Number.isFinite(result.loss)) throw new NonFiniteLossError(this.step + 1, result.loss);
      return result;
    }
    const loss = this.#lossOf(input, target);
    const value = loss.item();
    if (!Number.isFinite(value)) throw new NonFiniteLossError(this.step + 1, value);
    (group.size === 1 ? loss : loss.div(group.size)).backward();
    return { loss: value, rows: count };
  }

  /** Returns the loss of rows, and adds them to the metrics if it is finite. */
  #lossOf(input: Tensor, target: Tensor): Tensor {
    const output = this.model.forward(input);
    const loss = checkLoss('fit', this.#options.loss(output, target));
    if (Number.isFinite(loss.item())) noGrad(() => this.#metrics.forEach(([, metric]) => metric.update(output, target)));
    return loss;
  }

  #update(group: Group): void {
    const { optimizer, scheduler, schedulePer = 'step', clipNorm, clipValue, ema } = this.#options;
    const lr = optimizer.paramGroups[0]!.lr;
    const params = optimizer.paramGroups.flatMap((g) => [...g.params]);
    const gradNorm = clipNorm == null ? null : clipGradNorm(params, clipNorm, { errorIfNonfinite: true });
    if (clipValue != null) clipGradValue(params, clipValue);
    // Before the update, after which nothing is undone.
    const metrics = valuesOf(this.#metrics);
    optimizer.step();
    const { losses, samples, batches } = group;
    Object.assign(group, { losses: 0, samples: 0, batches: 0 });
    const step = ++this.#progress.step;
    const event: StepEvent = { type: 'step', step, epoch: this.#progress.epoch, loss: losses / batches, lr, gradNorm, samples, metrics };
    const left: (() => void)[] = [];
    if (ema) left.push(() => ema.update());
    if (schedulePer === 'step' && scheduler && !(scheduler instanceof ReduceLROnPlateau)) left.push(() => scheduler.step());
    this.#updated = { event, left };
  }
}

/** The batches of one step. */
interface Group {
  losses: number;
  samples: number;
  batches: number;
  /** Batches of the whole group. */
  size: number;
}

function noGroup(): Group {
  return { losses: 0, samples: 0, batches: 0, size: 0 };
}

/** Loads all states or, if one throws, none: what is loaded is rolled back. */
function loadAll(parts: readonly (readonly [part: Stateful, saved: object])[]): void {
  const before: object[] = [];
  let loaded = 0;
  try {
    for (const [part] of parts) before.push(cloneStateDict(part.stateDict()));
    for (const [part, saved] of parts) {
      part.loadStateDict(saved as never);
      loaded++;
    }
  } catch (error) {
    for (let i = loaded - 1; i >= 0; i--) parts[i]![0].loadStateDict(before[i] as never);
    throw error;
  } finally {
    before.forEach(disposeStateDict);
  }
}

/** Runs `evaluation` with the averages as the model's weights; then restores these, also if it throws. */
async function withAverages<T>(model: Model, ema: EMA, evaluation: () => Promise<T>): Promise<T> {
  const weights = cloneStateDict(model.stateDict());
  try {
    ema.copyTo();
    return await evaluation();
  } finally {
    model.loadStateDict(weights);
    disposeStateDict(weights);
  }
}
