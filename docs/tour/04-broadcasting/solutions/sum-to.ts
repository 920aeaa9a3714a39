import type { Tensor } from 'chainrule';

/** Returns the sum of g over the dims along which a tensor of the given shape was broadcast. */
export function sumTo(g: Tensor, shape: readonly number[]): Tensor {
  const added = g.ndim - shape.length;
  const dims = g.shape.map((_, dim) => dim).filter((dim) => dim < added || (shape[dim - added] === 1 && g.size(dim) > 1));
  return (dims.length === 0 ? g : g.sum(dims)).reshape([...shape]);
}
