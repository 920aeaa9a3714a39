/**
 * Layers that apply one function of the engine. The constructor takes the function's options. Only PReLU has a parameter.
 */
import * as f from '../autograd/index.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { checkCount, checkNumber, refuseOptions, refuseSurplus, withDefaults } from '../core/options.ts';
import { constant_ } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Checks the options of a layer, which its function reads at every forward, already now; undefined stands for none. */
function checkGiven<O extends object>(layer: string, options: O | undefined, defaults: Required<O>): void {
  if (options !== undefined) withDefaults(layer, options, defaults);
}

/** Throws unless `dim` is a whole number. Its range depends on x. */
function checkDim(layer: string, dim: unknown): void {
  if (!Number.isInteger(dim))
    throw new ArgumentError(`${layer}: expected a dim, a whole number, got ${typeof dim === 'number' ? dim : kindOf(dim)}`);
}

/** The layer y = op(x, …options). Each subclass declares its own constructor, so that editors show its parameters. */
abstract class FunctionLayer<Options extends unknown[] = []> extends Module {
  /** The arguments of the constructor, without those left out at the end. */
  readonly options: Options;
  readonly #op: (x: f.Tensor, ...options: Options) => f.Tensor;

  constructor(op: (x: f.Tensor, ...options: Options) => f.Tensor, ...options: Options) {
    super();
    // Omitted arguments arrive as undefined. The trailing ones are dropped: `new LeakyReLU().options` is [].
    const lastGiven = options.findLastIndex((option) => option !== undefined);
    this.options = options.slice(0, lastGiven + 1) as Options;
    this.#op = op;
  }

  forward(x: f.Tensor): f.Tensor {
    refuseSurplus('forward', arguments, 1);
    const op = this.#op;
    return op(x, ...this.options);
  }
}

/** y = max(x, 0) */
export class ReLU extends FunctionLayer {
  constructor() {
    refuseOptions('ReLU', arguments[0]);
    super(f.relu);
  }
}

/** y = tanh x */
export class Tanh extends FunctionLayer {
  constructor() {
    refuseOptions('Tanh', arguments[0]);
    super(f.tanh);
  }
}

/** y = 1 / (1 + e⁻ˣ) */
export class Sigmoid extends FunctionLayer {
  constructor() {
    refuseOptions('Sigmoid', arguments[0]);
    super(f.sigmoid);
  }
}

/**
 * y = x where x > 0, else negativeSlope · x
 * @example new LeakyReLU(0.2)
 */
export class LeakyReLU extends FunctionLayer<[negativeSlope?: number | undefined]> {
  /** @param negativeSlope The slope where x ≤ 0. Default 0.01. */
  constructor(negativeSlope?: number) {
    if (negativeSlope !== undefined) checkNumber('LeakyReLU', 'negativeSlope', negativeSlope);
    refuseOptions('LeakyReLU', arguments[1]);
    super(f.leakyRelu, negativeSlope);
  }
}

/**
 * y = x where x > 0, else alpha · (eˣ − 1)
 * @example new ELU(0.5)
 */
export class ELU extends FunctionLayer<[alpha?: number | undefined]> {
  /** @param alpha y tends to −alpha for large negative x. Default 1. */
  constructor(alpha?: number) {
    if (alpha !== undefined) checkNumber('ELU', 'alpha', alpha);
    refuseOptions('ELU', arguments[1]);
    super(f.elu, alpha);
  }
}

/**
 * y = x Φ(x)
 * @example new GELU({ approximate: 'tanh' })
 */
export class GELU extends FunctionLayer<[options?: f.GeluOptions | undefined]> {
  /** @param options `approximate` selects the formula. Default: the exact one. */
  constructor(options?: f.GeluOptions) {
    checkGiven('GELU: gelu', options, f.GELU_DEFAULTS);
    super(f.gelu, options);
  }
}

/** y = x σ(x) */
export class SiLU extends FunctionLayer {
  constructor() {
    refuseOptions('SiLU', arguments[0]);
    super(f.silu);
  }
}

/** y = x tanh(ln(1 + eˣ)) */
export class Mish extends FunctionLayer {
  constructor() {
    refuseOptions('Mish', arguments[0]);
    super(f.mish);
  }
}

/**
 * y = ln(1 + e^βx) / β where βx ≤ threshold, else x
 * @example new Softplus({ beta: 2, threshold: 20 })
 */
export class Softplus extends FunctionLayer<[options?: f.SoftplusOptions | undefined]> {
  /** @param options `beta` and `threshold` of the formula. Default 1 and 20. */
  constructor(options?: f.SoftplusOptions) {
    checkGiven('Softplus: softplus', options, f.SOFTPLUS_DEFAULTS);
    super(f.softplus, options);
  }
}

/** y = ln σ(x) */
export class LogSigmoid extends FunctionLayer {
  constructor() {
    refuseOptions('LogSigmoid', arguments[0]);
    super(f.logSigmoid);
  }
}

/**
 * yᵢ = exp xᵢ / Σ exp x along a dim
 * @example new Softmax(1)
 */
export class Softmax extends FunctionLayer<[dim: number]> {
  /** @param dim The dim that the sum runs along; a negative one counts from the last. */
  constructor(dim: number) {
    checkDim('Softmax', dim);
    refuseOptions('Softmax', arguments[1]);
    super(f.softmax, dim);
  }
}

/**
 * y = ln softmax(x) along a dim
 * @example new LogSoftmax(1)
 */
export class LogSoftmax extends FunctionLayer<[dim: number]> {
  /** @param dim The dim that softmax runs along; a negative one counts from the last. */
  constructor(dim: number) {
    checkDim('LogSoftmax', dim);
    refuseOptions('LogSoftmax', arguments[1]);
    super(f.logSoftmax, dim);
  }
}

/** y = min(max(x + 3, 0), 6) / 6 */
export class Hardsigmoid extends FunctionLayer {
  constructor() {
    refuseOptions('Hardsigmoid', arguments[0]);
    super(f.hardsigmoid);
  }
}

/** y = x min(max(x + 3, 0), 6) / 6 */
export class Hardswish extends FunctionLayer {
  constructor() {
    refuseOptions('Hardswish', arguments[0]);
    super(f.hardswish);
  }
}

/**
 * Takes the largest element of every window; see F.maxPool2d.
 * @example new MaxPool2d(3, { stride: 2, padding: 1 })
 */
export class MaxPool2d extends FunctionLayer<[kernelSize: f.Size2d, options?: f.MaxPool2dOptions | undefined]> {
  /**
   * @param kernelSize The window's size: one number for both dims, or [height, width].
   * @param options `stride` (default: kernelSize), `padding`, `dilation` and `ceilMode`.
   */
  constructor(kernelSize: f.Size2d, options?: f.MaxPool2dOptions) {
    checkGiven<f.MaxPool2dOptions>('MaxPool2d: maxPool2d', options, f.MAX_POOL_DEFAULTS);
    super(f.maxPool2d, kernelSize, options);
  }
}

/**
 * Takes the mean of every window; see F.avgPool2d.
 * @example new AvgPool2d(2, { countIncludePad: false })
 */
export class AvgPool2d extends FunctionLayer<[kernelSize: f.Size2d, options?: f.AvgPool2dOptions | undefined]> {
  /**
   * @param kernelSize The window's size: one number for both dims, or [height, width].
   * @param options `stride` (default: kernelSize), `padding`, `ceilMode`, `countIncludePad` and `divisorOverride`.
   */
  constructor(kernelSize: f.Size2d, options?: f.AvgPool2dOptions) {
    checkGiven('AvgPool2d: avgPool2d', options, f.AVG_POOL_DEFAULTS);
    super(f.avgPool2d, kernelSize, options);
  }
}

/** Takes the means of windows that cover the image evenly; see F.adaptiveAvgPool2d. */
export class AdaptiveAvgPool2d extends FunctionLayer<[outputSize: f.AdaptiveSize]> {
  /** @param outputSize One number for both dims, or [height, width]; null keeps the size of x. */
  constructor(outputSize: f.AdaptiveSize) {
    refuseOptions('AdaptiveAvgPool2d', arguments[1]);
    super(f.adaptiveAvgPool2d, outputSize);
  }
}

/** Takes the largest elements of windows that cover the image evenly; see F.adaptiveMaxPool2d. */
export class AdaptiveMaxPool2d extends FunctionLayer<[outputSize: f.AdaptiveSize]> {
  /** @param outputSize One number for both dims, or [height, width]; null keeps the size of x. */
  constructor(outputSize: f.AdaptiveSize) {
    refuseOptions('AdaptiveMaxPool2d', arguments[1]);
    super((x, size) => f.adaptiveMaxPool2d(x, size), outputSize);
  }
}

/**
 * Resizes images by repeating, leaving out or blending pixels; see F.interpolate.
 * @example new Upsample({ scaleFactor: 2, mode: 'bilinear' })
 */
export class Upsample extends FunctionLayer<[options?: f.InterpolateOptions | undefined]> {
  /** @param options The `size` of the output or its `scaleFactor`, `mode` and `alignCorners`. */
  constructor(options?: f.InterpolateOptions) {
    checkGiven('Upsample: interpolate', options, f.INTERPOLATE_DEFAULTS);
    super(f.interpolate, options);
  }
}

/**
 * Joins the dims from `startDim` to `endDim` into one.
 * Shape:  x [N,C,H,W] → y [N,C·H·W] by default
 */
export class Flatten extends FunctionLayer<[startDim?: number | undefined, endDim?: number | undefined]> {
  /**
   * @param startDim The first dim to join. Default 1.
   * @param endDim The last dim to join. Default −1, the last dim of x.
   */
  constructor(startDim?: number, endDim?: number) {
    if (startDim !== undefined) checkDim('Flatten', startDim);
    if (endDim !== undefined) checkDim('Flatten', endDim);
    refuseOptions('Flatten', arguments[2]);
    super(
      (x, start = 1, end = -1) => {
        f.checkTensor('flatten', 'x', x);
        return f.flatten(x, start, end);
      },
      startDim,
      endDim,
    );
  }
}

/** y = x, the same tensor. */
export class Identity extends FunctionLayer {
  constructor() {
    refuseOptions('Identity', arguments[0]);
    super((x) => {
      f.checkTensor('identity', 'x', x);
      return x;
    });
  }
}

/** Options of Dropout, Dropout2d and StochasticDepth: the `generator` of the masks, by default that of `manualSeed`. */
export type DropoutLayerOptions = Pick<f.DropoutOptions, 'generator'>;

function dropoutOptions({ training, generator }: Dropout): f.DropoutOptions {
  return { training, generator };
}

/**
 * In training, zeroes each element with probability p and scales the rest by 1 / (1 − p). In evaluation, y = x.
 * Source: Srivastava et al. 2014, JMLR 15
 */
export class Dropout extends Module {
  /** The probability of a zero. */
  readonly p: number;
  /** Draws the masks. */
  readonly generator: f.Generator;

  constructor(p = 0.5, options: DropoutLayerOptions = {}) {
    super();
    const { generator } = withDefaults(this.constructor.name, options, { generator: f.defaultGenerator });
    this.generator = generator;
    f.checkProbability(this.constructor.name, p);
    this.p = p;
  }

  forward(x: f.Tensor): f.Tensor {
    refuseSurplus('forward', arguments, 1);
    return f.dropout(x, this.p, dropoutOptions(this));
  }
}

/** Zeroes whole channels in training; see F.dropout2d. */
export class Dropout2d extends Dropout {
  override forward(x: f.Tensor): f.Tensor {
    refuseSurplus('forward', arguments, 1);
    return f.dropout2d(x, this.p, dropoutOptions(this));
  }
}

/**
 * Drops a whole residual branch in training, for the batch or sample by sample; see F.stochasticDepth.
 * @example new StochasticDepth(0.2, 'row')
 */
export class StochasticDepth extends Dropout {
  /** What a draw decides on: the batch, or one sample. */
  readonly mode: f.StochasticDepthMode;

  constructor(p: number, mode: f.StochasticDepthMode, options: DropoutLayerOptions = {}) {
    super(p, options);
    f.checkStochasticDepthMode('StochasticDepth', mode);
    this.mode = mode;
  }

  override forward(x: f.Tensor): f.Tensor {
    refuseSurplus('forward', arguments, 1);
    return f.stochasticDepth(x, this.p, this.mode, dropoutOptions(this));
  }
}

/** Options of PReLU. */
export interface PReLUOptions extends LayerOptions {
  /** The initial slope. Default 0.25. */
  readonly init?: number;
}

/**
 * y = x where x > 0, else weight ⊙ x, with one learned slope, or one per channel.
 * Shape:  x [N,C,…] → y as x; weight [numParameters], 1 or C
 */
export class PReLU extends Module {
  /** The slopes for negative elements: one, or one for each channel. */
  readonly weight: Parameter;

  constructor(numParameters = 1, options: PReLUOptions = {}) {
    super();
    const { init, dtype } = withDefaults('PReLU', options, { init: 0.25, dtype: 'float32' });
    checkCount('PReLU', 'numParameters', numParameters);
    checkNumber('PReLU', 'init', init);
    this.weight = parameter([numParameters], dtype, (t) => constant_(t, init));
  }

  forward(x: f.Tensor): f.Tensor {
    refuseSurplus('forward', arguments, 1);
    return f.prelu(x, this.weight);
  }
}
