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

/** The dims after the channels, as errors write them: of images, or of sequences. */
type Sides = 'H,W' | 'L';

/** Calls `run`, an operation on [N,C,…sides] with one result or more, for x with or without N. */
export function withBatchDim<T extends Tensor[] | [Tensor]>(op: string, x: Tensor, run: (x: Tensor) => T, sides: Sides = 'H,W'): T {
  return composedRun(op, x, run, sides) as T;
}

const composedRun = composed((op: string, x: Tensor, run: (x: Tensor) => Tensor[], sides: Sides): Tensor[] => {
  checkTensors(op, { x });
  const batched = sides === 'L' ? 3 : 4;
  if (x.ndim === batched - 1) return run(unsqueeze(x, 0)).map((y) => squeeze(y, 0));
  if (x.ndim !== batched) throw new ShapeError(`${op}: x must be [N,C,${sides}] or [C,${sides}], got ${formatShape(x.shape)}`);
  return run(x);
});
