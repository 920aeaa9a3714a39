/**
 * Schedules that repeat: cosine annealing with restarts, and triangles.
 */
import { ArgumentError, shown } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { cos, pow } from '../kernels/scalars.ts';
import { checkEach, checkEither, checkPerGroup, checkRange, checkRate, readOptions, valueForGroup } from './check.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { FormulaLR, groupsOf, hasMomentum, setMomentum } from './scheduler.ts';

/** Options of CosineAnnealingWarmRestarts. */
export interface WarmRestartOptions {
  /** Steps of the first cycle. */
  readonly t0: number;
  /** The factor from the length of a cycle to that of the next; a whole number. Default 1. */
  readonly tMult?: number;
  /** The minimum, which a cycle approaches. Default 0. */
  readonly etaMin?: number;
}

/**
 * Lowers the learning rate along half a cosine, returns to the first one, and begins again:
 *   lr = etaMin + (lr₀ − etaMin)·(1 + cos(π t / T)) / 2   at step t of a cycle of T = t0·tMultᵏ steps
 * Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5
 * @example new CosineAnnealingWarmRestarts(optimizer, { t0: 10, tMult: 2 })
 */
export class CosineAnnealingWarmRestarts extends FormulaLR<WarmRestartOptions> {
  static override readonly spec = { t0: [checkCount], tMult: [checkCount, 1], etaMin: [checkRate, 0] } as const;

  protected override next(_: ParamGroup, i: number): number {
    const { t0, tMult, etaMin } = this.options;
    let length = t0;
    let t = this.lastEpoch;
    if (tMult === 1) t %= t0;
    for (; t >= length; length *= tMult) t -= length;
    return etaMin + ((this.baseLrs[i]! - etaMin) * (1 + cos((Math.PI * t) / length))) / 2;
  }
}

/** Options of CyclicLR. */
export interface CyclicOptions {
  /** The lowest learning rate, or one for each group. */
  readonly baseLr: number | readonly number[];
  /** The highest learning rate of the first cycle, or one for each group. */
  readonly maxLr: number | readonly number[];
  /** Steps from the lowest to the highest. Default 2000. */
  readonly stepSizeUp?: number;
  /** Steps back. Default: stepSizeUp. */
  readonly stepSizeDown?: number | null;
  /** The height of the cycles: 'triangular' stays, 'triangular2' halves, 'expRange' is multiplied by gammaᵗ. Default 'triangular'. */
  readonly mode?: 'triangular' | 'triangular2' | 'expRange';
  /** The factor of 'expRange', from 0 to 1. Default 1. */
  readonly gamma?: number;
  /** Whether momentum falls while the learning rate rises, and the reverse. Default true. */
  readonly cycleMomentum?: boolean;
  /** The lowest momentum, or one for each group. Default 0.8. */
  readonly baseMomentum?: number | readonly number[];
  /** The highest momentum, or one for each group. Default 0.9. */
  readonly maxMomentum?: number | readonly number[];
}

const PER_GROUP = ['baseLr', 'maxLr', 'baseMomentum', 'maxMomentum'] as const;

/**
 * Moves the learning rate between two bounds in triangles, stepped after every batch. As in PyTorch, it overrides the optimizer's learning
 * rate and momentum from the start.
 * Source: Smith 2017, arXiv:1506.01186, section 3
 * Throws: ArgumentError for an optimizer without momentum, unless cycleMomentum is false
 * @example new CyclicLR(optimizer, { baseLr: 0.001, maxLr: 0.1, stepSizeUp: 4 * loader.length })
 */
export class CyclicLR extends FormulaLR<CyclicOptions> {
  static override readonly spec = {
    baseLr: [checkEach],
    maxLr: [checkEach],
    stepSizeUp: [checkCount, 2000],
    stepSizeDown: [(name: string, option: string, value: unknown) => value !== null && checkCount(name, option, value), null],
    mode: [checkMode, 'triangular'],
    gamma: [checkRange('from 0 to 1', (v) => v >= 0 && v <= 1), 1],
    cycleMomentum: [checkEither(true, false), true],
    baseMomentum: [checkEach, 0.8],
    maxMomentum: [checkEach, 0.9],
  } as const;

  constructor(optimizer: Optimizer, options: CyclicOptions) {
    const groups = groupsOf('CyclicLR', optimizer);
    const { baseLr, cycleMomentum } = readOptions('CyclicLR', options, CyclicLR.spec, groups.length) as Required<CyclicOptions>;
    if (cycleMomentum && !groups.every(hasMomentum))
      throw new ArgumentError(`CyclicLR: ${optimizer.constructor.name} has no momentum to cycle; set cycleMomentum: false`);
    groups.forEach((g, i) => {
      g.initialLr = valueForGroup(baseLr, i);
    });
    super(optimizer, options);
  }

  protected override next(group: ParamGroup, i: number): number {
    const { baseLr, maxLr, stepSizeUp, mode, gamma, cycleMomentum, baseMomentum, maxMomentum } = this.options;
    // Again, as groups may have been added since.
    for (const option of PER_GROUP) checkPerGroup('CyclicLR', option, this.options[option], this.optimizer.paramGroups.length, 'values');
    const stepSizeDown = this.options.stepSizeDown ?? stepSizeUp;
    const length = stepSizeUp + stepSizeDown;
    const cycle = Math.floor(this.lastEpoch / length);
    const t = this.lastEpoch - cycle * length;
    const height = t <= stepSizeUp ? t / stepSizeUp : (length - t) / stepSizeDown;
    const scale = { triangular: 1, triangular2: 2 ** -cycle, expRange: pow(gamma, this.lastEpoch) }[mode];
    if (cycleMomentum) {
      const [low, high] = [valueForGroup(baseMomentum, i), valueForGroup(maxMomentum, i)];
      setMomentum(group, high - (high - low) * height * scale);
    }
    const [low, high] = [valueForGroup(baseLr, i), valueForGroup(maxLr, i)];
    return low + (high - low) * height * scale;
  }
}

function checkMode(name: string, option: string, value: unknown): void {
  if (value === 'triangular' || value === 'triangular2' || value === 'expRange') return;
  throw new ArgumentError(`${name}: ${option} must be 'triangular', 'triangular2' or 'expRange', got ${shown(value)}`);
}
