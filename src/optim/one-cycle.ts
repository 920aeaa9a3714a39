import { ArgumentError } from '../core/errors.ts';
import { checkCount, checkNotNegative, checkOptions } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { Scheduler } from './scheduler.ts';

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

const OPTIONS: readonly (keyof OneCycleOptions)[] = [
  'maxLr',
  'totalSteps',
  'epochs',
  'stepsPerEpoch',
  'pctStart',
  'annealStrategy',
  'cycleMomentum',
  'baseMomentum',
  'maxMomentum',
  'divFactor',
  'finalDivFactor',
  'threePhase',
];

/** A stretch of the cycle, from one learning rate and momentum to others. */
interface Phase {
  /** The step at which it ends. */
  readonly end: number;
  readonly lr: readonly ['initial' | 'max', 'initial' | 'max' | 'min'];
  readonly momentum: readonly ['base' | 'max', 'base' | 'max'];
}

/**
 * The one-cycle policy, stepped after every batch: the learning rate rises from maxLr / divFactor to maxLr and falls far below
 * where it began, and momentum mirrors it. As PyTorch's, it sets momentum from the start, whatever the optimizer was given.
 * Source: Smith & Topin 2018, arXiv:1708.07120; PyTorch's two-phase variant by default
 * @example new OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: epochs * loader.length })
 */
export class OneCycleLR extends Scheduler {
  readonly totalSteps: number;
  readonly #phases: readonly Phase[];
  readonly #levels: readonly { initial: number; max: number; min: number }[];
  readonly #momenta: readonly { base: number; max: number }[] | null;
  readonly #anneal: (from: number, to: number, share: number) => number;

  constructor(optimizer: Optimizer, options: OneCycleOptions) {
    checkOptions('OneCycleLR', options, OPTIONS);
    const {
      pctStart = 0.3,
      annealStrategy = 'cos',
      cycleMomentum = true,
      divFactor = 25,
      finalDivFactor = 1e4,
      threePhase = false,
    } = options;
    const groups = optimizer.paramGroups;
    const totalSteps = stepsOf(options);
    if (!(pctStart >= 0 && pctStart <= 1)) throw new ArgumentError(`OneCycleLR: pctStart must be from 0 to 1, got ${pctStart}`);
    if (annealStrategy !== 'cos' && annealStrategy !== 'linear') {
      throw new ArgumentError(`OneCycleLR: annealStrategy must be 'cos' or 'linear', got '${String(annealStrategy)}'`);
    }
    if (cycleMomentum && !groups.every((g) => 'momentum' in g || 'betas' in g)) {
      throw new ArgumentError(`OneCycleLR: ${optimizer.constructor.name} has no momentum to cycle; set cycleMomentum: false`);
    }
    const levels = perGroup('maxLr', options.maxLr, groups.length).map((max) => {
      const initial = max / divFactor;
      return { initial, max, min: initial / finalDivFactor };
    });
    const base = perGroup('baseMomentum', options.baseMomentum ?? 0.85, groups.length);
    const max = perGroup('maxMomentum', options.maxMomentum ?? 0.95, groups.length);
    // PyTorch's: the cycle begins at its own learning rate, not at the optimizer's.
    groups.forEach((g, i) => (g.initialLr = levels[i]!.initial));
    super(optimizer);
    this.totalSteps = totalSteps;
    this.#levels = levels;
    this.#momenta = cycleMomentum ? base.map((b, i) => ({ base: b, max: max[i]! })) : null;
    this.#anneal = annealStrategy === 'cos' ? cosine : linear;
    this.#phases = threePhase ? threePhases(totalSteps, pctStart) : twoPhases(totalSteps, pctStart);
    this.write();
  }

  /** Throws ArgumentError beyond the last step of the cycle. */
  override step(): void {
    if (this.lastEpoch >= this.totalSteps) {
      throw new ArgumentError(`OneCycleLR: step ${this.lastEpoch + 1} is beyond the ${this.totalSteps} steps of the cycle`);
    }
    super.step();
  }

  protected override next(group: ParamGroup, i: number): number {
    const t = this.lastEpoch;
    const at = this.#phases.findIndex((p, n) => t <= p.end || n === this.#phases.length - 1);
    const phase = this.#phases[at]!;
    const start = at === 0 ? 0 : this.#phases[at - 1]!.end;
    const share = (t - start) / (phase.end - start);
    const levels = this.#levels[i]!;
    const momenta = this.#momenta?.[i];
    if (momenta !== undefined) setMomentum(group, this.#anneal(momenta[phase.momentum[0]], momenta[phase.momentum[1]], share));
    return this.#anneal(levels[phase.lr[0]], levels[phase.lr[1]], share);
  }
}

function twoPhases(steps: number, pctStart: number): Phase[] {
  return [
    { end: pctStart * steps - 1, lr: ['initial', 'max'], momentum: ['max', 'base'] },
    { end: steps - 1, lr: ['max', 'min'], momentum: ['base', 'max'] },
  ];
}

function threePhases(steps: number, pctStart: number): Phase[] {
  return [
    { end: pctStart * steps - 1, lr: ['initial', 'max'], momentum: ['max', 'base'] },
    { end: 2 * pctStart * steps - 2, lr: ['max', 'initial'], momentum: ['base', 'max'] },
    { end: steps - 1, lr: ['initial', 'min'], momentum: ['max', 'max'] },
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
  if (totalSteps !== undefined) {
    checkCount('OneCycleLR', 'totalSteps', totalSteps);
    return totalSteps;
  }
  if (epochs === undefined || stepsPerEpoch === undefined)
    throw new ArgumentError('OneCycleLR: give totalSteps, or both epochs and stepsPerEpoch');
  checkCount('OneCycleLR', 'epochs', epochs);
  checkCount('OneCycleLR', 'stepsPerEpoch', stepsPerEpoch);
  return epochs * stepsPerEpoch;
}

function perGroup(option: string, value: number | readonly number[], groups: number): number[] {
  const values = typeof value === 'number' ? Array.from({ length: groups }, () => value) : [...(value ?? [])];
  if (values.length !== groups)
    throw new ArgumentError(`OneCycleLR: ${option} has ${values.length} values, the optimizer ${groups} groups`);
  for (const v of values) checkNotNegative('OneCycleLR', option, v);
  return values;
}
