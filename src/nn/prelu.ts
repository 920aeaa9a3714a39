import { prelu, type Tensor } from '../autograd/index.ts';
import { checkCount } from '../core/options.ts';
import { constant_ } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

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

  constructor(numParameters = 1, { init = 0.25, dtype = 'float32' }: PReLUOptions = {}) {
    super();
    checkCount('PReLU', 'numParameters', numParameters);
    this.weight = parameter([numParameters], dtype, (t) => constant_(t, init));
  }

  forward(x: Tensor): Tensor {
    return prelu(x, this.weight);
  }
}
