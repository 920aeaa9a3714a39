import type { Tensor } from '../autograd/index.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { Hardsigmoid, ReLU, Sigmoid, Tanh } from './function-layers.ts';
import { Module, type Layer } from './module.ts';

/** What makes scales of numbers: σ, clamp(x + 3, 0, 6)/6, tanh or max(x, 0). */
export type Gate = 'sigmoid' | 'hardsigmoid' | 'tanh' | 'relu';

const GATES = { sigmoid: Sigmoid, hardsigmoid: Hardsigmoid, tanh: Tanh, relu: ReLU };

/** The layer of a gate's name. */
export function gateLayer(owner: string, gate: Gate): Layer {
  if (!Object.hasOwn(GATES, gate))
    throw new ArgumentError(`${owner}: gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got '${gate as string}'`);
  return new GATES[gate]();
}

/**
 * The base of attention over channels: scales each channel of x by a number that depends on the whole image. A block of your
 * own says in `excite` how; recordExcitations finds every gate by this class.
 *   y = x · s,   s = excite(x)
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; s [N,C]
 * Throws: ShapeError if x is not 4-d or has other channels
 */
export abstract class ChannelGate extends Module {
  readonly channels: number;
  readonly #op: string;

  /** `op` is the name in errors of forward. */
  constructor(channels: number, op = 'channelGate') {
    super();
    checkCount(this.constructor.name, 'channels', channels);
    this.channels = channels;
    this.#op = op;
  }

  /** The scales [N,C] for x [N,C,H,W]. */
  abstract excite(x: Tensor): Tensor;

  forward(x: Tensor): Tensor {
    if (x.ndim !== 4) throw new ShapeError(`${this.#op}: x must be [N,C,H,W], got ${formatShape(x.shape)}`);
    const [n, c] = x.sizes(4);
    if (c !== this.channels)
      throw new ShapeError(`${this.#op}: x has ${c} channels, expected ${this.channels} (x ${formatShape(x.shape)})`);
    return x.mul(this.excite(x).reshape([n, c, 1, 1]));
  }
}
