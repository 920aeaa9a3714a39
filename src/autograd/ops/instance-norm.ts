/**
 * Instance normalisation. Letters: N batch, C channels.
 */
import { ArgumentError, ShapeError } from '../../core/errors.ts';
import { checkNotNegative, withDefaults } from '../../core/options.ts';
import { formatShape } from '../../core/shape.ts';
import { composed } from '../scope-stack.ts';
import { noGrad } from '../scopes.ts';
import type { Tensor } from '../tensor.ts';
import { batchNorm, type BatchNormOptions } from './batch-norm.ts';
import { blend_, type Blend } from './inplace.ts';
import { channelShape, groupNorm } from './normalization.ts';
import { mean, variance } from './reduce.ts';

/** Options of instanceNorm. */
export interface InstanceNormOptions extends Omit<BatchNormOptions, 'training'> {
  /** Normalises by each image's own statistics, and updates the running ones if given; false uses the running ones. Default true. */
  readonly useInputStats?: boolean;
}

const DEFAULTS = { runningMean: null, runningVar: null, weight: null, bias: null, useInputStats: true, momentum: 0.1, eps: 1e-5 };

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias, with the statistics of each channel of each image. The running ones are updated by the means
 * over the batch.
 * Shape:  x [N,C,…] → y as x; weight, bias, runningMean, runningVar [C]
 * Source: Ulyanov et al. 2016, arXiv:1607.08022, eq. 3
 * Throws: ShapeError for one value per channel of an image; ArgumentError without running statistics if useInputStats is false
 */
export const instanceNorm = composed((x: Tensor, options: InstanceNormOptions = {}): Tensor => {
  const o = withDefaults<InstanceNormOptions>('instanceNorm', options, DEFAULTS);
  const { runningMean, runningVar, weight, bias, momentum, eps } = o;
  checkNotNegative('instanceNorm', 'momentum', momentum);
  channelShape('instanceNorm', x, { runningMean, runningVar, weight, bias }, eps);
  if (!o.useInputStats) {
    if (runningMean === null || runningVar === null)
      throw new ArgumentError('instanceNorm: runningMean and runningVar are needed when useInputStats is false');
    return batchNorm(x, { runningMean, runningVar, weight, bias, eps });
  }
  const sides = [...x.shape.keys()].slice(2);
  if (sides.every((d) => x.shape[d] === 1))
    throw new ShapeError(`instanceNorm: more than 1 value per channel of an image is needed (x ${formatShape(x.shape)})`);
  // Without channels one empty group.
  const y = groupNorm(x, Math.max(1, x.size(1)), { weight, bias, eps });
  // An empty x has no statistics, so the running ones stay.
  if (x.numel === 0) return y;
  noGrad(() => {
    const averages: Blend[] = [];
    const blend = (running: Tensor | null, statistic: (x: Tensor, dim: number[]) => Tensor): void => {
      if (running !== null) averages.push({ x: running, y: mean(statistic(x, sides), 0), keep: 1 - momentum, take: momentum });
    };
    blend(runningMean, mean);
    blend(runningVar, variance);
    blend_('instanceNorm', averages);
  });
  return y;
});
