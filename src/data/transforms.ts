/**
 * Changes of single images [C,H,W] float32, for withTransform: pure functions (image, random) → image.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { formatShape, pair } from '../core/shape.ts';
import type { Transform } from './dataset.ts';

/** One transform after the other, first to last. Without any, the image as it is. */
export function compose(...transforms: readonly Transform[]): Transform {
  return (image, random) => transforms.reduce((x, transform) => transform(x, random), image);
}

/**
 * Shifts and scales every channel: y = (x − mean) / std, computed in float32 as PyTorch does.
 *
 * @param mean @param std one number per channel, or one number for all
 * Throws: ArgumentError if a std is not above 0, ShapeError if the image has another number of channels
 */
export function normalize(mean: number | readonly number[], std: number | readonly number[]): Transform {
  const bad = [std].flat().find((s) => !(s > 0));
  if (bad !== undefined) throw new ArgumentError(`normalize: std must be above 0, got ${bad}`);
  return (image) => {
    const [channels, height, width, x] = planes('normalize', image);
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

/**
 * Cuts a window of `size` at a uniformly random place out of the image, padded with `fill` on all four sides.
 *
 * @param size height and width of the result in pixels, one number or a pair
 * @param options `padding` in pixels, 0 by default; `fill`, 0 by default
 * Throws: ShapeError if the padded image is smaller than `size`
 */
export function randomCrop(
  size: number | readonly number[],
  { padding = 0, fill = 0 }: { readonly padding?: number; readonly fill?: number } = {},
): Transform {
  const [h, w] = pair('randomCrop', 'size', size, 1);
  pair('randomCrop', 'padding', padding, 0);
  return (image, random) => {
    const [channels, height, width, x] = planes('randomCrop', image);
    if (height + 2 * padding < h || width + 2 * padding < w) {
      const shape = formatShape(image.shape);
      throw new ShapeError(`randomCrop: image ${shape} with padding ${padding} is smaller than the crop ${formatShape([h, w])}`);
    }
    const top = random.integer(height + 2 * padding - h + 1) - padding;
    const left = random.integer(width + 2 * padding - w + 1) - padding;
    const y = new Float32Array(channels * h * w);
    if (fill !== 0) y.fill(fill);
    const from = Math.max(left, 0);
    const to = Math.min(left + w, width);
    // A window that lies in the padding alone meets no column.
    for (let c = 0; c < channels && from < to; c++) {
      for (let row = Math.max(-top, 0); row < Math.min(h, height - top); row++) {
        const line = (c * height + top + row) * width;
        y.set(x.subarray(line + from, line + to), (c * h + row) * w + from - left);
      }
    }
    return { data: y, shape: [channels, h, w], dtype: 'float32' };
  };
}

/** Mirrors the image left to right with probability `p`, 0.5 by default. */
export function randomHorizontalFlip(p = 0.5): Transform {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`randomHorizontalFlip: p must be between 0 and 1, got ${p}`);
  return (image, random) => {
    const [channels, height, width, x] = planes('randomHorizontalFlip', image);
    if (random.uniform() >= p) return image;
    const y = new Float32Array(x.length);
    for (let line = 0; line < channels * height * width; line += width) {
      for (let i = 0; i < width; i++) y[line + i] = x[line + width - 1 - i]!;
    }
    return { ...image, data: y };
  };
}

function planes(op: string, { data, shape, dtype }: ArrayData): [channels: number, height: number, width: number, x: Float32Array] {
  const [channels, height, width] = shape;
  if (shape.length !== 3) throw new ShapeError(`${op}: expected an image [C,H,W], got ${formatShape(shape)}`);
  if (!(data instanceof Float32Array)) throw new DTypeError(`${op}: expected a float32 image, got ${dtype}`);
  return [channels!, height!, width!, data];
}

function perChannel(name: string, value: number | readonly number[], c: number, { shape }: ArrayData): number {
  if (typeof value === 'number') return value;
  if (value.length !== shape[0]) {
    throw new ShapeError(`normalize: image ${formatShape(shape)} has ${shape[0]} channels, ${name} has ${value.length} numbers`);
  }
  return value[c]!;
}
