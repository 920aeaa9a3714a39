/**
 * Schedules of one line each. All but LambdaLR go on from the learning rate that is there, so that they chain with others.
 */
import { ArgumentError, kindOf } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { checkNotNegative, checkRange } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR } from './scheduler.ts';

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
export function checkMilestones(name: string, option: string, value: unknown): void {
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

function checkFunctions(name: string, option: string, value: unknown): void {
  if (![value].flat().every((f) => typeof f === 'function'))
    throw new ArgumentError(`${name}: ${option} must be a function or an array of functions, got ${kindOf(value)}`);
}

/** Options of LambdaLR: the factor after t steps; one function, or one for each group. */
export type LambdaOptions = { readonly lrLambda: ((t: number) => number) | readonly ((t: number) => number)[] };

/** lr(t) = lr₀·lrLambda(t). The functions are not part of the state. */
export class LambdaLR extends FormulaLR<LambdaOptions> {
  static override readonly spec = { lrLambda: [checkFunctions] } as const;

  constructor(optimizer: Optimizer, options: LambdaOptions) {
    const [given, groups] = [[options?.lrLambda].flat().length, optimizer.paramGroups.length];
    if (Array.isArray(options?.lrLambda) && given !== groups)
      throw new ArgumentError(`LambdaLR: lrLambda has ${given} functions, the optimizer ${groups} groups`);
    super(optimizer, options);
  }

  protected override next(_: ParamGroup, i: number): number {
    const { lrLambda } = this.options;
    return this.baseLrs[i]! * (typeof lrLambda === 'function' ? lrLambda : lrLambda[i]!)(this.lastEpoch);
  }
}
