/**
 * Layer, RMS and group normalisation. Letters: N batch, C channels.
 */
import { isFloat } from '../../core/dtype.ts';
import { DTypeError, ShapeError, checkArray } from '../../core/errors.ts';
import { checkCount, checkNotNegative, withDefaults } from '../../core/options.ts';
import { formatShape, sameShape, shapesOf, type Shape } from '../../core/shape.ts';
import { checkTensor, checkTensors, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { clone } from './views.ts';

/** Options of every normalisation. */
export interface NormOptions {
  /** Scale, of the normalised shape or [C]. Default none. */
  readonly weight?: Tensor | null;
  /** Shift, of the same shape. Default none. */
  readonly bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * y = (x − μ) / √(σ² + ε) ⊙ weight + bias, with μ and σ² over the last dims
 * Shape:  x [..., ...normalizedShape] → y as x; weight, bias of normalizedShape
 * Source: Ba et al. 2016, arXiv:1607.06450, eq. 3 and 4
 * Throws: ShapeError for an x that does not end in normalizedShape
 */
export const layerNorm = composed((x: Tensor, normalizedShape: number | Shape, options: NormOptions = {}): Tensor => {
  const { weight, bias, eps } = withDefaults('layerNorm', options, { weight: null, bias: null, eps: 1e-5 });
  const dims = lastDims('layerNorm', x, normalizedShape, { weight, bias }, eps);
  return affine(divideByRms(x.sub(x.mean(dims, { keepdim: true })), dims, eps), weight, bias);
});

/** Options of rmsNorm. */
export interface RmsNormOptions {
  /** Scale, of the normalised shape. Default none. */
  readonly weight?: Tensor | null;
  /** Added to the mean of the squares. Default: the distance from 1 to the next number of x's dtype. */
  readonly eps?: number | null;
}

/**
 * y = x / √(mean x² + ε) ⊙ weight, with the mean over the last dims
 * Shape:  x [..., ...normalizedShape] → y as x; weight of normalizedShape
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4
 * Throws: ShapeError for an x that does not end in normalizedShape
 */
export const rmsNorm = composed((x: Tensor, normalizedShape: number | Shape, options: RmsNormOptions = {}): Tensor => {
  const { weight, eps } = withDefaults('rmsNorm', options, { weight: null, eps: null });
  const dims = lastDims('rmsNorm', x, normalizedShape, { weight }, eps ?? 0);
  return affine(divideByRms(x, dims, eps ?? (x.dtype === 'float64' ? 2 ** -52 : 2 ** -23)), weight, null);
});

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias, μ and σ² of each image and each group of C / numGroups channels
 * Shape:  x [N,C,…] → y as x; weight, bias [C]
 * Source: Wu & He 2018, arXiv:1803.08494, eq. 1, 2, 6 and 7
 * Throws: ShapeError for channels that do not divide into the groups, or one value in all
 */
export const groupNorm = composed((x: Tensor, numGroups: number, options: NormOptions = {}): Tensor => {
  const { weight, bias, eps } = withDefaults('groupNorm', options, { weight: null, bias: null, eps: 1e-5 });
  checkCount('groupNorm', 'numGroups', numGroups);
  const frame = channelShape('groupNorm', x, { weight, bias }, eps);
  const size = x.size(1) / numGroups;
  if (!Number.isInteger(size))
    throw new ShapeError(`groupNorm: ${x.size(1)} channels do not divide into ${numGroups} groups (x ${formatShape(x.shape)})`);
  if (x.numel === numGroups) throw new ShapeError(`groupNorm: more than 1 value per group is needed, got 1 (x ${formatShape(x.shape)})`);
  if (x.numel === 0) return affine(clone(x), weight, bias, frame);
  // Averages each channel, then the channels of a group: fast in any memory order. The result has one mean per channel.
  const average = (t: Tensor): Tensor => {
    const each = x.ndim === 2 ? t : t.mean([...t.shape.keys()].slice(2), { keepdim: true });
    const groups = each.unflatten(1, [numGroups, size]);
    return groups.mean(2, { keepdim: true }).expand(groups.shape).flatten(1, 2);
  };
  const centred = x.sub(average(x));
  const scale = average(centred.square()).add(eps).rsqrt();
  return affine(centred.mul(affine(scale, weight, null, frame)), null, bias, frame);
});

/** y = x / √(mean x² + ε) over `dims` */
function divideByRms(x: Tensor, dims: readonly number[], eps: number): Tensor {
  return x.mul(x.square().mean(dims, { keepdim: true }).add(eps).rsqrt());
}

/** y = x ⊙ weight + bias, where they are not null, reshaped to `frame` */
export function affine(x: Tensor, weight: Tensor | null, bias: Tensor | null, frame?: Shape): Tensor {
  const place = (t: Tensor): Tensor => (frame === undefined ? t : t.reshape(frame));
  const y = weight === null ? x : x.mul(place(weight));
  return bias === null ? y : y.add(place(bias));
}

type NamedTensors = Readonly<Record<string, Tensor | null>>;

/** Checks x [N,C,…], vectors [C] and ε; returns the shape in which the vectors broadcast to x. */
export function channelShape(op: string, x: Tensor, vectors: NamedTensors, eps: number): number[] {
  checkTensors(op, { x });
  if (x.ndim < 2) throw new ShapeError(`${op}: x must be [N,C,…], got ${formatShape(x.shape)}`);
  checkOperands(op, x, [x.size(1)], vectors, eps);
  return x.shape.map((c, d) => (d === 1 ? c : 1));
}

/** Checks x, the operands of `normalizedShape` and ε; returns the last dims of x, which have that shape. */
function lastDims(op: string, x: Tensor, normalizedShape: number | Shape, operands: NamedTensors, eps: number): number[] {
  checkTensors(op, { x });
  const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  checkArray(op, shape);
  if (shape.length === 0 || shape.length > x.ndim || !sameShape(x.shape.slice(-shape.length), shape)) {
    const got = `got ${formatShape(shape)} (x ${formatShape(x.shape)})`;
    throw new ShapeError(`${op}: normalizedShape must be the last sizes of x, at least one, ${got}`);
  }
  checkOperands(op, x, shape, operands, eps);
  return shape.map((_, i) => x.ndim - shape.length + i);
}

function checkOperands(op: string, x: Tensor, shape: Shape, operands: NamedTensors, eps: number): void {
  checkNotNegative(op, 'eps', eps);
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: x must be float32 or float64, got ${x.dtype}`);
  for (const [name, t] of Object.entries(operands)) {
    if (t === null) continue;
    checkTensor(op, name, t);
    if (!sameShape(t.shape, shape)) {
      throw new ShapeError(`${op}: ${name} must be ${formatShape(shape)} ${shapesOf({ x, [name]: t })}`);
    }
    if (t.dtype !== x.dtype) throw new DTypeError(`${op}: x is ${x.dtype}, ${name} ${t.dtype}; they must be equal`);
  }
}
