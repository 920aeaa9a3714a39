/**
 * Dropout: functions that zero elements, channels or samples at random. Without training, or for p = 0, y is x.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import { formatShape, type Shape } from '../../core/shape.ts';
import { noGrad } from '../scopes.ts';
import { defaultGenerator, rand, type Generator } from '../random.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { ge } from './comparison.ts';
import { mul } from './elementwise.ts';
import { cast } from './operands.ts';
import { checkStochasticDepthMode } from './options.ts';

/** Options of dropout, dropout2d and stochasticDepth. */
export interface DropoutOptions {
  /** False returns x. Default true. */
  readonly training?: boolean;
  /** Draws the mask. Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

/** Throws unless 0 ≤ p ≤ 1. */
export function checkProbability(op: string, p: number): void {
  checkNumber(op, 'p', p);
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`${op}: p must be from 0 to 1, got ${shown(p)}`);
}

/** y = x ⊙ m / (1 − p), m drawn in `shape`, which broadcasts to x's. */
const masked = composed((op: string, x: Tensor, p: number, shape: Shape, options: DropoutOptions): Tensor => {
  const { training, generator } = withDefaults(op, options, { training: true, generator: defaultGenerator });
  const { dtype } = x;
  checkProbability(op, p);
  if (!isFloat(dtype)) throw new DTypeError(`${op}: x must be float32 or float64, got ${dtype}`);
  if (!training || p === 0) return x;
  const scale = p === 1 ? 0 : 1 / (1 - p);
  const mask = noGrad(() => mul(cast(ge(rand(shape, { dtype, generator }), p), dtype), scale));
  const y = mul(x, mask);
  mask.dispose();
  return y;
});

/**
 * y = x ⊙ m / (1 − p), m = 0 with probability p, else 1. The mask depends on the draw and the element's index alone.
 * Throws: ArgumentError for p outside 0 … 1
 */
export function dropout(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  checkTensor('dropout', 'x', x);
  return masked('dropout', x, p, x.shape, options);
}

/**
 * Drops whole channels: dropout with one draw for each of them.
 * Shape:  x [N,C,H,W] or [C,H,W] → y as x
 * Source: Tompson et al. 2015, arXiv:1411.4280, section 3.2
 * Throws: ShapeError for other ranks; ArgumentError for p outside 0 … 1
 */
export function dropout2d(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  checkTensor('dropout2d', 'x', x);
  if (x.ndim !== 3 && x.ndim !== 4) throw new ShapeError(`dropout2d: x must be [N,C,H,W] or [C,H,W], got ${formatShape(x.shape)}`);
  const shape = x.shape.map((n, d) => (d < x.ndim - 2 ? n : 1));
  return masked('dropout2d', x, p, shape, options);
}

/** The unit that stochasticDepth drops: all of x, or each sample. */
export type StochasticDepthMode = 'batch' | 'row';

/**
 * Drops a residual branch as a whole: one draw for x ('batch'), or for each sample along dim 0 ('row').
 * Source: Huang et al. 2016, arXiv:1603.09382, eq. 2; scaled in training as torchvision does, not in evaluation
 * Throws: ArgumentError for another mode or p outside 0 … 1
 */
export function stochasticDepth(x: Tensor, p: number, mode: StochasticDepthMode, options: DropoutOptions = {}): Tensor {
  checkTensor('stochasticDepth', 'x', x);
  checkStochasticDepthMode('stochasticDepth', mode);
  const shape = x.shape.map((n, d) => (mode === 'row' && d === 0 ? n : 1));
  return masked('stochasticDepth', x, p, shape, options);
}
