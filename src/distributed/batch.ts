/**
 * Checks of what DataParallel.backward receives.
 */
import { isTensor, type Tensor } from '../autograd/index.ts';
import { ArgumentError, isArray, kindOf, ShapeError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import type { Module } from '../nn/index.ts';
import { checkAgreement } from './agreement.ts';
import type { Group } from './group.ts';

/** Computes the mean loss of rows. */
export type LossOf = (...batch: Tensor[]) => Tensor;

/** Returns the rows of a batch. Throws unless all its tensors have as many. */
export function rowsOf(batch: readonly Tensor[]): number {
  if (!isArray(batch) || batch.length === 0 || !batch.every(isTensor))
    throw new ArgumentError(`DataParallel.backward: the batch must be an array of tensors, got ${kindOf(batch)}`);
  const [first] = batch as readonly [Tensor];
  const [rows] = first.shape;
  for (const [i, { shape }] of batch.entries()) {
    if (rows !== undefined && shape[0] === rows) continue;
    throw new ShapeError(
      `DataParallel.backward: all tensors of a batch must have as many rows: tensor 0 has shape ${formatShape(first.shape)}, ` +
        `tensor ${i} ${formatShape(shape)}`,
    );
  }
  return rows!;
}

/** Returns the value of a loss. Throws unless it is a tensor of one element. */
export function valueOf(loss: unknown): number {
  if (isTensor(loss) && loss.numel === 1) return loss.item();
  const got = isTensor(loss) ? formatShape(loss.shape) : kindOf(loss);
  throw new ShapeError(`DataParallel.backward: lossOf must return a tensor of one element, the mean over the rows, got ${got}`);
}

/** Returns a number that differs, as far as 32 bits can, if other parameters are trained. */
export function signature(params: readonly Tensor[]): number {
  let hash = params.length;
  for (const { numel, dtype } of params) hash = (Math.imul(hash, 31) + 2 * numel + Number(dtype === 'float64')) | 0;
  return hash;
}

/** Throws on all ranks, with the first parameter that differs, unless all train the same ones; `signatures` are those of all ranks. */
export function checkSameParameters(group: Group, model: Module, signatures: readonly number[]): void {
  if (signatures.every((value) => value === signatures[0])) return;
  const own = model.namedParameters().map(([path, p]) => {
    const state = p.requiresGrad ? 'a trained' : 'a frozen';
    return [path, `${state} ${p.dtype} ${formatShape(p.shape)}`] as const;
  });
  checkAgreement('DataParallel.backward', group, own, 'freeze and unfreeze the same parameters on all ranks');
}

/** Throws, on all ranks, if no rank has a row. */
export function checkAnyRows(total: number): void {
  if (total === 0) throw new ArgumentError('DataParallel.backward: the batch has no rows on any rank');
}
