/**
 * Transforms that move pixels: resizing, cropping, rotation.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, ShapeError, shown } from '../core/errors.ts';
import { checkNumber, refuseOptions, withDefaults } from '../core/options.ts';
import { formatShape, pair } from '../core/shape.ts';
import type { Random } from '../core/random.ts';
import { cos, sin } from '../kernels/scalars.ts';
import type { Transform } from './dataset.ts';
import { between, checkImage, checkPair, crop, ratioBetween, type Range } from './image.ts';

/** For each output pixel of one axis: its first input pixel, and the weights of that and the next ones. */
interface Taps {
  readonly first: Int32Array;
  /** [outputs, width], 0 behind the last tap. */
  readonly weights: Float64Array;
  readonly width: number;
}

/**
 * Returns the taps that resize `from` pixels to `to`: a triangle around the output's centre, as wide as two input pixels or, when the image
 * shrinks, two output pixels, so that every input pixel counts. That is Pillow's filter, and PyTorch's with antialias=True.
 */
function taps(from: number, to: number): Taps {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const weights = new Float64Array(to * width);
  for (let i = 0; i < to; i++) {
    const center = scale * (i + 0.5);
    const start = Math.max(Math.floor(center - support + 0.5), 0);
    const end = Math.min(Math.floor(center + support + 0.5), from);
    let sum = 0;
    for (let j = start; j < end; j++) {
      const weight = Math.max(0, 1 - Math.abs(j + 0.5 - center) / support);
      weights[i * width + j - start] = weight;
      sum += weight;
    }
    for (let k = 0; k < end - start; k++) weights[i * width + k]! /= sum;
    first[i] = start;
  }
  return { first, weights, width };
}

/** Resizes one axis of x, seen as [outer, from, inner]. */
function resizeAxis(x: ArrayLike<number>, outer: number, from: number, to: number, inner: number): Float64Array {
  const y = new Float64Array(outer * to * inner);
  const { first, weights, width } = taps(from, to);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      const row = (o * to + i) * inner;
      for (let k = 0; k < width; k++) addRow(y, row, x, (o * from + first[i]! + k) * inner, weights[i * width + k]!, inner);
    }
  }
  return y;
}

/** y[at + i] += weight · x[from + i] for the `count` elements of a row. */
function addRow(y: Float64Array, at: number, x: ArrayLike<number>, from: number, weight: number, count: number): void {
  // Such a pixel may lie outside the image, or be no finite number.
  if (weight === 0) return;
  for (let i = 0; i < count; i++) y[at + i]! += weight * x[from + i]!;
}

function resizeTo(op: string, image: ArrayData, h: number, w: number): ArrayData {
  const [channels, height, width, x] = checkImage(op, image);
  if (height === h && width === w) return image;
  if (height === 0 || width === 0) throw new ShapeError(`${op}: image ${formatShape(image.shape)} has no pixels`);
  const rows = resizeAxis(x, channels * height, width, w, 1);
  return { data: Float32Array.from(resizeAxis(rows, channels, height, h, w)), shape: [channels, h, w], dtype: 'float32' };
}

/**
 * Resizes the image bilinearly, with antialias: when it shrinks, every pixel counts.
 *
 * @param size pixels of the shorter side, the other one in proportion; or [height, width]
 * Shape:  [C,H,W] → [C,h,w]
 * Source: torchvision's Resize with antialias=True; the filter is Pillow's BILINEAR
 * @example withTransform(pictures, compose(resize(40), centerCrop(32)))
 */
export function resize(size: number | readonly number[]): Transform {
  refuseOptions('resize', arguments[1]);
  const [h, w] = pair('resize', 'size', size, 1);
  return (image) => {
    if (typeof size !== 'number') return resizeTo('resize', image, h, w);
    const [, height, width] = checkImage('resize', image);
    const short = Math.min(height, width);
    const long = (side: number): number => Math.max(1, Math.floor((size * side) / short));
    return height <= width ? resizeTo('resize', image, size, long(width)) : resizeTo('resize', image, long(height), size);
  };
}

/** Rounds to the nearest whole number, and a half to the even one, as Python does. */
function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Crops the middle of the image.
 *
 * @param size height and width of the result in pixels, one number or a pair
 * Throws: ShapeError if the image is smaller than `size`
 */
export function centerCrop(size: number | readonly number[]): Transform {
  refuseOptions('centerCrop', arguments[1]);
  const [h, w] = pair('centerCrop', 'size', size, 1);
  return (image) => {
    const [, height, width] = checkImage('centerCrop', image);
    if (height < h || width < w)
      throw new ShapeError(
        `centerCrop: image ${formatShape(image.shape)} is smaller than the crop ${formatShape([h, w])}; resize it first`,
      );
    return crop(image, roundHalfToEven((height - h) / 2), roundHalfToEven((width - w) / 2), h, w);
  };
}

/** Options of randomResizedCrop. */
export interface RandomResizedCropOptions {
  /** The least and largest share of the image's area that is cropped. Default [0.08, 1]. */
  readonly scale?: readonly number[];
  /** The least and largest ratio of the crop's width to its height. Default [3/4, 4/3]. */
  readonly ratio?: readonly number[];
}

/** Attempts to draw a window that lies inside the image, as in torchvision. */
const ATTEMPTS = 10;

/**
 * Crops a window of random area and aspect, at a random place, and resizes it.
 *
 * Ten times it draws an area uniformly and an aspect log-uniformly; if no window fits, it takes the largest one in the middle.
 * @param size height and width of the result in pixels, one number or a pair
 * Source: torchvision's RandomResizedCrop (Szegedy et al. 2015, arXiv:1409.4842, section 6)
 */
export function randomResizedCrop(size: number | readonly number[], options: RandomResizedCropOptions = {}): Transform {
  const defaults = { scale: [0.08, 1], ratio: [3 / 4, 4 / 3] };
  const { scale, ratio } = withDefaults<RandomResizedCropOptions>('randomResizedCrop', options, defaults);
  const [h, w] = pair('randomResizedCrop', 'size', size, 1);
  checkPair('randomResizedCrop', 'scale', scale, Number.MIN_VALUE, 1);
  checkPair('randomResizedCrop', 'ratio', ratio, Number.MIN_VALUE);
  return (image, random) => {
    const [, height, width] = checkImage('randomResizedCrop', image);
    const window = drawWindow(random, height, width, scale as Range, ratio as Range) ?? middle(height, width, ratio as Range);
    return resizeTo('randomResizedCrop', crop(image, ...window), h, w);
  };
}

type Window = [top: number, left: number, h: number, w: number];

function drawWindow(random: Random, height: number, width: number, scale: Range, ratio: Range): Window | null {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = height * width * between(random, scale);
    const aspect = ratioBetween(random, ratio);
    const w = Math.round(Math.sqrt(area * aspect));
    const h = Math.round(Math.sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) return [random.integer(height - h + 1), random.integer(width - w + 1), h, w];
  }
  return null;
}

/** Returns the largest window in the middle whose aspect is in the range. */
function middle(height: number, width: number, [narrow, wide]: Range): Window {
  const h = Math.max(1, Math.min(height, Math.round(width / narrow)));
  const w = Math.max(1, Math.min(width, Math.round(height * wide)));
  return [Math.floor((height - h) / 2), Math.floor((width - w) / 2), h, w];
}

/** Options of rotate and randomRotation. */
export interface RotateOptions {
  /** The value outside the image. Default 0. */
  readonly fill?: number;
}

/**
 * Rotates the image about its centre, bilinearly, without changing its size.
 *
 * @param degrees counter-clockwise
 * Shape:  [C,H,W] → [C,H,W]
 */
export function rotate(degrees: number, options: RotateOptions = {}): Transform {
  const { fill } = withDefaults<RotateOptions>('rotate', options, { fill: 0 });
  checkNumber('rotate', 'fill', fill);
  if (!Number.isFinite(degrees)) throw new ArgumentError(`rotate: degrees must be a number, got ${shown(degrees)}`);
  return (image) => rotated('rotate', image, degrees, fill);
}

/**
 * Rotates the image by a random angle, uniform in the range.
 *
 * @param degrees a number d ≥ 0 for −d … d, or a pair [least, most]; counter-clockwise
 */
export function randomRotation(degrees: number | readonly number[], options: RotateOptions = {}): Transform {
  const { fill } = withDefaults<RotateOptions>('randomRotation', options, { fill: 0 });
  checkNumber('randomRotation', 'fill', fill);
  if (typeof degrees === 'number' && !(degrees >= 0))
    throw new ArgumentError(`randomRotation: degrees must be a number ≥ 0 or a pair, got ${shown(degrees)}`);
  const range = typeof degrees === 'number' ? [-degrees, degrees] : degrees;
  checkPair('randomRotation', 'degrees', range, -Infinity);
  return (image, random) => rotated('randomRotation', image, between(random, range as Range), fill);
}

function rotated(op: string, image: ArrayData, degrees: number, fill: number): ArrayData {
  const [channels, height, width, x] = checkImage(op, image);
  const y = new Float32Array(x.length);
  const cosine = cos((degrees * Math.PI) / 180);
  const sine = sin((degrees * Math.PI) / 180);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      // The place in x of this pixel's centre, from the centre of the image.
      const dx = column + 0.5 - width / 2;
      const dy = row + 0.5 - height / 2;
      const from = bilinear(dx * sine + dy * cosine + height / 2 - 0.5, dx * cosine - dy * sine + width / 2 - 0.5);
      for (let c = 0; c < channels; c++) {
        const plane = x.subarray(c * height * width, (c + 1) * height * width);
        y[(c * height + row) * width + column] = from(plane, height, width, fill);
      }
    }
  }
  return { ...image, data: y };
}

/** Returns a reader of the value at (v, u) of a plane [H,W]: of the four pixels around it, those outside have the value `fill`. */
function bilinear(v: number, u: number): (plane: Float32Array, height: number, width: number, fill: number) => number {
  const top = Math.floor(v);
  const left = Math.floor(u);
  const corners = [
    [top, left, (top + 1 - v) * (left + 1 - u)],
    [top, left + 1, (top + 1 - v) * (u - left)],
    [top + 1, left, (v - top) * (left + 1 - u)],
    [top + 1, left + 1, (v - top) * (u - left)],
  ] as const;
  return (plane, height, width, fill) => {
    let sum = 0;
    for (const [row, column, weight] of corners) {
      const isInside = row >= 0 && row < height && column >= 0 && column < width;
      sum += weight * (isInside ? plane[row * width + column]! : fill);
    }
    return sum;
  };
}
