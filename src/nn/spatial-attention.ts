/**
 * Attention that scales pixels too: CBAM, and scSE.
 */
import { allOrNone, cat, checkTensor, composed, defaultGenerator, releasing, type Tensor } from '../autograd/index.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { checkCount, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { chain } from './chain.ts';
import { ChannelGate } from './channel-gate.ts';
import { ReLU, Sigmoid } from './function-layers.ts';
import type { InitOptions } from './init.ts';
import { Conv2d } from './linear-layers.ts';
import { Module } from './module.ts';
import { BatchNorm2d } from './norms.ts';
import type { LayerOptions } from './parameter.ts';
import { SqueezeExcite, hiddenSize } from './squeeze-excite.ts';

const LAYER_DEFAULTS = { dtype: 'float32', generator: defaultGenerator } as const;

/** Means and maxima of the channels, as an image of two pixels: [N,C,H,W] → [N,C,2,1]. */
const squeezePixels = composed((x: Tensor) => {
  const sides = [2, 3];
  return cat([x.mean(sides, { keepdim: true }), x.amax(sides, { keepdim: true })], 2);
});

/** Means and maxima of the pixels, as an image of two channels: [N,C,H,W] → [N,2,H,W]. */
const squeezeChannels = composed((x: Tensor) => cat([x.mean(1, { keepdim: true }), x.amax(1, { keepdim: true })], 1));

/** The channel attention of CBAM: s = σ(MLP(mean) + MLP(max)). */
class CBAMChannelGate extends ChannelGate {
  readonly fc1: Conv2d;
  readonly act = new ReLU();
  readonly fc2: Conv2d;
  readonly gate = new Sigmoid();

  constructor(channels: number, hidden: number, layer: LayerOptions & InitOptions) {
    super(channels, 'cbam');
    this.fc1 = new Conv2d(channels, hidden, 1, { bias: false, ...layer });
    this.fc2 = new Conv2d(hidden, channels, 1, { bias: false, ...layer });
  }

  override excite(x: Tensor): Tensor {
    const layers = [this.fc1, this.act, this.fc2].map((layer) => (t: Tensor) => layer.forward(t));
    return chain(x, [squeezePixels, ...layers, (t) => t.sum([2, 3]), (t) => this.gate.forward(t)]);
  }
}

/** The spatial attention of CBAM: s = σ(BN(w ∗ [mean, max])). */
class CBAMSpatialGate extends Module {
  readonly conv: { readonly conv: Conv2d; readonly bn: BatchNorm2d };
  readonly gate = new Sigmoid();

  constructor(kernelSize: number, layer: LayerOptions & InitOptions) {
    super();
    const conv = new Conv2d(2, 1, kernelSize, { padding: (kernelSize - 1) / 2, bias: false, ...layer });
    this.conv = { conv, bn: new BatchNorm2d(1, { dtype: layer.dtype ?? 'float32' }) };
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const layers = [this.conv.conv, this.conv.bn, this.gate].map((layer) => (t: Tensor) => layer.forward(t));
    return chain(x, [(t) => chain(t, [squeezeChannels, ...layers]), (s) => x.mul(s)]);
  }
}

/** Options of CBAM. */
export interface CBAMOptions extends LayerOptions, InitOptions {
  /** r: the hidden layer has ⌊C/r⌋ channels, but at least one; C < r warns. Default 16. */
  readonly reduction?: number;
  /** The hidden layer's channels. Default ⌊C/r⌋. */
  readonly hiddenChannels?: number | null;
  /** The side of the kernel over the pixels, an odd number. Default 7. */
  readonly kernelSize?: number;
}

/**
 * Convolutional block attention module: scales every channel, then every pixel.
 *   x′ = x · σ(W₂ relu(W₁ mean(x)) + W₂ relu(W₁ max(x))), mean and max over H, W
 *   y = x′ · σ(BN(w ∗ [mean(x′); max(x′)])), mean and max over C
 * The batch norm is in the authors' code and timm's, not in the paper. recordExcitations finds the scales of the channels.
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W₁ = channel.fc1.weight [C/r,C,1,1], W₂ = channel.fc2.weight [C,C/r,1,1] (1×1 convolutions, as timm
 *         has them), w = spatial.conv.conv.weight [1,2,k,k], and spatial.conv.bn
 * Init:   as Conv2d and BatchNorm2d
 * Source: Woo et al. 2018, arXiv:1807.06521, fig. 2, eq. 1–3
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new CBAM(64).forward(x)
 */
export class CBAM extends Module {
  /** Scales the channels, first. */
  readonly channel: ChannelGate;
  /** Scales the pixels, second. */
  readonly spatial: Module & { forward(x: Tensor): Tensor };

  constructor(channels: number, options: CBAMOptions = {}) {
    super();
    const defaults = { reduction: 16, hiddenChannels: null, kernelSize: 7, ...LAYER_DEFAULTS } as const;
    const { reduction, hiddenChannels, kernelSize, ...layer } = withDefaults<CBAMOptions>('CBAM', options, defaults);
    checkCount('CBAM', 'channels', channels);
    checkCount('CBAM', 'kernelSize', kernelSize);
    if (kernelSize % 2 === 0) throw new ArgumentError(`CBAM: kernelSize must be odd, got ${kernelSize}`);
    const hidden = hiddenSize('CBAM', channels, reduction, hiddenChannels);
    [this.channel, this.spatial] = allOrNone(() => [new CBAMChannelGate(channels, hidden, layer), new CBAMSpatialGate(kernelSize, layer)]);
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    checkTensor('cbam', 'x', x);
    return chain(x, [(t) => this.channel.forward(t), (t) => this.spatial.forward(t)]);
  }
}

/** Options of ScSE. */
export interface ScSEOptions extends LayerOptions, InitOptions {
  /** r: the hidden layer has ⌊C/r⌋ channels, but at least one; C < r warns. Default 2, as in the paper. */
  readonly reduction?: number;
  /** The hidden layer's channels. Default ⌊C/r⌋. */
  readonly hiddenChannels?: number | null;
}

/**
 * Concurrent spatial and channel squeeze-and-excitation: the sum of x with scaled channels and x with scaled pixels.
 *   y = x · σ(W₂ relu(W₁ z + b₁) + b₂) + x · σ(w ∗ x),   z = mean of x over H, W
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; channel.fc.0.weight [C/r,C], channel.fc.2.weight [C,C/r], spatial.weight [1,C,1,1]
 * Init:   as Linear and Conv2d
 * Source: Roy et al. 2018, arXiv:1803.02579, fig. 1 (b–d), section 2
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new ScSE(64).forward(x)
 */
export class ScSE extends Module {
  /** Scales the channels. */
  readonly channel: SqueezeExcite;
  /** The 1×1 convolution, C to 1, whose sigmoid scales the pixels. */
  readonly spatial: Conv2d;
  /** C. */
  readonly channels: number;

  constructor(channels: number, options: ScSEOptions = {}) {
    super();
    const defaults = { reduction: 2, hiddenChannels: null, ...LAYER_DEFAULTS } as const;
    const { reduction, hiddenChannels, ...layer } = withDefaults<ScSEOptions>('ScSE', options, defaults);
    checkCount('ScSE', 'channels', channels);
    const hidden = hiddenSize('ScSE', channels, reduction, hiddenChannels);
    [this.channel, this.spatial] = allOrNone(() => [
      new SqueezeExcite(channels, { hiddenChannels: hidden, bias: true, ...layer }),
      new Conv2d(channels, 1, 1, { bias: false, ...layer }),
    ]);
    this.channels = channels;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    checkTensor('scSE', 'x', x);
    if (x.ndim !== 4 || x.size(1) !== this.channels)
      throw new ShapeError(`scSE: x must be [N,C,H,W] with ${this.channels} channels, got ${formatShape(x.shape)}`);
    return releasing((release) => {
      const byChannel = this.channel.forward(x);
      try {
        return chain(x, [(t) => this.spatial.forward(t), (t) => t.sigmoid(), (s) => x.mul(s), (byPixel) => byChannel.add(byPixel)]);
      } finally {
        release(byChannel);
      }
    });
  }
}
