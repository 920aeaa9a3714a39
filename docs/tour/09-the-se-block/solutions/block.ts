import type { Tensor } from 'chainrule';

/** Returns x · σ(W2 relu(W1 z)), z being the mean of each channel. */
export function squeezeExcite(x: Tensor, W1: Tensor, W2: Tensor): Tensor {
  const z = x.mean([2, 3]);
  const h = z.matmul(W1.transpose(0, 1)).relu();
  const s = h.matmul(W2.transpose(0, 1)).sigmoid();
  return x.mul(s.reshape([x.size(0), x.size(1), 1, 1]));
}
