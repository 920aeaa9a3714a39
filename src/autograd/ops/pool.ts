/**
 * Pooling over 2-d windows. Letters as in conv.ts.
 */
import { ShapeError } from '../../core/errors.ts';
import { formatShape, type Shape } from '../../core/shape.ts';
import type { AvgPoolParams, PoolParams } from '../../kernels/index.ts';
import { emptyLike } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { reshape, scatterUnchecked } from './movement.ts';
import { requireFloat } from './reduce.ts';

/** One side of the output; a last window may hang over the edge (ceilMode) if it starts inside the input or its left padding. */
export function poolSize(size: number, kernel: number, stride: number, padding: number, dilation: number, ceilMode: boolean): number {
  const span = size + 2 * padding - dilation * (kernel - 1) - 1;
  const n = (ceilMode ? Math.ceil(span / stride) : Math.floor(span / stride)) + 1;
  return ceilMode && (n - 1) * stride >= size + padding ? n - 1 : n;
}

function outputShape(op: string, x: Tensor, p: PoolParams, ceilMode: boolean): Shape {
  requireFloat(op, x);
  const [n, c, h, w] = x.sizes(4);
  const oh = poolSize(h, p.kernel[0], p.stride[0], p.padding[0], p.dilation[0], ceilMode);
  const ow = poolSize(w, p.kernel[1], p.stride[1], p.padding[1], p.dilation[1], ceilMode);
  if (oh < 1 || ow < 1) {
    throw new ShapeError(
      `${op}: the window ${formatShape(p.kernel)} is larger than the padded input (x ${formatShape(x.shape)}): output ${formatShape([oh, ow])}`,
    );
  }
  return [n, c, oh, ow];
}

/** [y, index] with y = max over each window, index = h·W + w of the first maximum.   ∂x = g at index, added up */
export const maxPoolOp = defineOp({
  name: 'maxPool2d',
  forward: (k, x: Tensor, p: PoolParams, ceilMode: boolean) => {
    const shape = outputShape('maxPool2d', x, p, ceilMode);
    const y = emptyLike(x, shape);
    const index = emptyLike(x, shape, 'int32');
    k.maxPool2d(x, y, index, p);
    return [y, index];
  },
  save: (_, x, __, ___, ____, index) => ({ shape: x.shape, index: index }),
  backward: (g, { shape, index }): Grads => {
    const [n, c, h, w] = shape as [number, number, number, number];
    const windows = index.size(2) * index.size(3);
    const dx = scatterUnchecked(reshape(g, [n, c, windows]), 2, reshape(index, [n, c, windows]), [n, c, h * w]);
    return [reshape(dx, shape)];
  },
  branch: (_, __, ___, ____, index) => index,
});

/** y = sum over each window / divisor.   ∂x: its adjoint, below */
const avgPoolOp = defineOp({
  name: 'avgPool2d',
  forward: (k, x: Tensor, p: AvgPoolParams, shape: Shape) => {
    const y = emptyLike(x, shape);
    k.avgPool2d(x, y, p);
    return y;
  },
  save: (_, x, p) => ({ shape: x.shape, p }),
  backward: (g, { shape, p }): Grads => [avgPoolGradOp(g, p, shape)],
});

const avgPoolGradOp = defineOp({
  name: 'avgPool2dGrad',
  forward: (k, g: Tensor, p: AvgPoolParams, shape: Shape) => {
    const dx = emptyLike(g, shape);
    k.avgPool2dGrad(g, dx, p);
    return dx;
  },
  save: (_, g, p) => ({ shape: g.shape, p }),
  backward: (h, { shape, p }): Grads => [avgPoolOp(h, p, shape)],
});

/** The average pool of checked arguments; F.avgPool2d is the public one. */
export function avgPool(x: Tensor, p: AvgPoolParams, ceilMode: boolean): Tensor {
  return avgPoolOp(x, p, outputShape('avgPool2d', x, p, ceilMode));
}

/** y[i] = mean of x over ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, likewise along W.   ∂x: its adjoint, below */
const adaptiveOp = defineOp({
  name: 'adaptiveAvgPool2d',
  forward: (k, x: Tensor, shape: Shape) => {
    const y = emptyLike(x, shape);
    k.adaptiveAvgPool2d(x, y);
    return y;
  },
  save: (_, x) => ({ shape: x.shape }),
  backward: (g, { shape }): Grads => [adaptiveGradOp(g, shape)],
});

const adaptiveGradOp = defineOp({
  name: 'adaptiveAvgPool2dGrad',
  forward: (k, g: Tensor, shape: Shape) => {
    const dx = emptyLike(g, shape);
    k.adaptiveAvgPool2dGrad(g, dx);
    return dx;
  },
  save: (_, g) => ({ shape: g.shape }),
  backward: (h, { shape }): Grads => [adaptiveOp(h, shape)],
});

/** The adaptive average pool of x [N,C,H,W] to [N,C,OH,OW]; F.adaptiveAvgPool2d is the public one. */
export function adaptiveAvgPool(x: Tensor, size: readonly [number, number]): Tensor {
  requireFloat('adaptiveAvgPool2d', x);
  const [n, c, h, w] = x.sizes(4);
  if (h === 0 || w === 0) throw new ShapeError(`adaptiveAvgPool2d: nothing to average in x ${formatShape(x.shape)}`);
  return adaptiveOp(x, [n, c, ...size]);
}
