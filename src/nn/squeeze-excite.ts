import { allOrNone, composed, defaultGenerator, isTensor, type Tensor } from '../autograd/index.ts';
import { isInstance, isKeyOf } from '../core/describe.ts';
import { ArgumentError, kindOf, shown } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { chain } from './chain.ts';
import { ReLU } from './function-layers.ts';
import { ChannelGate, gateLayer, type Gate } from './channel-gate.ts';
import type { InitOptions } from './init.ts';
import { Linear } from './linear-layers.ts';
import { Module, type Layer } from './module.ts';
import type { LayerOptions } from './parameter.ts';
import { Sequential } from './sequential.ts';

/** The statistic that describes a channel: its mean, its maximum, or their sum. */
export type Squeeze = 'avg' | 'max' | 'avg+max';

const SQUEEZE_FUNCTIONS: Readonly<Record<Squeeze, (x: Tensor) => Tensor>> = {
  avg: (x) => x.mean([2, 3]),
  max: (x) => x.amax([2, 3]),
  'avg+max': composed((x: Tensor) => x.mean([2, 3]).add(x.amax([2, 3]))),
};

/** Options of SqueezeExcite. */
export interface SqueezeExciteOptions extends LayerOptions, InitOptions {
  /** r: the hidden layer has ⌊C/r⌋ channels, but at least one; C < r warns. Default 16. */
  readonly reduction?: number;
  /** The hidden layer's channels, instead of ⌊C/r⌋. Default null: ⌊C/r⌋, at least 1. */
  readonly hiddenChannels?: number | null;
  /** Whether both layers have a bias. Default false, as in the paper's ablations. */
  readonly bias?: boolean;
  /** The statistic that describes a channel. Default 'avg', its mean. */
  readonly squeeze?: Squeeze;
  /** The layer between the two linear ones. Default: a ReLU. */
  readonly activation?: Layer | null;
  /** Maps the last layer's outputs to scales. Default 'sigmoid'. */
  readonly gate?: Gate;
}

const DEFAULTS = {
  reduction: 16,
  hiddenChannels: null,
  bias: false,
  squeeze: 'avg',
  activation: null,
  gate: 'sigmoid',
  dtype: 'float32',
  generator: defaultGenerator,
} as const;

/** Returns how many channels a hidden layer has: ⌊channels / reduction⌋, at least one, with a warning if that would be none. */
export function hiddenSize(owner: string, channels: number, reduction: number, hiddenChannels: number | null): number {
  checkCount(owner, 'reduction', reduction);
  const hidden = hiddenChannels ?? Math.max(1, Math.floor(channels / reduction));
  checkCount(owner, 'hiddenChannels', hidden);
  if (hiddenChannels === null && channels < reduction)
    console.warn(
      `${owner}: ${channels} channels over reduction ${reduction} leave no hidden channel, so one is taken; ` +
        'a smaller reduction or hiddenChannels says how many there should be',
    );
  return hidden;
}

/** Own names of the two layers by their names in torchvision's SqueezeExcitation and timm's SEModule, and in timm's EfficientNets. */
const OWN_LAYER_NAMES: Readonly<Record<string, string>> = { fc1: 'fc.0', fc2: 'fc.2', conv_reduce: 'fc.0', conv_expand: 'fc.2' };

/**
 * Squeeze-and-excitation: scales every channel by a number that depends on the whole image.
 *   z = mean of x over H, W;   s = σ(W₂ relu(W₁ z));   y = x · s
 * loadStateDict also accepts the names and 1×1 convolutions of torchvision and timm.
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W₁ = fc.0.weight [C/r,C], W₂ = fc.2.weight [C,C/r]
 * Init:   as Linear
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 1, eq. 2–4
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new SqueezeExcite(64).forward(x)
 */
export class SqueezeExcite extends ChannelGate {
  /** W₁, the activation, W₂ and the gate: [N,C] → [N,C]. */
  readonly fc: Sequential;
  /** The statistic that describes a channel. */
  readonly squeeze: Squeeze;

  constructor(channels: number, options: SqueezeExciteOptions = {}) {
    super(channels, 'squeezeExcite');
    const { reduction, hiddenChannels, squeeze, activation, gate, ...layer } = withDefaults('SqueezeExcite', options, DEFAULTS);
    if (!isKeyOf(squeeze, SQUEEZE_FUNCTIONS))
      throw new ArgumentError(`SqueezeExcite: squeeze must be 'avg', 'max' or 'avg+max', got ${shown(squeeze)}`);
    const lastLayer = gateLayer('SqueezeExcite', gate);
    const middle = activation ?? new ReLU();
    if (!isInstance(middle, Module)) throw new ArgumentError(`SqueezeExcite: activation must be a module, got ${kindOf(middle)}`);
    const hidden = hiddenSize('SqueezeExcite', channels, reduction, hiddenChannels);
    this.squeeze = squeeze;
    const make = (): Sequential =>
      new Sequential(new Linear(channels, hidden, layer), middle, new Linear(hidden, channels, layer), lastLayer);
    this.fc = allOrNone(make);
  }

  override excite(x: Tensor): Tensor {
    return chain(x, [SQUEEZE_FUNCTIONS[this.squeeze], (z) => this.fc.forward(z)]);
  }

  override adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    const ownName = name.replace(/^\w+/, (layer) => OWN_LAYER_NAMES[layer] ?? layer);
    const isPointwise = isTensor(value) && value.ndim === 4 && value.size(2) * value.size(3) === 1;
    return [ownName, isPointwise ? value.flatten(1) : value];
  }
}
