/**
 * chainrule/optim: optimizers, learning rate schedulers, gradient clipping.
 */
export { Adam, AdamW, type AdamGroup, type AdamOptions } from './adam.ts';
export { clipGradNorm, clipGradValue, type ClipOptions } from './clip.ts';
export { CosineAnnealingWarmRestarts, CyclicLR, type CyclicOptions, type WarmRestartOptions } from './cyclic.ts';
export { EMA, type EMAOptions, type EMAState } from './ema.ts';
export { Muon, type MuonGroup, type MuonOptions } from './muon.ts';
export { OneCycleLR, type OneCycleOptions } from './one-cycle.ts';
export { Optimizer, type GroupSpec, type OptimizerState, type ParamGroup, type ParamState, type Params, type Ready } from './optimizer.ts';
export { ReduceLROnPlateau, type PlateauOptions, type PlateauState } from './reduce-on-plateau.ts';
export { RMSprop, type RMSpropGroup, type RMSpropOptions } from './rmsprop.ts';
export { FormulaLR, Scheduler, type SchedulerState } from './scheduler.ts';
export * from './schedules.ts';
export { SGD, type SGDGroup, type SGDOptions } from './sgd.ts';
