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

/** Where a block of the tiny net applies its attention: after the ReLU, between batch norm and ReLU, or before the convolution. */
export type BlockPlacement = 'standard' | 'inner' | 'pre';

export interface TinyCnnOptions {
  /** Channels of the images. */
  readonly inChannels: number;
  /** The attention of each block, or of all; null: none. */
  readonly attention: Attention | readonly [Attention, Attention, Attention];
  /** Default 'standard'. */
  readonly placement?: BlockPlacement;
  /** Channels after each block. Default WIDTHS. */
  readonly widths?: readonly [number, number, number];
}

/** 3×3 convolution without bias → batch norm → ReLU, with attention in one of three places. */
class Block extends nn.Module {
  readonly conv: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  readonly se: nn.Layer | null;
  readonly placement: BlockPlacement;

  constructor(inChannels: number, channels: number, attention: Attention, placement: BlockPlacement) {
    super();
    this.conv = new nn.Conv2d(inChannels, channels, 3, { padding: 1, bias: false });
    this.bn = new nn.BatchNorm2d(channels);
    this.se = attention === null ? null : attention(placement === 'pre' ? inChannels : channels);
    this.placement = placement;
  }

  forward(x: Tensor): Tensor {
    const { se, placement } = this;
    /** Applies attention to t if it is placed at `here`; returns t itself elsewhere. */
    const at = (here: BlockPlacement, t: Tensor): Tensor => (se !== null && placement === here ? se.forward(t) : t);
    return at('standard', at('inner', this.bn.forward(this.conv.forward(at('pre', x)))).relu());
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

  constructor({ inChannels, attention, placement = 'standard', widths = WIDTHS }: TinyCnnOptions) {
    super();
    const attentionOf = (i: number): Attention => (typeof attention === 'object' && attention !== null ? attention[i]! : attention);
    this.blocks = widths.map((width, i) => new Block(i === 0 ? inChannels : widths[i - 1]!, width, attentionOf(i), placement));
    this.fc = new nn.Linear(widths[2], 10);
  }

  forward(x: Tensor): Tensor {
    return this.fc.forward(this.featureMaps(x).at(-1)!.mean([2, 3]));
  }

  /** Returns the output of each block: [N,16,H,W], [N,32,H/2,W/2], [N,64,H/4,W/4] with the default widths. */
  featureMaps(x: Tensor): Tensor[] {
    const maps: Tensor[] = [];
    this.blocks.forEach((block, i) => maps.push(block.forward(i === 0 ? x : F.maxPool2d(maps[i - 1]!, 2))));
    return maps;
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
  return equalNet(seed, se, (se): Net => {
    const attention = se ? squeezeExcite : null;
    if (model === 'tiny') return new TinyCnn({ inChannels, attention });
    return seResNet(depthOf(model), { width: WIDTHS[0], inChannels, placement, attention });
  });
}

/**
 * Makes the net with SE from the weights of `seed`, or the net without SE with equal weights in all layers that both have.
 *
 * @param make makes a net with SE or without
 */
export function equalNet<N extends Net>(seed: number, se: boolean, make: (se: boolean) => N): N {
  manualSeed(seed);
  const withSE = make(true);
  if (se) return withSE;
  const plain = make(false);
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
