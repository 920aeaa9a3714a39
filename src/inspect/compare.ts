/**
 * Compares the elements of two tensors: allclose and equal.
 */
import { all, checkTensors, eq, noGrad, type Tensor } from '../autograd/index.ts';
import { checkNotNegative, refuseOptions, withDefaults } from '../core/options.ts';
import { sameShape } from '../core/shape.ts';

/** Options of allclose. */
export interface AllcloseOptions {
  /** Tolerance relative to |b|. Default 1e-5. */
  readonly rtol?: number;
  /** Absolute tolerance. Default 1e-8. */
  readonly atol?: number;
  /** Whether NaN is close to NaN. Default false. */
  readonly equalNan?: boolean;
}

/**
 * Returns whether |a − b| ≤ atol + rtol·|b| for all elements, computed in float64 with broadcasting. Equal infinities are close.
 * Throws: ShapeError if the shapes do not broadcast
 * @example allclose(x.exp().log(), x, { rtol: 1e-4 })
 */
export function allclose(a: Tensor, b: Tensor, options: AllcloseOptions = {}): boolean {
  checkTensors('allclose', { a, b });
  const { rtol, atol, equalNan } = withDefaults('allclose', options, { rtol: 1e-5, atol: 1e-8, equalNan: false });
  checkNotNegative('allclose', 'rtol', rtol);
  checkNotNegative('allclose', 'atol', atol);
  return noGrad(() => {
    const x = a.to('float64');
    const y = b.to('float64');
    const tolerance = y.abs().mul(rtol).add(atol);
    const near = x.sub(y).abs().le(tolerance).logicalAnd(x.isfinite()).logicalAnd(y.isfinite());
    let close = near.logicalOr(x.eq(y));
    if (equalNan) close = close.logicalOr(x.isnan().logicalAnd(y.isnan()));
    return all(close).item() === 1;
  });
}

/** Returns whether a and b have the same shape and equal elements, whatever their dtypes. NaN equals nothing. */
export function equal(a: Tensor, b: Tensor): boolean {
  refuseOptions('equal', arguments[2]);
  checkTensors('equal', { a, b });
  // float64 holds the elements of every dtype; float32 would round those of int32.
  const wide = (t: Tensor): Tensor => (a.dtype === b.dtype ? t : t.to('float64'));
  return sameShape(a.shape, b.shape) && noGrad(() => all(eq(wide(a), wide(b))).item() === 1);
}
