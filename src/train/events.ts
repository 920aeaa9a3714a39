/**
 * What a training run reports, and the functions that receive it.
 */
import type { Stateful } from '../core/stateful.ts';
import type { Optimizer } from '../optim/index.ts';
import type { Model } from './evaluate.ts';

/** A step of the optimizer is done. */
export interface StepEvent {
  readonly type: 'step';
  /** Steps done so far, from 1. */
  readonly step: number;
  /** The epoch of the step, from 0. */
  readonly epoch: number;
  /** The loss before the step; with `accumulate` the mean over its batches. */
  readonly loss: number;
  /** The learning rate of the step, of the first parameter group. */
  readonly lr: number;
  /** The norm of all gradients before clipping; null without `clipNorm`. */
  readonly gradNorm: number | null;
  /** Samples of the step's batches. */
  readonly samples: number;
  /** The values of the run's metrics by name, of the outputs before the step. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** An epoch is done. */
export interface EpochEvent {
  readonly type: 'epoch';
  readonly step: number;
  /** The epoch that is done, from 0. */
  readonly epoch: number;
  /** The mean loss over the epoch's samples, each before its step. */
  readonly loss: number;
}

/** An evaluation is done. */
export interface EvaluationEvent {
  readonly type: 'evaluation';
  readonly step: number;
  readonly epoch: number;
  /** The mean loss over the evaluated samples. */
  readonly loss: number;
  /** The values of the evaluation's metrics by name. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Samples that were evaluated. */
  readonly samples: number;
}

/** The signal was aborted: the last event of this loop. Another loop over the run, also over a restored one, goes on. */
export interface PauseEvent {
  readonly type: 'pause';
  readonly step: number;
  readonly epoch: number;
}

/** The run is done, the last event. */
export interface EndEvent {
  readonly type: 'end';
  readonly step: number;
  readonly epoch: number;
  /** Why the run was stopped; null if it has done all its steps, also if it was stopped with the last one. */
  readonly reason: string | null;
}

/** What happened, in the order in which it happens: steps, the end of an epoch, evaluations, a pause, the end. */
export type FitEvent = StepEvent | EpochEvent | EvaluationEvent | PauseEvent | EndEvent;

/** The run, as callbacks see it. */
export interface FitRun extends Stateful {
  readonly model: Model;
  readonly optimizer: Optimizer;
  /** Steps done so far. */
  readonly step: number;
  /** The current epoch, from 0. */
  readonly epoch: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Seconds spent on steps and on making their batches, without callbacks, evaluations and the body of the loop. */
  readonly seconds: number;
  /** The names of the metrics of steps and evaluations. */
  readonly metricNames: readonly string[];
  /** Ends the run after the current event. The end event gives the reason. */
  stop(reason: string): void;
  /** Runs `fn` with the weights that evaluations use: their averages, if the run has an EMA. */
  useEvaluated<T>(fn: () => T): T;
}

/**
 * A function that is called with every event, before the loop over the run receives it. It may stop the run, change the learning rate, save
 * files. One with `stateDict` and `loadStateDict` is saved and restored with the run. A returned promise is awaited. One that throws ends the
 * loop; the next loop over the run calls it with the same event again.
 */
export type Callback = ((event: FitEvent, run: FitRun) => void | Promise<void>) & Partial<Stateful>;
