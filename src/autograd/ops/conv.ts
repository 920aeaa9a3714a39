/**
 * Convolution of images, and of sequences as images of one row. It is bilinear: three operations, each the adjoint of the others, give
 * gradients of every order.
 * Letters: N batch, C channels, H W image, L sequence, O output channels, G groups, K kernel.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { checkCount, withDefaults } from '../../core/options.ts';
import { formatShape, pair, sameShape, shapesOf, type Shape } from '../../core/shape.ts';
import type { ConvParams } from '../../kernels/index.ts';
import { empty, emptyChannelsLast } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { add } from './elementwise.ts';
import { withBatchDim, type Size2d } from './image-batch.ts';
import { pad } from './indexing.ts';
import { CONV1D_DEFAULTS, type Conv1dOptions } from './options.ts';
import { reshape, squeeze, unsqueeze } from './views.ts';

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
    const shapeError = checkConv('conv2d', images, w, b, groups, ['H,W', 'KH,KW']);
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

/**
 * y[n,o,i] = b[o] + Σ_{c,u} x[n, c, i·s + u·d − p] · w[o,c,u]
 * Shape:  x [N,C,L], w [O,C/groups,K], b [O] → y [N,O,OL], OL = ⌊(L + 2p − d(K − 1) − 1) / s⌋ + 1; N may be absent
 * Throws: ShapeError for channels or sizes that do not fit; ArgumentError for options outside their values
 */
export function conv1d(x: Tensor, w: Tensor, b: Tensor | null = null, options: Conv1dOptions = {}): Tensor {
  const { groups, ...o } = withDefaults('conv1d', options, CONV1D_DEFAULTS);
  checkCount('conv1d', 'stride', o.stride);
  checkCount('conv1d', 'dilation', o.dilation);
  const { padding } = o;
  const isGiven = padding !== 'same' && padding !== 'valid';
  if (isGiven && !(Number.isInteger(padding) && padding >= 0))
    throw new ArgumentError(`conv1d: padding must be a whole number ≥ 0, 'same' or 'valid', got ${shown(padding)}`);
  if (padding === 'same' && o.stride > 1) throw new ArgumentError(`conv1d: padding 'same' needs stride 1, got ${o.stride}`);
  checkTensors('conv1d', { x, w, ...(b !== null && { b }) });
  const run = (sequences: Tensor): [Tensor] => {
    const shapeError = checkConv('conv1d', sequences, w, b, groups, ['L', 'K']);
    const span = o.dilation * (w.size(2) - 1);
    const isOdd = padding === 'same' && span % 2 === 1;
    const padded = isOdd ? pad(sequences, [0, 1]) : sequences;
    const by = padding === 'same' ? span >> 1 : 0;
    const p: ConvParams = { stride: [1, o.stride], padding: [0, isGiven ? padding : by], dilation: [1, o.dilation], groups };
    const length = outputSize(padded.size(2), w.size(2), o.stride, p.padding[1], o.dilation);
    if (length < 1) throw shapeError(`the dilated kernel is longer than the padded input: output [${length}]`);
    // One row each: a sequence is an image of height 1.
    const y = squeeze(convOp(unsqueeze(padded, 2), unsqueeze(w, 2), p), 2);
    return [b === null ? y : add(y, reshape(b, [-1, 1]))];
  };
  return withBatchDim('conv1d', x, run, 'L')[0];
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
    const shapeError = checkConv(op, images, w, b, groups, ['H,W', 'KH,KW'], true);
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
 * Checks all arguments but the geometry: w is [O,C/groups,…taps], or [C,O/groups,…taps] where transposed. The pair names the dims after
 * the channels, of x and of w. Returns a function that makes an error with both shapes.
 */
function checkConv(
  op: string,
  x: Tensor,
  w: Tensor,
  b: Tensor | null,
  groups: number,
  [sides, taps]: readonly [sides: 'H,W', taps: 'KH,KW'] | readonly [sides: 'L', taps: 'K'],
  transposed = false,
): (why: string) => ShapeError {
  const ndim = sides === 'L' ? 3 : 4;
  const shapeError = (why: string): ShapeError =>
    new ShapeError(`${op}: ${why} (x ${formatShape(x.shape)}, w ${formatShape(w.shape)}${groups === 1 ? '' : `, groups ${groups}`})`);
  if (x.ndim !== ndim || w.ndim !== ndim)
    throw shapeError(`x must be [N,C,${sides}] or [C,${sides}] and w ${transposed ? '[C,O' : '[O,C'}/groups,${taps}]`);
  if (!isFloat(x.dtype) || x.dtype !== w.dtype)
    throw new DTypeError(`${op}: x and w must have the same float dtype, got ${x.dtype} and ${w.dtype}`);
  if (!Number.isInteger(groups) || groups < 1) throw new ArgumentError(`${op}: groups must be a whole number ≥ 1, got ${shown(groups)}`);
  const outputs = checkChannels(x, w, groups, transposed, shapeError);
  if (b !== null) checkBias(op, w, b, outputs);
  return shapeError;
}

/** Checks the sizes of w; returns the number of output channels. */
function checkChannels(x: Tensor, w: Tensor, groups: number, transposed: boolean, shapeError: (why: string) => ShapeError): number {
  const [first, second, ...kernel] = w.shape as readonly [number, number, ...number[]];
  const side = transposed ? 'input' : 'output';
  if (first === 0 || first % groups !== 0) throw shapeError(`${first} ${side} channels do not divide into ${groups} groups`);
  const channels = transposed ? first : second * groups;
  if (x.size(1) !== channels) throw shapeError(`x has ${x.size(1)} channels, w expects ${channels}`);
  if (kernel.includes(0)) throw shapeError('the kernel is empty');
  return transposed ? second * groups : first;
}

function checkBias(op: string, w: Tensor, b: Tensor, outputs: number): void {
  if (!sameShape(b.shape, [outputs])) throw new ShapeError(`${op}: b must be [${outputs}] ${shapesOf({ w, b })}`);
  if (b.dtype !== w.dtype) throw new DTypeError(`${op}: w is ${w.dtype}, b ${b.dtype}; they must be equal`);
}
