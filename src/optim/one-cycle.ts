import { ArgumentError } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { checkEither, checkNotNegative, checkPerGroup, checkRange, readOptions } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR, groupsOf } from './scheduler.ts';

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
const checkEach = (name: string, option: string, value: unknown, groups: number): void => {
  checkPerGroup(name, option, value, groups, 'values');
  for (const v of [value].flat()) checkNotNegative(name, option, v);
};

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
    const groups = groupsOf('OneCycleLR', optimizer);
    const read = readOptions('OneCycleLR', options, OneCycleLR.spec, groups.length) as Required<OneCycleOptions>;
    stepsOf(read);
    if (read.cycleMomentum && !groups.every((g) => 'momentum' in g || 'betas' in g))
      throw new ArgumentError(`OneCycleLR: ${optimizer.constructor.name} has no momentum to cycle; set cycleMomentum: false`);
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
    if (this.lastEpoch >= this.totalSteps)
      throw new ArgumentError(`OneCycleLR: step ${this.lastEpoch + 1} is beyond the ${this.totalSteps} steps of the cycle`);
    super.step();
  }

  protected override next(group: ParamGroup, i: number): number {
    const { annealStrategy, cycleMomentum } = this.options;
    const corners = cornersOf(this.options, i);
    const later = corners.findIndex(({ at }, n) => n > 0 && (this.lastEpoch <= at || n === corners.length - 1));
    const [from, to] = [corners[later - 1]!, corners[later]!];
    const share = (this.lastEpoch - from.at) / (to.at - from.at);
    const between = BETWEEN[annealStrategy];
    if (cycleMomentum) setMomentum(group, between(from.momentum, to.momentum, share));
    return between(from.lr, to.lr, share);
  }
}

/** A step at which the cycle turns, and what it has come to there. */
type Corner = { readonly at: number; readonly lr: number; readonly momentum: number };

function cornersOf(options: Required<OneCycleOptions>, i: number): Corner[] {
  const { pctStart, divFactor, finalDivFactor, threePhase } = options;
  const [max, low, high] = [of(options.maxLr, i), of(options.baseMomentum, i), of(options.maxMomentum, i)];
  const [initial, steps] = [max / divFactor, stepsOf(options)];
  const top = pctStart * steps - 1;
  return [
    { at: 0, lr: initial, momentum: high },
    { at: top, lr: max, momentum: low },
    ...(threePhase ? [{ at: 2 * top, lr: initial, momentum: high }] : []),
    { at: steps - 1, lr: initial / finalDivFactor, momentum: high },
  ];
}

/** From one number to another, `share` of the way. */
const BETWEEN = {
  cos: (from: number, to: number, share: number): number => to + ((from - to) / 2) * (1 + Math.cos(Math.PI * share)),
  linear: (from: number, to: number, share: number): number => (to - from) * share + from,
};

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
const of = (value: number | readonly number[], i: number): number => (typeof value === 'number' ? value : value[i]!);
