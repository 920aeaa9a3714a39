/**
 * Builders of elementwise operations. An operation supplies its formulas; the kernel call, shapes and dtypes are the same for all.
 */
import type { DType } from '../../core/dtype.ts';
import { refuseOptions } from '../../core/options.ts';
import { broadcastShapes } from '../../core/shape.ts';
import type { BinaryOp, Kernels, UnaryOp } from '../../kernels/index.ts';
import { emptyLike, type View } from '../../kernels/view.ts';
import { defineOp, type SimpleOpSpec } from '../op.ts';
import { checkTensor, isTensor, type Tensor } from '../tensor.ts';
import { expandTo, emptyResult, withOperands, type Operand } from './operands.ts';

/** An operation on one tensor. */
export type Unary = (x: Tensor) => Tensor;
/** An operation on two operands that broadcast against each other. */
export type Binary = (a: Operand, b: Operand) => Tensor;

type Formulas<A extends readonly unknown[], S extends object> = Pick<SimpleOpSpec<A, View, S>, 'save' | 'backward' | 'branch'>;

/** Makes the operation y = name(x), computed in the dtype `to(x.dtype)`. */
export function unary<S extends object>(name: UnaryOp, to: (d: DType) => DType, formulas: Formulas<[x: Tensor], S>): Unary {
  const forward = (k: Kernels, x: Tensor): View => {
    const y = emptyLike(x);
    k.unary(name, x, y);
    return y;
  };
  const op = defineOp({ name, forward, ...formulas });
  return function (x) {
    checkUnary(name, x, arguments[1]);
    return withOperands(name, [x], to, op);
  };
}

/** Checks the argument of an operation on one tensor, which has no options. */
export function checkUnary(name: string, x: unknown, surplus: unknown): asserts x is Tensor {
  if (!isTensor(x)) checkTensor(name, 'x', x);
  if (surplus !== undefined) refuseOptions(name, surplus);
}

/** A gradient as a function of g and the saved tensor. */
export type Derivative = (g: Tensor, saved: Tensor) => Tensor;

/** Makes a unary operation with ∂x = dx(g, x). */
export function fromInput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_, [x]) => ({ x }), backward: (g, { x }) => [dx(g, x)] });
}

/** Makes a unary operation with ∂x = dx(g, y), so that only the output is saved. */
export function fromOutput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_needs, _args, [y]) => ({ y }), backward: (g, { y }) => [dx(g, y)] });
}

/** Makes the operation y = name(a, b), computed in the dtype `to(common dtype)`. */
export function binary<S extends object>(name: BinaryOp, to: (d: DType) => DType, formulas: Formulas<[a: Tensor, b: Tensor], S>): Binary {
  const forward = (k: Kernels, a: Tensor, b: Tensor): View => {
    const shape = broadcastShapes(name, a.shape, b.shape);
    const y = emptyResult(shape, a.dtype, [a, b]);
    k.binary(name, expandTo(a, shape), expandTo(b, shape), y);
    return y;
  };
  const op = defineOp({ name, broadcasts: true, forward, ...formulas });
  return function (a, b) {
    if (arguments.length > 2) refuseOptions(name, arguments[2]);
    // The fast path of most calls: nothing to convert and nothing to free.
    if (isTensor(a) && isTensor(b) && a.dtype === b.dtype && to(a.dtype) === a.dtype) return op(a, b);
    return withOperands(name, [a, b], to, op);
  };
}
