/**
 * The tiny SE-CNN and its twin without SE.
 *
 * Letters: N = images, C = channels, H and W = height and width in pixels.
 */
import { type Tensor, manualSeed } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';

export interface TinyCnnOptions {
  /** Channels of the images. */
  readonly inChannels: number;
  /** SE's reduction r; null leaves SE out. */
  readonly reduction: number | null;
  /** Channels after each block. Default 16, 32, 64. */
  readonly widths?: readonly [number, number, number];
}

/** 3×3 convolution without bias → batch norm → ReLU → squeeze and excitation. */
class Block extends nn.Module {
  readonly conv: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  readonly se: nn.SqueezeExcite | null;

  constructor(inChannels: number, channels: number, reduction: number | null) {
    super();
    this.conv = new nn.Conv2d(inChannels, channels, 3, { padding: 1, bias: false });
    this.bn = new nn.BatchNorm2d(channels);
    this.se = reduction === null ? null : new nn.SqueezeExcite(channels, { reduction });
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

  constructor({ inChannels, reduction, widths = [16, 32, 64] }: TinyCnnOptions) {
    super();
    this.blocks = widths.map((width, i) => new Block(i === 0 ? inChannels : widths[i - 1]!, width, reduction));
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

/** The SE-CNN that `seed` fixes, or its twin: the same net without SE, started from the same weights. */
export function makeModel(seed: number, se: boolean, inChannels: number, reduction: number): TinyCnn {
  manualSeed(seed);
  const full = new TinyCnn({ inChannels, reduction });
  if (se) return full;
  const twin = new TinyCnn({ inChannels, reduction: null });
  twin.loadStateDict(full.stateDict(), { strict: false });
  full.dispose();
  return twin;
}

export function parameterCount(model: nn.Module): number {
  return model.parameters().reduce((n, p) => n + p.numel, 0);
}
