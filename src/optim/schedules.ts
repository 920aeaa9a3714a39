/**
 * Schedules of a few lines each. All but LambdaLR go on from the learning rate that is there, so that they chain with others.
 */
import { ArgumentError, kindOf, stateDictMismatch } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { checkNotNegative, checkPerGroup, checkRange } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR, Scheduler, type SchedulerState } from './scheduler.ts';

/** Options of StepLR: drops every `stepSize` steps, to `gamma` (default 0.1) of what was. */
export type StepOptions = { readonly stepSize: number; readonly gamma?: number };

/** Every stepSize steps lr ← gamma·lr. */
export class StepLR extends FormulaLR<StepOptions> {
  static override readonly spec = { stepSize: [checkCount], gamma: [checkNotNegative, 0.1] } as const;

  protected override next({ lr }: ParamGroup): number {
    return this.lastEpoch > 0 && this.lastEpoch % this.options.stepSize === 0 ? lr * this.options.gamma : lr;
  }
}

/** Throws unless `value` is an array of whole numbers ≥ 1. */
function checkMilestones(name: string, option: string, value: unknown): void {
  if (!Array.isArray(value)) throw new ArgumentError(`${name}: ${option} must be an array of whole numbers, got ${kindOf(value)}`);
  value.forEach((m, i) => checkCount(name, `${option}[${i}]`, m));
}

/** Options of MultiStepLR: drops at the steps `milestones` (twice at one given twice), to `gamma` (default 0.1) of what was. */
export type MultiStepOptions = { readonly milestones: readonly number[]; readonly gamma?: number };

/** At every milestone lr ← gamma·lr. */
export class MultiStepLR extends FormulaLR<MultiStepOptions> {
  static override readonly spec = { milestones: [checkMilestones], gamma: [checkNotNegative, 0.1] } as const;

  protected override next({ lr }: ParamGroup): number {
    return lr * this.options.gamma ** this.options.milestones.filter((m) => m === this.lastEpoch).length;
  }
}

/** At every step lr ← gamma·lr. */
export class ExponentialLR extends FormulaLR<{ readonly gamma: number }> {
  static override readonly spec = { gamma: [checkNotNegative] } as const;

  protected override next({ lr }: ParamGroup): number {
    return this.lastEpoch === 0 ? lr : lr * this.options.gamma;
  }
}

/** Options of LinearLR: from `startFactor` (default 1/3) to `endFactor` (default 1) in `totalIters` (default 5) steps. */
export type LinearOptions = { readonly startFactor?: number; readonly endFactor?: number; readonly totalIters?: number };

/** lr(t) = lr₀·f(t), f linear from startFactor at 0 to endFactor at totalIters and constant from there: lr ← lr·f(t) / f(t − 1). */
export class LinearLR extends FormulaLR<LinearOptions> {
  static override readonly spec = {
    // From 0 it could not grow.
    startFactor: [checkRange('> 0 and ≤ 1', (v) => v > 0 && v <= 1), 1 / 3],
    endFactor: [checkRange('from 0 to 1', (v) => v >= 0 && v <= 1), 1],
    totalIters: [checkCount, 5],
  } as const;

  protected override next({ lr }: ParamGroup): number {
    const { startFactor: from, endFactor: to, totalIters: n } = this.options;
    const t = this.lastEpoch;
    if (t === 0) return lr * from;
    return t > n ? lr : lr * (1 + (to - from) / (n * from + (t - 1) * (to - from)));
  }
}

/** Options of CosineAnnealingLR: `tMax` steps until the minimum, `etaMin` (default 0). */
export type CosineAnnealingOptions = { readonly tMax: number; readonly etaMin?: number };

/**
 * From the initial learning rate down to etaMin along half a cosine in tMax steps (and up again after):
 *   lr(t) = etaMin + (lr₀ − etaMin)·(1 + cos(π t / tMax)) / 2
 * written as the step from lr(t − 1), so that it acts on what other schedulers leave.
 * Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts
 */
export class CosineAnnealingLR extends FormulaLR<CosineAnnealingOptions> {
  static override readonly spec = { tMax: [checkCount], etaMin: [checkNotNegative, 0] } as const;

  protected override next(group: ParamGroup, i: number): number {
    const { tMax, etaMin } = this.options;
    const t = this.lastEpoch;
    if (t === 0) return group.lr;
    // lr(t − 1) is etaMin: the ratio below would be 0 / 0.
    if ((t - 1 - tMax) % (2 * tMax) === 0) return group.lr + ((this.baseLrs[i]! - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    const ratio = (1 + Math.cos((Math.PI * t) / tMax)) / (1 + Math.cos((Math.PI * (t - 1)) / tMax));
    return ratio * (group.lr - etaMin) + etaMin;
  }
}

function checkFunctions(name: string, option: string, value: unknown, groups: number): void {
  checkPerGroup(name, option, value, groups, 'functions');
  if (![value].flat().every((f) => typeof f === 'function'))
    throw new ArgumentError(`${name}: ${option} must be a function or an array of functions, got ${kindOf(value)}`);
}

/** Options of LambdaLR: the factor after t steps; one function, or one for each group. */
export type LambdaOptions = { readonly lrLambda: ((t: number) => number) | readonly ((t: number) => number)[] };

/**
 * lr(t) = lr₀·lrLambda(t). The functions are not part of the state.
 * Throws: ArgumentError where a factor is no finite number
 */
export class LambdaLR extends FormulaLR<LambdaOptions> {
  static override readonly spec = { lrLambda: [checkFunctions] } as const;

  protected override next(_: ParamGroup, i: number): number {
    const { lrLambda } = this.options;
    const factor = (typeof lrLambda === 'function' ? lrLambda : lrLambda[i]!)(this.lastEpoch);
    checkRange('that is finite', Number.isFinite)('LambdaLR', `lrLambda(${this.lastEpoch})`, factor);
    return this.baseLrs[i]! * factor;
  }
}

/** Options of SequentialLR: `milestones`, one fewer than schedulers and rising, are the steps at which the next one takes over. */
export type SequentialOptions = { readonly schedulers: readonly Scheduler[]; readonly milestones: readonly number[] };

/** What SequentialLR's stateDict gives. */
export type SequentialState = SchedulerState & { readonly schedulers: readonly SchedulerState[] };

function checkSchedulers(name: string, option: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0 || !value.every((s) => s instanceof Scheduler))
    throw new ArgumentError(`${name}: ${option} must be an array of schedulers that step without a metric`);
}

/**
 * One schedule after the other; each begins at its own first learning rate.
 * @example new SequentialLR(o, { schedulers: [new LinearLR(o), new CosineAnnealingLR(o, { tMax: 95 })], milestones: [5] })
 */
export class SequentialLR extends FormulaLR<SequentialOptions> {
  static override readonly spec = { schedulers: [checkSchedulers], milestones: [checkMilestones] } as const;

  constructor(optimizer: Optimizer, options: SequentialOptions) {
    const all = [options?.schedulers].flat().filter((s) => s instanceof Scheduler);
    const milestones = [options?.milestones].flat();
    if (all.some((s) => s.optimizer !== optimizer)) throw new ArgumentError('SequentialLR: all schedulers must be of its own optimizer');
    if (all.length > 0 && (milestones.length !== all.length - 1 || milestones.some((m, i) => m <= milestones[i - 1]!)))
      throw new ArgumentError(
        `SequentialLR: milestones of ${all.length} schedulers must be ${all.length - 1} rising steps, got [${milestones}]`,
      );
    super(optimizer, options);
  }

  protected override write(): void {
    const { schedulers, milestones } = this.options;
    const at = milestones.filter((m) => m <= this.lastEpoch).length;
    if (this.lastEpoch === (milestones[at - 1] ?? 0)) schedulers[at]!.restart();
    else schedulers[at]!.step();
    super.write();
  }

  /** What the schedule in charge has written. */
  protected override next({ lr }: { lr: number }): number {
    return lr;
  }

  override stateDict(): SequentialState {
    return { ...super.stateDict(), schedulers: this.options.schedulers.map((s) => s.stateDict()) };
  }

  override loadStateDict(state: SequentialState): void {
    const [own, saved] = [this.options.schedulers, state?.schedulers ?? []];
    if (own.length !== saved.length) throw stateDictMismatch('SequentialLR', `expected ${own.length} schedulers, got ${saved.length}`);
    super.loadStateDict(state);
    own.forEach((s, i) => s.loadStateDict(saved[i]!));
  }
}
