/**
 * 2-d convolution. It is bilinear, so three operations, the adjoints of each other, carry every order of gradient.
 * Letters: N batch, C channels, H W image, O output channels, G groups, K kernel.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { formatShape, type Shape } from '../../core/shape.ts';
import type { ConvParams } from '../../kernels/index.ts';
import { empty, emptyChannelsLast } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/** One side of the output: how often a dilated kernel fits into the padded input. */
export function outputSize(size: number, kernel: number, stride: number, padding: number, dilation: number): number {
  return Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}

/** y[n,o,i,j] = Σ_{c,u,v} x[n, c, i·s + u·d − p, j·s + v·d − p] · w[o,c,u,v].   ∂x, ∂w: the two operations below */
const convOp = defineOp({
  name: 'conv2d',
  forward: (k, x: Tensor, w: Tensor, p: ConvParams) => {
    const [n, , h, wd] = x.sizes(4);
    const [o, , kh, kw] = w.sizes(4);
    const oh = outputSize(h, kh, p.stride[0], p.padding[0], p.dilation[0]);
    const ow = outputSize(wd, kw, p.stride[1], p.padding[1], p.dilation[1]);
    const y = emptyChannelsLast([n, o, oh, ow], x.dtype);
    k.conv2d(x, w, y, p);
    return y;
  },
  save: (needs, x, w, p) => ({ x: needs[1] ? x : null, w: needs[0] ? w : null, xShape: x.shape, wShape: w.shape, p }),
  backward: (g, { x, w, xShape, wShape, p }): Grads => [w && convGradX(g, w, xShape, p), x && convGradW(g, x, wShape, p)],
});

/** dx of conv2d: linear in g and w. */
const convGradX = defineOp({
  name: 'conv2dGradX',
  forward: (k, g: Tensor, w: Tensor, shape: Shape, p: ConvParams) => {
    const dx = emptyChannelsLast(shape, g.dtype);
    k.conv2dGradX(g, w, dx, p);
    return dx;
  },
  save: (needs, g, w, _, p) => ({ g: needs[1] ? g : null, w: needs[0] ? w : null, wShape: w.shape, p }),
  backward: (h, { g, w, wShape, p }): Grads => [w && convOp(h, w, p), g && convGradW(g, h, wShape, p)],
});

/** dw of conv2d: linear in g and x. */
const convGradW = defineOp({
  name: 'conv2dGradW',
  forward: (k, g: Tensor, x: Tensor, shape: Shape, p: ConvParams) => {
    const dw = empty(shape, g.dtype);
    k.conv2dGradW(g, x, dw, p);
    return dw;
  },
  save: (needs, g, x, _, p) => ({ g: needs[1] ? g : null, x: needs[0] ? x : null, xShape: x.shape, p }),
  backward: (h, { g, x, xShape, p }): Grads => [x && convOp(x, h, p), g && convGradX(g, h, xShape, p)],
});

/** The convolution of checked arguments without bias; F.conv2d is the public one. */
export function convolve(x: Tensor, w: Tensor, p: ConvParams): Tensor {
  checkConv(x, w, p);
  return convOp(x, w, p);
}

function checkConv(x: Tensor, w: Tensor, p: ConvParams): void {
  const shapes = `(x ${formatShape(x.shape)}, w ${formatShape(w.shape)}${p.groups === 1 ? '' : `, groups ${p.groups}`})`;
  if (x.ndim !== 4 || w.ndim !== 4) throw new ShapeError(`conv2d: x must be [N,C,H,W] or [C,H,W] and w [O,C/groups,KH,KW] ${shapes}`);
  if (!isFloat(x.dtype) || x.dtype !== w.dtype) {
    throw new DTypeError(`conv2d: x and w must have the same float dtype, got ${x.dtype} and ${w.dtype}`);
  }
  const [, c, h, wd] = x.sizes(4);
  const [o, wc, kh, kw] = w.sizes(4);
  if (!Number.isInteger(p.groups) || p.groups < 1) throw new ArgumentError(`conv2d: groups must be a whole number ≥ 1, got ${p.groups}`);
  if (o % p.groups !== 0) throw new ShapeError(`conv2d: ${o} output channels do not divide into ${p.groups} groups ${shapes}`);
  if (c !== wc * p.groups) throw new ShapeError(`conv2d: x has ${c} channels, w expects ${wc * p.groups} ${shapes}`);
  const oh = outputSize(h, kh, p.stride[0], p.padding[0], p.dilation[0]);
  const ow = outputSize(wd, kw, p.stride[1], p.padding[1], p.dilation[1]);
  if (oh < 1 || ow < 1) {
    throw new ShapeError(`conv2d: the dilated kernel is larger than the padded input: output ${formatShape([oh, ow])} ${shapes}`);
  }
}
