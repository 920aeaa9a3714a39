/**
 * The state of a run of fit.
 */
import type { FitEvent } from './events.ts';

/** How far the run has come. */
export interface Progress {
  step: number;
  /** The current epoch, from 0. */
  epoch: number;
  /** The sum of the losses of the epoch's samples so far, and their number. */
  lossSum: number;
  samples: number;
  /** The step of the last evaluation; −1: none. */
  evaluatedAt: number;
  reason: string | null;
  ended: boolean;
}

/** The state of a run. */
export interface FitState {
  readonly model: object;
  readonly optimizer: object;
  readonly loader: object;
  readonly scheduler: object | null;
  readonly ema: object | null;
  /** Null for a callback without state. */
  readonly callbacks: readonly (object | null)[];
  readonly progress: Readonly<Progress>;
  /** An event that the callbacks from number `next` on have not received; null: none. */
  readonly pending: { readonly event: FitEvent; readonly next: number } | null;
}
