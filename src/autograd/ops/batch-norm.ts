/**
 * Batch normalisation. Letters: N batch, C channels.
 */
import { ArgumentError, ShapeError } from '../../core/errors.ts';
import { checkNotNegative, withDefaults } from '../../core/options.ts';
import { formatShape } from '../../core/shape.ts';
import { empty, emptyLike, type View } from '../../kernels/view.ts';
import { noGrad } from '../scopes.ts';
import { defineOp } from '../op.ts';
import { composed } from '../scope-stack.ts';
import type { Tensor } from '../tensor.ts';
import { toContiguous, toDenseImages, toLayoutOf } from './dense-layouts.ts';
import { eq, where } from './comparison.ts';
import { add, div, mul, sqrt, square, sub } from './elementwise.ts';
import { blend_, type Blend } from './inplace.ts';
import { affine, channelShape, type NormOptions } from './normalization.ts';
import { mean } from './reduce.ts';
import { clone, reshape } from './views.ts';

/**
 * Computes [y, mean, variance, invstd, scale, offset] of x [N,C,…] with statistics over all dims but C. variance is the biased
 * one; the last three serve backward.
 *   y = (x − μ) / √(σ² + ε) · w + b = x · scale − offset, and b where σ² + ε = 0, as in PyTorch
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1
 */
export const batchNormOp = defineOp({
  name: 'batchNorm',
  forward: (k, x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => {
    const xs = toDenseImages(k, x);
    const each = (): View => empty([x.shape[1]!], x.dtype);
    const variance = each();
    const statistics = { mean: each(), invstd: each(), scale: each(), offset: each() };
    k.batchNormStats(xs, eps, w && toContiguous(k, w), b && toContiguous(k, b), variance, statistics);
    const y = emptyLike(xs);
    k.batchNormApply(xs, statistics.scale, statistics.offset, y);
    return [y, statistics.mean, variance, statistics.invstd, statistics.scale, statistics.offset];
  },
  save: (_, [x], [, mu, , invstd, scale, offset]) => ({ x, mean: mu, invstd, scale, offset }),
  gradKernel: (k, g, { x, ...statistics }, needs) => {
    const xs = toDenseImages(k, x);
    const dx = needs[0] ? emptyLike(xs) : null;
    const dw = empty(statistics.mean.shape, x.dtype);
    const db = empty(statistics.mean.shape, x.dtype);
    k.batchNormGrad(toLayoutOf(k, xs, g), xs, statistics, dx, dw, db);
    return [dx, needs[1] ? dw : null, needs[2] ? db : null];
  },
  definition: (x, w, b, eps) => {
    const dims = [...x.shape.keys()].filter((d) => d !== 1);
    const shape = x.shape.map((n, d) => (d === 1 ? n : 1));
    const mu = mean(x, dims, { keepdim: true });
    const centred = sub(x, mu);
    const variance = mean(square(centred), dims, { keepdim: true });
    const normal = div(centred, deviation(variance, eps));
    const scaled = w === null ? normal : mul(normal, reshape(w, shape));
    const y = b === null ? scaled : add(scaled, reshape(b, shape));
    return [y, reshape(mu, [-1]), reshape(variance, [-1])];
  },
});

/** √(σ² + ε), but ∞ where that is 0, so that a constant channel is 0 after the division. */
function deviation(variance: Tensor, eps: number): Tensor {
  if (eps > 0) return sqrt(add(variance, eps));
  const isFlat = eq(variance, 0);
  return where(isFlat, Infinity, sqrt(where(isFlat, 1, variance)));
}

/** Options of batchNorm. */
export interface BatchNormOptions extends NormOptions {
  /** [C]; updated in training, used otherwise. Default null: none, which only training allows. */
  readonly runningMean?: Tensor | null;
  /** [C]; updated in training with the unbiased variance, used otherwise. Default null, as runningMean. */
  readonly runningVar?: Tensor | null;
  /** Normalises by the batch's own statistics. Default false. */
  readonly training?: boolean;
  /** Weight of the new statistics: running ← (1 − momentum)·running + momentum·new. Default 0.1. */
  readonly momentum?: number;
}

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias, with the statistics of each channel: the batch's in training, else the running ones
 * Shape:  x [N,C,…] → y [N,C,…]
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError in training with one value per channel; ArgumentError without running statistics outside training
 */
export const batchNorm = composed((x: Tensor, options: BatchNormOptions = {}): Tensor => {
  const defaults = { runningMean: null, runningVar: null, weight: null, bias: null, training: false, momentum: 0.1, eps: 1e-5 };
  const { runningMean, runningVar, weight, bias, training, momentum, eps } = withDefaults('batchNorm', options, defaults);
  checkNotNegative('batchNorm', 'momentum', momentum);
  const frame = channelShape('batchNorm', x, { runningMean, runningVar, weight, bias }, eps);
  if (!training) {
    if (runningMean === null || runningVar === null)
      throw new ArgumentError('batchNorm: runningMean and runningVar are needed when training is false');
    // One multiplication and one addition per element.
    const scale = div(weight ?? 1, runningVar.add(eps).sqrt());
    const shift = runningMean.mul(scale).neg();
    return affine(x, scale, bias === null ? shift : shift.add(bias), frame);
  }
  // An empty x has no statistics, so the running ones stay.
  if (x.numel === 0) return affine(clone(x), weight, bias, frame);
  const n = x.numel / x.size(1);
  if (n === 1) throw new ShapeError(`batchNorm: training needs more than 1 value per channel, got 1 (x ${formatShape(x.shape)})`);
  const [y, mean, variance, ...rest] = batchNormOp(x, weight, bias, eps) as [Tensor, Tensor, Tensor, Tensor];
  const keep = 1 - momentum;
  const averages: Blend[] = [];
  if (runningMean !== null) averages.push({ x: runningMean, y: mean, keep, take: momentum });
  if (runningVar !== null) averages.push({ x: runningVar, y: variance, keep, take: (momentum * n) / (n - 1) });
  noGrad(() => blend_('batchNorm', averages));
  for (const t of [mean, variance, ...rest]) t.dispose();
  return y;
});
