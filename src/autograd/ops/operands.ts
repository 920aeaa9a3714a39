/**
 * Operands of elementwise operations: tensors or numbers, brought to one dtype and one shape.
 */
import { ITEM_SIZE, checkDType, checkFits, isFloat, promote, type DType } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, kindOf } from '../../core/errors.ts';
import { broadcastStrides, sameShape, sizeOf, type Shape } from '../../core/shape.ts';
import { viewOf } from '../../kernels/memory/wasm-memory.ts';
import { addressOf, empty, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp } from '../op.ts';
import { Tensor } from '../tensor.ts';

/** What may stand where a tensor operand does: a number never changes the other operand's dtype. */
export type Operand = Tensor | number;

// — forward helpers —

/** The view read as `shape`, with stride 0 along broadcast dims. */
export function expandTo(v: View, shape: Shape): View {
  return sameShape(v.shape, shape) ? v : restride(v, shape, broadcastStrides(v.shape, v.strides, shape));
}

/** An uninitialised result of `shape` in the memory order of the operand with the most elements. */
export function emptyResult(shape: Shape, dtype: DType, operands: readonly View[]): View {
  let big = operands[0]!;
  // Most often the shape is an operand's own, and the others are like it or 0-d.
  for (const v of operands) if (v.shape === shape) return emptyLike(v, shape, dtype);
  for (const v of operands) if (sizeOf(v.shape) > sizeOf(big.shape)) big = v;
  return emptyLike(expandTo(big, shape), shape, dtype);
}

// — operands: numbers and dtypes —

/** Throws ArgumentError for what is neither a tensor nor a number: plain JavaScript may pass anything. */
export function checkOperand(name: string, t: Operand): void {
  if (typeof t === 'number' || t instanceof Tensor) return;
  throw new ArgumentError(`${name}: expected a tensor or a number, got ${kindOf(t)}`);
}

/** The widest dtype among the operands that are tensors. */
function commonDType(name: string, operands: readonly Operand[]): DType {
  let dtype: DType | null = null;
  for (const t of operands) {
    checkOperand(name, t);
    if (typeof t !== 'number') dtype = dtype === null ? t.dtype : promote(dtype, t.dtype);
  }
  if (dtype === null) throw new DTypeError(`${name}: at least one operand must be a tensor`);
  return dtype;
}

/** A 0-d tensor that nobody owns: free it after use. */
function scalar(value: number, dtype: DType): Tensor {
  const v = empty([], dtype);
  viewOf(dtype)[addressOf(v) / ITEM_SIZE[dtype]] = value;
  return Tensor.fromView(v);
}

/** The operand as a tensor of `dtype`. */
function toTensor(t: Operand, dtype: DType): Tensor {
  return typeof t === 'number' ? scalar(t, dtype) : cast(t, dtype);
}

/**
 * Calls `op` on the operands as tensors of one dtype: `to(common)`, by default the common dtype itself. Constants and casts
 * made for it are freed, unless the graph holds them.
 */
export function withOperands<R>(name: string, operands: readonly Operand[], to: (common: DType) => DType, op: (...t: Tensor[]) => R): R {
  const dtype = to(commonDType(name, operands));
  for (const n of operands) if (typeof n === 'number') checkFits(name, n, dtype);
  const tensors: Tensor[] = [];
  try {
    for (const t of operands) tensors.push(toTensor(t, dtype));
    return op(...tensors);
  } finally {
    for (const t of tensors) if (t.node === null && !operands.includes(t)) t.free('dispose');
  }
}

export const sameDType = (d: DType): DType => d;
export const arithmetic = (d: DType): DType => (d === 'bool' ? 'int32' : d);
export const floating = (d: DType): DType => (isFloat(d) ? d : 'float32');

const castOp = defineOp({
  name: 'to',
  forward: (k, x: Tensor, dtype: DType) => {
    const y = emptyLike(x, x.shape, dtype);
    k.copy(x, y);
    return y;
  },
  save: (_, [x]) => ({ dtype: x.dtype }),
  backward: (g, { dtype }) => [cast(g, dtype)],
});

/** x converted to `dtype`: floats truncate to int32, anything ≠ 0 is true. The gradient is cast back. Same dtype: x itself. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : castOp(x, checkDType('to', dtype));
}

/** x itself where it is float, else as float32. */
export const toFloat = (x: Tensor): Tensor => cast(x, floating(x.dtype));
