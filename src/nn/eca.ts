import type { Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { ChannelGate, gateLayer, type Gate } from './channel-gate.ts';
import { conv2d } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import type { Layer } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of ECA. */
export interface ECAOptions extends LayerOptions, InitOptions {
  /** Channels that decide together, an odd number. Default: |log₂(C)/γ + b/γ| made odd upwards, at least 3. */
  readonly kernelSize?: number;
  /** γ of the default kernel size. Default 2. */
  readonly gamma?: number;
  /** b of the default kernel size. Default 1. */
  readonly beta?: number;
  /** What makes scales of the convolution's outputs. Default 'sigmoid'. */
  readonly gate?: Gate;
}

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
    const { kernelSize, gamma = 2, beta = 1, gate = 'sigmoid', dtype = 'float32', ...init } = options;
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
