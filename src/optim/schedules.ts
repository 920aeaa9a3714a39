/**
 * Short schedules. All except LambdaLR compute the next learning rate from the current one, so that they chain with others.
 */
import { foreignKind } from '../core/copies.ts';
import { isInstance, isRevoked } from '../core/describe.ts';
import { ArgumentError, isArray, kindOf, shown, stateDictMismatch } from '../core/errors.ts';
import { checkCount, checkOptions, refuseSurplus } from '../core/options.ts';
import { cos, pow } from '../kernels/scalars.ts';
import { checkFinite, checkPerGroup, checkRange, checkRate } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR, Scheduler, type SchedulerState } from './scheduler.ts';

/** Options of StepLR: multiplies lr by `gamma` (default 0.1) every `stepSize` steps. */
export type StepOptions = {
  /** The number of steps from one reduction to the next. */
  readonly stepSize: number;
  /** The factor of a reduction. Default 0.1. */
  readonly gamma?: number;
};

/** Sets lr ← gamma·lr every stepSize steps. */
export class StepLR extends FormulaLR<StepOptions> {
  static override readonly spec = { stepSize: [checkCount], gamma: [checkRate, 0.1] } as const;

  protected override next({ lr }: ParamGroup): number {
    const { stepSize, gamma } = this.options;
    const reduces = this.lastEpoch > 0 && this.lastEpoch % stepSize === 0;
    return reduces ? lr * gamma : lr;
  }
}

/** Throws unless `value` is an array of whole numbers ≥ 1. */
function checkMilestones(name: string, option: string, value: unknown): void {
  if (!isArray(value)) throw new ArgumentError(`${name}: ${option} must be an array of whole numbers, got ${kindOf(value)}`);
  value.forEach((m, i) => checkCount(name, `${option}[${i}]`, m));
}

/** Options of MultiStepLR: multiplies lr by `gamma` (default 0.1) at the steps `milestones`; twice where one appears twice. */
export type MultiStepOptions = {
  /** The steps at which the learning rate is reduced, in any order; one that is listed twice reduces it twice. */
  readonly milestones: readonly number[];
  /** The factor of a reduction. Default 0.1. */
  readonly gamma?: number;
};

/** Sets lr ← gamma·lr at every milestone. */
export class MultiStepLR extends FormulaLR<MultiStepOptions> {
  static override readonly spec = { milestones: [checkMilestones], gamma: [checkRate, 0.1] } as const;

  protected override next({ lr }: ParamGroup): number {
    const { milestones, gamma } = this.options;
    const reached = milestones.filter((m) => m === this.lastEpoch).length;
    return lr * pow(gamma, reached);
  }
}

/** Sets lr ← gamma·lr at every step. */
export class ExponentialLR extends FormulaLR<{ readonly gamma: number }> {
  static override readonly spec = { gamma: [checkRate] } as const;

  protected override next({ lr }: ParamGroup): number {
    return this.lastEpoch === 0 ? lr : lr * this.options.gamma;
  }
}

/** Options of LinearLR: from `startFactor` (default 1/3) to `endFactor` (default 1) in `totalIters` (default 5) steps. */
export type LinearOptions = {
  /** The first factor, > 0 and ≤ 1. Default 1/3. */
  readonly startFactor?: number;
  /** The last factor, from 0 to 1. Default 1. */
  readonly endFactor?: number;
  /** The number of steps from the first factor to the last. Default 5. */
  readonly totalIters?: number;
};

/** Sets lr(t) = lr₀·f(t) by lr ← lr·f(t) / f(t − 1). f is linear from startFactor at 0 to endFactor at totalIters, then constant. */
export class LinearLR extends FormulaLR<LinearOptions> {
  static override readonly spec = {
    // Not 0: the next rate is a multiple of the current one.
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

/** Options of CosineAnnealingLR: `tMax` steps to the minimum, and the minimum `etaMin` (default 0). */
export type CosineAnnealingOptions = {
  /** The number of steps of half a cosine, down or up. */
  readonly tMax: number;
  /** The lowest learning rate. Default 0. */
  readonly etaMin?: number;
};

/**
 * Lowers the learning rate to etaMin along half a cosine in tMax steps, then raises it again:
 *   lr(t) = etaMin + (lr₀ − etaMin)·(1 + cos(π t / tMax)) / 2
 * It is computed from lr(t − 1), so that it chains with other schedulers.
 * Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts
 */
export class CosineAnnealingLR extends FormulaLR<CosineAnnealingOptions> {
  static override readonly spec = { tMax: [checkCount], etaMin: [checkRate, 0] } as const;

  protected override next(group: ParamGroup, i: number): number {
    const { tMax, etaMin } = this.options;
    const t = this.lastEpoch;
    if (t === 0) return group.lr;
    // Here lr(t − 1) is etaMin, and the ratio below would be 0 / 0.
    const followsMinimum = (t - 1 - tMax) % (2 * tMax) === 0;
    if (followsMinimum) return group.lr + ((this.baseLrs[i]! - etaMin) * (1 - cos(Math.PI / tMax))) / 2;
    const ratio = (1 + cos((Math.PI * t) / tMax)) / (1 + cos((Math.PI * (t - 1)) / tMax));
    return ratio * (group.lr - etaMin) + etaMin;
  }
}

function checkFunctions(name: string, option: string, value: unknown, groups: number): void {
  checkPerGroup(name, option, value, groups, 'functions');
  if (!(isArray(value) ? value : [value]).every((f) => typeof f === 'function' && !isRevoked(f)))
    throw new ArgumentError(`${name}: ${option} must be a function or an array of functions, got ${kindOf(value)}`);
}

/** Options of LambdaLR: computes the factor after t steps. One function, or one for each group. */
export type LambdaOptions = {
  /** Returns the factor of step t; one function for all groups, or one for each. */
  readonly lrLambda: ((t: number) => number) | readonly ((t: number) => number)[];
};

/**
 * Sets lr(t) = lr₀·lrLambda(t). The functions are not part of the state.
 * Throws: ArgumentError if a factor is not a finite number
 */
export class LambdaLR extends FormulaLR<LambdaOptions> {
  static override readonly spec = { lrLambda: [checkFunctions] } as const;

  protected override next(_: ParamGroup, i: number): number {
    const { lrLambda } = this.options;
    // Again, as groups may have been added since.
    checkPerGroup('LambdaLR', 'lrLambda', lrLambda, this.optimizer.paramGroups.length, 'functions');
    const factorAt = typeof lrLambda === 'function' ? lrLambda : lrLambda[i]!;
    const factor = factorAt(this.lastEpoch);
    checkFinite('LambdaLR', `lrLambda(${this.lastEpoch})`, factor);
    return this.baseLrs[i]! * factor;
  }
}

/** Options of SequentialLR: `milestones` are the rising steps at which the next scheduler starts, one fewer than schedulers. */
export type SequentialOptions = {
  /** The schedulers, in their order; all of one optimizer. */
  readonly schedulers: readonly Scheduler[];
  /** The steps at which the next scheduler takes over, rising: one fewer than there are schedulers. */
  readonly milestones: readonly number[];
};

/** The state of SequentialLR. */
export type SequentialState = SchedulerState & { readonly schedulers: readonly SchedulerState[] };

function checkSchedulers(name: string, option: string, value: unknown): void {
  const list = isArray(value) ? value : [];
  const foreign = list.map(foreignKind).find((kind) => kind !== null);
  if (list.length === 0 || !list.every((s) => isInstance(s, Scheduler)))
    throw new ArgumentError(
      `${name}: ${option} must be an array of schedulers that step without a metric${foreign === undefined ? '' : `, got ${foreign}`}`,
    );
}

/**
 * Runs one schedule after the other. Each starts at its own first learning rate.
 * @example new SequentialLR(o, { schedulers: [new LinearLR(o), new CosineAnnealingLR(o, { tMax: 95 })], milestones: [5] })
 */
export class SequentialLR extends FormulaLR<SequentialOptions> {
  static override readonly spec = { schedulers: [checkSchedulers], milestones: [checkMilestones] } as const;

  constructor(optimizer: Optimizer, options: SequentialOptions) {
    if (options !== undefined) checkOptions('SequentialLR', options, Object.keys(SequentialLR.spec));
    const given: readonly unknown[] = isArray(options?.schedulers) ? options.schedulers : [];
    const schedulers = given.filter((s) => isInstance(s, Scheduler));
    const milestones: readonly unknown[] = isArray(options?.milestones) ? options.milestones : [];
    if (schedulers.some((s) => s.optimizer !== optimizer)) {
      throw new ArgumentError('SequentialLR: all schedulers must be of its own optimizer');
    }
    // What is no scheduler is checkSchedulers' to refuse.
    const count = schedulers.length === given.length ? given.length : 0;
    const rises = milestones.every((m, i) => typeof m === 'number' && !(i > 0 && m <= (milestones[i - 1] as number)));
    if (count > 0 && (milestones.length !== count - 1 || !rises)) {
      throw new ArgumentError(
        `SequentialLR: milestones of ${count} schedulers must be ${count - 1} rising steps, got ${shown(milestones)}`,
      );
    }
    super(optimizer, options);
  }

  protected override write(): void {
    const { schedulers, milestones } = this.options;
    const active = milestones.filter((m) => m <= this.lastEpoch).length;
    const firstStep = milestones[active - 1] ?? 0;
    if (this.lastEpoch === firstStep) schedulers[active]!.restart();
    else schedulers[active]!.step();
    super.write();
  }

  /** Returns the learning rate that the active schedule has written. */
  protected override next({ lr }: { lr: number }): number {
    return lr;
  }

  override stateDict(): SequentialState {
    refuseSurplus('stateDict', arguments, 0);
    return { ...super.stateDict(), schedulers: this.options.schedulers.map((s) => s.stateDict()) };
  }

  override loadStateDict(state: SequentialState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    const own = this.options.schedulers;
    const saved = state?.schedulers ?? [];
    if (own.length !== saved.length) throw stateDictMismatch('SequentialLR', `expected ${own.length} schedulers, got ${saved.length}`);
    const before = own.map((s) => s.stateDict());
    try {
      own.forEach((s, i) => s.loadStateDict(saved[i]!));
      super.loadStateDict(state);
    } catch (error) {
      own.forEach((s, i) => s.loadStateDict(before[i]!));
      throw error;
    }
  }
}
