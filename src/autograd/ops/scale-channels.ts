/**
 * Scaling of image channels, the last step of squeeze-and-excitation. Letters: N batch, C channels, H W image.
 */
import { ShapeError } from '../../core/errors.ts';
import { formatShape, sameShape } from '../../core/shape.ts';
import { empty, emptyLike, restride } from '../../kernels/view.ts';
import { defineOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { toContiguous, toDenseImages, toLayoutOf } from './dense-layouts.ts';
import { mul } from './elementwise.ts';
import { withOperands } from './operands.ts';
import { reshape } from './views.ts';

const scaleChannelsOp = defineOp({
  name: 'scaleChannels',
  forward: (k, x: Tensor, s: Tensor) => {
    const y = emptyLike(x);
    k.binary('mul', x, restride(s, x.shape, [...s.strides, 0, 0]), y);
    return y;
  },
  save: (_, [x, s]) => ({ x, s }),
  gradKernel: (k, g, { x, s }, needs) => {
    const xs = toDenseImages(k, x);
    const dx = needs[0] ? emptyLike(xs) : null;
    const ds = empty(s.shape, x.dtype);
    k.scaleChannelsGrad(toLayoutOf(k, xs, g), xs, toContiguous(k, s), dx, ds);
    return [dx, needs[1] ? ds : null];
  },
  definition: (x, s) => mul(x, reshape(s, [...s.shape, 1, 1])),
});

/**
 * y = x ⊙ s, one factor for each channel of each image.   ∂x = g ⊙ s,   ∂s = Σ over H, W of g ⊙ x
 * Shape:  x [N,C,H,W], s [N,C] → y [N,C,H,W]
 * Throws: ShapeError for another shape of s
 */
export function scaleChannels(x: Tensor, s: Tensor): Tensor {
  if (!sameShape(s.shape, x.shape.slice(0, 2)))
    throw new ShapeError(`scaleChannels: x must be [N,C,H,W] and s [N,C] (x ${formatShape(x.shape)}, s ${formatShape(s.shape)})`);
  return withOperands('scaleChannels', [x, s], (d) => d, scaleChannelsOp);
}
