import type { Tensor } from '../tensor.ts';
import { clone } from './views.ts';

/** Returns y itself, or a copy where it lies in the memory of x: for results that are not documented as views. */
export function apartFrom(x: Tensor, y: Tensor): Tensor {
  return y.storage === x.storage ? clone(y) : y;
}
