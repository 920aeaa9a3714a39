/**
 * Operands of elementwise operations: tensors or numbers, brought to one dtype and one shape.
 */
import { ITEM_SIZE, checkDType, checkFits, isFloat, promote, type DType } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, kindOf } from '../../core/errors.ts';
import { broadcastStrides, sameShape, sizeOf, type Shape } from '../../core/shape.ts';
import { viewOf } from '../../kernels/memory/wasm-memory.ts';
import { addressOf, empty, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp } from '../op.ts';
import { Tensor, checkTensor, isTensor } from '../tensor.ts';

/** An operand: a tensor, or a number, which never changes the other operand's dtype. */
export type Operand = Tensor | number;

// — shapes —

/** Returns the view as `shape`, with stride 0 along broadcast dims. */
export function expandTo(v: View, shape: Shape): View {
  return sameShape(v.shape, shape) ? v : restride(v, shape, broadcastStrides(v.shape, v.strides, shape));
}

/** Allocates a result of `shape` in the memory order of the largest operand. */
export function emptyResult(shape: Shape, dtype: DType, operands: readonly View[]): View {
  let big = operands[0]!;
  // The common case: an operand has this very shape array, and the others have an equal shape or are 0-d.
  for (const v of operands) if (v.shape === shape) return emptyLike(v, shape, dtype);
  for (const v of operands) if (sizeOf(v.shape) > sizeOf(big.shape)) big = v;
  return emptyLike(expandTo(big, shape), shape, dtype);
}

// — numbers and dtypes —

/** Throws ArgumentError unless `t` is a tensor or a number: plain JavaScript may pass anything. */
export function checkOperand(name: string, t: Operand): void {
  if (typeof t === 'number' || isTensor(t)) return;
  throw new ArgumentError(`${name}: expected a tensor or a number, got ${kindOf(t)}`);
}

/** Returns the dtype to which those of the tensors promote. Numbers do not count. */
function commonDType(name: string, operands: readonly Operand[]): DType {
  let dtype: DType | null = null;
  for (const t of operands) {
    checkOperand(name, t);
    if (typeof t !== 'number') dtype = dtype === null ? t.dtype : promote(dtype, t.dtype);
  }
  if (dtype === null) throw new DTypeError(`${name}: at least one operand must be a tensor`);
  return dtype;
}

/** Makes a 0-d tensor without an owner: the caller frees it. */
function scalar(value: number, dtype: DType): Tensor {
  const v = empty([], dtype);
  viewOf(dtype)[addressOf(v) / ITEM_SIZE[dtype]] = value;
  return Tensor.fromView(v);
}

/** Converts the operand to a tensor of `dtype`. */
function toTensor(t: Operand, dtype: DType): Tensor {
  return typeof t === 'number' ? scalar(t, dtype) : cast(t, dtype);
}

/**
 * Calls `op` with the operands as tensors of one dtype, `to(common dtype)`. Tensors made from numbers and casts are freed
 * afterwards, unless the graph retains them.
 */
export function withOperands<R>(name: string, operands: readonly Operand[], to: (common: DType) => DType, op: (...t: Tensor[]) => R): R {
  const dtype = to(commonDType(name, operands));
  for (const n of operands) if (typeof n === 'number') checkFits(name, n, dtype);
  const tensors: Tensor[] = [];
  let failed = true;
  try {
    for (const t of operands) tensors.push(toTensor(t, dtype));
    const result = op(...tensors);
    failed = false;
    return result;
  } finally {
    for (const t of tensors) {
      if (operands.includes(t) || (t.node !== null && !failed)) continue;
      if (t.hasLiveNode) t.node!.consume('dispose');
      t.free('dispose');
    }
  }
}

/** The common dtype itself. */
export const sameDType = (d: DType): DType => d;
/** bool computes in int32. */
export const arithmetic = (d: DType): DType => (d === 'bool' ? 'int32' : d);
/** int32 and bool compute in float32. */
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

/** Converts x to `dtype`: floats truncate to int32, every number ≠ 0 is true. The gradient is cast back. The same dtype returns x itself. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : castOp(x, checkDType('to', dtype));
}

/** Returns x itself if it is float, else x as float32. Throws for what is no tensor. */
export function toFloat(op: string, x: Tensor): Tensor {
  checkTensor(op, 'x', x);
  return cast(x, floating(x.dtype));
}
