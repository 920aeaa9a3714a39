/**
 * Integer results that are computed in float64.
 */
import { fits, isFloat } from '../../core/dtype.ts';
import { DTypeError } from '../../core/errors.ts';
import { scope } from '../scopes.ts';
import type { Tensor } from '../tensor.ts';
import { cast } from './operands.ts';

/** Converts whole numbers in float64 to int32. Throws: DTypeError where one does not fit */
export function toInt32(name: string, y: Tensor): Tensor {
  for (const v of y.data()) {
    if (!fits(v, 'int32')) throw new DTypeError(`${name}: ${v} does not fit int32; convert the tensor with .to('float32') first`);
  }
  return cast(y, 'int32');
}

/** Computes `f` of int32 and bool in float64, which is exact far beyond int32, so that overflow throws instead of wrapping. */
export function throughFloat64(name: string, x: Tensor, f: (x: Tensor) => Tensor): Tensor {
  if (isFloat(x.dtype)) return f(x);
  return scope(() => toInt32(name, f(cast(x, 'float64'))));
}
