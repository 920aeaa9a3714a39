import { conv2d, convTranspose2d, defaultGenerator, type Tensor } from '../autograd/index.ts';
import type { Conv2dOptions, ConvTranspose2dOptions, Size2d } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { pair } from '../core/shape.ts';
import { uniform_ } from './init.ts';
import { checkCount, type LinearOptions } from './linear.ts';
import { Module } from './module.ts';
import { parameter, type Parameter } from './parameter.ts';

/** Options of Conv2d: those of F.conv2d, and how a Linear layer makes its parameters. */
export interface Conv2dLayerOptions extends Conv2dOptions, LinearOptions {}

/** Options of ConvTranspose2d: those of F.convTranspose2d, and how a Linear layer makes its parameters. */
export interface ConvTranspose2dLayerOptions extends ConvTranspose2dOptions, LinearOptions {}

const DEFAULTS = { stride: 1, padding: 0, dilation: 1, groups: 1, bias: true, dtype: 'float32', generator: defaultGenerator } as const;

type Options<P> = Required<Omit<Conv2dLayerOptions, 'padding'>> & { readonly padding: P };

class Convolution<P> extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly stride: Size2d;
  readonly padding: P;
  readonly dilation: Size2d;
  readonly groups: number;

  /** Rows and columns of the weight are output and input channels, or the other way round. */
  constructor(op: string, rows: number, columns: number, outChannels: number, kernel: Size2d, o: Options<P>) {
    super();
    const inChannels = rows + columns - outChannels;
    for (const [name, n] of Object.entries({ inChannels, outChannels, groups: o.groups })) checkCount(op, name, n);
    if (rows % o.groups !== 0 || columns % o.groups !== 0) {
      throw new ArgumentError(`${op}: ${inChannels} input and ${outChannels} output channels must divide into ${o.groups} groups`);
    }
    const shape = [rows, columns / o.groups, ...pair(op, 'kernel', kernel, 1)];
    const k = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b));
    this.weight = parameter(shape, o.dtype, (t) => uniform_(t, -k, k, o));
    this.bias = o.bias ? parameter([outChannels], o.dtype, (t) => uniform_(t, -k, k, o)) : null;
    this.stride = o.stride;
    this.padding = o.padding;
    this.dilation = o.dilation;
    this.groups = o.groups;
  }
}

/**
 * The 2-d convolution of F.conv2d.
 * Shape:  x [N,C,H,W] → y [N,O,OH,OW]; weight [O,C/groups,KH,KW], bias [O]
 * Init:   U(−k, k), k = 1/√(C/groups · KH · KW) (PyTorch's default)
 * @example new Conv2d(3, 16, 3, { padding: 1, bias: false })
 */
export class Conv2d extends Convolution<Size2d | 'same' | 'valid'> {
  constructor(inChannels: number, outChannels: number, kernel: Size2d, options: Conv2dLayerOptions = {}) {
    super('Conv2d', outChannels, inChannels, outChannels, kernel, withDefaults('Conv2d', options, DEFAULTS));
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, stride, padding, dilation, groups } = this;
    return conv2d(x, weight, bias, { stride, padding, dilation, groups });
  }
}

/**
 * The transposed convolution of F.convTranspose2d.
 * Shape:  x [N,C,H,W] → y [N,O,OH,OW]; weight [C,O/groups,KH,KW], bias [O]
 * Init:   U(−k, k), k = 1/√(O/groups · KH · KW) (PyTorch's default)
 * @example new ConvTranspose2d(16, 8, 4, { stride: 2, padding: 1 })
 */
export class ConvTranspose2d extends Convolution<Size2d> {
  readonly outputPadding: Size2d;

  constructor(inChannels: number, outChannels: number, kernel: Size2d, options: ConvTranspose2dLayerOptions = {}) {
    const o = withDefaults('ConvTranspose2d', options, { ...DEFAULTS, outputPadding: 0 });
    super('ConvTranspose2d', inChannels, outChannels, outChannels, kernel, o);
    this.outputPadding = o.outputPadding;
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, stride, padding, outputPadding, dilation, groups } = this;
    return convTranspose2d(x, weight, bias, { stride, padding, outputPadding, dilation, groups });
  }

  override multiplyAdds(_: Tensor, y: Tensor): number {
    return (y.numel * this.weight.numel) / this.weight.size(0);
  }
}
