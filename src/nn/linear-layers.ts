/**
 * Layers with a learned weight: Linear and the convolutions multiply by it, Embedding selects its rows.
 */
import { CONV1D_DEFAULTS, allOrNone, defaultGenerator, embedding, paddingRow } from '../autograd/index.ts';
import type { EmbeddingOptions, Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkCount, refuseSurplus, withDefaults } from '../core/options.ts';
import { pair, sizeOf, type Shape } from '../core/shape.ts';
import { conv1d, conv2d, convTranspose2d, linear } from './functional.ts';
import type { Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, Size2d } from './functional.ts';
import { normal_, uniform_, type InitOptions } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of Linear. */
export interface LinearOptions extends LayerOptions, InitOptions {
  /** Whether the layer has a bias. Default true. */
  readonly bias?: boolean;
}

const LAYER_DEFAULTS = { dtype: 'float32', generator: defaultGenerator } as const;
const LINEAR_DEFAULTS = { bias: true, ...LAYER_DEFAULTS } as const;

/** A layer of weight and bias, both initialised by U(−k, k), k = 1/√fanIn (PyTorch's default). fanIn is the size of weight[0]. */
abstract class WeightedLayer extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  /** @param outputs The size of the bias. Default: that of the weight's first dim. */
  constructor(weightShape: Shape, { bias, dtype, generator }: Required<LinearOptions>, outputs: number = weightShape[0]!) {
    super();
    const k = 1 / Math.sqrt(sizeOf(weightShape.slice(1)));
    const draw = (shape: Shape): Parameter => parameter(shape, dtype, (t) => uniform_(t, -k, k, { generator }));
    [this.weight, this.bias] = allOrNone(() => [draw(weightShape), bias ? draw([outputs]) : null]);
  }

  override multiplyAdds(_: Tensor, y: Tensor): number {
    return (y.numel * this.weight.numel) / this.weight.size(0);
  }
}

/**
 * y = x Wᵀ + b
 * Shape:  x [...,I] → y [...,O]; weight [O,I], bias [O]
 * Init:   U(−k, k), k = 1/√I (PyTorch's default)
 */
export class Linear extends WeightedLayer {
  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    const o = withDefaults('Linear', options, LINEAR_DEFAULTS);
    checkCount('Linear', 'inFeatures', inFeatures);
    checkCount('Linear', 'outFeatures', outFeatures);
    super([outFeatures, inFeatures], o);
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    return linear(x, this.weight, this.bias);
  }
}

/** How a convolution is placed on its input. */
interface Placement<Size, Padding> {
  readonly stride: Size;
  readonly padding: Padding;
  readonly dilation: Size;
  readonly groups: number;
}

/** A convolution: a layer of weight and bias with a placement. */
abstract class ConvLayer<Size, Padding> extends WeightedLayer implements Placement<Size, Padding> {
  readonly stride: Size;
  readonly padding: Padding;
  readonly dilation: Size;
  readonly groups: number;

  /** @param outputs As in WeightedLayer. */
  constructor(weightShape: Shape, o: Required<LinearOptions> & Placement<Size, Padding>, outputs?: number) {
    super(weightShape, o, outputs);
    this.stride = o.stride;
    this.padding = o.padding;
    this.dilation = o.dilation;
    this.groups = o.groups;
  }
}

/** Throws unless all are counts and the channels divide into the groups. */
function checkGroups(layer: string, inChannels: number, outChannels: number, groups: number): void {
  for (const [option, n] of Object.entries({ inChannels, outChannels, groups })) checkCount(layer, option, n);
  if (inChannels % groups !== 0 || outChannels % groups !== 0)
    throw new ArgumentError(`${layer}: ${inChannels} input and ${outChannels} output channels must divide into ${groups} groups`);
}

/** Options of Conv1d. */
export interface Conv1dLayerOptions extends Conv1dOptions, LinearOptions {}

/**
 * Applies a convolution along a sequence; see F.conv1d.
 * Shape:  x [N,C,L] → y [N,O,OL]; weight [O,C/groups,K], bias [O]
 * Init:   U(−k, k), k = 1/√(C/groups · K) (PyTorch's default)
 * @example new Conv1d(8, 16, 5, { padding: 'same' })
 */
export class Conv1d extends ConvLayer<number, number | 'same' | 'valid'> {
  constructor(inChannels: number, outChannels: number, kernelSize: number, options: Conv1dLayerOptions = {}) {
    const o = withDefaults('Conv1d', options, { ...CONV1D_DEFAULTS, ...LINEAR_DEFAULTS });
    const { groups } = o;
    checkGroups('Conv1d', inChannels, outChannels, groups);
    checkCount('Conv1d', 'kernelSize', kernelSize);
    super([outChannels, inChannels / groups, kernelSize], o);
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const { weight, bias, stride, padding, dilation, groups } = this;
    return conv1d(x, weight, bias, { stride, padding, dilation, groups });
  }
}

/** Options of Conv2d. */
export interface Conv2dLayerOptions extends Conv2dOptions, LinearOptions {}

/**
 * Applies a 2-d convolution; see F.conv2d.
 * Shape:  x [N,C,H,W] → y [N,O,OH,OW]; weight [O,C/groups,KH,KW], bias [O]
 * Init:   U(−k, k), k = 1/√(C/groups · KH · KW) (PyTorch's default)
 * @example new Conv2d(3, 16, 3, { padding: 1, bias: false })
 */
export class Conv2d extends ConvLayer<Size2d, Size2d | 'same' | 'valid'> {
  constructor(inChannels: number, outChannels: number, kernelSize: Size2d, options: Conv2dLayerOptions = {}) {
    const o = withDefaults('Conv2d', options, { stride: 1, padding: 0, dilation: 1, groups: 1, ...LINEAR_DEFAULTS });
    const { groups } = o;
    checkGroups('Conv2d', inChannels, outChannels, groups);
    super([outChannels, inChannels / groups, ...pair('Conv2d', 'kernel', kernelSize, 1)], o);
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const { weight, bias, stride, padding, dilation, groups } = this;
    return conv2d(x, weight, bias, { stride, padding, dilation, groups });
  }
}

/** Options of ConvTranspose2d. */
export interface ConvTranspose2dLayerOptions extends ConvTranspose2dOptions, LinearOptions {}

/**
 * Applies a transposed convolution, for upsampling; see F.convTranspose2d.
 * Shape:  x [N,C,H,W] → y [N,O,OH,OW]; weight [C,O/groups,KH,KW], bias [O]
 * Init:   U(−k, k), k = 1/√(O/groups · KH · KW) (PyTorch's default)
 * @example new ConvTranspose2d(32, 16, 4, { stride: 2, padding: 1 })
 */
export class ConvTranspose2d extends ConvLayer<Size2d, Size2d> {
  /** Rows and columns added at the end of the output. */
  readonly outputPadding: Size2d;

  constructor(inChannels: number, outChannels: number, kernelSize: Size2d, options: ConvTranspose2dLayerOptions = {}) {
    const defaults = { stride: 1, padding: 0, outputPadding: 0, dilation: 1, groups: 1, ...LINEAR_DEFAULTS };
    const o = withDefaults('ConvTranspose2d', options, defaults);
    const { groups } = o;
    checkGroups('ConvTranspose2d', inChannels, outChannels, groups);
    super([inChannels, outChannels / groups, ...pair('ConvTranspose2d', 'kernel', kernelSize, 1)], o, outChannels);
    this.outputPadding = o.outputPadding;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    const { weight, bias, stride, padding, outputPadding, dilation, groups } = this;
    return convTranspose2d(x, weight, bias, { stride, padding, outputPadding, dilation, groups });
  }

  override multiplyAdds(x: Tensor): number {
    return (x.numel * this.weight.numel) / this.weight.size(0);
  }
}

/** Options of Embedding. */
export interface EmbeddingLayerOptions extends EmbeddingOptions, LayerOptions, InitOptions {}

/**
 * Looks up a learned row for each index: y[…, :] = weight[indices[…], :]
 * Shape:  indices […] (int32) → y […,D]; weight [V,D]
 * Init:   N(0, 1), the padding row 0 (PyTorch's default)
 */
export class Embedding extends Module {
  /** [numEmbeddings, embeddingDim]: a row for each index. */
  readonly weight: Parameter;
  /** The row that gets no gradient; null: none. */
  readonly paddingIdx: number | null;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingLayerOptions = {}) {
    super();
    const { paddingIdx, dtype, ...init } = withDefaults('Embedding', options, { paddingIdx: null, ...LAYER_DEFAULTS });
    checkCount('Embedding', 'numEmbeddings', numEmbeddings);
    checkCount('Embedding', 'embeddingDim', embeddingDim);
    this.paddingIdx = paddingRow('Embedding', paddingIdx, numEmbeddings);
    this.weight = parameter([numEmbeddings, embeddingDim], dtype, (t) => {
      normal_(t, 0, 1, init);
      if (this.paddingIdx !== null) t.select(0, this.paddingIdx).zero_();
    });
  }

  forward(indices: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    return embedding(indices, this.weight, { paddingIdx: this.paddingIdx });
  }
}
