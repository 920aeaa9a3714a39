import type { Tensor } from '../autograd/index.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import { Hardsigmoid, ReLU, Sigmoid, Tanh } from './activations.ts';
import type { InitOptions } from './init.ts';
import { checkCount, Linear } from './linear.ts';
import { Module, type Layer } from './module.ts';
import type { LayerOptions } from './parameter.ts';
import { Sequential } from './sequential.ts';

/** Options of SqueezeExcite. */
export interface SqueezeExciteOptions extends LayerOptions, InitOptions {
  /** The hidden layer has C/r channels. Default 16. */
  readonly reduction?: number;
  /** The hidden layer's channels, in place of C/r. */
  readonly hiddenChannels?: number;
  /** Whether both layers have a bias. Default false, as in the paper's ablations. */
  readonly bias?: boolean;
  /** What each channel is described by. Default its mean, 'avg'; 'avg+max' adds both. */
  readonly squeeze?: 'avg' | 'max' | 'avg+max';
  /** Between the layers. Default ReLU. */
  readonly activation?: Layer;
  /** What makes scales of the last layer's outputs. Default 'sigmoid'. */
  readonly gate?: 'sigmoid' | 'hardsigmoid' | 'tanh' | 'relu';
}

/**
 * Squeeze-and-excitation: scales every channel by a number that depends on the whole image.
 *   z = mean of x over H, W;   s = σ(W₂ relu(W₁ z));   y = x · s
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W₁ = fc.0.weight [C/r,C], W₂ = fc.2.weight [C,C/r]
 * Init:   as Linear
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 1, eq. 2–4
 * Throws: ShapeError if x is not 4-d or has other channels; ArgumentError if C < r
 * @example new SqueezeExcite(64).forward(x)
 */
export class SqueezeExcite extends Module {
  readonly fc: Sequential;
  readonly channels: number;
  readonly squeeze: 'avg' | 'max' | 'avg+max';

  constructor(channels: number, options: SqueezeExciteOptions = {}) {
    super();
    const { reduction = 16, hiddenChannels, squeeze = 'avg', activation = new ReLU(), gate = 'sigmoid', ...linear } = options;
    checkCount('SqueezeExcite', 'channels', channels);
    checkCount('SqueezeExcite', 'reduction', reduction);
    if (hiddenChannels === undefined && channels < reduction) {
      throw new ArgumentError(
        `SqueezeExcite: ${channels} channels over reduction ${reduction} leave no hidden channel; ` +
          'use a smaller reduction or set hiddenChannels',
      );
    }
    if (!['avg', 'max', 'avg+max'].includes(squeeze))
      throw new ArgumentError(`SqueezeExcite: squeeze must be 'avg', 'max' or 'avg+max', got '${squeeze}'`);
    const hidden = hiddenChannels ?? Math.floor(channels / reduction);
    checkCount('SqueezeExcite', 'hiddenChannels', hidden);
    this.channels = channels;
    this.squeeze = squeeze;
    const layer = { bias: false, ...linear };
    this.fc = new Sequential(new Linear(channels, hidden, layer), activation, new Linear(hidden, channels, layer), gateLayer(gate));
  }

  forward(x: Tensor): Tensor {
    if (x.ndim !== 4) throw new ShapeError(`squeezeExcite: x must be [N,C,H,W], got ${formatShape(x.shape)}`);
    const [n, c] = x.sizes(4);
    if (c !== this.channels)
      throw new ShapeError(`squeezeExcite: x has ${c} channels, expected ${this.channels} (x ${formatShape(x.shape)})`);
    const s = this.fc.forward(this.#describe(x));
    return x.mul(s.reshape([n, c, 1, 1]));
  }

  #describe(x: Tensor): Tensor {
    switch (this.squeeze) {
      case 'avg':
        return x.mean([2, 3]);
      case 'max':
        return x.amax([2, 3]);
      case 'avg+max':
        return x.mean([2, 3]).add(x.amax([2, 3]));
    }
  }
}

const GATES = { sigmoid: Sigmoid, hardsigmoid: Hardsigmoid, tanh: Tanh, relu: ReLU };

function gateLayer(gate: keyof typeof GATES): Layer {
  if (!Object.hasOwn(GATES, gate))
    throw new ArgumentError(`SqueezeExcite: gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got '${gate as string}'`);
  return new GATES[gate]();
}
