import type { Tensor } from 'chainrule';

/** Returns the gradient of u for y = x · σ(u): the sum over the pixels that a gate scales, times the slope of σ. */
export function gateBackward(g: Tensor, x: Tensor, s: Tensor): Tensor {
  const ds = g.mul(x).sum([2, 3]);
  return ds.mul(s).mul(s.neg().add(1));
}
