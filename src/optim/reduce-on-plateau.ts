import { ArgumentError, stateDictMismatch } from '../core/errors.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkEither, checkNotNegative, checkRange, readOptions } from './check.ts';
import type { Optimizer } from './optimizer.ts';
import { groupsOf } from './scheduler.ts';

/** Options of ReduceLROnPlateau. */
export interface PlateauOptions {
  /** Whether the metric is to fall or to rise. Default 'min'. */
  readonly mode?: 'min' | 'max';
  /** lr ← factor·lr. Default 0.1. */
  readonly factor?: number;
  /** Steps without improvement that are let pass. Default 10. */
  readonly patience?: number;
  /** How much better counts as better. Default 1e-4. */
  readonly threshold?: number;
  /** Whether threshold is a share of the best so far or a difference. Default 'rel'. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Steps after a drop in which none are counted. Default 0. */
  readonly cooldown?: number;
  /** Default 0. */
  readonly minLr?: number;
  /** Drops no larger than this are not made. Default 1e-8. */
  readonly eps?: number;
}

const SPEC = {
  mode: [checkEither('min', 'max'), 'min'],
  factor: [checkRange('≥ 0 and < 1', (v) => v >= 0 && v < 1), 0.1],
  patience: [checkNotNegative, 10],
  threshold: [checkNotNegative, 1e-4],
  thresholdMode: [checkEither('rel', 'abs'), 'rel'],
  cooldown: [checkNotNegative, 0],
  minLr: [checkNotNegative, 0],
  eps: [checkNotNegative, 1e-8],
} as const;

/** What ReduceLROnPlateau's stateDict gives: steps, the best metric, steps without a better one, steps left of the cooldown. */
export type PlateauState = Readonly<Record<'lastEpoch' | 'best' | 'numBadEpochs' | 'cooldownCounter', number>>;

/**
 * Drops the learning rate by `factor` after more than `patience` steps in which a metric did not improve.
 * @example new ReduceLROnPlateau(optimizer, { patience: 5 }).step(validationLoss)
 */
export class ReduceLROnPlateau implements Stateful {
  readonly optimizer: Optimizer;
  readonly options: Readonly<Required<PlateauOptions>>;
  #state: PlateauState;

  constructor(optimizer: Optimizer, options: PlateauOptions = {}) {
    groupsOf('ReduceLROnPlateau', optimizer);
    this.options = readOptions('ReduceLROnPlateau', options, SPEC) as Required<PlateauOptions>;
    this.optimizer = optimizer;
    this.#state = { lastEpoch: 0, best: this.options.mode === 'min' ? Infinity : -Infinity, numBadEpochs: 0, cooldownCounter: 0 };
  }

  /** The learning rates, by group. */
  get lastLr(): readonly number[] {
    return this.optimizer.paramGroups.map((g) => g.lr);
  }

  /** Takes the metric of one more epoch. NaN is no improvement. */
  step(metric: number): void {
    if (typeof metric !== 'number') throw new ArgumentError(`ReduceLROnPlateau: step takes the metric, a number, got ${typeof metric}`);
    const { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps } = this.options;
    const { lastEpoch, best, numBadEpochs, cooldownCounter: cooling } = this.#state;
    const sign = mode === 'min' ? -1 : 1;
    const better = sign * metric > sign * (thresholdMode === 'rel' ? best * (1 + sign * threshold) : best + sign * threshold);
    const bad = better || cooling > 0 ? 0 : numBadEpochs + 1;
    const drop = bad > patience;
    for (const g of drop ? this.optimizer.paramGroups : []) {
      const lr = Math.max(g.lr * factor, minLr);
      if (g.lr - lr > eps) g.lr = lr;
    }
    this.#state = {
      lastEpoch: lastEpoch + 1,
      best: better ? metric : best,
      numBadEpochs: drop ? 0 : bad,
      cooldownCounter: drop ? cooldown : Math.max(0, cooling - 1),
    };
  }

  stateDict(): PlateauState {
    return this.#state;
  }

  /** Continues where `stateDict` was taken; learning rates come back with the optimizer's state. Throws: StateDictError */
  loadStateDict(state: PlateauState): void {
    const wrong = Object.keys(this.#state).find((key) => typeof state?.[key as keyof PlateauState] !== 'number');
    if (wrong !== undefined) throw stateDictMismatch('ReduceLROnPlateau', `${wrong} is no number`);
    this.#state = { ...state };
  }
}
