/**
 * Channel attention: the base class, and two variants of squeeze-and-excitation, ECA and EffectiveSE.
 */
import { checkTensor, composed, defaultGenerator, scaleChannels, type Tensor } from '../autograd/index.ts';
import { isKeyOf } from '../core/describe.ts';
import { ArgumentError, ShapeError, shown } from '../core/errors.ts';
import { checkCount, checkNumber, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { chain } from './chain.ts';
import { Hardsigmoid, ReLU, Sigmoid, Tanh } from './function-layers.ts';
import { conv2d } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import { Conv2d } from './linear-layers.ts';
import { Module, type Layer } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** The function that maps a block's outputs to scales: σ(x), clamp(x + 3, 0, 6)/6, tanh x or max(x, 0). */
export type Gate = 'sigmoid' | 'hardsigmoid' | 'tanh' | 'relu';

const GATE_LAYERS = { sigmoid: Sigmoid, hardsigmoid: Hardsigmoid, tanh: Tanh, relu: ReLU };

/** Creates the layer of a gate. `owner` names the caller in errors. */
export function gateLayer(owner: string, gate: Gate): Layer {
  if (!isKeyOf(gate, GATE_LAYERS))
    throw new ArgumentError(`${owner}: gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got ${shown(gate)}`);
  return new GATE_LAYERS[gate]();
}

/**
 * The base of channel attention: scales each channel of x by a number that depends on the whole image. A subclass computes the
 * numbers in `excite`. recordExcitations finds every instance of this class.
 *   y = x · s,   s = excite(x)
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; s [N,C]
 * Throws: ShapeError if x is not 4-d or has other channels
 */
export abstract class ChannelGate extends Module {
  /** C. */
  readonly channels: number;
  readonly #op: string;

  /** @param op The name in errors of forward. */
  constructor(channels: number, op = 'channelGate') {
    super();
    checkCount(this.constructor.name, 'channels', channels);
    this.channels = channels;
    this.#op = op;
  }

  /** Computes the scales [N,C] for x [N,C,H,W]. */
  abstract excite(x: Tensor): Tensor;

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    checkTensor(this.#op, 'x', x);
    if (x.ndim !== 4) throw new ShapeError(`${this.#op}: x must be [N,C,H,W], got ${formatShape(x.shape)}`);
    const channels = x.size(1);
    if (channels !== this.channels)
      throw new ShapeError(`${this.#op}: x has ${channels} channels, expected ${this.channels} (x ${formatShape(x.shape)})`);
    const excite = (t: Tensor): Tensor => {
      const s: unknown = this.excite(t);
      checkTensor(this.#op, 'result of excite', s);
      return s;
    };
    return chain(x, [excite, (s) => scaleChannels(x, s)]);
  }
}

/** Options of ECA. */
export interface ECAOptions extends LayerOptions, InitOptions {
  /** How many neighbouring channels determine a scale, an odd number. Default: |log₂(C)/γ + b/γ| rounded up to odd, at least 3. */
  readonly kernelSize?: number | null;
  /** γ of the default kernel size. Default 2. */
  readonly gamma?: number;
  /** b of the default kernel size. Default 1. */
  readonly beta?: number;
  /** Maps the convolution's outputs to scales. Default 'sigmoid'. */
  readonly gate?: Gate;
}

const ECA_DEFAULTS = { kernelSize: null, gamma: 2, beta: 1, gate: 'sigmoid', dtype: 'float32', generator: defaultGenerator } as const;

/**
 * Efficient channel attention: a channel's scale depends on its own mean and the means of its k − 1 neighbours.
 *   z = mean of x over H, W;   s = σ(w ∗ z), a convolution along C;   y = x · s
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; w = conv.weight [1,1,k]
 * Init:   U(−1/√k, 1/√k), as PyTorch's Conv1d
 * Source: Wang et al. 2020, arXiv:1910.03151, fig. 2, eq. 9; k: eq. 12
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new ECA(64).forward(x)
 */
export class ECA extends ChannelGate {
  /** The convolution over neighbouring channels; weight [1,1,k]. */
  readonly conv: { readonly weight: Parameter };
  /** Maps the outputs of the convolution to scales. */
  readonly gate: Layer;

  constructor(channels: number, options: ECAOptions = {}) {
    super(channels, 'eca');
    const { kernelSize, gamma, beta, gate, dtype, ...init } = withDefaults('ECA', options, ECA_DEFAULTS);
    checkNumber('ECA', 'gamma', gamma);
    checkNumber('ECA', 'beta', beta);
    // As in the authors' code: truncate, then take the next odd number. The minimum is timm's, as 1 would mix no channels.
    const truncated = Math.trunc(Math.abs((Math.log2(channels) + beta) / gamma));
    const nextOdd = truncated % 2 === 1 ? truncated : truncated + 1;
    const k = kernelSize ?? Math.max(3, nextOdd);
    checkCount('ECA', 'kernelSize', k);
    if (k % 2 === 0) throw new ArgumentError(`ECA: kernelSize must be odd, got ${k}`);
    this.gate = gateLayer('ECA', gate);
    const bound = 1 / Math.sqrt(k);
    this.conv = { weight: parameter([1, 1, k], dtype, (t) => uniform_(t, -bound, bound, init)) };
  }

  override excite(x: Tensor): Tensor {
    return chain(x, [(t) => mixChannels(t, this.conv.weight), (t) => this.gate.forward(t)]);
  }

  override multiplyAdds(x: Tensor): number {
    return x.size(0) * x.size(1) * this.conv.weight.numel;
  }
}

/** Convolves the channel means of x with w. */
const mixChannels = composed((x: Tensor, weight: Tensor): Tensor => {
  // A convolution along C: the channel means [N,C] as one-channel images [N,1,1,C].
  const means = x.mean([2, 3]).unflatten(0, [-1, 1, 1]);
  const w = weight.unsqueeze(2);
  return conv2d(means, w, null, { padding: [0, (w.size(-1) - 1) / 2] }).flatten(0, 2);
});

/** Options of EffectiveSE. */
export interface EffectiveSEOptions extends LayerOptions, InitOptions {
  /** Maps the layer's outputs to scales. Default 'hardsigmoid'. */
  readonly gate?: Gate;
}

const EFFECTIVE_SE_DEFAULTS = { gate: 'hardsigmoid', dtype: 'float32', generator: defaultGenerator } as const;

/**
 * Effective squeeze-and-excitation: one layer with bias from C to C channels. Without a bottleneck, no channel information is lost.
 *   z = mean of x over H, W;   s = hardsigmoid(W z + b);   y = x · s
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W = fc.weight [C,C,1,1] (a 1×1 convolution, as timm has it), b = fc.bias [C]
 * Init:   as Conv2d
 * Source: Lee & Park 2020, arXiv:1911.06667, fig. 3 (c) and the equations of A_eSE and X_refine
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new EffectiveSE(64).forward(x)
 */
export class EffectiveSE extends ChannelGate {
  /** The 1×1 convolution of the channel means, C to C. */
  readonly fc: Conv2d;
  /** Maps the outputs of the convolution to scales. */
  readonly gate: Layer;

  constructor(channels: number, options: EffectiveSEOptions = {}) {
    super(channels, 'effectiveSE');
    const { gate, ...layer } = withDefaults('EffectiveSE', options, EFFECTIVE_SE_DEFAULTS);
    this.gate = gateLayer('EffectiveSE', gate);
    this.fc = new Conv2d(channels, channels, 1, layer);
  }

  override excite(x: Tensor): Tensor {
    return chain(x, [
      (t) => t.mean([2, 3], { keepdim: true }),
      (t) => this.fc.forward(t),
      (t) => this.gate.forward(t),
      (t) => t.flatten(1),
    ]);
  }
}
