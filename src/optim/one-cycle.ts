import { ArgumentError } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { checkEither, checkNotNegative, checkRange, readOptions } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR } from './scheduler.ts';

/** Options of OneCycleLR. */
export interface OneCycleOptions {
  /** The largest learning rate, or one for each group. */
  readonly maxLr: number | readonly number[];
  /** Steps of the whole cycle; or give `epochs` and `stepsPerEpoch`. */
  readonly totalSteps?: number;
  readonly epochs?: number;
  readonly stepsPerEpoch?: number;
  /** The share of steps spent rising. Default 0.3. */
  readonly pctStart?: number;
  /** Default 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** Whether momentum falls while the learning rate rises, and back. Default true. */
  readonly cycleMomentum?: boolean;
  /** The lowest momentum, or one for each group. Default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** The highest momentum, or one for each group. Default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first learning rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last is the first / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Falls back to the first learning rate as slowly as it rose, then on to the last. Default false. */
  readonly threePhase?: boolean;
}

const checkIfGiven = (name: string, option: string, value: unknown): void => {
  if (value !== undefined) checkCount(name, option, value);
};

/** One number, or one for each group. */
const checkEach = (name: string, option: string, value: unknown): void => {
  for (const v of [value].flat()) checkNotNegative(name, option, v);
};

/** A stretch of the cycle, from one learning rate and momentum to others. */
interface Phase {
  /** The step at which it ends. */
  readonly end: number;
  readonly lr: readonly ['initial' | 'max', 'initial' | 'max' | 'min'];
  readonly momentum: readonly ['baseMomentum' | 'maxMomentum', 'baseMomentum' | 'maxMomentum'];
}

/**
 * The one-cycle policy, stepped after every batch: the learning rate rises from maxLr / divFactor to maxLr and falls far below
 * where it began, and momentum mirrors it. As PyTorch's, it sets momentum from the start, whatever the optimizer was given.
 * Source: Smith & Topin 2018, arXiv:1708.07120; PyTorch's two-phase variant by default
 * @example new OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: epochs * loader.length })
 */
export class OneCycleLR extends FormulaLR<OneCycleOptions> {
  static override readonly spec = {
    maxLr: [checkEach],
    totalSteps: [checkIfGiven],
    epochs: [checkIfGiven],
    stepsPerEpoch: [checkIfGiven],
    pctStart: [checkRange('from 0 to 1', (v) => v >= 0 && v <= 1), 0.3],
    annealStrategy: [checkEither('cos', 'linear'), 'cos'],
    cycleMomentum: [checkEither(true, false), true],
    baseMomentum: [checkEach, 0.85],
    maxMomentum: [checkEach, 0.95],
    divFactor: [checkRange('> 0', (v) => v > 0), 25],
    finalDivFactor: [checkRange('> 0', (v) => v > 0), 1e4],
    threePhase: [checkEither(true, false), false],
  } as const;

  constructor(optimizer: Optimizer, options: OneCycleOptions) {
    const read = readOptions('OneCycleLR', options, OneCycleLR.spec) as Required<OneCycleOptions>;
    stepsOf(read);
    const groups = optimizer.paramGroups;
    if (read.cycleMomentum && !groups.every((g) => 'momentum' in g || 'betas' in g)) {
      throw new ArgumentError(`OneCycleLR: ${optimizer.constructor.name} has no momentum to cycle; set cycleMomentum: false`);
    }
    for (const option of ['maxLr', 'baseMomentum', 'maxMomentum'] as const) {
      const value = read[option];
      if (typeof value !== 'number' && value.length !== groups.length)
        throw new ArgumentError(`OneCycleLR: ${option} has ${value.length} values, the optimizer ${groups.length} groups`);
    }
    // PyTorch's: the cycle begins at its own learning rate, not at the optimizer's.
    groups.forEach((g, i) => (g.initialLr = of(read.maxLr, i) / read.divFactor));
    super(optimizer, options);
  }

  /** The steps of the whole cycle. */
  get totalSteps(): number {
    return stepsOf(this.options);
  }

  /** Throws ArgumentError beyond the last step of the cycle. */
  override step(): void {
    if (this.lastEpoch >= this.totalSteps) {
      throw new ArgumentError(`OneCycleLR: step ${this.lastEpoch + 1} is beyond the ${this.totalSteps} steps of the cycle`);
    }
    super.step();
  }

  protected override next(group: ParamGroup, i: number): number {
    const { options, lastEpoch: t } = this;
    const phases = (options.threePhase ? threePhases : twoPhases)(this.totalSteps, options.pctStart);
    const at = phases.findIndex((p, n) => t <= p.end || n === phases.length - 1);
    const phase = phases[at]!;
    const start = at === 0 ? 0 : phases[at - 1]!.end;
    const share = (t - start) / (phase.end - start);
    const between = options.annealStrategy === 'cos' ? cosine : linear;
    if (options.cycleMomentum) setMomentum(group, between(of(options[phase.momentum[0]], i), of(options[phase.momentum[1]], i), share));
    const max = of(options.maxLr, i);
    const initial = max / options.divFactor;
    const levels = { initial, max, min: initial / options.finalDivFactor };
    return between(levels[phase.lr[0]], levels[phase.lr[1]], share);
  }
}

function twoPhases(steps: number, pctStart: number): Phase[] {
  return [
    { end: pctStart * steps - 1, lr: ['initial', 'max'], momentum: ['maxMomentum', 'baseMomentum'] },
    { end: steps - 1, lr: ['max', 'min'], momentum: ['baseMomentum', 'maxMomentum'] },
  ];
}

function threePhases(steps: number, pctStart: number): Phase[] {
  return [
    { end: pctStart * steps - 1, lr: ['initial', 'max'], momentum: ['maxMomentum', 'baseMomentum'] },
    { end: 2 * pctStart * steps - 2, lr: ['max', 'initial'], momentum: ['baseMomentum', 'maxMomentum'] },
    { end: steps - 1, lr: ['initial', 'min'], momentum: ['maxMomentum', 'maxMomentum'] },
  ];
}

function cosine(from: number, to: number, share: number): number {
  return to + ((from - to) / 2) * (1 + Math.cos(Math.PI * share));
}

function linear(from: number, to: number, share: number): number {
  return (to - from) * share + from;
}

function setMomentum(group: ParamGroup, value: number): void {
  if ('momentum' in group) group.momentum = value;
  else group.betas = [value, ...(group.betas as readonly number[]).slice(1)];
}

function stepsOf({ totalSteps, epochs, stepsPerEpoch }: OneCycleOptions): number {
  if (totalSteps !== undefined) return totalSteps;
  if (epochs === undefined || stepsPerEpoch === undefined)
    throw new ArgumentError('OneCycleLR: give totalSteps, or both epochs and stepsPerEpoch');
  return epochs * stepsPerEpoch;
}

/** The value of group i. */
function of(value: number | readonly number[], i: number): number {
  return typeof value === 'number' ? value : value[i]!;
}
