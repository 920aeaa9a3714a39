/**
 * ResNets for 32×32 images, with squeeze-and-excitation in any of the placements that the paper compares.
 *
 * Letters: N = images, I and O = channels in and out, H and W = height and width in pixels.
 */
import { ArgumentError, type FloatDType, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';

export const PLACEMENTS = ['standard', 'pre', 'post', 'identity', 'conv3x3'] as const;

/** Where a residual block applies its attention. */
export type Placement = (typeof PLACEMENTS)[number];

/** Makes the attention layer for a number of channels; null: no attention. */
export type Attention = ((channels: number) => nn.Layer) | null;

export interface SEBasicBlockOptions {
  /** Stride of the first convolution and of the shortcut. Default 1. */
  readonly stride?: number;
  /** Default 'standard': on the residual, before the sum. */
  readonly placement?: Placement;
  /** Default: a SqueezeExcite layer. */
  readonly attention?: Attention;
  readonly dtype?: FloatDType;
}

/**
 * A residual block of two 3×3 convolutions, with attention in one of five places.
 *   F(x) = bn₂(conv₂(relu(bn₁(conv₁(x)))));   S(x) = x, or bn(1×1 convolution of x) where stride or channels change
 *   standard  y = relu(SE(F(x)) + S(x))
 *   pre       y = relu(F(SE(x)) + S(x))
 *   post      y = SE(relu(F(x) + S(x)))
 *   identity  y = relu(F(x) + SE(S(x)))
 *   conv3x3   y = relu(bn₂(conv₂(SE(relu(bn₁(conv₁(x)))))) + S(x))
 * Shape:  x [N,I,H,W] → y [N,O,⌈H/stride⌉,⌈W/stride⌉]
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 5 and tables 14 and 15 (its SE_3×3); shortcut: He et al. 2015, arXiv:1512.03385, option B
 */
export class SEBasicBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly downsample: nn.Sequential | null;
  readonly se: nn.Layer | null;
  readonly placement: Placement;

  constructor(inChannels: number, outChannels: number, options: SEBasicBlockOptions = {}) {
    super();
    const { stride = 1, placement = 'standard', dtype = 'float32' } = options;
    const { attention = (channels: number) => new nn.SqueezeExcite(channels, { dtype }) } = options;
    if (!PLACEMENTS.includes(placement)) {
      throw new ArgumentError(`SEBasicBlock: placement must be one of ${PLACEMENTS.join(', ')}, got '${placement as string}'`);
    }
    const withoutBias = { bias: false, dtype };
    this.conv1 = new nn.Conv2d(inChannels, outChannels, 3, { ...withoutBias, stride, padding: 1 });
    this.bn1 = new nn.BatchNorm2d(outChannels, { dtype });
    this.conv2 = new nn.Conv2d(outChannels, outChannels, 3, { ...withoutBias, padding: 1 });
    this.bn2 = new nn.BatchNorm2d(outChannels, { dtype });
    const changesShape = stride !== 1 || inChannels !== outChannels;
    this.downsample = changesShape ? projection(inChannels, outChannels, stride, dtype) : null;
    this.se = attention === null ? null : attention(placement === 'pre' ? inChannels : outChannels);
    this.placement = placement;
  }

  forward(x: Tensor): Tensor {
    const { se, placement } = this;
    /** Applies attention to t in the block whose attention is placed at `here`; returns t itself in the others. */
    const at = (here: Placement, t: Tensor): Tensor => (se !== null && placement === here ? se.forward(t) : t);
    const hidden = at('conv3x3', this.bn1.forward(this.conv1.forward(at('pre', x))).relu());
    const residual = at('standard', this.bn2.forward(this.conv2.forward(hidden)));
    const shortcut = at('identity', this.downsample === null ? x : this.downsample.forward(x));
    return at('post', residual.add(shortcut).relu());
  }
}

/** The shortcut of a block that changes stride or channels: a 1×1 convolution with batch norm. */
function projection(inChannels: number, outChannels: number, stride: number, dtype: FloatDType): nn.Sequential {
  return new nn.Sequential(
    new nn.Conv2d(inChannels, outChannels, 1, { stride, bias: false, dtype }),
    new nn.BatchNorm2d(outChannels, { dtype }),
  );
}

export interface SEResNetOptions {
  /** Channels of the first stage; the others have two and four times as many. Default 16. */
  readonly width?: number;
  /** SE's reduction r. Default 16. */
  readonly reduction?: number;
  readonly placement?: Placement;
  /** Default 10. */
  readonly numClasses?: number;
  /** False: no attention. Default true. */
  readonly se?: boolean;
  /** Default: a SqueezeExcite layer with `reduction`. */
  readonly attention?: Attention;
  /** Channels of the images. Default 3. */
  readonly inChannels?: number;
  readonly dtype?: FloatDType;
}

/**
 * A 3×3 convolution, three stages of n blocks (the second and third halve the image and double the channels), the mean of every
 * channel, and a linear layer.
 * Shape:  x [N,C,H,W] → logits [N,classes]
 * Init:   PyTorch's defaults, layer by layer
 * Source: He et al. 2015, arXiv:1512.03385, section 4.2
 */
export class CifarResNet extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly layer1: nn.Sequential;
  readonly layer2: nn.Sequential;
  readonly layer3: nn.Sequential;
  readonly fc: nn.Linear;

  constructor(blocks: number, options: SEResNetOptions = {}) {
    super();
    const { width = 16, reduction = 16, placement = 'standard', numClasses = 10, se = true, inChannels = 3, dtype = 'float32' } = options;
    const { attention = (channels: number) => new nn.SqueezeExcite(channels, { reduction, dtype }) } = options;
    const block = { placement, attention: se ? attention : null, dtype };
    /** A stage of `blocks` blocks. The first one changes stride and channels. */
    const stage = (inChannels: number, outChannels: number, stride: number): nn.Sequential => {
      const layers: SEBasicBlock[] = [];
      for (let i = 0; i < blocks; i++) {
        const isFirst = i === 0;
        layers.push(new SEBasicBlock(isFirst ? inChannels : outChannels, outChannels, { ...block, stride: isFirst ? stride : 1 }));
      }
      return new nn.Sequential(...layers);
    };
    this.conv1 = new nn.Conv2d(inChannels, width, 3, { padding: 1, bias: false, dtype });
    this.bn1 = new nn.BatchNorm2d(width, { dtype });
    this.layer1 = stage(width, width, 1);
    this.layer2 = stage(width, 2 * width, 2);
    this.layer3 = stage(2 * width, 4 * width, 2);
    this.fc = new nn.Linear(4 * width, numClasses, { dtype });
  }

  forward(x: Tensor): Tensor {
    const y = this.bn1.forward(this.conv1.forward(x)).relu();
    const features = this.layer3.forward(this.layer2.forward(this.layer1.forward(y)));
    return this.fc.forward(features.mean([2, 3]));
  }
}

/**
 * Makes an SE-ResNet of 6n + 2 layers: SE-ResNet-20, 32, 56, …
 *
 * Throws: ArgumentError for another depth
 * @example seResNet(20, { reduction: 4 })
 */
export function seResNet(depth: number, options: SEResNetOptions = {}): CifarResNet {
  const blocks = (depth - 2) / 6;
  if (!Number.isInteger(blocks) || blocks < 1) throw new ArgumentError(`seResNet: depth must be 6n + 2 (20, 32, 56, …), got ${depth}`);
  return new CifarResNet(blocks, options);
}
