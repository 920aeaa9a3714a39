/**
 * Layers that are a function, whose options their constructor takes. PReLU alone has a parameter.
 */
import * as f from '../autograd/index.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { constant_ } from './init.ts';
import { Module, type Layer } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** The layer y = op(x, …options): a class whose constructor takes the op's own options, with its defaults. */
/* @__NO_SIDE_EFFECTS__ */
function layer<O extends unknown[]>(op: (x: f.Tensor, ...options: O) => f.Tensor): new (...o: O) => Layer & { readonly options: O } {
  return class extends Module {
    readonly options: O;
    constructor(...options: O) {
      super();
      this.options = options;
    }
    forward(x: f.Tensor): f.Tensor {
      return op(x, ...this.options);
    }
  };
}

/** y = max(x, 0) */
export class ReLU extends layer(f.relu) {}

/** y = tanh x */
export class Tanh extends layer(f.tanh) {}

/** y = 1 / (1 + e⁻ˣ) */
export class Sigmoid extends layer(f.sigmoid) {}

/**
 * y = x where x > 0, else negativeSlope · x; 0.01 by default
 * @example new LeakyReLU(0.2)
 */
export class LeakyReLU extends layer(f.leakyRelu) {}

/**
 * y = x where x > 0, else alpha · (eˣ − 1); 1 by default
 * @example new ELU(0.5)
 */
export class ELU extends layer(f.elu) {}

/**
 * y = x Φ(x)
 * @example new GELU({ approximate: 'tanh' })
 */
export class GELU extends layer(f.gelu) {}

/** y = x σ(x) */
export class SiLU extends layer(f.silu) {}

/** y = x tanh(ln(1 + eˣ)) */
export class Mish extends layer(f.mish) {}

/**
 * y = ln(1 + e^βx) / β where βx ≤ threshold, else x
 * @example new Softplus({ beta: 2, threshold: 20 })
 */
export class Softplus extends layer(f.softplus) {}

/** y = ln σ(x) */
export class LogSigmoid extends layer(f.logSigmoid) {}

/**
 * yᵢ = exp xᵢ / Σ exp x along a dim
 * @example new Softmax(1)
 */
export class Softmax extends layer(f.softmax) {}

/**
 * y = ln softmax(x) along a dim
 * @example new LogSoftmax(1)
 */
export class LogSoftmax extends layer(f.logSoftmax) {}

/** y = min(max(x + 3, 0), 6) / 6 */
export class Hardsigmoid extends layer(f.hardsigmoid) {}

/** y = x min(max(x + 3, 0), 6) / 6 */
export class Hardswish extends layer(f.hardswish) {}

/**
 * The largest element of every window; takes what F.maxPool2d does.
 * @example new MaxPool2d(3, { stride: 2, padding: 1 })
 */
export class MaxPool2d extends layer<[f.Size2d, f.MaxPool2dOptions?]>(f.maxPool2d) {}

/**
 * The mean of every window; takes what F.avgPool2d does.
 * @example new AvgPool2d(2, { countIncludePad: false })
 */
export class AvgPool2d extends layer(f.avgPool2d) {}

/** The means of windows that cover the image evenly; see F.adaptiveAvgPool2d. */
export class AdaptiveAvgPool2d extends layer(f.adaptiveAvgPool2d) {}

/**
 * Images resized by repeating or leaving out pixels; takes what F.interpolate does.
 * @example new Upsample({ scaleFactor: 2 })
 */
export class Upsample extends layer(f.interpolate) {}

/**
 * Dims `start` to `end` as one.
 * Shape:  x [N,C,H,W] → y [N,C·H·W] by default
 */
export class Flatten extends layer<[start?: number, end?: number]>((x, start = 1, end = -1) => f.flatten(x, start, end)) {}

/** y = x, the same tensor. */
export class Identity extends layer((x: f.Tensor) => x) {}

/** Options of Dropout, Dropout2d and StochasticDepth: the `generator` of the masks, by default that of `manualSeed`. */
export type DropoutLayerOptions = Pick<f.DropoutOptions, 'generator'>;

const pick = ({ training, generator }: Dropout): f.DropoutOptions => ({ training, generator });

/**
 * In training, zeroes each element with probability p and scales the rest by 1 / (1 − p); in evaluation, y = x.
 * Source: Srivastava et al. 2014, JMLR 15
 */
export class Dropout extends Module {
  readonly p: number;
  readonly generator: f.Generator;

  constructor(p = 0.5, options: DropoutLayerOptions = {}) {
    super();
    const { name } = this.constructor;
    this.generator = withDefaults(name, options, { generator: f.defaultGenerator }).generator;
    f.checkProbability(name, p);
    this.p = p;
  }

  forward(x: f.Tensor): f.Tensor {
    return f.dropout(x, this.p, pick(this));
  }
}

/** Dropout of whole channels; see F.dropout2d. */
export class Dropout2d extends Dropout {
  override forward(x: f.Tensor): f.Tensor {
    return f.dropout2d(x, this.p, pick(this));
  }
}

/**
 * Dropout of a residual branch as a whole, for the batch or sample by sample; see F.stochasticDepth.
 * @example new StochasticDepth(0.2, 'row')
 */
export class StochasticDepth extends Dropout {
  readonly mode: f.StochasticDepthMode;

  constructor(p: number, mode: f.StochasticDepthMode, options: DropoutLayerOptions = {}) {
    super(p, options);
    this.mode = mode;
  }

  override forward(x: f.Tensor): f.Tensor {
    return f.stochasticDepth(x, this.p, this.mode, pick(this));
  }
}

/** Options of PReLU. */
export interface PReLUOptions extends LayerOptions {
  /** What the slopes start from. Default 0.25. */
  readonly init?: number;
}

/**
 * y = x where x > 0, else weight ⊙ x, with one learned slope, or one per channel.
 * Shape:  x [N,C,…] → y as x; weight [numParameters], 1 or C
 */
export class PReLU extends Module {
  readonly weight: Parameter;

  constructor(numParameters = 1, options: PReLUOptions = {}) {
    super();
    const { init, dtype } = withDefaults('PReLU', options, { init: 0.25, dtype: 'float32' });
    checkCount('PReLU', 'numParameters', numParameters);
    this.weight = parameter([numParameters], dtype, (t) => constant_(t, init));
  }

  forward(x: f.Tensor): f.Tensor {
    return f.prelu(x, this.weight);
  }
}
