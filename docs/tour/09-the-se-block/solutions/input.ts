import type { Tensor } from 'chainrule';
import { gateBackward } from './gate.ts';

/** Returns the gradient of x along the direct path and through the squeeze. */
export function inputBackward(g: Tensor, x: Tensor, W1: Tensor, W2: Tensor): Tensor {
  const [N, C, H, W] = x.shape as [number, number, number, number];
  const before = x.mean([2, 3]).matmul(W1.transpose(0, 1));
  const s = before.relu().matmul(W2.transpose(0, 1)).sigmoid();
  const dh = gateBackward(g, x, s).matmul(W2);
  const dz = dh.mul(before.gt(0).to(x.dtype)).matmul(W1);
  const direct = g.mul(s.reshape([N, C, 1, 1]));
  return direct.add(dz.div(H * W).reshape([N, C, 1, 1]));
}
