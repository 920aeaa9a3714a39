import { checkProbability, defaultGenerator, dropout, dropout2d, stochasticDepth } from '../autograd/index.ts';
import type { Generator, StochasticDepthMode, Tensor } from '../autograd/index.ts';
import { Module } from './module.ts';

/** Options of Dropout, Dropout2d and StochasticDepth. */
export interface DropoutLayerOptions {
  /** Where the masks come from. Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

/**
 * In training, zeroes each element with probability p and scales the rest by 1 / (1 − p); in evaluation, y = x.
 * Source: Srivastava et al. 2014, JMLR 15
 */
export class Dropout extends Module {
  readonly p: number;
  readonly generator: Generator;

  constructor(p = 0.5, { generator = defaultGenerator }: DropoutLayerOptions = {}) {
    super();
    checkProbability(this.constructor.name, p);
    this.p = p;
    this.generator = generator;
  }

  forward(x: Tensor): Tensor {
    return dropout(x, this.p, this);
  }
}

/** Dropout of whole channels; see F.dropout2d. */
export class Dropout2d extends Dropout {
  override forward(x: Tensor): Tensor {
    return dropout2d(x, this.p, this);
  }
}

/**
 * Dropout of a residual branch as a whole, for the batch or sample by sample; see F.stochasticDepth.
 * @example new StochasticDepth(0.2, 'row')
 */
export class StochasticDepth extends Dropout {
  readonly mode: StochasticDepthMode;

  constructor(p: number, mode: StochasticDepthMode, options: DropoutLayerOptions = {}) {
    super(p, options);
    this.mode = mode;
  }

  override forward(x: Tensor): Tensor {
    return stochasticDepth(x, this.p, this.mode, this);
  }
}
