/**
 * Whether two tensors hold the same numbers.
 */
import { all, checkTensors, eq, noGrad, type Tensor } from '../autograd/index.ts';
import { checkNotNegative, withDefaults } from '../core/options.ts';
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
 * Whether |a − b| ≤ atol + rtol·|b| everywhere; infinities are close to themselves. The tensors broadcast, dtypes are compared as float64.
 * Throws: ShapeError where the shapes do not broadcast
 * @example allclose(x.exp().log(), x, { rtol: 1e-4 })
 */
export function allclose(a: Tensor, b: Tensor, options: AllcloseOptions = {}): boolean {
  checkTensors('allclose', { a, b });
  const { rtol, atol, equalNan } = withDefaults('allclose', options, { rtol: 1e-5, atol: 1e-8, equalNan: false });
  checkNotNegative('allclose', 'rtol', rtol);
  checkNotNegative('allclose', 'atol', atol);
  return noGrad(() => {
    const [x, y] = [a.to('float64'), b.to('float64')];
    const near = x.sub(y).abs().le(y.abs().mul(rtol).add(atol)).logicalAnd(x.isfinite()).logicalAnd(y.isfinite());
    const close = near.logicalOr(x.eq(y));
    return all(equalNan ? close.logicalOr(x.isnan().logicalAnd(y.isnan())) : close).item() === 1;
  });
}

/** Whether a and b have one shape and equal elements, whatever their dtypes. NaN equals nothing. */
export function equal(a: Tensor, b: Tensor): boolean {
  checkTensors('equal', { a, b });
  return sameShape(a.shape, b.shape) && noGrad(() => all(eq(a, b)).item() === 1);
}
