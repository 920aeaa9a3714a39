/**
 * Images with or without a batch dim.
 */
import { ShapeError } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { composed } from '../scope-stack.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { squeeze, unsqueeze } from './views.ts';

/** One number for both image dims, or [vertical, horizontal]. */
export type Size2d = number | readonly [number, number];

/** Calls `run`, an operation on images [N,C,H,W] with one result or more, for x [N,C,H,W] or [C,H,W]. */
export function withBatchDim<T extends Tensor[] | [Tensor]>(op: string, x: Tensor, run: (x: Tensor) => T): T {
  return composedRun(op, x, run) as T;
}

const composedRun = composed((op: string, x: Tensor, run: (x: Tensor) => Tensor[]): Tensor[] => {
  checkTensors(op, { x });
  if (x.ndim === 3) return run(unsqueeze(x, 0)).map((y) => squeeze(y, 0));
  if (x.ndim !== 4) throw new ShapeError(`${op}: x must be [N,C,H,W] or [C,H,W], got ${formatShape(x.shape)}`);
  return run(x);
});
