/**
 * Attention. Letters: B… batch dims, L queries, S keys, D features of a query and a key, E those of a value.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import { broadcastShapes, formatShape, sameShape, shapesOf } from '../../core/shape.ts';
import { arange } from '../create.ts';
import { defaultGenerator, type Generator } from '../random.ts';
import { composed } from '../scope-stack.ts';
import { checkTensor, checkTensors, type Tensor } from '../tensor.ts';
import { ge, logicalNot, logicalOr, where } from './comparison.ts';
import { dropout } from './dropout.ts';
import { add, mul } from './elementwise.ts';
import { matmul } from './linalg.ts';
import { any } from './reduce.ts';
import { softmax } from './softmax.ts';
import { transpose, unsqueeze } from './views.ts';

/** Options of scaledDotProductAttention. */
export interface AttentionOptions {
  /** Broadcasts to [B…,L,S]: bool is true where a query may attend to a key; floats are added to the scores. Default none. */
  readonly attnMask?: Tensor | null;
  /** Whether query i attends to the keys 0 … i only. Not together with attnMask. Default false. */
  readonly isCausal?: boolean;
  /** The probability with which dropout zeroes a weight. Default 0. */
  readonly dropoutP?: number;
  /** The factor of the products of queries and keys. Default 1/√D. */
  readonly scale?: number | null;
  /** Draws dropout's mask. Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

const DEFAULTS = { attnMask: null, isCausal: false, dropoutP: 0, scale: null, generator: defaultGenerator };

/**
 * y = dropout(softmax(q kᵀ · scale + mask)) v. A query that a bool mask keeps from every key gives 0.
 * Shape:  q [B…,L,D], k [B…,S,D], v [B…,S,E] → y [B…,L,E]
 * Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1
 * Throws: ShapeError for shapes that do not fit; DTypeError for dtypes that differ; ArgumentError for attnMask with isCausal
 */
export const scaledDotProductAttention = composed((q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor => {
  const o = withDefaults<AttentionOptions>('scaledDotProductAttention', options, DEFAULTS);
  checkOperands(q, k, v);
  if (o.scale !== null) checkNumber('scaledDotProductAttention', 'scale', o.scale);
  const scores = matmul(mul(q, o.scale ?? 1 / Math.sqrt(q.size(-1))), transpose(k, -2, -1));
  const weights = softmaxWithMask(scores, o.attnMask, o.isCausal);
  return matmul(dropout(weights, o.dropoutP, { generator: o.generator }), v);
});

function checkOperands(q: Tensor, k: Tensor, v: Tensor): void {
  const op = 'scaledDotProductAttention';
  checkTensors(op, { q, k, v });
  const fits = [q, k, v].every((t) => t.ndim >= 2) && q.size(-1) === k.size(-1) && k.size(-2) === v.size(-2);
  if (!fits) throw new ShapeError(`${op}: q must be [B…,L,D], k [B…,S,D] and v [B…,S,E] ${shapesOf({ q, k, v })}`);
  if (!isFloat(q.dtype) || k.dtype !== q.dtype || v.dtype !== q.dtype)
    throw new DTypeError(`${op}: q, k and v must have the same float dtype, got ${q.dtype}, ${k.dtype} and ${v.dtype}`);
  broadcastShapes(op, ...[q, k, v].map((t) => t.shape.slice(0, -2)));
}

function softmaxWithMask(scores: Tensor, mask: Tensor | null, isCausal: boolean): Tensor {
  const op = 'scaledDotProductAttention';
  if (mask === null && !isCausal) return softmax(scores, -1);
  if (mask === null) return softmax(where(causalMask(scores.size(-2), scores.size(-1)), scores, -Infinity), -1);
  checkTensor(op, 'attnMask', mask);
  if (isCausal) throw new ArgumentError(`${op}: give either attnMask or isCausal`);
  if (!sameShape(broadcastShapes(op, scores.shape, mask.shape), scores.shape))
    throw new ShapeError(`${op}: attnMask ${formatShape(mask.shape)} does not broadcast to the scores ${formatShape(scores.shape)}`);
  if (mask.dtype === scores.dtype) return softmax(add(scores, mask), -1);
  if (mask.dtype !== 'bool') throw new DTypeError(`${op}: attnMask must be bool or ${scores.dtype}, got ${mask.dtype}`);
  // Softmax of a row of −∞ would be NaN. Such a row keeps its scores, and its weights become 0.
  const isEmpty = logicalNot(any(mask, -1, { keepdim: true }));
  const weights = softmax(where(logicalOr(mask, isEmpty), scores, -Infinity), -1);
  return where(isEmpty, 0, weights);
}

/** Returns the bool mask [L,S] that is true where the key is not after the query. */
export function causalMask(queries: number, keys: number): Tensor {
  return ge(unsqueeze(arange(queries), 1), arange(keys));
}
