import { defaultGenerator, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { pair } from '../core/shape.ts';
import { conv2d, type Conv2dOptions, type Size2d } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of Conv2d. */
export interface Conv2dLayerOptions extends Conv2dOptions, LayerOptions, InitOptions {
  /** Whether there is a bias. Default true. */
  readonly bias?: boolean;
}

const DEFAULTS = { stride: 1, padding: 0, dilation: 1, groups: 1, bias: true, dtype: 'float32', generator: defaultGenerator } as const;

/**
 * The 2-d convolution of F.conv2d.
 * Shape:  x [N,C,H,W] → y [N,O,OH,OW]; weight [O,C/groups,KH,KW], bias [O]
 * Init:   U(−k, k), k = 1/√(C/groups · KH · KW) (PyTorch's default)
 * @example new Conv2d(3, 16, 3, { padding: 1, bias: false })
 */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly stride: Size2d;
  readonly padding: Size2d | 'same' | 'valid';
  readonly dilation: Size2d;
  readonly groups: number;

  constructor(inChannels: number, outChannels: number, kernel: Size2d, options: Conv2dLayerOptions = {}) {
    super();
    const { stride, padding, dilation, groups, bias, dtype, ...init } = withDefaults('Conv2d', options, DEFAULTS);
    checkCount('Conv2d', 'inChannels', inChannels);
    checkCount('Conv2d', 'outChannels', outChannels);
    checkCount('Conv2d', 'groups', groups);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ArgumentError(`Conv2d: ${inChannels} input and ${outChannels} output channels must divide into ${groups} groups`);
    }
    const size = pair('Conv2d', 'kernel', kernel, 1);
    const fanIn = (inChannels / groups) * size[0] * size[1];
    const k = 1 / Math.sqrt(fanIn);
    this.weight = parameter([outChannels, inChannels / groups, ...size], dtype, (t) => uniform_(t, -k, k, init));
    this.bias = bias ? parameter([outChannels], dtype, (t) => uniform_(t, -k, k, init)) : null;
    this.stride = stride;
    this.padding = padding;
    this.dilation = dilation;
    this.groups = groups;
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, stride, padding, dilation, groups } = this;
    return conv2d(x, weight, bias, { stride, padding, dilation, groups });
  }

  override multiplyAdds(_: Tensor, y: Tensor): number {
    return (y.numel * this.weight.numel) / this.weight.size(0);
  }
}
