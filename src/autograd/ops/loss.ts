/**
 * Losses. `reduction`: 'mean' (default), 'sum', or 'none' for one loss an element or sample.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { formatShape, sameShape } from '../../core/shape.ts';
import type { Tensor } from '../tensor.ts';
import { logSigmoid, mul, neg, square, sub } from './elementwise.ts';
import { checkIndex, gatherUnchecked, reshape } from './movement.ts';
import { crossEntropyOp } from './norm.ts';
import { mean, sum } from './reduce.ts';

/** What becomes of the losses of the elements or samples: all of them, their mean, or their sum. */
export type Reduction = 'none' | 'mean' | 'sum';

/** Options of every loss. */
export interface LossOptions {
  /** Default 'mean'. */
  readonly reduction?: Reduction;
}

function reduce(op: string, loss: Tensor, { reduction = 'mean' }: LossOptions): Tensor {
  switch (reduction) {
    case 'none':
      return loss;
    case 'sum':
      return sum(loss);
    case 'mean':
      return mean(loss);
    default:
      throw new ArgumentError(`${op}: reduction must be 'none', 'mean' or 'sum', got '${String(reduction)}'`);
  }
}

/** Throws unless x is [N,K] floats and target [N] int32 classes below K. */
function checkClasses(op: string, x: Tensor, target: Tensor): void {
  const shapes = `(x ${formatShape(x.shape)}, target ${formatShape(target.shape)})`;
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: x must be float32 or float64, got ${x.dtype}`);
  if (x.ndim !== 2) throw new ShapeError(`${op}: x must be [N,K]: N samples, K classes ${shapes}`);
  if (target.dtype !== 'int32') {
    throw new DTypeError(`${op}: target must hold class indices as int32, got ${target.dtype}; make it with { dtype: 'int32' }`);
  }
  if (target.ndim !== 1 || target.shape[0] !== x.shape[0]) throw new ShapeError(`${op}: target must be [N] with x's N ${shapes}`);
  checkIndex(op, target, x.shape[1]!);
}

/**
 * −log softmax(xᵢ)[targetᵢ], reduced.   ∂xᵢ = (softmax(xᵢ) − onehot(targetᵢ)) / N
 * Shape:  x [N,K] logits, target [N] int32 → [] or [N]
 * Throws: DTypeError for float targets; ShapeError for shapes that do not fit or a class outside 0 … K−1
 */
export function crossEntropy(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkClasses('crossEntropy', x, target);
  const [loss, logp] = crossEntropyOp(x, target) as [Tensor, Tensor];
  if (!logp.requiresGrad) logp.dispose();
  return reduce('crossEntropy', loss, options);
}

/** −xᵢ[targetᵢ], reduced, for log-probabilities x [N,K] and int32 classes target [N].   ∂xᵢ = −onehot(targetᵢ) / N */
export function nllLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkClasses('nllLoss', x, target);
  return reduce('nllLoss', neg(reshape(gatherUnchecked(x, 1, reshape(target, [-1, 1])), [-1])), options);
}

function checkSame(op: string, x: Tensor, target: Tensor): void {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(`${op}: x ${formatShape(x.shape)} and target ${formatShape(target.shape)} must have the same shape`);
  }
}

/** (x − target)², reduced.   ∂x = 2 (x − target) / n */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkSame('mseLoss', x, target);
  return reduce('mseLoss', square(sub(x, target)), options);
}

/** −t ln σ(x) − (1 − t) ln(1 − σ(x)), reduced, for logits x and targets t in [0, 1].   ∂x = (σ(x) − t) / n */
export function bceWithLogits(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkSame('bceWithLogits', x, target);
  return reduce('bceWithLogits', sub(mul(sub(1, target), x), logSigmoid(x)), options);
}
