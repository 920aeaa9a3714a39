/**
 * Layers as functions, under torch.nn.functional's names in camelCase. Letters: N batch, C channels, H W image, O output
 * channels, K kernel; images may come without N.
 */
import {
  adaptiveAvgPool,
  arange,
  avgPool,
  batchNormOp,
  checkIndex,
  convolve,
  defaultGenerator,
  div,
  maxPoolOp,
  noGrad,
  pad,
  rand,
  type Generator,
  type Tensor,
} from '../autograd/index.ts';
import { isFloat } from '../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { formatShape, pair } from '../core/shape.ts';

export {
  bceWithLogits,
  crossEntropy,
  logSigmoid,
  logSoftmax,
  mseLoss,
  nllLoss,
  relu,
  sigmoid,
  softmax,
  tanh,
  type LossOptions,
  type Reduction,
} from '../autograd/index.ts';
export { elu, gelu, hardsigmoid, hardswish, leakyRelu, mish, prelu, silu, softplus } from '../autograd/index.ts';
export type { GeluOptions, SoftplusOptions } from '../autograd/index.ts';

/** One number for both image dims, or [vertical, horizontal]. */
export type Size2d = number | readonly [number, number];

/**
 * y = x Wᵀ + b
 * Shape:  x [...,I], w [O,I], b [O] → y [...,O]
 * Throws: ShapeError for other sizes
 */
export function linear(x: Tensor, w: Tensor, b: Tensor | null = null): Tensor {
  const shapes = `(x ${formatShape(x.shape)}, w ${formatShape(w.shape)}${b === null ? '' : `, b ${formatShape(b.shape)}`})`;
  if (w.ndim !== 2 || x.ndim === 0) throw new ShapeError(`linear: x must be [...,I] and w [O,I] ${shapes}`);
  if (x.size(-1) !== w.size(1)) throw new ShapeError(`linear: x has ${x.size(-1)} features, w expects ${w.size(1)} ${shapes}`);
  if (b !== null && (b.ndim !== 1 || b.size(0) !== w.size(0))) throw new ShapeError(`linear: b must be [${w.size(0)}] ${shapes}`);
  const y = x.matmul(w.transpose(0, 1));
  return b === null ? y : y.add(b);
}

/** Runs an operation on images [N,C,H,W] for x with or without N. */
function batched(op: string, x: Tensor, run: (x: Tensor) => Tensor): Tensor {
  if (x.ndim === 3) return run(x.unsqueeze(0)).squeeze(0);
  if (x.ndim !== 4) throw new ShapeError(`${op}: x must be [N,C,H,W] or [C,H,W], got ${formatShape(x.shape)}`);
  return run(x);
}

/** Options of conv2d. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly stride?: Size2d;
  /** Zeros around the image, or 'same' for an output as large as x (stride 1 only), 'valid' for none. Default 0. */
  readonly padding?: Size2d | 'same' | 'valid';
  /** Distance between the kernel's taps. Default 1. */
  readonly dilation?: Size2d;
  /** Channels are split into so many groups, each convolved alone. Default 1. */
  readonly groups?: number;
}

/**
 * y[n,o,i,j] = b[o] + Σ_{c,u,v} x[n, c, i·s + u·d − p, j·s + v·d − p] · w[o,c,u,v]
 * Shape:  x [N,C,H,W], w [O,C/groups,KH,KW], b [O] → y [N,O,OH,OW], OH = ⌊(H + 2p − d(KH − 1) − 1) / s⌋ + 1
 * Throws: ShapeError for channels or sizes that do not fit; ArgumentError for options outside their values
 */
export function conv2d(x: Tensor, w: Tensor, b: Tensor | null = null, options: Conv2dOptions = {}): Tensor {
  const stride = pair('conv2d', 'stride', options.stride ?? 1, 1);
  const dilation = pair('conv2d', 'dilation', options.dilation ?? 1, 1);
  const { padding, after } = convPadding(w, stride, dilation, options.padding ?? 0);
  const groups = options.groups ?? 1;
  if (b !== null && (b.ndim !== 1 || b.size(0) !== w.shape[0])) {
    throw new ShapeError(`conv2d: b must be [${w.shape[0] ?? 'O'}] (w ${formatShape(w.shape)}, b ${formatShape(b.shape)})`);
  }
  return batched('conv2d', x, (images) => {
    const framed = after[0] + after[1] === 0 ? images : pad(images, [0, after[1], 0, after[0]]);
    const y = convolve(framed, w, { stride, padding, dilation, groups });
    return b === null ? y : y.add(b.reshape([-1, 1, 1]));
  });
}

/** The padding on both sides, and what comes on top of it at the end of each dim: 'same' may be uneven. */
function convPadding(w: Tensor, stride: readonly number[], dilation: readonly number[], padding: Size2d | 'same' | 'valid') {
  const none = [0, 0] as const;
  if (padding === 'valid') return { padding: none, after: none };
  if (padding !== 'same') return { padding: pair('conv2d', 'padding', padding, 0), after: none };
  if (stride[0] !== 1 || stride[1] !== 1) throw new ArgumentError(`conv2d: padding 'same' needs stride 1, got ${formatShape(stride)}`);
  const total = [dilation[0]! * (w.size(-2) - 1), dilation[1]! * (w.size(-1) - 1)] as const;
  return { padding: [total[0] >> 1, total[1] >> 1] as const, after: [total[0] & 1, total[1] & 1] as const };
}

/** Options of all pools. */
export interface PoolOptions {
  /** Default: the kernel's size. */
  readonly stride?: Size2d;
  /** At most half the kernel. Default 0. */
  readonly padding?: Size2d;
  /** Lets a last window hang over the edge instead of dropping it. Default false. */
  readonly ceilMode?: boolean;
}

/** Options of maxPool2d. */
export interface MaxPool2dOptions extends PoolOptions {
  /** Distance between the window's taps. Default 1. */
  readonly dilation?: Size2d;
}

/** Options of avgPool2d. */
export interface AvgPool2dOptions extends PoolOptions {
  /** Whether padding counts in the divisor. Default true. */
  readonly countIncludePad?: boolean;
  /** Divides by this instead of the window's size. */
  readonly divisorOverride?: number | null;
}

function poolFrame(op: string, kernel: Size2d, options: PoolOptions) {
  const size = pair(op, 'kernel', kernel, 1);
  const stride = pair(op, 'stride', options.stride ?? size, 1);
  const padding = pair(op, 'padding', options.padding ?? 0, 0);
  if (padding[0] * 2 > size[0] || padding[1] * 2 > size[1]) {
    throw new ArgumentError(
      `${op}: padding must be at most half the kernel, got padding ${formatShape(padding)} and kernel ${formatShape(size)}`,
    );
  }
  return { kernel: size, stride, padding };
}

/**
 * The largest element of every window; padding never wins.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], OH = ⌊(H + 2p − d(K − 1) − 1) / s⌋ + 1
 */
export function maxPool2d(x: Tensor, kernel: Size2d, options: MaxPool2dOptions = {}): Tensor {
  const p = { ...poolFrame('maxPool2d', kernel, options), dilation: pair('maxPool2d', 'dilation', options.dilation ?? 1, 1) };
  return batched('maxPool2d', x, (images) => {
    const [y, index] = maxPoolOp(images, p, options.ceilMode ?? false) as [Tensor, Tensor];
    index.dispose();
    return y;
  });
}

/**
 * The mean of every window.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], OH = ⌊(H + 2p − K) / s⌋ + 1
 */
export function avgPool2d(x: Tensor, kernel: Size2d, options: AvgPool2dOptions = {}): Tensor {
  const divisor = options.divisorOverride ?? null;
  if (divisor !== null && !(Math.abs(divisor) > 0)) throw new ArgumentError(`avgPool2d: divisorOverride must not be 0, got ${divisor}`);
  const frame = poolFrame('avgPool2d', kernel, options);
  const p = { ...frame, dilation: [1, 1] as const, countIncludePad: options.countIncludePad ?? true, divisor };
  return batched('avgPool2d', x, (images) => avgPool(images, p, options.ceilMode ?? false));
}

/**
 * The mean of H·W windows that cover the image evenly: y[i] averages rows ⌊i·H/OH⌋ … ⌈(i + 1)·H/OH⌉ − 1, likewise columns.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW] for size [OH,OW]; null keeps a size
 */
export function adaptiveAvgPool2d(x: Tensor, size: number | readonly [number | null, number | null]): Tensor {
  return batched('adaptiveAvgPool2d', x, (images) => {
    const [h, w] = typeof size === 'number' ? [size, size] : size;
    return adaptiveAvgPool(images, pair('adaptiveAvgPool2d', 'size', [h ?? images.size(2), w ?? images.size(3)], 1));
  });
}

/** Options of batchNorm. */
export interface BatchNormOptions {
  /** [C]; updated in training, used otherwise. */
  readonly runningMean?: Tensor | null;
  /** [C]; updated in training with the unbiased variance, used otherwise. */
  readonly runningVar?: Tensor | null;
  /** Scale [C]. */
  readonly weight?: Tensor | null;
  /** Shift [C]. */
  readonly bias?: Tensor | null;
  /** Normalises by the batch's own statistics. Default false. */
  readonly training?: boolean;
  /** Weight of the new statistics: running ← (1 − momentum)·running + momentum·new. Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias, with the statistics of each channel: the batch's in training, else the running ones
 * Shape:  x [N,C,…] → y [N,C,…]
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2
 * Throws: ShapeError in training with one value per channel; ArgumentError without running statistics outside training
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  const { runningMean = null, runningVar = null, weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options;
  checkBatchNorm(x, { runningMean, runningVar, weight, bias });
  if (!training) {
    if (runningMean === null || runningVar === null)
      throw new ArgumentError('batchNorm: runningMean and runningVar are needed when training is false');
    return normalize(x, runningMean, runningVar, weight, bias, eps);
  }
  const n = x.numel / Math.max(x.size(1), 1);
  if (n <= 1) throw new ShapeError(`batchNorm: training needs more than 1 value per channel, got ${n} (x ${formatShape(x.shape)})`);
  const [y, mean, variance] = batchNormOp(x, weight, bias, eps) as [Tensor, Tensor, Tensor];
  noGrad(() => {
    runningMean?.mul_(1 - momentum).add_(mean.mul(momentum));
    runningVar?.mul_(1 - momentum).add_(variance.mul((momentum * n) / (n - 1)));
  });
  mean.dispose();
  variance.dispose();
  return y;
}

function checkBatchNorm(x: Tensor, perChannel: Readonly<Record<string, Tensor | null>>): void {
  if (!isFloat(x.dtype)) throw new DTypeError(`batchNorm: x must be float32 or float64, got ${x.dtype}`);
  if (x.ndim < 2) throw new ShapeError(`batchNorm: x must be [N,C,…], got ${formatShape(x.shape)}`);
  for (const [name, t] of Object.entries(perChannel)) {
    if (t === null) continue;
    if (t.ndim !== 1 || t.size(0) !== x.size(1)) {
      throw new ShapeError(
        `batchNorm: x has ${x.size(1)} channels, ${name} must be [${x.size(1)}] (x ${formatShape(x.shape)}, ${name} ${formatShape(t.shape)})`,
      );
    }
    if (t.dtype !== x.dtype) throw new DTypeError(`batchNorm: x is ${x.dtype}, ${name} ${t.dtype}; they must be equal`);
  }
}

/** Batch norm by given statistics: one multiplication and one addition per element. */
function normalize(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | null, bias: Tensor | null, eps: number): Tensor {
  const scale = div(weight ?? 1, variance.add(eps).sqrt());
  const shift = bias === null ? mean.mul(scale).neg() : bias.sub(mean.mul(scale));
  const frame = x.shape.map((c, d) => (d === 1 ? c : 1));
  return x.mul(scale.reshape(frame)).add(shift.reshape(frame));
}

/** Options of dropout. */
export interface DropoutOptions {
  /** False returns x. Default true. */
  readonly training?: boolean;
  /** Where the mask comes from. Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

/**
 * y = x ⊙ m / (1 − p), m = 0 with probability p, else 1. The mask is a function of the draw and the element's index alone.
 * Throws: ArgumentError for p outside 0 … 1
 */
export function dropout(x: Tensor, p = 0.5, { training = true, generator = defaultGenerator }: DropoutOptions = {}): Tensor {
  checkProbability('dropout', p);
  if (!isFloat(x.dtype)) throw new DTypeError(`dropout: x must be float32 or float64, got ${x.dtype}`);
  if (!training || p === 0) return x;
  const { dtype } = x;
  const mask = noGrad(() =>
    rand(x.shape, { dtype, generator })
      .ge(p)
      .to(dtype)
      .mul(p === 1 ? 0 : 1 / (1 - p)),
  );
  const y = x.mul(mask);
  mask.dispose();
  return y;
}

/** Throws unless 0 ≤ p ≤ 1. */
export function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`${op}: p must be from 0 to 1, got ${p}`);
}

/**
 * y[.., c] = 1 where c = index, else 0, in int32; as many classes as the largest index needs by default. No gradient.
 * Shape:  index […] (int32) → […,C]
 */
export function oneHot(index: Tensor, numClasses?: number): Tensor {
  if (numClasses === undefined && index.numel === 0)
    throw new ArgumentError('oneHot: an empty index has no largest class; give numClasses');
  const count = numClasses ?? Array.from(index.data()).reduce((a, b) => Math.max(a, b), 0) + 1;
  if (!Number.isInteger(count) || count < 1) throw new ArgumentError(`oneHot: numClasses must be a whole number ≥ 1, got ${count}`);
  checkIndex('oneHot', index, count);
  return index.unsqueeze(-1).eq(arange(count)).to('int32');
}
