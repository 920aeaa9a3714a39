/**
 * 2-d convolution. It is bilinear: three operations, each the adjoint of the others, give gradients of every order.
 * Letters: N batch, C channels, H W image, O output channels, G groups, K kernel.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape, pair, sameShape, shapesOf, type Shape } from '../../core/shape.ts';
import type { ConvParams } from '../../kernels/index.ts';
import { empty, emptyChannelsLast } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { add } from './elementwise.ts';
import { withBatchDim, type Size2d } from './image-batch.ts';
import { pad } from './indexing.ts';
import { reshape } from './views.ts';

/** Returns the size of one side of the output: how often a dilated kernel fits into the padded input. */
export function outputSize(size: number, kernel: number, stride: number, padding: number, dilation: number): number {
  return Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}

/**
 * y[n,o,i,j] = Σ_{c,u,v} x[n, c, i·s + u·d − p, j·s + v·d − p] · w[o,c,u,v].   ∂x, ∂w: the next two operations.
 * The kernels assume that there is something to sum; an empty sum, of no channels or no images, is 0.
 */
const convOp = defineOp({
  name: 'conv2d',
  forward: (k, x: Tensor, w: Tensor, p: ConvParams) => {
    const [n, , h, wd] = x.sizes(4);
    const [o, , kh, kw] = w.sizes(4);
    const oh = outputSize(h, kh, p.stride[0], p.padding[0], p.dilation[0]);
    const ow = outputSize(wd, kw, p.stride[1], p.padding[1], p.dilation[1]);
    const y = emptyChannelsLast([n, o, oh, ow], x.dtype);
    if (w.numel === 0) k.fill(0, y);
    else k.conv2d(x, w, y, p);
    return y;
  },
  save: (needs, [x, w, p]) => ({ x: needs[1] ? x : null, w: needs[0] ? w : null, xShape: x.shape, wShape: w.shape, p }),
  backward: (g, { x, w, xShape, wShape, p }): Grads => [w && convGradX(g, w, xShape, p), x && convGradW(g, x, wShape, p)],
});

/** dx of conv2d: linear in g and w. */
const convGradX = defineOp({
  name: 'conv2dGradX',
  forward: (k, g: Tensor, w: Tensor, shape: Shape, p: ConvParams) => {
    const dx = emptyChannelsLast(shape, g.dtype);
    if (w.numel === 0 || g.numel === 0) k.fill(0, dx);
    else k.conv2dGradX(g, w, dx, p);
    return dx;
  },
  save: (needs, [g, w, , p]) => ({ g: needs[1] ? g : null, w: needs[0] ? w : null, wShape: w.shape, p }),
  backward: (h, { g, w, wShape, p }): Grads => [w && convOp(h, w, p), g && convGradW(g, h, wShape, p)],
});

/** dw of conv2d: linear in g and x. */
const convGradW = defineOp({
  name: 'conv2dGradW',
  forward: (k, g: Tensor, x: Tensor, shape: Shape, p: ConvParams) => {
    const dw = empty(shape, g.dtype);
    if (x.numel === 0 || g.numel === 0) k.fill(0, dw);
    else k.conv2dGradW(g, x, dw, p);
    return dw;
  },
  save: (needs, [g, x, , p]) => ({ g: needs[1] ? g : null, x: needs[0] ? x : null, xShape: x.shape, p }),
  backward: (h, { g, x, xShape, p }): Grads => [x && convOp(x, h, p), g && convGradX(g, h, xShape, p)],
});

/** Options of conv2d. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly stride?: Size2d;
  /** Zeros around the image, or 'same' for an output as large as x (stride 1 only), 'valid' for none. Default 0. */
  readonly padding?: Size2d | 'same' | 'valid';
  /** Distance between the kernel's taps. Default 1. */
  readonly dilation?: Size2d;
  /** The number of groups of channels, each convolved separately. Default 1. */
  readonly groups?: number;
}

/**
 * y[n,o,i,j] = b[o] + Σ_{c,u,v} x[n, c, i·s + u·d − p, j·s + v·d − p] · w[o,c,u,v]
 * Shape:  x [N,C,H,W], w [O,C/groups,KH,KW], b [O] → y [N,O,OH,OW], OH = ⌊(H + 2p − d(KH − 1) − 1) / s⌋ + 1
 * Throws: ShapeError for channels or sizes that do not fit; ArgumentError for options outside their values
 */
export function conv2d(x: Tensor, w: Tensor, b: Tensor | null = null, options: Conv2dOptions = {}): Tensor {
  const { groups, ...o } = withDefaults('conv2d', options, { stride: 1, padding: 0, dilation: 1, groups: 1 });
  const stride = pair('conv2d', 'stride', o.stride, 1);
  const dilation = pair('conv2d', 'dilation', o.dilation, 1);
  const same = o.padding === 'same';
  if (same && Math.max(...stride) > 1) throw new ArgumentError(`conv2d: padding 'same' needs stride 1, got ${formatShape(stride)}`);
  const given = pair('conv2d', 'padding', o.padding === 'same' || o.padding === 'valid' ? 0 : o.padding, 0);
  checkTensors('conv2d', { x, w, ...(b !== null && { b }) });
  return withBatchDim('conv2d', x, (images) => {
    const shapeError = checkConv('conv2d', images, w, b, groups, false);
    const { padded, padding } = same ? padToSame(images, w, dilation) : { padded: images, padding: given };
    const out = padding.map((by, d) => outputSize(padded.size(d + 2), w.size(d + 2), stride[d]!, by, dilation[d]!));
    if (Math.min(...out) < 1) throw shapeError(`the dilated kernel is larger than the padded input: output ${formatShape(out)}`);
    return [addBias(convOp(padded, w, { stride, padding, dilation, groups }), b)];
  })[0];
}

/** Pads x for an output as large as x: half of the padding on each side, and the last row or column of an odd number at the end. */
function padToSame(x: Tensor, w: Tensor, dilation: readonly [number, number]) {
  const rows = dilation[0] * (w.size(2) - 1);
  const columns = dilation[1] * (w.size(3) - 1);
  const padding = [rows >> 1, columns >> 1] as const;
  const isOdd = ((rows | columns) & 1) === 1;
  return { padded: isOdd ? pad(x, [0, columns & 1, 0, rows & 1]) : x, padding };
}

/** Adds b, one number for each channel. */
const addBias = (y: Tensor, b: Tensor | null): Tensor => (b === null ? y : add(y, reshape(b, [-1, 1, 1])));

/** Options of convTranspose2d. */
export interface ConvTranspose2dOptions extends Omit<Conv2dOptions, 'padding'> {
  /** Rows and columns cut from every side of the output. Default 0. */
  readonly padding?: Size2d;
  /** Rows and columns added at the end of the output, fewer than stride or dilation. Default 0. */
  readonly outputPadding?: Size2d;
}

/**
 * Computes the adjoint of conv2d, for upsampling: every pixel of x adds a scaled kernel to y.
 *   y[n, o, i·s + u·d − p, j·s + v·d − p] = b[o] + Σ_{c,i,j,u,v} x[n,c,i,j] · w[c,o,u,v]
 * Shape:  x [N,C,H,W], w [C,O/groups,KH,KW], b [O] → y [N,O,OH,OW], OH = (H − 1)s − 2p + d(KH − 1) + outputPadding + 1
 * Throws: ShapeError for channels or sizes that do not fit; ArgumentError for options outside their values
 */
export function convTranspose2d(x: Tensor, w: Tensor, b: Tensor | null = null, options: ConvTranspose2dOptions = {}): Tensor {
  const op = 'convTranspose2d';
  const { groups, ...o } = withDefaults(op, options, { stride: 1, padding: 0, outputPadding: 0, groups: 1, dilation: 1 });
  const stride = pair(op, 'stride', o.stride, 1);
  const dilation = pair(op, 'dilation', o.dilation, 1);
  const padding = pair(op, 'padding', o.padding, 0);
  const extra = pair(op, 'outputPadding', o.outputPadding, 0);
  checkTensors(op, { x, w, ...(b !== null && { b }) });
  return withBatchDim(op, x, (images) => {
    const shapeError = checkConv(op, images, w, b, groups, true);
    if (extra.some((n, d) => n >= stride[d]! && n >= dilation[d]!)) {
      const got = `got ${formatShape(extra)}, stride ${formatShape(stride)}, dilation ${formatShape(dilation)}`;
      throw new ArgumentError(`${op}: outputPadding must be smaller than stride or dilation, ${got}`);
    }
    const out = extra.map((n, d) => {
      const strides = (images.size(d + 2) - 1) * stride[d]!;
      return strides - 2 * padding[d]! + dilation[d]! * (w.size(d + 2) - 1) + n + 1;
    });
    if (Math.min(images.size(2), images.size(3), ...out) < 1) throw shapeError(`x is too small: output ${formatShape(out)}`);
    // Output padding of whole strides is the same as rows and columns of zeros after x.
    const below = Math.floor(extra[0] / stride[0]);
    const beside = Math.floor(extra[1] / stride[1]);
    const padded = below + beside === 0 ? images : pad(images, [0, beside, 0, below]);
    const shape = [images.size(0), w.size(1) * groups, ...out];
    return [addBias(convGradX(padded, w, shape, { stride, padding, dilation, groups }), b)];
  })[0];
}

/**
 * Checks all arguments but the geometry: w is [O,C/groups,KH,KW], or [C,O/groups,KH,KW] where transposed. Returns a function that
 * makes an error with both shapes.
 */
function checkConv(op: string, x: Tensor, w: Tensor, b: Tensor | null, groups: number, transposed: boolean): (why: string) => ShapeError {
  const shapeError = (why: string): ShapeError =>
    new ShapeError(`${op}: ${why} (x ${formatShape(x.shape)}, w ${formatShape(w.shape)}${groups === 1 ? '' : `, groups ${groups}`})`);
  if (x.ndim !== 4 || w.ndim !== 4) throw shapeError(`x must be [N,C,H,W] or [C,H,W] and w ${transposed ? '[C,O' : '[O,C'}/groups,KH,KW]`);
  if (!isFloat(x.dtype) || x.dtype !== w.dtype)
    throw new DTypeError(`${op}: x and w must have the same float dtype, got ${x.dtype} and ${w.dtype}`);
  if (!Number.isInteger(groups) || groups < 1) throw new ArgumentError(`${op}: groups must be a whole number ≥ 1, got ${shown(groups)}`);
  const outputs = checkChannels(x, w, groups, transposed, shapeError);
  if (b !== null) checkBias(op, w, b, outputs);
  return shapeError;
}

/** Checks the sizes of w; returns the number of output channels. */
function checkChannels(x: Tensor, w: Tensor, groups: number, transposed: boolean, shapeError: (why: string) => ShapeError): number {
  const [first, second, kh, kw] = w.sizes(4);
  const side = transposed ? 'input' : 'output';
  if (first === 0 || first % groups !== 0) throw shapeError(`${first} ${side} channels do not divide into ${groups} groups`);
  const channels = transposed ? first : second * groups;
  if (x.size(1) !== channels) throw shapeError(`x has ${x.size(1)} channels, w expects ${channels}`);
  if (kh === 0 || kw === 0) throw shapeError('the kernel is empty');
  return transposed ? second * groups : first;
}

function checkBias(op: string, w: Tensor, b: Tensor, outputs: number): void {
  if (!sameShape(b.shape, [outputs])) throw new ShapeError(`${op}: b must be [${outputs}] ${shapesOf({ w, b })}`);
  if (b.dtype !== w.dtype) throw new DTypeError(`${op}: w is ${w.dtype}, b ${b.dtype}; they must be equal`);
}
