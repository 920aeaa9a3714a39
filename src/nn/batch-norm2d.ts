import { noGrad, ones, zeros, type Tensor } from '../autograd/index.ts';
import { ShapeError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import { batchNorm } from './functional.ts';
import { ones_, zeros_ } from './init.ts';
import { checkCount } from './linear.ts';
import { Module } from './module.ts';
import { buffer, parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of BatchNorm2d. */
export interface BatchNorm2dOptions extends LayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the new statistics in the running ones; null: the plain average of all batches. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether there are weight and bias. Default true. */
  readonly affine?: boolean;
  /** Whether running statistics are kept, which evaluation then uses. Default true. */
  readonly trackRunningStats?: boolean;
}

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias for each channel: statistics of the batch in training, running ones in evaluation.
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; weight, bias, running_mean, running_var [C]
 * Init:   weight 1, bias 0, running mean 0 and variance 1
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError for other channels, or in training with one value per channel
 */
export class BatchNorm2d extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  // PyTorch's names: the state dict's keys are property names.
  running_mean: Tensor | null;
  running_var: Tensor | null;
  num_batches_tracked: Tensor | null;
  readonly channels: number;
  readonly eps: number;
  readonly momentum: number | null;

  constructor(channels: number, options: BatchNorm2dOptions = {}) {
    super();
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true, dtype = 'float32' } = options;
    checkCount('BatchNorm2d', 'channels', channels);
    this.channels = channels;
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? parameter([channels], dtype, ones_) : null;
    this.bias = affine ? parameter([channels], dtype, zeros_) : null;
    const track = (value: () => Tensor): Tensor | null => (trackRunningStats ? noGrad(() => buffer(value())) : null);
    this.running_mean = track(() => zeros([channels], { dtype }));
    this.running_var = track(() => ones([channels], { dtype }));
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
