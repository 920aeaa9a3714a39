import { checkCount } from '../core/options.ts';
import { checkNotNegative } from './check.ts';
import type { ParamGroup } from './optimizer.ts';
import { FormulaLR } from './scheduler.ts';

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
export class CosineAnnealingLR extends FormulaLR<CosineAnnealingOptions> {
  static override readonly spec = { tMax: [checkCount], etaMin: [checkNotNegative, 0] } as const;

  protected override next(group: ParamGroup, i: number): number {
    const { tMax, etaMin } = this.options;
    const t = this.lastEpoch;
    if (t === 0) return group.lr;
    // lr(t − 1) is etaMin: the ratio below would be 0 / 0.
    if ((t - 1 - tMax) % (2 * tMax) === 0) return group.lr + ((this.baseLrs[i]! - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    const ratio = (1 + Math.cos((Math.PI * t) / tMax)) / (1 + Math.cos((Math.PI * (t - 1)) / tMax));
    return ratio * (group.lr - etaMin) + etaMin;
  }
}
