import { defaultGenerator, type Tensor } from '../autograd/index.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { linear } from './functional.ts';
import { uniform_, type InitOptions } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of Linear. */
export interface LinearOptions extends LayerOptions, InitOptions {
  /** Whether there is a bias. Default true. */
  readonly bias?: boolean;
}

/**
 * y = x Wᵀ + b
 * Shape:  x [...,I] → y [...,O]; weight [O,I], bias [O]
 * Init:   U(−k, k), k = 1/√I (PyTorch's default)
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    const { bias, dtype, ...init } = withDefaults('Linear', options, { bias: true, dtype: 'float32', generator: defaultGenerator });
    checkCount('Linear', 'inFeatures', inFeatures);
    checkCount('Linear', 'outFeatures', outFeatures);
    const k = 1 / Math.sqrt(inFeatures);
    this.weight = parameter([outFeatures, inFeatures], dtype, (t) => uniform_(t, -k, k, init));
    this.bias = bias ? parameter([outFeatures], dtype, (t) => uniform_(t, -k, k, init)) : null;
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  override multiplyAdds(_: Tensor, y: Tensor): number {
    return y.numel * this.weight.size(1);
  }
}
