import { defaultGenerator, isTensor, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { ReLU } from './function-layers.ts';
import { ChannelGate, gateLayer, type Gate } from './channel-gate.ts';
import type { InitOptions } from './init.ts';
import { Linear } from './linear-layers.ts';
import type { Layer } from './module.ts';
import type { LayerOptions } from './parameter.ts';
import { Sequential } from './sequential.ts';

/** What a channel is described by: its mean, its largest value, or their sum. */
export type Squeeze = 'avg' | 'max' | 'avg+max';

const SQUEEZES: Readonly<Record<Squeeze, (x: Tensor) => Tensor>> = {
  avg: (x) => x.mean([2, 3]),
  max: (x) => x.amax([2, 3]),
  'avg+max': (x) => x.mean([2, 3]).add(x.amax([2, 3])),
};

/** Options of SqueezeExcite. */
export interface SqueezeExciteOptions extends LayerOptions, InitOptions {
  /** The hidden layer has ⌊C/r⌋ channels, and at least one: where C < r a warning says so. Default 16. */
  readonly reduction?: number;
  /** The hidden layer's channels, in place of ⌊C/r⌋. */
  readonly hiddenChannels?: number | null;
  /** Whether both layers have a bias. Default false, as in the paper's ablations. */
  readonly bias?: boolean;
  /** What each channel is described by. Default its mean, 'avg'; 'avg+max' adds both. */
  readonly squeeze?: Squeeze;
  /** Between the layers. Default a ReLU. */
  readonly activation?: Layer | null;
  /** What makes scales of the last layer's outputs. Default 'sigmoid'. */
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

/** Its two layers' names in torchvision's SqueezeExcitation and timm's SEModule, and in timm's EfficientNets. */
const ELSEWHERE: Readonly<Record<string, string>> = { fc1: 'fc.0', fc2: 'fc.2', conv_reduce: 'fc.0', conv_expand: 'fc.2' };

/**
 * Squeeze-and-excitation: scales every channel by a number that depends on the whole image.
 *   z = mean of x over H, W;   s = σ(W₂ relu(W₁ z));   y = x · s
 * loadStateDict also takes torchvision's and timm's names and 1×1 convolutions.
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; W₁ = fc.0.weight [C/r,C], W₂ = fc.2.weight [C,C/r]
 * Init:   as Linear
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 1, eq. 2–4
 * Throws: ShapeError if x is not 4-d or has other channels
 * @example new SqueezeExcite(64).forward(x)
 */
export class SqueezeExcite extends ChannelGate {
  readonly fc: Sequential;
  readonly squeeze: Squeeze;

  constructor(channels: number, options: SqueezeExciteOptions = {}) {
    super(channels, 'squeezeExcite');
    const { reduction, hiddenChannels, squeeze, activation, gate, ...layer } = withDefaults('SqueezeExcite', options, DEFAULTS);
    checkCount('SqueezeExcite', 'reduction', reduction);
    if (!Object.hasOwn(SQUEEZES, squeeze))
      throw new ArgumentError(`SqueezeExcite: squeeze must be 'avg', 'max' or 'avg+max', got '${squeeze as string}'`);
    const scale = gateLayer('SqueezeExcite', gate);
    const hidden = hiddenChannels ?? Math.max(1, Math.floor(channels / reduction));
    checkCount('SqueezeExcite', 'hiddenChannels', hidden);
    if (hiddenChannels === null && channels < reduction)
      console.warn(
        `SqueezeExcite: ${channels} channels over reduction ${reduction} leave no hidden channel, so one is taken; ` +
          'a smaller reduction or hiddenChannels says how many there should be',
      );
    this.squeeze = squeeze;
    this.fc = new Sequential(new Linear(channels, hidden, layer), activation ?? new ReLU(), new Linear(hidden, channels, layer), scale);
  }

  override excite(x: Tensor): Tensor {
    return this.fc.forward(SQUEEZES[this.squeeze](x));
  }

  override adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    const own = name.replace(/^\w+/, (layer) => ELSEWHERE[layer] ?? layer);
    return [own, isTensor(value) && value.ndim === 4 && value.size(2) * value.size(3) === 1 ? value.flatten(1) : value];
  }
}
