import type { Tensor } from '../autograd/index.ts';
import { ChannelGate, gateLayer, type Gate } from './channel-gate.ts';
import { Conv2d } from './conv2d.ts';
import type { InitOptions } from './init.ts';
import type { Layer } from './module.ts';
import type { LayerOptions } from './parameter.ts';

/** Options of EffectiveSE. */
export interface EffectiveSEOptions extends LayerOptions, InitOptions {
  /** What makes scales of the layer's outputs. Default 'hardsigmoid'. */
  readonly gate?: Gate;
}

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

  constructor(channels: number, { gate = 'hardsigmoid', ...options }: EffectiveSEOptions = {}) {
    super(channels, 'effectiveSE');
    this.gate = gateLayer('EffectiveSE', gate);
    this.fc = new Conv2d(channels, channels, 1, options);
  }

  override excite(x: Tensor): Tensor {
    return this.gate.forward(this.fc.forward(x.mean([2, 3], { keepdim: true }))).flatten(1);
  }
}
