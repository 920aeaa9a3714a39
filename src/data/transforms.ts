/**
 * Transforms of single images [C,H,W] float32, for withTransform: pure functions (image, random) → image. Those of whole batches, for the
 * loader's batchTransform, are in mixing.ts.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, ShapeError, isArray, kindOf, shown } from '../core/errors.ts';
import { checkFunction, checkNumber, refuseOptions, withDefaults } from '../core/options.ts';
import { formatShape, pair } from '../core/shape.ts';
import type { Transform } from './dataset.ts';
import { checkImage, copyWindow } from './image.ts';

export * from './color.ts';
export * from './geometry.ts';
export * from './mixing.ts';

/** Applies the transforms in order, first to last. Without any it returns the image unchanged. */
export function compose(...transforms: readonly Transform[]): Transform {
  transforms.forEach((transform, i) => checkFunction('compose', `transform ${i}`, transform));
  return (image, random) => transforms.reduce((x, transform) => transform(x, random), image);
}

/**
 * Normalizes every channel: y = (x − mean) / std, computed in float32 as PyTorch does.
 *
 * @param mean @param std one number per channel, or one number for all
 * Throws: ArgumentError if a std is not above 0, ShapeError if mean or std does not match the image's channels
 */
export function normalize(mean: number | readonly number[], std: number | readonly number[]): Transform {
  checkChannels('mean', mean);
  checkChannels('std', std);
  refuseOptions('normalize', arguments[2]);
  const invalid = (isArray(std) ? std : [std]).find((s) => !(s > 0));
  if (invalid !== undefined) throw new ArgumentError(`normalize: std must be above 0, got ${invalid}`);
  return (image) => {
    const [channels, height, width, x] = checkImage('normalize', image);
    const area = height * width;
    const y = new Float32Array(x.length);
    for (let c = 0; c < channels; c++) {
      const m = Math.fround(perChannel('mean', mean, c, image));
      const s = Math.fround(perChannel('std', std, c, image));
      for (let i = c * area; i < (c + 1) * area; i++) y[i] = Math.fround(x[i]! - m) / s;
    }
    return { ...image, data: y };
  };
}

/** Throws unless `value` is a number, or an array of numbers. */
function checkChannels(name: string, value: unknown): void {
  const each = isArray(value) ? value : [value];
  for (const v of each)
    if (typeof v !== 'number')
      throw new ArgumentError(`normalize: ${name} must be a number, or an array with one for each channel, got ${kindOf(v)}`);
}

/** Options of randomCrop. */
export interface RandomCropOptions {
  /** Pixels around the image: one number for all sides, or [above and below, left and right]. Default 0. */
  readonly padding?: number | readonly number[];
  /** The value of the padding. Default 0. */
  readonly fill?: number;
}

/**
 * Pads the image with `fill` on all four sides, then crops it to `size` at a uniformly random position.
 *
 * @param size height and width of the result in pixels, one number or a pair
 * @param options `padding` in pixels, one number or a pair, 0 by default; `fill`, 0 by default
 * Throws: ShapeError if the padded image is smaller than `size`
 */
export function randomCrop(size: number | readonly number[], options: RandomCropOptions = {}): Transform {
  const { padding, fill } = withDefaults<RandomCropOptions>('randomCrop', options, { padding: 0, fill: 0 });
  checkNumber('randomCrop', 'fill', fill);
  const [h, w] = pair('randomCrop', 'size', size, 1);
  const [rows, columns] = pair('randomCrop', 'padding', padding, 0);
  return (image, random) => {
    const [channels, height, width, x] = checkImage('randomCrop', image);
    if (height + 2 * rows < h || width + 2 * columns < w) {
      const shape = formatShape(image.shape);
      const around = rows === columns ? rows : formatShape([rows, columns]);
      throw new ShapeError(`randomCrop: image ${shape} with padding ${around} is smaller than the crop ${formatShape([h, w])}`);
    }
    const top = random.integer(height + 2 * rows - h + 1) - rows;
    const left = random.integer(width + 2 * columns - w + 1) - columns;
    const y = new Float32Array(channels * h * w);
    if (fill !== 0) y.fill(fill);
    copyWindow(x, [channels, height, width], y, [h, w], top, left);
    return { data: y, shape: [channels, h, w], dtype: 'float32' };
  };
}

/** Flips the image horizontally with probability `p`, 0.5 by default. */
export function randomHorizontalFlip(p = 0.5): Transform {
  checkNumber('randomHorizontalFlip', 'p', p);
  refuseOptions('randomHorizontalFlip', arguments[1]);
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`randomHorizontalFlip: p must be between 0 and 1, got ${shown(p)}`);
  return (image, random) => {
    const [channels, height, width, x] = checkImage('randomHorizontalFlip', image);
    if (random.uniform() >= p) return image;
    const y = new Float32Array(x.length);
    for (let row = 0; row < channels * height * width; row += width) {
      for (let i = 0; i < width; i++) y[row + i] = x[row + width - 1 - i]!;
    }
    return { ...image, data: y };
  };
}

function perChannel(name: string, value: number | readonly number[], c: number, { shape }: ArrayData): number {
  if (typeof value === 'number') return value;
  if (value.length !== shape[0]) {
    throw new ShapeError(`normalize: image ${formatShape(shape)} has ${shape[0]} channels, ${name} has ${value.length} numbers`);
  }
  return value[c]!;
}
