/**
 * Attention over channels: the base of all of it, and two kinds that are smaller than squeeze-and-excitation.
 */
import { defaultGenerator, scaleChannels, type Tensor } from '../autograd/index.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { Hardsigmoid, ReLU, Sigmoid, Tanh } from './function-layers.ts';
import { conv2d } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import { Conv2d } from './linear-layers.ts';
import { Module, type Layer } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** What makes scales of numbers: σ, clamp(x + 3, 0, 6)/6, tanh or max(x, 0). */
export type Gate = 'sigmoid' | 'hardsigmoid' | 'tanh' | 'relu';

const GATES = { sigmoid: Sigmoid, hardsigmoid: Hardsigmoid, tanh: Tanh, relu: ReLU };

/** The layer of a gate's name. */
export function gateLayer(owner: string, gate: Gate): Layer {
  if (!Object.hasOwn(GATES, gate))
    throw new ArgumentError(`${owner}: gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got '${gate as string}'`);
  return new GATES[gate]();
}

/**
 * The base of attention over channels: scales each channel of x by a number that depends on the whole image. A block of your
 * own says in `excite` how; recordExcitations finds every gate by this class.
 *   y = x · s,   s = excite(x)
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; s [N,C]
 * Throws: ShapeError if x is not 4-d or has other channels
 */
export abstract class ChannelGate extends Module {
  readonly channels: number;
  readonly #op: string;

  /** `op` is the name in errors of forward. */
  constructor(channels: number, op = 'channelGate') {
    super();
    checkCount(this.constructor.name, 'channels', channels);
    this.channels = channels;
    this.#op = op;
  }

  /** The scales [N,C] for x [N,C,H,W]. */
  abstract excite(x: Tensor): Tensor;

  forward(x: Tensor): Tensor {
    if (x.ndim !== 4) throw new ShapeError(`${this.#op}: x must be [N,C,H,W], got ${formatShape(x.shape)}`);
    const c = x.size(1);
    if (c !== this.channels)
      throw new ShapeError(`${this.#op}: x has ${c} channels, expected ${this.channels} (x ${formatShape(x.shape)})`);
    return scaleChannels(x, this.excite(x));
  }
}

/** Options of ECA. */
export interface ECAOptions extends LayerOptions, InitOptions {
  /** Channels that decide together, an odd number. Default: |log₂(C)/γ + b/γ| made odd upwards, at least 3. */
  readonly kernelSize?: number | null;
  /** γ of the default kernel size. Default 2. */
  readonly gamma?: number;
  /** b of the default kernel size. Default 1. */
  readonly beta?: number;
  /** What makes scales of the convolution's outputs. Default 'sigmoid'. */
  readonly gate?: Gate;
}

const ECA_DEFAULTS = { kernelSize: null, gamma: 2, beta: 1, gate: 'sigmoid', dtype: 'float32', generator: defaultGenerator } as const;

/**
 * Efficient channel attention: every channel's scale comes from its own mean and those of its k − 1 neighbours.
 *   z = mean of x over H, W;   s = σ(w ∗ z), a convolution along C;   y = x · s
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; w = conv.weight [1,1,k]
 * Init:   U(−1/√k, 1/√k), as PyTorch's Conv1d
 * Source: Wang et al. 2020, arXiv:1910.03151, fig. 2, eq. 9; k: eq. 12
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new ECA(64).forward(x)
 */
export class ECA extends ChannelGate {
  readonly conv: { readonly weight: Parameter };
  readonly gate: Layer;

  constructor(channels: number, options: ECAOptions = {}) {
    super(channels, 'eca');
    const { kernelSize, gamma, beta, gate, dtype, ...init } = withDefaults('ECA', options, ECA_DEFAULTS);
    // As in the authors' code: cut off, then the next odd number; timm's least is 3, as 1 would let no channel see another.
    const t = Math.trunc(Math.abs((Math.log2(channels) + beta) / gamma));
    const k = kernelSize ?? Math.max(3, t % 2 === 1 ? t : t + 1);
    checkCount('ECA', 'kernelSize', k);
    if (k % 2 === 0) throw new ArgumentError(`ECA: kernelSize must be odd, got ${k}`);
    this.gate = gateLayer('ECA', gate);
    const bound = 1 / Math.sqrt(k);
    this.conv = { weight: parameter([1, 1, k], dtype, (t) => uniform_(t, -bound, bound, init)) };
  }

  override excite(x: Tensor): Tensor {
    const w = this.conv.weight.unsqueeze(2);
    const neighbours = conv2d(x.mean([2, 3]).unflatten(0, [-1, 1, 1]), w, null, { padding: [0, (w.size(-1) - 1) / 2] });
    return this.gate.forward(neighbours.flatten(0, 2));
  }

  override multiplyAdds(x: Tensor): number {
    return x.size(0) * x.size(1) * this.conv.weight.numel;
  }
}

/** Options of EffectiveSE. */
export interface EffectiveSEOptions extends LayerOptions, InitOptions {
  /** What makes scales of the layer's outputs. Default 'hardsigmoid'. */
  readonly gate?: Gate;
}

const EFFECTIVE_SE = { gate: 'hardsigmoid', dtype: 'float32', generator: defaultGenerator } as const;

/**
 * Effective squeeze-and-excitation: one layer with bias from C to C channels, so that no bottleneck loses what channels say.
 *   z = mean of x over H, W;   s = hardsigmoid(W z + b);   y = x · s
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W = fc.weight [C,C,1,1] (a 1×1 convolution, as timm has it), b = fc.bias [C]
 * Init:   as Conv2d
 * Source: Lee & Park 2020, arXiv:1911.06667, fig. 3 (c) and the equations of A_eSE and X_refine
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new EffectiveSE(64).forward(x)
 */
export class EffectiveSE extends ChannelGate {
  readonly fc: Conv2d;
  readonly gate: Layer;

  constructor(channels: number, options: EffectiveSEOptions = {}) {
    super(channels, 'effectiveSE');
    const { gate, ...layer } = withDefaults('EffectiveSE', options, EFFECTIVE_SE);
    this.gate = gateLayer('EffectiveSE', gate);
    this.fc = new Conv2d(channels, channels, 1, layer);
  }

  override excite(x: Tensor): Tensor {
    return this.gate.forward(this.fc.forward(x.mean([2, 3], { keepdim: true }))).flatten(1);
  }
}
