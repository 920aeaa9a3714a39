import { ArgumentError } from '../core/errors.ts';
import { checkCount, refuseSurplus } from '../core/options.ts';
import { cos } from '../kernels/scalars.ts';
import { checkEach, checkEither, checkPerGroup, checkRange, checkRate, readOptions, valueForGroup } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR, groupsOf, hasMomentum, setMomentum } from './scheduler.ts';

/** Options of OneCycleLR. */
export interface OneCycleOptions {
  /** The largest learning rate, or one for each group. */
  readonly maxLr: number | readonly number[];
  /** The number of steps of the whole cycle. Default: epochs · stepsPerEpoch, which must then be given. */
  readonly totalSteps?: number;
  /** With `stepsPerEpoch`, instead of `totalSteps`. Default: none. */
  readonly epochs?: number;
  /** The number of batches of an epoch. Default: none. */
  readonly stepsPerEpoch?: number;
  /** The share of steps in which the learning rate rises. Default 0.3. */
  readonly pctStart?: number;
  /** The curve between two learning rates. Default 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** Whether momentum falls while the learning rate rises, and the reverse. Default true. */
  readonly cycleMomentum?: boolean;
  /** The lowest momentum, or one for each group. Default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** The highest momentum, or one for each group. Default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first learning rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last learning rate is the first / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Adds a phase: returns to the first learning rate in as many steps as it rose, then falls to the last. Default false. */
  readonly threePhase?: boolean;
}

const checkIfGiven = (name: string, option: string, value: unknown): void => {
  if (value !== undefined) checkCount(name, option, value);
};

/** The options that may have a value for each group. */
const PER_GROUP = ['maxLr', 'baseMomentum', 'maxMomentum'] as const;

/**
 * The one-cycle policy, stepped after every batch. The learning rate rises from maxLr / divFactor to maxLr, then falls far below
 * its first value; momentum mirrors it. As in PyTorch, it overrides the optimizer's momentum from the start.
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
    totalStepsOf(read);
    if (read.cycleMomentum && !groups.every(hasMomentum))
      throw new ArgumentError(`OneCycleLR: ${optimizer.constructor.name} has no momentum to cycle; set cycleMomentum: false`);
    // As in PyTorch, the cycle starts from its own learning rate, not from the optimizer's.
    groups.forEach((g, i) => {
      const initialLr = valueForGroup(read.maxLr, i) / read.divFactor;
      checkRate('OneCycleLR', 'maxLr / divFactor', initialLr);
      g.initialLr = initialLr;
    });
    super(optimizer, options);
  }

  /** The number of steps of the whole cycle. */
  get totalSteps(): number {
    return totalStepsOf(this.options);
  }

  /** Takes one step. Throws: ArgumentError beyond the last step of the cycle */
  override step(): void {
    refuseSurplus('step', arguments, 0);
    if (this.lastEpoch >= this.totalSteps)
      throw new ArgumentError(`OneCycleLR: step ${this.lastEpoch + 1} is beyond the ${this.totalSteps} steps of the cycle`);
    super.step();
  }

  protected override next(group: ParamGroup, i: number): number {
    const { annealStrategy, cycleMomentum } = this.options;
    // Again, as groups may have been added since.
    for (const option of PER_GROUP) checkPerGroup('OneCycleLR', option, this.options[option], this.optimizer.paramGroups.length, 'values');
    const breakpoints = breakpointsOf(this.options, i);
    const last = breakpoints.length - 1;
    let end = 1;
    while (end < last && this.lastEpoch > breakpoints[end]!.step) end++;
    const from = breakpoints[end - 1]!;
    const to = breakpoints[end]!;
    // A phase of no steps, as where pctStart · totalSteps = 1, is at its end at once.
    const share = to.step === from.step ? 1 : (this.lastEpoch - from.step) / (to.step - from.step);
    const interpolate = INTERPOLATE[annealStrategy];
    if (cycleMomentum) setMomentum(group, interpolate(from.momentum, to.momentum, share));
    // One step beyond the cycle, PyTorch's line is below 0.
    return Math.max(0, interpolate(from.lr, to.lr, share));
  }
}

/** A step where one phase of the cycle ends and the next begins, with the values it reaches there. */
type Breakpoint = { readonly step: number; readonly lr: number; readonly momentum: number };

function breakpointsOf(options: Required<OneCycleOptions>, group: number): Breakpoint[] {
  const { pctStart, divFactor, finalDivFactor, threePhase } = options;
  const maxLr = valueForGroup(options.maxLr, group);
  const initialLr = maxLr / divFactor;
  const lowMomentum = valueForGroup(options.baseMomentum, group);
  const highMomentum = valueForGroup(options.maxMomentum, group);
  const steps = totalStepsOf(options);
  const peak = pctStart * steps - 1;
  return [
    { step: 0, lr: initialLr, momentum: highMomentum },
    { step: peak, lr: maxLr, momentum: lowMomentum },
    ...(threePhase ? [{ step: 2 * peak, lr: initialLr, momentum: highMomentum }] : []),
    { step: steps - 1, lr: initialLr / finalDivFactor, momentum: highMomentum },
  ];
}

/** Interpolates from one number to another; `share` is 0 at the first and 1 at the second. */
const INTERPOLATE = {
  cos: (from: number, to: number, share: number): number => to + ((from - to) / 2) * (1 + cos(Math.PI * share)),
  linear: (from: number, to: number, share: number): number => (to - from) * share + from,
};

function totalStepsOf({ totalSteps, epochs, stepsPerEpoch }: OneCycleOptions): number {
  if (totalSteps !== undefined) return totalSteps;
  if (epochs === undefined || stepsPerEpoch === undefined)
    throw new ArgumentError('OneCycleLR: give totalSteps, or both epochs and stepsPerEpoch');
  return epochs * stepsPerEpoch;
}
