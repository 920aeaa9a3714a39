/**
 * Matrix products. Letters: M×K · K×N, B… batch dims.
 */
import { isFloat, promote, type DType } from '../../core/dtype.ts';
import { DTypeError, ShapeError } from '../../core/errors.ts';
import { broadcastShapes, shapesOf, sizeOf, type Shape } from '../../core/shape.ts';
import type { Kernels } from '../../kernels/index.ts';
import { empty, type View } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { mul } from './elementwise.ts';
import { cast, expandTo } from './operands.ts';
import { reshape, squeeze, transpose, unsqueeze } from './views.ts';

const matmulOp = defineOp({
  name: 'matmul',
  broadcasts: true,
  forward: (k: Kernels, a: Tensor, b: Tensor): View => {
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    const [m, inner] = a.shape.slice(-2) as [number, number];
    const n = b.shape.at(-1)!;
    const y = empty([...batch, m, n], a.dtype);
    k.matmul(expandTo(a, [...batch, m, inner]), expandTo(b, [...batch, inner, n]), y);
    return y;
  },
  save: (needs, [a, b]) => ({ a: needs[1] ? a : null, b: needs[0] ? b : null }),
  backward: (g, { a, b }): Grads => [b && matmulOp(g, transpose(b, -2, -1)), a && matmulOp(transpose(a, -2, -1), g)],
});

/**
 * Computes the matrix product, as torch.matmul: vectors give the dot product, leading dims broadcast as batches.
 * Shape:  a [B…,M,K] · b [B…,K,N] → [B…,M,N]; a [K] counts as [1,K], b [K] as [K,1], without those dims in the result
 *   ∂a = g · bᵀ,   ∂b = aᵀ · g, summed over broadcast batches
 * Throws: ShapeError where the inner sizes differ; DTypeError for int32 and bool
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensors('matmul', { a, b });
  if (a.ndim === 0 || b.ndim === 0) throw new ShapeError(`matmul: both operands need at least 1 dim ${shapesOf({ a, b })}; use mul`);
  const inner = a.shape.at(-1)!;
  const rows = b.shape.at(b.ndim === 1 ? -1 : -2)!;
  if (inner !== rows) throw new ShapeError(`matmul: a has ${inner} columns, b ${rows} rows ${shapesOf({ a, b })}`);
  const dtype = promote(a.dtype, b.dtype);
  if (!isFloat(dtype))
    throw new DTypeError(`matmul: expected float32 or float64, got ${a.dtype} and ${b.dtype}; convert with .to('float32')`);
  broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  // The fast path of most calls: one operation.
  return a.ndim === 2 && b.ndim === 2 && a.dtype === b.dtype ? matmulOp(a, b) : matmulOfAny(a, b, dtype);
}

/** The product of operands of any rank, each cast to `dtype`. */
const matmulOfAny = composed((a: Tensor, b: Tensor, dtype: DType): Tensor => {
  const x = cast(a.ndim === 1 ? unsqueeze(a, 0) : a, dtype);
  const w = cast(b.ndim === 1 ? unsqueeze(b, 1) : b, dtype);
  const y = w.ndim === 2 && x.ndim > 2 ? batchTimesMatrix(x, w) : matmulOp(x, w);
  const dropRow = a.ndim === 1 ? squeeze(y, -2) : y;
  return b.ndim === 1 ? squeeze(dropRow, -1) : dropRow;
});

/** Multiplies a batch by one matrix as a single product. */
function batchTimesMatrix(x: Tensor, w: Tensor): Tensor {
  const batch: Shape = x.shape.slice(0, -2);
  const rows = reshape(x, [sizeOf(batch) * x.size(-2), x.size(-1)]);
  return reshape(matmulOp(rows, w), [...batch, x.size(-2), w.size(-1)]);
}

/** Restricts `product` to an a of m dims and a b of n dims. */
const ranked =
  (op: string, m: number, n: number, product: typeof matmul) =>
  (a: Tensor, b: Tensor): Tensor => {
    checkTensors(op, { a, b });
    if (a.ndim === m && b.ndim === n) return product(a, b);
    throw new ShapeError(`${op}: a must have ${m} dims and b ${n} ${shapesOf({ a, b })}; use matmul`);
  };

/** y = a · b.   ∂a = g ⊗ b,   ∂b = aᵀ · g.   Shape:  a [M,K], b [K] → [M] */
export const mv = ranked('mv', 2, 1, matmul);

/** y = Σ a ⊙ b.   ∂a = g ⊙ b,   ∂b = g ⊙ a.   Shape:  a [K], b [K] → [] */
export const dot = ranked('dot', 1, 1, matmul);

/** y[i, j] = a[i] · b[j].   ∂a = g · b,   ∂b = gᵀ · a.   Shape:  a [M], b [N] → [M,N] */
export const outer = ranked(
  'outer',
  1,
  1,
  composed((a: Tensor, b: Tensor) => mul(unsqueeze(a, 1), b)),
);
