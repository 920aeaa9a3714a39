/**
 * chainrule/train: a training loop as a sequence of events, callbacks, metrics.
 */
export { earlyStopping, latestCheckpoint, logCsv, logJsonLines, logProgress, logScalars, saveBest, saveCheckpoints } from './callbacks.ts';
export type {
  EarlyStoppingOptions,
  LogProgressOptions,
  MonitorOptions,
  SaveBestOptions,
  SaveCheckpointsOptions,
  ScalarWriter,
} from './callbacks.ts';
export { evaluate } from './evaluate.ts';
export type { AbortSignalLike, EvaluateOptions, Evaluation, LossFunction, Model, TrainingBatch } from './evaluate.ts';
export type { Callback, EndEvent, EpochEvent, EvaluationEvent, FitEvent, FitRun, PauseEvent, StepEvent } from './events.ts';
export { Fit, fit, NonFiniteLossError } from './fit.ts';
export type { FitEvaluation, FitOptions, TrainingLoader } from './fit-options.ts';
export type { FitState } from './fit-state.ts';
export { lrFinder } from './lr-finder.ts';
export type { LrCurve, LrFinderOptions } from './lr-finder.ts';
export { Accuracy, AUC, ConfusionMatrix, HardestExamples, Mean } from './metrics.ts';
export type { AccuracyOptions, Average, HardExample, Metric } from './metrics.ts';
export type { ParallelBackwardOptions, ParallelResult, ParallelTraining } from './parallel.ts';
