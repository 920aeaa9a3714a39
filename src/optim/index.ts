/**
 * chainrule/optim: optimizers, learning rate schedulers, gradient clipping.
 */
export { Adam, AdamW, type AdamGroup, type AdamOptions } from './adam.ts';
export { clipGradNorm, clipGradValue, type ClipOptions } from './clip.ts';
export { CosineAnnealingLR, type CosineAnnealingOptions } from './cosine-annealing.ts';
export { OneCycleLR, type OneCycleOptions } from './one-cycle.ts';
export { Optimizer, type GroupSpec, type OptimizerState, type ParamGroup, type ParamState, type Params } from './optimizer.ts';
export { FormulaLR, Scheduler, type SchedulerState } from './scheduler.ts';
export { SGD, type SGDGroup, type SGDOptions } from './sgd.ts';
