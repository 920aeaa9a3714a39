/**
 * How an elementwise operation is made from its formula: kernel, shapes and dtypes are the same for all.
 */
import type { DType } from '../../core/dtype.ts';
import { broadcastShapes } from '../../core/shape.ts';
import type { BinaryOp, Kernels, UnaryOp } from '../../kernels/index.ts';
import { emptyLike, type View } from '../../kernels/view.ts';
import { defineOp, type SimpleOpSpec } from '../op.ts';
import { Tensor } from '../tensor.ts';
import { expandTo, emptyResult, withOperands, type Operand } from './operands.ts';

/** An operation on one tensor. */
export type Unary = (x: Tensor) => Tensor;
/** An operation on two operands that broadcast against each other. */
export type Binary = (a: Operand, b: Operand) => Tensor;

type Formulas<A extends readonly unknown[], S extends object> = Pick<SimpleOpSpec<A, View, S>, 'save' | 'backward' | 'branch'>;

/** The operation y = name(x), computed in the dtype that `to` makes of x's. */
export function unary<S extends object>(name: UnaryOp, to: (d: DType) => DType, formulas: Formulas<[x: Tensor], S>): Unary {
  const forward = (k: Kernels, x: Tensor): View => {
    const y = emptyLike(x);
    k.unary(name, x, y);
    return y;
  };
  const op = defineOp({ name, forward, ...formulas });
  return (x) => withOperands(name, [x], to, op);
}

export type Derivative = (g: Tensor, saved: Tensor) => Tensor;

/** unary where ∂x = dx(g, x). */
export function fromInput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_, [x]) => ({ x }), backward: (g, { x }) => [dx(g, x)] });
}

/** unary where ∂x = dx(g, y): the output says as much as the input. */
export function fromOutput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_needs, _args, [y]) => ({ y }), backward: (g, { y }) => [dx(g, y)] });
}

/** The operation y = name(a, b), computed in the dtype that `to` makes of the common one. */
export function binary<S extends object>(name: BinaryOp, to: (d: DType) => DType, formulas: Formulas<[a: Tensor, b: Tensor], S>): Binary {
  const forward = (k: Kernels, a: Tensor, b: Tensor): View => {
    const shape = broadcastShapes(name, a.shape, b.shape);
    const y = emptyResult(shape, a.dtype, [a, b]);
    k.binary(name, expandTo(a, shape), expandTo(b, shape), y);
    return y;
  };
  const op = defineOp({ name, broadcasts: true, forward, ...formulas });
  return (a, b) => {
    // Most calls: nothing to convert, nothing to free.
    if (a instanceof Tensor && b instanceof Tensor && a.dtype === b.dtype && to(a.dtype) === a.dtype) return op(a, b);
    return withOperands(name, [a, b], to, op);
  };
}
