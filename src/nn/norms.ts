import { batchNorm, groupNorm, layerNorm, noGrad, ones, rmsNorm, zeros, type Tensor } from '../autograd/index.ts';
import { ShapeError } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { formatShape, type Shape } from '../core/shape.ts';
import { ones_, zeros_ } from './init.ts';
import { Module } from './module.ts';
import { buffer, parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** What all normalising layers have. */
class Norm<E = number> extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: E;

  constructor(op: string, shape: Shape, weight: boolean, bias: boolean, { dtype, eps }: Required<LayerOptions> & { readonly eps: E }) {
    super();
    for (const n of shape) checkCount(op, shape.length === 1 ? 'channels' : 'every size', n);
    this.weight = weight ? parameter(shape, dtype, ones_) : null;
    this.bias = bias ? parameter(shape, dtype, zeros_) : null;
    this.eps = eps;
  }
}

/** Options of GroupNorm. */
export interface GroupNormOptions extends LayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether there are weight and bias. Default true. */
  readonly affine?: boolean;
}

/** Options of BatchNorm2d. */
export interface BatchNorm2dOptions extends GroupNormOptions {
  /** Weight of the new statistics in the running ones; null: the plain average of all batches. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether running statistics are kept, which evaluation then uses. Default true. */
  readonly trackRunningStats?: boolean;
}

const BATCH_NORM = { eps: 1e-5, momentum: 0.1, affine: true, trackRunningStats: true, dtype: 'float32' } as const;

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias for each channel: statistics of the batch in training, running ones in evaluation.
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; weight, bias, running_mean, running_var [C]
 * Init:   weight 1, bias 0, running mean 0 and variance 1
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError for other channels, or in training with one value per channel
 */
export class BatchNorm2d extends Norm {
  // PyTorch's names: the state dict's keys are property names.
  running_mean: Tensor | null;
  running_var: Tensor | null;
  num_batches_tracked: Tensor | null;
  readonly channels: number;
  readonly momentum: number | null;

  constructor(channels: number, options: BatchNorm2dOptions = {}) {
    const o = withDefaults('BatchNorm2d', options, BATCH_NORM);
    super('BatchNorm2d', [channels], o.affine, o.affine, o);
    this.channels = channels;
    this.momentum = o.momentum;
    const track = (value: () => Tensor): Tensor | null => (o.trackRunningStats ? noGrad(() => buffer(value())) : null);
    this.running_mean = track(() => zeros([channels], { dtype: o.dtype }));
    this.running_var = track(() => ones([channels], { dtype: o.dtype }));
    this.num_batches_tracked = track(() => zeros([], { dtype: 'int32' }));
    // From here on a plain tensor in a buffer's place throws.
    this.namedModules();
  }

  forward(x: Tensor): Tensor {
    if (x.ndim !== 4 || x.size(1) !== this.channels) {
      throw new ShapeError(`batchNorm2d: x must be [N,C,H,W] with ${this.channels} channels, got ${formatShape(x.shape)}`);
    }
    const { weight, bias, eps, running_mean: runningMean, running_var: runningVar, num_batches_tracked: batches } = this;
    const training = this.training || runningMean === null;
    const momentum = this.momentum ?? 1 / ((batches?.item() ?? 0) + 1);
    const y = batchNorm(x, { runningMean, runningVar, weight, bias, training, momentum, eps });
    if (training && batches !== null) noGrad(() => batches.add_(1));
    return y;
  }
}

/**
 * Normalises groups of channels of each image; see F.groupNorm.
 * Shape:  x [N,C,…] → y as x; weight, bias [C]
 * Init:   weight 1, bias 0
 * @example new GroupNorm(4, 32)
 */
export class GroupNorm extends Norm {
  readonly numGroups: number;

  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    const o = withDefaults('GroupNorm', options, { eps: 1e-5, affine: true, dtype: 'float32' });
    for (const [name, n] of Object.entries({ numGroups, 'numChannels / numGroups': numChannels / numGroups }))
      checkCount('GroupNorm', name, n);
    super('GroupNorm', [numChannels], o.affine, o.affine, o);
    this.numGroups = numGroups;
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return groupNorm(x, this.numGroups, { weight, bias, eps });
  }
}

/** Options of RMSNorm. */
export interface RMSNormOptions extends LayerOptions {
  /** Added to the mean of the squares. Default: the distance from 1 to the next number of x's dtype. */
  readonly eps?: number | null;
  /** Whether there are parameters. Default true. */
  readonly elementwiseAffine?: boolean;
}

/** Options of LayerNorm. */
export interface LayerNormOptions extends RMSNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether there is a bias beside the weight. Default true. */
  readonly bias?: boolean;
}

/**
 * Normalises the last dims; see F.layerNorm.
 * Shape:  x [..., ...normalizedShape] → y as x; weight, bias of normalizedShape
 * Init:   weight 1, bias 0
 */
export class LayerNorm extends Norm {
  readonly normalizedShape: Shape;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    const o = withDefaults('LayerNorm', options, { eps: 1e-5, elementwiseAffine: true, bias: true, dtype: 'float32' });
    super('LayerNorm', [normalizedShape].flat(), o.elementwiseAffine, o.elementwiseAffine && o.bias, o);
    this.normalizedShape = [normalizedShape].flat();
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return layerNorm(x, this.normalizedShape, { weight, bias, eps });
  }
}

/**
 * Divides the last dims by their root mean square; see F.rmsNorm.
 * Shape:  x [..., ...normalizedShape] → y as x; weight of normalizedShape
 * Init:   weight 1
 */
export class RMSNorm extends Norm<number | null> {
  readonly normalizedShape: Shape;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    const o = withDefaults('RMSNorm', options, { eps: null, elementwiseAffine: true, dtype: 'float32' });
    super('RMSNorm', [normalizedShape].flat(), o.elementwiseAffine, false, o);
    this.normalizedShape = [normalizedShape].flat();
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps });
  }
}
