import { ArgumentError, stateDictMismatch } from '../core/errors.ts';
import { refuseSurplus } from '../core/options.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkEither, checkNotNegative, checkRange, readOptions } from './check.ts';
import type { Optimizer } from './optimizer.ts';
import { groupsOf } from './scheduler.ts';

/** Options of ReduceLROnPlateau. */
export interface PlateauOptions {
  /** Whether a lower ('min') or a higher metric is better. Default 'min'. */
  readonly mode?: 'min' | 'max';
  /** lr ← factor·lr. Default 0.1. */
  readonly factor?: number;
  /** How many steps without improvement are tolerated. Default 10. */
  readonly patience?: number;
  /** The smallest change that counts as an improvement. Default 1e-4. */
  readonly threshold?: number;
  /** Whether threshold is relative to the best metric so far or absolute. Default 'rel'. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** How many steps after a reduction are not counted. Default 0. */
  readonly cooldown?: number;
  /** The lowest learning rate. Default 0. */
  readonly minLr?: number;
  /** The smallest reduction: one of at most eps is skipped. Default 1e-8. */
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

/** The state of ReduceLROnPlateau: steps, the best metric, steps without improvement, and remaining steps of the cooldown. */
export type PlateauState = Readonly<Record<'lastEpoch' | 'best' | 'numBadEpochs' | 'cooldownCounter', number>>;

/**
 * Multiplies the learning rate by `factor` after more than `patience` steps in which a metric did not improve.
 * @example new ReduceLROnPlateau(optimizer, { patience: 5 }).step(validationLoss)
 */
export class ReduceLROnPlateau implements Stateful {
  /** The optimizer whose learning rates it writes. */
  readonly optimizer: Optimizer;
  /** The options, with their defaults. */
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

  /** Takes one step, given the epoch's metric. NaN is no improvement. */
  step(metric: number): void {
    refuseSurplus('step', arguments, 1);
    if (typeof metric !== 'number') throw new ArgumentError(`ReduceLROnPlateau: step takes the metric, a number, got ${typeof metric}`);
    const { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps } = this.options;
    const { lastEpoch, best, numBadEpochs, cooldownCounter } = this.#state;
    const sign = mode === 'min' ? -1 : 1;
    const target = thresholdMode === 'rel' ? best * (1 + sign * threshold) : best + sign * threshold;
    const improved = sign * metric > sign * target;
    const badEpochs = improved || cooldownCounter > 0 ? 0 : numBadEpochs + 1;
    const reduces = badEpochs > patience;
    if (reduces) {
      for (const group of this.optimizer.paramGroups) {
        const lr = Math.max(group.lr * factor, minLr);
        if (group.lr - lr > eps) group.lr = lr;
      }
    }
    this.#state = {
      lastEpoch: lastEpoch + 1,
      best: improved ? metric : best,
      numBadEpochs: reduces ? 0 : badEpochs,
      cooldownCounter: reduces ? cooldown : Math.max(0, cooldownCounter - 1),
    };
  }

  stateDict(): PlateauState {
    refuseSurplus('stateDict', arguments, 0);
    return this.#state;
  }

  /** Restores a state of `stateDict`. The optimizer's state restores the learning rates. Throws: StateDictError */
  loadStateDict(state: PlateauState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    const wrong = Object.keys(this.#state).find((key) => typeof state?.[key as keyof PlateauState] !== 'number');
    if (wrong !== undefined) throw stateDictMismatch('ReduceLROnPlateau', `${wrong} is no number`);
    const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
    const uncounted = (['lastEpoch', 'numBadEpochs'] as const).find((key) => !isCount(state[key]));
    if (uncounted !== undefined) throw stateDictMismatch('ReduceLROnPlateau', `${uncounted} is ${state[uncounted]}, no whole number ≥ 0`);
    if (Number.isNaN(state.best) || !(state.cooldownCounter >= 0))
      throw stateDictMismatch('ReduceLROnPlateau', `best is ${state.best} and cooldownCounter ${state.cooldownCounter}`);
    const unknown = Object.keys(state).find((key) => !Object.hasOwn(this.#state, key));
    if (unknown !== undefined) throw stateDictMismatch('ReduceLROnPlateau', `it has '${unknown}', which is no part of it`);
    this.#state = { ...state };
  }
}
