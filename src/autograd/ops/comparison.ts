/**
 * Comparison, selection and logic, elementwise with NumPy broadcasting.
 */
import { checkFits, fits, type DType } from '../../core/dtype.ts';
import { DTypeError, ShapeError } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { broadcastShapes, formatShape } from '../../core/shape.ts';
import type { CompareOp } from '../../kernels/index.ts';
import { defineOp } from '../op.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import type { Binary, Unary } from './elementwise-builders.ts';
import { checkOperand, sameDType, expandTo, emptyResult, withOperands, type Operand } from './operands.ts';

const compare = (op: CompareOp): Binary => {
  const run = defineOp({
    name: op,
    forward: (k, a: Tensor, b: Tensor) => {
      const shape = broadcastShapes(op, a.shape, b.shape);
      const y = emptyResult(shape, 'bool', [a, b]);
      k.compare(op, expandTo(a, shape), expandTo(b, shape), y);
      return y;
    },
  });
  return (a, b) => {
    // A number that does not fit the tensor's dtype is still comparable: float64 can hold both operands.
    const holds = (d: DType): boolean => [a, b].every((n) => typeof n !== 'number' || fits(n, d));
    return withOperands(op, [a, b], (d) => (holds(d) ? d : 'float64'), run);
  };
};

/** y = (a = b), bool. No gradient. */
export const eq: Binary = compare('eq');
/** y = (a ≠ b), bool. No gradient. */
export const ne: Binary = compare('ne');
/** y = (a < b), bool. No gradient. */
export const lt: Binary = compare('lt');
/** y = (a ≤ b), bool. No gradient. */
export const le: Binary = compare('le');
/** y = (a > b), bool. No gradient. */
export const gt: Binary = compare('gt');
/** y = (a ≥ b), bool. No gradient. */
export const ge: Binary = compare('ge');

const whereOp = defineOp({
  name: 'where',
  broadcasts: true,
  forward: (k, c: Tensor, a: Tensor, b: Tensor) => {
    if (c.dtype !== 'bool') throw new DTypeError(`where: the condition must be bool, got ${c.dtype}; compare it first, e.g. c.ne(0)`);
    const shape = broadcastShapes('where', c.shape, a.shape, b.shape);
    const y = emptyResult(shape, a.dtype, [a, b, c]);
    k.where(expandTo(c, shape), expandTo(a, shape), expandTo(b, shape), y);
    return y;
  },
  save: (_, [c]) => ({ c }),
  backward: (g, { c }, needs) => [null, needs[1] ? where(c, g, 0) : null, needs[2] ? where(c, 0, g) : null],
  branch: ([c]) => c,
});

/** y = a where c, else b; c bool.   ∂a = g where c,   ∂b = g where not c */
export function where(c: Tensor, a: Operand, b: Operand): Tensor {
  checkTensor('where', 'c', c);
  refuseOptions('where', arguments[3]);
  if (typeof a === 'number' && typeof b === 'number') {
    throw new DTypeError('where: a or b must be a tensor, so that the result has its dtype; use full([], a, { dtype })');
  }
  return withOperands('where', [a, b], sameDType, (x, y) => whereOp(c, x, y));
}

/** Replaces x by `value`, a number or a 0-d tensor, where the mask is true. mask is bool and broadcasts to x.   ∂x = g where not mask */
export function maskedFill(x: Tensor, mask: Tensor, value: Operand): Tensor {
  checkTensor('maskedFill', 'mask', mask);
  if (mask.dtype !== 'bool')
    throw new DTypeError(`maskedFill: the mask must be bool, got ${mask.dtype}; compare it first, e.g. mask.ne(0)`);
  checkOperand('maskedFill', value);
  if (typeof value !== 'number' && value.ndim !== 0)
    throw new ShapeError(`maskedFill: value must be a number or a 0-d tensor, got ${formatShape(value.shape)}; use where(mask, value, x)`);
  broadcastShapes('maskedFill', x.shape, mask.shape);
  if (typeof value === 'number') checkFits('maskedFill', value, x.dtype);
  return where(mask, value, x);
}

// — logic: 0 is false, every other number is true, also NaN —

const logical = (name: string, op: (a: Tensor, b: Tensor) => Tensor): Binary => {
  const run = (a: Tensor, b: Tensor): Tensor => {
    broadcastShapes(name, a.shape, b.shape);
    return op(a, b);
  };
  return (a, b) => withOperands(name, [a, b], () => 'bool', run);
};

/** y = (a and b), bool. No gradient. */
export const logicalAnd: Binary = logical('logicalAnd', (a, b) => where(a, b, 0));
/** y = (a or b), bool. No gradient. */
export const logicalOr: Binary = logical('logicalOr', (a, b) => where(a, 1, b));
/** y = (not x), bool. No gradient. */
export const logicalNot: Unary = (x) => eq(x, 0);
/** y = (x is NaN), bool. No gradient. */
export const isnan: Unary = (x) => ne(x, x);
/** y = (x is neither NaN nor infinite), bool. No gradient. */
export const isfinite: Unary = composed((x: Tensor) => logicalAnd(gt(x, -Infinity), lt(x, Infinity)));
