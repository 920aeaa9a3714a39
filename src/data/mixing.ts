/**
 * Transforms of whole batches, for the loader's batchTransform: they mix each image with another one, and the labels in proportion.
 *
 * Letters: B = samples of a batch, K = classes; C, H, W = channels, height, width.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { checkCount, checkRange, withDefaults } from '../core/options.ts';
import type { Random } from '../core/random.ts';
import { formatShape } from '../core/shape.ts';
import { exp, log, pow } from '../kernels/scalars.ts';

/** Returns a changed batch: must draw random numbers only from `random`, and must not write to the items. */
export type BatchTransform = (items: readonly ArrayData[], random: Random) => readonly ArrayData[];

/** Options of mixup and cutmix. */
export interface MixOptions {
  /** The share λ of the own image follows the distribution Beta(alpha, alpha); alpha > 0. Default 1: uniform. */
  readonly alpha?: number;
}

const checkAlpha = checkRange('above 0', (v) => v > 0 && Number.isFinite(v));

/** A batch that is being mixed: `other[b]` is the sample that is mixed into sample b. */
interface Pairs {
  readonly images: ArrayData<Float32Array>;
  readonly targets: Float32Array;
  readonly rest: readonly ArrayData[];
  readonly other: Int32Array;
  readonly share: number;
}

/**
 * Mixes each image with another one of the batch: x = λ xᵢ + (1 − λ) xⱼ, y = λ yᵢ + (1 − λ) yⱼ, one λ ~ Beta(alpha, alpha) for the batch.
 *
 * The targets are probabilities, which F.crossEntropy takes.
 * Shape:  images [B, ...] float32, labels [B] int32 or targets [B,K] float32 → images, targets [B,K] float32; other items stay
 * @param classes K
 * Throws: ArgumentError for a label outside 0 … K − 1
 * Source: Zhang et al. 2017, arXiv:1710.09412, eq. 1
 * @example new DataLoader(data, { batchSize: 64, shuffle: true, batchTransform: mixup(10, { alpha: 0.2 }) })
 */
export function mixup(classes: number, options: MixOptions = {}): BatchTransform {
  const alpha = checkMix('mixup', classes, options);
  return (items, random) => {
    const pairs = pairUp('mixup', items, classes, alpha, random);
    const { images, share, other, rest } = pairs;
    const size = images.data.length / other.length;
    const x = new Float32Array(images.data.length);
    other.forEach((j, b) => {
      for (let i = 0; i < size; i++) x[b * size + i] = share * images.data[b * size + i]! + (1 - share) * images.data[j * size + i]!;
    });
    return [{ ...images, data: x }, mixTargets(pairs, classes, share), ...rest];
  };
}

/**
 * Pastes a rectangle of another image of the batch into each image, at one random place for the batch. The rectangle has the share 1 − λ of
 * the area, λ ~ Beta(alpha, alpha), less what lies outside the image; the targets are mixed in proportion to the pasted area.
 *
 * The targets are probabilities, which F.crossEntropy takes.
 * Shape:  images [B,C,H,W] float32, labels [B] int32 or targets [B,K] float32 → images, targets [B,K] float32; other items stay
 * @param classes K
 * Throws: ArgumentError for a label outside 0 … K − 1, ShapeError for images that are not [B,C,H,W]
 * Source: Yun et al. 2019, arXiv:1905.04899, eq. 1 and 2
 */
export function cutmix(classes: number, options: MixOptions = {}): BatchTransform {
  const alpha = checkMix('cutmix', classes, options);
  return (items, random) => {
    const pairs = pairUp('cutmix', items, classes, alpha, random);
    const { images, share, other, rest } = pairs;
    if (images.shape.length !== 4) throw new ShapeError(`cutmix: expected images [B,C,H,W], got ${formatShape(images.shape)}`);
    const [, channels, height, width] = images.shape as [number, number, number, number];
    const [top, bottom] = side(height, share, random);
    const [left, right] = side(width, share, random);
    const x = images.data.slice();
    other.forEach((j, b) => {
      for (let c = 0; c < channels; c++) {
        for (let row = top; row < bottom; row++) {
          const from = ((j * channels + c) * height + row) * width;
          x.set(images.data.subarray(from + left, from + right), ((b * channels + c) * height + row) * width + left);
        }
      }
    });
    const pasted = ((bottom - top) * (right - left)) / (height * width);
    return [{ ...images, data: x }, mixTargets(pairs, classes, 1 - pasted), ...rest];
  };
}

/** Draws the first and the end of the rectangle along one side of the image: √(1 − λ) of it, around a random pixel. */
function side(length: number, share: number, random: Random): [first: number, end: number] {
  const center = random.integer(length);
  const half = Math.floor((Math.sqrt(1 - share) * length) / 2);
  return [Math.max(center - half, 0), Math.min(center + half, length)];
}

function checkMix(op: string, classes: number, options: MixOptions): number {
  checkCount(op, 'classes', classes);
  const { alpha } = withDefaults<MixOptions>(op, options, { alpha: 1 });
  checkAlpha(op, 'alpha', alpha);
  return alpha;
}

function pairUp(op: string, items: readonly ArrayData[], classes: number, alpha: number, random: Random): Pairs {
  const [images, labels, ...rest] = items;
  if (images === undefined || labels === undefined) throw new ArgumentError(`${op}: a sample must have an image and a label`);
  if (!(images.data instanceof Float32Array)) throw new DTypeError(`${op}: expected float32 images, got ${images.dtype}`);
  const count = images.shape[0]!;
  const targets = probabilities(op, labels, count, classes);
  const share = beta(random, alpha);
  return { images: { ...images, data: images.data }, targets, rest, other: random.permutation(count), share };
}

/** Returns the labels as probabilities [B,K]. */
function probabilities(op: string, { data, shape, dtype }: ArrayData, count: number, classes: number): Float32Array {
  if (data instanceof Float32Array && shape.length === 2 && shape[0] === count && shape[1] === classes) return data;
  if (dtype !== 'int32' || shape.length !== 1 || shape[0] !== count)
    throw new ShapeError(
      `${op}: expected labels ${formatShape([count])} int32 or targets ${formatShape([count, classes])} float32, got ${formatShape(shape)} ${dtype}`,
    );
  const targets = new Float32Array(count * classes);
  data.forEach((label: number, b: number) => {
    if (label < 0 || label >= classes)
      throw new ArgumentError(`${op}: label ${label} is outside 0 … ${classes - 1}; there are ${classes} classes`);
    targets[b * classes + label] = 1;
  });
  return targets;
}

function mixTargets({ targets, other }: Pairs, classes: number, share: number): ArrayData {
  const mixed = new Float32Array(targets.length);
  other.forEach((j, b) => {
    for (let k = 0; k < classes; k++) mixed[b * classes + k] = share * targets[b * classes + k]! + (1 - share) * targets[j * classes + k]!;
  });
  return { data: mixed, shape: [other.length, classes], dtype: 'float32' };
}

/** Draws from Beta(alpha, alpha), as x / (x + y) of two gamma-distributed numbers. */
function beta(random: Random, alpha: number): number {
  // Logarithms: for a small alpha both numbers can be too small for float64.
  const difference = logGamma(random, alpha) - logGamma(random, alpha);
  return 1 / (1 + exp(-difference));
}

/** Draws the logarithm of a number from Gamma(alpha, 1) (Marsaglia and Tsang 2000, "A simple method for generating gamma variables"). */
function logGamma(random: Random, alpha: number): number {
  // Gamma(α) is Gamma(α + 1) · u^(1/α).
  if (alpha < 1) return logGamma(random, alpha + 1) + log(1 - random.uniform()) / alpha;
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = pow(1 + c * x, 3);
    if (v > 0 && log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * log(v)) return log(d * v);
  }
}
