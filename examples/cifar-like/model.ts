/**
 * The nets of a run, each with SE or without. The tiny net is defined here, the residual nets in resnet.ts.
 *
 * Letters: N = images, C = channels, H and W = height and width in pixels.
 */
import { type Tensor, manualSeed } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import type { Settings } from './options.ts';
import { type Attention, seResNet } from './resnet.ts';

/** A module that maps images to logits. */
export type Net = nn.Module & { forward(x: Tensor): Tensor };

/** Channels of the three blocks of the tiny net, and of the three stages of the residual nets. */
export const WIDTHS = [16, 32, 64] as const;

export interface TinyCnnOptions {
  /** Channels of the images. */
  readonly inChannels: number;
  /** The last layer of each block; null: none. */
  readonly attention: Attention;
  /** Channels after each block. Default WIDTHS. */
  readonly widths?: readonly [number, number, number];
}

/** 3×3 convolution without bias → batch norm → ReLU → attention. */
class Block extends nn.Module {
  readonly conv: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  readonly se: nn.Layer | null;

  constructor(inChannels: number, channels: number, attention: Attention) {
    super();
    this.conv = new nn.Conv2d(inChannels, channels, 3, { padding: 1, bias: false });
    this.bn = new nn.BatchNorm2d(channels);
    this.se = attention === null ? null : attention(channels);
  }

  forward(x: Tensor): Tensor {
    const y = this.bn.forward(this.conv.forward(x)).relu();
    return this.se === null ? y : this.se.forward(y);
  }
}

/**
 * Three blocks, 2×2 max pooling after the first two, the mean of every channel, and a linear layer.
 * Shape:  x [N,C,H,W] → logits [N,10]
 * Init:   PyTorch's defaults, layer by layer
 */
export class TinyCnn extends nn.Module {
  readonly blocks: readonly Block[];
  readonly fc: nn.Linear;

  constructor({ inChannels, attention, widths = WIDTHS }: TinyCnnOptions) {
    super();
    this.blocks = widths.map((width, i) => new Block(i === 0 ? inChannels : widths[i - 1]!, width, attention));
    this.fc = new nn.Linear(widths[2], 10);
  }

  forward(x: Tensor): Tensor {
    let y = x;
    this.blocks.forEach((block, i) => {
      y = i === 0 ? block.forward(y) : block.forward(F.maxPool2d(y, 2));
    });
    return this.fc.forward(y.mean([2, 3]));
  }
}

/** The settings of a run that determine its nets. */
export type NetSettings = Pick<Settings, 'model' | 'seed' | 'reduction' | 'placement' | 'squeeze' | 'gate'>;

/**
 * Makes the net with SE, or the same net without SE and with equal weights in all layers that both have.
 * `settings.seed` determines the weights.
 */
export function makeModel(settings: NetSettings, se: boolean, inChannels: number): Net {
  const { model, seed, reduction, placement, squeeze, gate } = settings;
  const squeezeExcite = (channels: number) => new nn.SqueezeExcite(channels, { reduction, squeeze, gate });
  const make = (attention: Attention): Net => {
    if (model === 'tiny') return new TinyCnn({ inChannels, attention });
    return seResNet(depthOf(model), { width: WIDTHS[0], inChannels, placement, attention });
  };
  manualSeed(seed);
  const withSE = make(squeezeExcite);
  if (se) return withSE;
  const plain = make(null);
  plain.loadStateDict(withSE.stateDict(), { strict: false });
  withSE.dispose();
  return plain;
}

/** Returns the number of layers of a residual net. */
export function depthOf(model: Exclude<Settings['model'], 'tiny'>): number {
  return { resnet20: 20, resnet32: 32, resnet56: 56 }[model];
}

/** Returns the name of a net in tables and messages. */
export function titleOf(model: Settings['model'], se: boolean): string {
  if (!se) return 'without SE';
  return model === 'tiny' ? 'SE-CNN' : `SE-ResNet-${depthOf(model)}`;
}

export function parameterCount(model: nn.Module): number {
  return model.parameters().reduce((n, p) => n + p.numel, 0);
}
