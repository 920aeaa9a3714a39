/**
 * Broadcasting and summation, each the adjoint of the other.
 */
import { ShapeError, checkArray } from '../../core/errors.ts';
import { broadcastStrides, checkDims, formatShape, sameShape, sizeOf, type Shape } from '../../core/shape.ts';
import type { Kernels, ReduceOp } from '../../kernels/index.ts';
import { emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp } from '../op.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { dropDims, keptShape } from './dims.ts';
import { reshape } from './views.ts';

export function reducedView(k: Kernels, op: ReduceOp, x: View, dims: readonly number[], keepdim: boolean): View {
  const y = emptyLike(x, keptShape(x.shape, dims));
  k.reduce(op, x, y);
  return dropDims(y, dims, keepdim);
}

export const sumOp = defineOp({
  name: 'sum',
  forward: (k, x: Tensor, dims: readonly number[], keepdim: boolean) => reducedView(k, 'sum', x, dims, keepdim),
  save: (_, [x, dims]) => ({ shape: x.shape, dims }),
  backward: (g, { shape, dims }) => [expand(reshape(g, keptShape(shape, dims)), shape)],
});

/** Sums g over the dims along which `shape` was broadcast: the adjoint of broadcasting. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  return sameShape(g.shape, shape) ? g : sumBroadcast(g, shape);
}

const sumBroadcast = composed((g: Tensor, shape: Shape): Tensor => {
  const lead = g.ndim - shape.length;
  const dims = g.shape.map((_, d) => d).filter((d) => d < lead || (shape[d - lead] === 1 && g.shape[d] !== 1));
  return reshape(sumOp(g, dims, true), shape);
});

const expandOp = defineOp({
  name: 'expand',
  forward: (_, x: Tensor, shape: Shape) => restride(x, shape, broadcastStrides(x.shape, x.strides, shape)),
  save: (_, [x]) => ({ shape: x.shape }),
  backward: (g, { shape }) => [sumTo(g, shape)],
});

/** Broadcasts x to `shape` as a view; −1 keeps a size.   ∂x = g summed over the broadcast dims */
export const expand = (x: Tensor, shape: Shape): Tensor => expandOperand('expand', 'x', x, shape);

/** Broadcasts the operand `name` of an operation to `shape`, as expand does. */
export function expandOperand(op: string, name: string, x: Tensor, shape: Shape): Tensor {
  checkTensor(op, name, x);
  checkArray(op, shape);
  const lead = shape.length - x.ndim;
  checkDims(op, shape.length);
  const full = shape.map((n, d) => (n === -1 && d >= lead ? x.shape[d - lead]! : n));
  const fits =
    lead >= 0 && full.every((n, d) => typeof n === 'number' && n >= 0 && (d < lead || x.shape[d - lead] === n || x.shape[d - lead] === 1));
  if (!fits) throw new ShapeError(`${op}: ${name} ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
  sizeOf(full, op);
  return expandOp(x, full);
}

/** Broadcasts x to `shape` as a view.   ∂x = g summed over the broadcast dims */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => expandOperand('broadcastTo', 'x', x, shape);
