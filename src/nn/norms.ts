import { allOrNone, batchNorm, checkTensor, groupNorm, instanceNorm, isTensor, layerNorm, noGrad } from '../autograd/index.ts';
import { ones, rmsNorm, zeros, type Tensor } from '../autograd/index.ts';
import { checkFloatDType, type FloatDType } from '../core/dtype.ts';
import { ShapeError, isArray } from '../core/errors.ts';
import { checkCount, checkNotNegative, checkNumber, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape, type Shape } from '../core/shape.ts';
import { ones_, zeros_ } from './init.ts';
import { Module } from './module.ts';
import { buffer, parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** The base of the normalising layers: weight, bias and ε. */
class NormLayer<Eps = number> extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: Eps;

  constructor(
    name: string,
    shape: Shape,
    hasWeight: boolean,
    hasBias: boolean,
    { dtype, eps }: Required<LayerOptions> & { readonly eps: Eps },
  ) {
    super();
    // Without parameters nothing else would read it.
    checkFloatDType(name, dtype);
    if (eps !== null) checkNotNegative(name, 'eps', eps);
    for (const size of shape) checkCount(name, shape.length === 1 ? 'channels' : 'every size', size);
    [this.weight, this.bias] = allOrNone(() => [
      hasWeight ? parameter(shape, dtype, ones_) : null,
      hasBias ? parameter(shape, dtype, zeros_) : null,
    ]);
    this.eps = eps;
  }
}

/** Options of GroupNorm. */
export interface GroupNormOptions extends LayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether the layer has weight and bias. Default true. */
  readonly affine?: boolean;
}

/** Options of a layer that may track statistics. */
interface TrackingOptions extends GroupNormOptions {
  /** The weight of a batch's statistics in the running ones; null averages all batches equally. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether the layer tracks running statistics, which evaluation uses. Default true. */
  readonly trackRunningStats?: boolean;
}

/** Creates running mean, running variance and the count of batches; all, or if memory runs out none. */
function runningStats(channels: number, dtype: FloatDType): [Tensor, Tensor, Tensor] {
  return noGrad(() =>
    allOrNone(() => [buffer(zeros([channels], { dtype })), buffer(ones([channels], { dtype })), buffer(zeros([], { dtype: 'int32' }))]),
  );
}

/** Options of BatchNorm1d. */
export interface BatchNorm1dOptions extends TrackingOptions {}

/** Options of BatchNorm2d. */
export interface BatchNorm2dOptions extends TrackingOptions {}

const BATCH_NORM_DEFAULTS = { eps: 1e-5, momentum: 0.1, affine: true, trackRunningStats: true, dtype: 'float32' } as const;

/** A normalising layer that may have running statistics of the channels. */
class TrackingNorm extends NormLayer {
  // PyTorch's names, as property names are the keys in the state dict.
  /** [C]; null without running statistics. */
  running_mean: Tensor | null;
  /** [C]; null without running statistics. */
  running_var: Tensor | null;
  /** The number of batches in the running statistics; null without. */
  num_batches_tracked: Tensor | null;
  /** C. */
  readonly channels: number;
  /** The weight of new statistics. */
  readonly momentum: number | null;

  constructor(name: string, channels: number, o: Required<TrackingOptions>) {
    if (o.momentum !== null) checkNumber(name, 'momentum', o.momentum);
    super(name, [channels], o.affine, o.affine, o);
    this.channels = channels;
    this.momentum = o.momentum;
    const { dtype } = o;
    try {
      [this.running_mean, this.running_var, this.num_batches_tracked] = o.trackRunningStats
        ? runningStats(channels, dtype)
        : [null, null, null];
    } catch (error) {
      // Weight and bias exist already.
      this.dispose();
      throw error;
    }
    // Registers the buffers now: from here on, replacing one by a plain tensor throws.
    this.namedModules();
  }

  /** As in PyTorch, whose oldest states have no counter. */
  override optionalState(): readonly string[] {
    return this.num_batches_tracked === null ? [] : ['num_batches_tracked'];
  }

  /** As in PyTorch, the counter may have any dtype: that of an average of states is a float. */
  override adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    return [name, name === 'num_batches_tracked' && isTensor(value) ? value.to('int32') : value];
  }

  /** Throws as checkChannels, for the layer's channels. */
  protected checkInput(op: string, x: Tensor, ...shapes: readonly string[]): void {
    checkChannels(op, x, this.channels, shapes);
  }

  protected normalizeBatch(x: Tensor): Tensor {
    const { weight, bias, eps, running_mean: runningMean, running_var: runningVar } = this;
    const options = { runningMean, runningVar, weight, bias, eps };
    if (!this.training && runningMean !== null) return batchNorm(x, options);
    return countingBatches(this, (momentum) => batchNorm(x, { ...options, training: true, momentum }));
  }
}

/** @internal Throws unless x has these channels and one of the shapes, such as '[N,C,H,W]'. */
export function checkChannels(op: string, x: Tensor, channels: number, shapes: readonly string[]): void {
  checkTensor(op, 'x', x);
  const ranks = shapes.map((shape) => shape.split(',').length);
  if (!ranks.includes(x.ndim) || x.size(1) !== channels)
    throw new ShapeError(`${op}: x must be ${shapes.join(' or ')} with ${channels} channels, got ${formatShape(x.shape)}`);
}

/** @internal Calls `normalize` with the weight of this batch in the running statistics of a batch norm; then counts the batch. */
export function countingBatches(
  { momentum, num_batches_tracked: batches }: Pick<TrackingNorm, 'momentum' | 'num_batches_tracked'>,
  normalize: (momentum: number) => Tensor,
): Tensor {
  const y = normalize(momentum ?? 1 / ((batches?.item() ?? 0) + 1));
  if (batches !== null) noGrad(() => batches.add_(1));
  return y;
}

/**
 * Normalises each channel, by the batch's statistics in training and by running ones in evaluation; see F.batchNorm.
 *   y = (x − μ) / √(σ² + ε) · weight + bias
 * Shape:  x [N,C] or [N,C,L] → y as x; weight, bias, running_mean, running_var [C]
 * Init:   weight 1, bias 0, running mean 0 and variance 1
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError if x has other channels, or in training with one value per channel
 * @example new Sequential(new Linear(8, 32, { bias: false }), new BatchNorm1d(32), new ReLU())
 */
export class BatchNorm1d extends TrackingNorm {
  constructor(channels: number, options: BatchNorm1dOptions = {}) {
    super('BatchNorm1d', channels, withDefaults('BatchNorm1d', options, BATCH_NORM_DEFAULTS));
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    this.checkInput('batchNorm1d', x, '[N,C]', '[N,C,L]');
    return this.normalizeBatch(x);
  }
}

/**
 * Normalises each channel, by the batch's statistics in training and by running ones in evaluation; see F.batchNorm.
 *   y = (x − μ) / √(σ² + ε) · weight + bias
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; weight, bias, running_mean, running_var [C]
 * Init:   weight 1, bias 0, running mean 0 and variance 1
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError if x has other channels, or in training with one value per channel
 */
export class BatchNorm2d extends TrackingNorm {
  constructor(channels: number, options: BatchNorm2dOptions = {}) {
    super('BatchNorm2d', channels, withDefaults('BatchNorm2d', options, BATCH_NORM_DEFAULTS));
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    this.checkInput('batchNorm2d', x, '[N,C,H,W]');
    return this.normalizeBatch(x);
  }
}

/** Options of InstanceNorm2d. */
export interface InstanceNorm2dOptions extends TrackingOptions {
  /** The weight of a batch's statistics in the running ones; null leaves these as they are, as in PyTorch. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether the layer has weight and bias. Default false. */
  readonly affine?: boolean;
  /** Whether the layer tracks running statistics, which evaluation uses. Default false. */
  readonly trackRunningStats?: boolean;
}

/**
 * Normalises each channel of each image; see F.instanceNorm.
 *   y = (x − μ) / √(σ² + ε) · weight + bias
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; weight, bias, running_mean, running_var [C]
 * Init:   weight 1, bias 0, running mean 0 and variance 1
 * Source: Ulyanov et al. 2016, arXiv:1607.08022, eq. 3
 * Throws: ShapeError if x has other channels, or one value per channel
 */
export class InstanceNorm2d extends TrackingNorm {
  constructor(channels: number, options: InstanceNorm2dOptions = {}) {
    const defaults = { ...BATCH_NORM_DEFAULTS, affine: false, trackRunningStats: false };
    super('InstanceNorm2d', channels, withDefaults('InstanceNorm2d', options, defaults));
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    this.checkInput('instanceNorm2d', x, '[N,C,H,W]');
    const { weight, bias, eps, running_mean: runningMean, running_var: runningVar } = this;
    const useInputStats = this.training || runningMean === null;
    return instanceNorm(x, { runningMean, runningVar, weight, bias, useInputStats, momentum: this.momentum ?? 0, eps });
  }
}

/**
 * Normalises groups of channels of each image; see F.groupNorm.
 * Shape:  x [N,C,…] → y as x; weight, bias [C]
 * Init:   weight 1, bias 0
 * @example new GroupNorm(4, 32)
 */
export class GroupNorm extends NormLayer {
  /** The number of groups, which divides the channels. */
  readonly numGroups: number;

  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    const o = withDefaults('GroupNorm', options, { eps: 1e-5, affine: true, dtype: 'float32' });
    for (const [name, n] of Object.entries({ numGroups, numChannels })) checkCount('GroupNorm', name, n);
    checkCount('GroupNorm', 'numChannels / numGroups', numChannels / numGroups);
    super('GroupNorm', [numChannels], o.affine, o.affine, o);
    this.numGroups = numGroups;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const { weight, bias, eps } = this;
    return groupNorm(x, this.numGroups, { weight, bias, eps });
  }
}

/** Options of RMSNorm. */
export interface RMSNormOptions extends LayerOptions {
  /** Added to the mean of the squares. Default: machine epsilon of x's dtype. */
  readonly eps?: number | null;
  /** Whether the layer has parameters. Default true. */
  readonly elementwiseAffine?: boolean;
}

/** Options of LayerNorm. */
export interface LayerNormOptions extends RMSNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether the layer has a bias beside the weight. Default true. */
  readonly bias?: boolean;
}

/**
 * Normalises the last dims; see F.layerNorm.
 * Shape:  x [..., ...normalizedShape] → y as x; weight, bias of normalizedShape
 * Init:   weight 1, bias 0
 */
export class LayerNorm extends NormLayer {
  /** The last sizes of the input, over which it normalises. */
  readonly normalizedShape: Shape;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    const o = withDefaults('LayerNorm', options, { eps: 1e-5, elementwiseAffine: true, bias: true, dtype: 'float32' });
    const shape = isArray(normalizedShape) ? [...normalizedShape] : [normalizedShape];
    super('LayerNorm', shape, o.elementwiseAffine, o.elementwiseAffine && o.bias, o);
    this.normalizedShape = shape;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const { weight, bias, eps } = this;
    return layerNorm(x, this.normalizedShape, { weight, bias, eps });
  }
}

/**
 * Divides the last dims by their root mean square; see F.rmsNorm.
 * Shape:  x [..., ...normalizedShape] → y as x; weight of normalizedShape
 * Init:   weight 1
 */
export class RMSNorm extends NormLayer<number | null> {
  /** The last sizes of the input, over which it normalises. */
  readonly normalizedShape: Shape;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    const o = withDefaults('RMSNorm', options, { eps: null, elementwiseAffine: true, dtype: 'float32' });
    const shape = isArray(normalizedShape) ? [...normalizedShape] : [normalizedShape];
    super('RMSNorm', shape, o.elementwiseAffine, false, o);
    this.normalizedShape = shape;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps });
  }
}
