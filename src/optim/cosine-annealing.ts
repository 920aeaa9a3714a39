import { checkCount, checkOptions } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { Scheduler } from './scheduler.ts';

/** Options of CosineAnnealingLR. */
export interface CosineAnnealingOptions {
  /** Steps until the minimum. */
  readonly tMax: number;
  /** The minimum. Default 0. */
  readonly etaMin?: number;
}

/**
 * From the initial learning rate down to etaMin along half a cosine in tMax steps (and up again after):
 *   lr(t) = etaMin + (lr₀ − etaMin)·(1 + cos(π t / tMax)) / 2
 * written as the step from lr(t − 1), so that it acts on what other schedulers leave.
 * Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts
 */
export class CosineAnnealingLR extends Scheduler {
  readonly tMax: number;
  readonly etaMin: number;

  constructor(optimizer: Optimizer, options: CosineAnnealingOptions) {
    checkOptions('CosineAnnealingLR', options, ['tMax', 'etaMin']);
    const { tMax, etaMin = 0 } = options;
    checkCount('CosineAnnealingLR', 'tMax', tMax);
    super(optimizer);
    this.tMax = tMax;
    this.etaMin = etaMin;
  }

  protected override next(group: ParamGroup, i: number): number {
    const { tMax, etaMin, lastEpoch: t } = this;
    // lr(t − 1) is etaMin: the ratio below would be 0 / 0.
    if ((t - 1 - tMax) % (2 * tMax) === 0) return group.lr + ((this.baseLrs[i]! - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    const ratio = (1 + Math.cos((Math.PI * t) / tMax)) / (1 + Math.cos((Math.PI * (t - 1)) / tMax));
    return ratio * (group.lr - etaMin) + etaMin;
  }
}
