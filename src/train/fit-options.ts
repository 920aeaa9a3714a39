/**
 * The options of fit, and their checks.
 */
import { isInstance, peek } from '../core/describe.ts';
import { ArgumentError, isArray, kindOf, shown } from '../core/errors.ts';
import { checkFunction, checkOptions } from '../core/options.ts';
import type { Stateful } from '../core/stateful.ts';
import { EMA, Optimizer, ReduceLROnPlateau, type Scheduler } from '../optim/index.ts';
import {
  type AbortSignalLike,
  checkLoader,
  checkReduction,
  checkSignal,
  type EvaluateOptions,
  type LossFunction,
  type TrainingBatch,
} from './evaluate.ts';
import type { Callback } from './events.ts';
import { checkMetrics, type Metric } from './metrics.ts';
import { checkParallel, type ParallelTraining } from './parallel.ts';

/** Yields the batches of one epoch per loop and knows its place among them, as DataLoader does. */
export interface TrainingLoader extends AsyncIterable<TrainingBatch>, Stateful {
  /** Number of batches in an epoch. */
  readonly length: number;
  /** Number of batches of the current epoch already yielded. */
  readonly position: number;
}

/** When to evaluate, and with what. */
export interface FitEvaluation extends Omit<EvaluateOptions, 'loss' | 'signal' | 'parallel'> {
  /** After each epoch or after so many steps, and after the last step. Default 'epoch'. */
  readonly every?: 'epoch' | number;
  /** Default: the loss of the training. */
  readonly loss?: LossFunction;
}

/** Options of fit. Give `epochs` or `maxSteps`; of both, what comes first ends the run. */
export interface FitOptions {
  readonly loader: TrainingLoader;
  readonly optimizer: Optimizer;
  /** The mean loss of a batch, such as `F.crossEntropy`. */
  readonly loss: LossFunction;
  /** Loops over the loader. Default: as many as `maxSteps` needs. */
  readonly epochs?: number;
  /** Steps of the optimizer. Default: all of `epochs`. */
  readonly maxSteps?: number;
  /** Steps with the optimizer; ReduceLROnPlateau with each evaluation's loss. Default null: none. */
  readonly scheduler?: Scheduler | ReduceLROnPlateau | null;
  /** Whether the scheduler steps after each step or each epoch. Default 'step'. */
  readonly schedulePer?: 'step' | 'epoch';
  /** Batches whose gradients are averaged for one step. Default 1. The last step of an epoch may have fewer. */
  readonly accumulate?: number;
  /** Scales the gradients down to this norm. Default null: no clipping. */
  readonly clipNorm?: number | null;
  /** Clips each element of the gradients to ± this. Default null: no clipping. */
  readonly clipValue?: number | null;
  /** Metrics of each step by name, of the outputs before the step; each is reset first. Default: none. */
  readonly metrics?: Readonly<Record<string, Metric>>;
  /** An average of the weights, updated after each step; evaluations use it. Default null. */
  readonly ema?: EMA | null;
  /** Evaluations during the run. Default null: none. */
  readonly evaluation?: FitEvaluation | null;
  /** Called with each event, in this order. Default: none. */
  readonly callbacks?: readonly Callback[];
  /**
   * Pauses the run after the current step, or in an evaluation before the next batch, when it is aborted. With `parallel`, all ranks pause after
   * the same step once one of them has the signal, and evaluations run to their end. Default null.
   */
  readonly signal?: AbortSignalLike | null;
  /**
   * Trains with the ranks of a group, as `DataParallel` of chainrule/distributed does: the loaders yield this rank's rows, losses, samples and
   * metrics are those of all ranks, and all ranks have the same events. Callbacks run on every rank. Default null.
   */
  readonly parallel?: ParallelTraining | null;
}

const OPTIONS = [
  'loader',
  'optimizer',
  'loss',
  'epochs',
  'maxSteps',
  'scheduler',
  'schedulePer',
  'accumulate',
  'clipNorm',
  'clipValue',
  'metrics',
  'ema',
  'evaluation',
  'callbacks',
  'signal',
  'parallel',
] as const satisfies readonly (keyof FitOptions)[];

/** Throws: ArgumentError unless the options are complete and valid. */
export function checkFit(options: FitOptions): void {
  checkOptions('fit', options, OPTIONS);
  const { loader, optimizer, loss, epochs, maxSteps, accumulate = 1, metrics = {}, evaluation, callbacks = [] } = options;
  checkTrainingLoader(loader);
  if (!isInstance(optimizer, Optimizer))
    throw new ArgumentError(`fit: optimizer must be an optimizer, such as new SGD(model.parameters(), …), got ${kindOf(optimizer)}`);
  checkFunction('fit', 'loss', loss);
  if (epochs === undefined && maxSteps === undefined) throw new ArgumentError('fit: give epochs or maxSteps, or the run never ends');
  for (const [name, value] of Object.entries({ epochs, maxSteps, accumulate })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new ArgumentError(`fit: ${name} must be an integer from 1 on, got ${shown(value)}`);
  }
  checkMetrics('fit', metrics);
  if (!isArray(callbacks)) throw new ArgumentError(`fit: callbacks must be an array of functions, got ${kindOf(callbacks)}`);
  callbacks.forEach((callback, i) => checkFunction('fit', `callback ${i}`, callback));
  checkChoices(options);
  if (evaluation != null) checkEvaluation(evaluation);
}

function checkTrainingLoader(loader: TrainingLoader): void {
  checkLoader('fit', 'loader', loader);
  for (const name of ['stateDict', 'loadStateDict'] as const) checkFunction('fit', `loader.${name}`, peek(loader, name));
  for (const name of ['length', 'position'] as const) {
    if (!Number.isSafeInteger(loader[name]))
      throw new ArgumentError(`fit: loader.${name} must be a number of batches, got ${shown(loader[name])}`);
  }
  if (loader.length === 0) throw new ArgumentError('fit: the loader has no batch');
}

function checkChoices({ schedulePer = 'step', clipNorm, clipValue, ema, scheduler, signal, parallel, evaluation }: FitOptions): void {
  if (schedulePer !== 'step' && schedulePer !== 'epoch')
    throw new ArgumentError(`fit: schedulePer must be 'step' or 'epoch', got ${shown(schedulePer)}`);
  for (const [name, value] of Object.entries({ clipNorm, clipValue })) {
    if (value != null && !(typeof value === 'number' && value > 0))
      throw new ArgumentError(`fit: ${name} must be a number above 0, got ${shown(value)}`);
  }
  if (ema != null && !isInstance(ema, EMA)) throw new ArgumentError(`fit: ema must be an EMA, got ${kindOf(ema)}`);
  if (scheduler != null) checkFunction('fit', 'scheduler.step', peek(scheduler, 'step'));
  if (isInstance(scheduler, ReduceLROnPlateau) && evaluation == null)
    throw new ArgumentError('fit: ReduceLROnPlateau steps with the loss of an evaluation; give evaluation too');
  checkSignal('fit', signal);
  checkParallel('fit', parallel);
}

function checkEvaluation(evaluation: FitEvaluation): void {
  checkOptions('fit: evaluation', evaluation, ['loader', 'loss', 'reduction', 'metrics', 'every']);
  const { loader, loss, reduction = 'mean', metrics = {}, every = 'epoch' } = evaluation;
  checkLoader('fit: evaluation', 'loader', loader);
  if (loss !== undefined) checkFunction('fit: evaluation', 'loss', loss);
  checkReduction('fit: evaluation', reduction);
  checkMetrics('fit: evaluation', metrics);
  if (every === 'epoch' || (Number.isSafeInteger(every) && every >= 1)) return;
  throw new ArgumentError(`fit: evaluation: every must be 'epoch' or a number of steps, got ${shown(every)}`);
}
