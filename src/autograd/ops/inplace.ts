/**
 * In-place operations. They are never recorded: in grad mode they throw if the target or the operand requires a gradient. Every
 * write increments the version, which all views of a storage share.
 */
import { checkFits, promote } from '../../core/dtype.ts';
import { DTypeError, InPlaceError, ShapeError } from '../../core/errors.ts';
import { broadcastShapes, formatShape, isExpanded, sameShape } from '../../core/shape.ts';
import { kernels } from '../../kernels/index.ts';
import { withTemporaries } from '../../kernels/memory/allocator.ts';
import { empty, emptyLike, type View } from '../../kernels/view.ts';
import { isGradEnabled, isOlderThanReplay } from '../grad-mode.ts';
import { instrumentation } from '../instrumentation.ts';
import { isTensor, type Tensor } from '../tensor.ts';
import { checkOperand, expandTo, type Operand } from './operands.ts';

/** Throws unless `target` may be written now. */
function checkWritable(op: string, target: Tensor, operand: Operand): void {
  target.checkWritable();
  const cause = isGradEnabled() ? requiringGrad(target, operand) : null;
  if (cause !== null) {
    throw new InPlaceError(`${op}: ${cause}, and in-place operations are not recorded. Use the out-of-place form, or noGrad(() => …)`);
  }
  if (isExpanded(target.shape, target.strides)) {
    throw new InPlaceError(
      `${op}: the target ${formatShape(target.shape)} is expanded: several of its elements share memory. Use clone() first`,
    );
  }
  instrumentation?.writing?.(op, target, operand);
}

/** Returns the part of the error text that names a tensor which requires a gradient; null where none does. */
function requiringGrad(target: Tensor, operand: Operand): string | null {
  if (target.requiresGrad || target.storage.gradRefs > 0) {
    return `the target ${formatShape(target.shape)}, or a tensor that shares its memory, requires a gradient`;
  }
  if (isTensor(operand) && operand.requiresGrad) return `the operand ${formatShape(operand.shape)} requires a gradient`;
  return null;
}

/** Returns the operand as a view of the target's shape and dtype that does not overlap it. */
function operandView(op: string, target: Tensor, operand: Operand): View {
  if (typeof operand === 'number') {
    checkFits(op, operand, target.dtype);
    const v = empty([], target.dtype);
    kernels.fill(operand, v);
    return expandTo(v, target.shape);
  }
  checkOperand(op, operand);
  if (op !== 'copy_' && promote(target.dtype, operand.dtype) !== target.dtype) {
    throw new DTypeError(`${op}: the result would be ${operand.dtype}, which does not fit the ${target.dtype} target`);
  }
  const shape = broadcastShapes(op, target.shape, operand.shape);
  if (!sameShape(shape, target.shape)) {
    throw new ShapeError(`${op}: operand ${formatShape(operand.shape)} does not broadcast to the target ${formatShape(target.shape)}`);
  }
  let v: View = operand;
  if (operand.dtype !== target.dtype || (operand.storage === target.storage && operand !== target)) {
    v = emptyLike(operand, operand.shape, target.dtype);
    kernels.copy(operand, v);
  }
  return expandTo(v, target.shape);
}

function write(op: string, target: Tensor, operand: Operand, kernel: (value: View) => void): Tensor {
  checkWritable(op, target, operand);
  if (isOlderThanReplay(target)) return target;
  withTemporaries(op, () => kernel(operandView(op, target, operand)));
  target.storage.version++;
  return target;
}

const inPlaceBinary =
  (kernel: 'add' | 'mul') =>
  (x: Tensor, y: Operand): Tensor => {
    if (x.dtype === 'bool') throw new DTypeError(`${kernel}_: a bool tensor holds no numbers; convert it with .to('int32') first`);
    return write(`${kernel}_`, x, y, (v) => kernels.binary(kernel, x, v, x));
  };

/** x ← x + y, y broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
export const add_ = inPlaceBinary('add');

/** x ← x ⊙ y, y broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
export const mul_ = inPlaceBinary('mul');

/** x ← y, converted and broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
export const copy_ = (x: Tensor, y: Tensor): Tensor => write('copy_', x, y, (v) => kernels.copy(v, x));

/** x ← value. Not recorded; throws in grad mode where a gradient is required. Returns x. */
export const fill_ = (x: Tensor, value: number): Tensor => write('fill_', x, value, () => kernels.fill(value, x));

/** x ← 0. Not recorded; throws in grad mode where a gradient is required. Returns x. */
export const zero_ = (x: Tensor): Tensor => fill_(x, 0);

/**
 * Returns whether an operation of another layer, which increments the version itself, shall write to `target` now: not in the replay of a
 * forward that has written it. Throws as in-place operations do.
 */
export function mayWrite(op: string, target: Tensor): boolean {
  checkWritable(op, target, target);
  return !isOlderThanReplay(target);
}

/**
 * Each target ← its value, converted and broadcast to it. Not recorded. All or nothing: memory is taken before the first write. A value
 * that is itself one of the targets is read before it is written.
 */
export function copyAll_(op: string, entries: readonly (readonly [target: Tensor, value: Tensor])[]): void {
  for (const [x, y] of entries) checkWritable(op, x, y);
  const open = entries.filter(([x]) => !isOlderThanReplay(x));
  const written = new Set(open.map(([x]) => x.storage));
  withTemporaries(op, () => {
    const views = open.map(([x, y]) => {
      const v = operandView('copy_', x, y);
      if (y === x || v.storage !== y.storage || !written.has(y.storage)) return v;
      const copy = emptyLike(v);
      kernels.copy(v, copy);
      return copy;
    });
    open.forEach(([x], i) => kernels.copy(views[i]!, x));
  });
  for (const [x] of open) x.storage.version++;
}

/** One pair of tensors of a moving average. */
export interface Blend {
  readonly x: Tensor;
  /** In x's shape and dtype. */
  readonly y: Tensor;
  readonly keep: number;
  readonly take: number;
}

/** Each x ← keep·x + take·y, all in one launch. Not recorded. */
export function blend_(op: string, entries: readonly Blend[]): void {
  for (const { x, y } of entries) checkWritable(op, x, y);
  const open = entries.filter(({ x }) => !isOlderThanReplay(x));
  kernels.blend(open);
  for (const { x } of open) x.storage.version++;
}
