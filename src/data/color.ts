/**
 * Transforms that change the values of pixels: colours, erased rectangles.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, ShapeError, shown } from '../core/errors.ts';
import { checkOptions, withDefaults } from '../core/options.ts';
import type { Random } from '../core/random.ts';
import { formatShape } from '../core/shape.ts';
import type { Transform } from './dataset.ts';
import { between, checkImage, checkPair, ratioBetween, type Range } from './image.ts';

/** Options of colorJitter: of each, a number v ≥ 0, or a pair [least, most]. */
export interface ColorJitterOptions {
  /** The factor of all values, v for max(0, 1 − v) … 1 + v. Default 0: unchanged. */
  readonly brightness?: number | readonly number[];
  /** The factor of the distance from the mean grey, v as for brightness. Default 0: unchanged. */
  readonly contrast?: number | readonly number[];
  /** The factor of the distance from each pixel's grey, v as for brightness. Default 0: unchanged. */
  readonly saturation?: number | readonly number[];
  /** What is added to the hue, in turns of the colour circle, v ≤ 0.5 for −v … v. Default 0: unchanged. */
  readonly hue?: number | readonly number[];
}

/** The weights of red, green and blue in grey (ITU-R BT.601). */
const GREY = [0.2989, 0.587, 0.114] as const;

const clamp = (value: number): number => Math.min(Math.max(value, 0), 1);

/** The steps of colorJitter. Each writes to its own copy of an image, values in [0, 1], of 1 or 3 channels. */
const STEPS = { brightness, contrast, saturation, hue } as const;
type Step = keyof typeof STEPS;
const NAMES = Object.keys(STEPS) as Step[];

/**
 * Changes brightness, contrast, saturation and hue by random amounts, in random order. Values are clamped to [0, 1] after each step.
 *
 * Shape:  [C,H,W] → [C,H,W], C = 3, or 1, for which saturation and hue change nothing
 * Throws: ShapeError for another number of channels
 * Source: torchvision's ColorJitter
 * @example colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 })
 */
export function colorJitter(options: ColorJitterOptions = {}): Transform {
  checkOptions('colorJitter', options, NAMES);
  const ranges = NAMES.map((name) => rangeOf(name, options[name] ?? 0));
  return (image, random) => {
    const [channels, , , x] = checkImage('colorJitter', image);
    if (channels !== 1 && channels !== 3)
      throw new ShapeError(`colorJitter: expected an image of 1 or 3 channels, got ${formatShape(image.shape)}`);
    // All numbers are drawn, so that one option does not change what another one draws.
    const order = random.permutation(NAMES.length);
    const amounts = ranges.map((range) => between(random, range));
    const y = x.slice();
    for (const i of order) {
      const [least, most] = ranges[i]!;
      const neutral = NAMES[i] === 'hue' ? 0 : 1;
      if (least !== neutral || most !== neutral) STEPS[NAMES[i]!](y, channels, amounts[i]!);
    }
    return { ...image, data: y };
  };
}

function rangeOf(name: Step, value: number | readonly number[]): Range {
  const isHue = name === 'hue';
  if (typeof value !== 'number') {
    checkPair('colorJitter', name, value, isHue ? -0.5 : 0, isHue ? 0.5 : Infinity);
    return value as Range;
  }
  if (!(value >= 0 && value <= (isHue ? 0.5 : Number.MAX_VALUE)))
    throw new ArgumentError(`colorJitter: ${name} must be a number ${isHue ? 'from 0 to 0.5' : '≥ 0'} or a pair, got ${shown(value)}`);
  return isHue ? [-value, value] : [Math.max(0, 1 - value), 1 + value];
}

function brightness(x: Float32Array, _: number, factor: number): void {
  for (let i = 0; i < x.length; i++) x[i] = clamp(factor * x[i]!);
}

function contrast(x: Float32Array, channels: number, factor: number): void {
  const area = x.length / channels;
  let sum = 0;
  for (let i = 0; i < area; i++) sum += greyOf(x, channels, area, i);
  const mean = sum / area;
  for (let i = 0; i < x.length; i++) x[i] = clamp(factor * x[i]! + (1 - factor) * mean);
}

function saturation(x: Float32Array, channels: number, factor: number): void {
  if (channels === 1) return;
  const area = x.length / channels;
  for (let i = 0; i < area; i++) {
    const grey = greyOf(x, channels, area, i);
    for (let c = 0; c < channels; c++) x[c * area + i] = clamp(factor * x[c * area + i]! + (1 - factor) * grey);
  }
}

function greyOf(x: Float32Array, channels: number, area: number, i: number): number {
  return channels === 1 ? x[i]! : GREY[0] * x[i]! + GREY[1] * x[area + i]! + GREY[2] * x[2 * area + i]!;
}

function hue(x: Float32Array, channels: number, turns: number): void {
  if (channels === 1) return;
  const area = x.length / channels;
  for (let i = 0; i < area; i++) {
    const [r, g, b] = turnHue(x[i]!, x[area + i]!, x[2 * area + i]!, turns);
    x[i] = r;
    x[area + i] = g;
    x[2 * area + i] = b;
  }
}

/** Adds `turns` to the hue of a colour: from red, green and blue to hue, saturation and value (HSV), and back. */
function turnHue(r: number, g: number, b: number, turns: number): [r: number, g: number, b: number] {
  const value = Math.max(r, g, b);
  const chroma = value - Math.min(r, g, b);
  if (chroma === 0) return [r, g, b];
  let sextant = (r - g) / chroma + 4;
  if (value === r) sextant = (g - b) / chroma;
  else if (value === g) sextant = (b - r) / chroma + 2;
  // 6 sextants to a turn; each channel falls to value − chroma in the third of the circle that is opposite to its own.
  const channel = (offset: number): number => {
    const k = (((offset + sextant + 6 * turns) % 6) + 6) % 6;
    return clamp(value - chroma * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Options of randomErasing. */
export interface RandomErasingOptions {
  /** The probability that the image is changed. Default 0.5. */
  readonly p?: number;
  /** The least and largest share of the image's area that is erased. Default [0.02, 0.33]. */
  readonly scale?: readonly number[];
  /** The least and largest ratio of the rectangle's height to its width. Default [0.3, 3.3]. */
  readonly ratio?: readonly number[];
  /** What the rectangle is filled with: a number, or standard normal numbers. Default 0. */
  readonly value?: number | 'normal';
}

/** Attempts to draw a rectangle that is smaller than the image, as in torchvision. */
const ATTEMPTS = 10;

/**
 * Erases a rectangle of random area, aspect and place. With `scale` [a, a] and `ratio` [1, 1] that is cutout: a square of fixed size.
 *
 * If ten rectangles in a row are not smaller than the image, it stays as it is.
 * Source: torchvision's RandomErasing (Zhong et al. 2017, arXiv:1708.04896, algorithm 1)
 */
export function randomErasing(options: RandomErasingOptions = {}): Transform {
  const defaults = { p: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 0 };
  const { p, scale, ratio, value } = withDefaults<RandomErasingOptions>('randomErasing', options, defaults);
  if (typeof p !== 'number' || !(p >= 0 && p <= 1)) throw new ArgumentError(`randomErasing: p must be between 0 and 1, got ${shown(p)}`);
  checkPair('randomErasing', 'scale', scale, Number.MIN_VALUE, 1);
  checkPair('randomErasing', 'ratio', ratio, Number.MIN_VALUE);
  if (typeof value !== 'number' && value !== 'normal')
    throw new ArgumentError(`randomErasing: value must be a number or 'normal', got ${shown(value)}`);
  return (image, random) => {
    checkImage('randomErasing', image);
    return random.uniform() < p ? erased(image, random, scale as Range, ratio as Range, value) : image;
  };
}

function erased(image: ArrayData, random: Random, scale: Range, ratio: Range, value: number | 'normal'): ArrayData {
  const [channels, height, width, x] = checkImage('randomErasing', image);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = height * width * between(random, scale);
    const aspect = ratioBetween(random, ratio);
    const h = Math.round(Math.sqrt(area * aspect));
    const w = Math.round(Math.sqrt(area / aspect));
    if (h >= height || w >= width) continue;
    const top = random.integer(height - h + 1);
    const left = random.integer(width - w + 1);
    const y = x.slice();
    for (let row = 0; row < channels * h; row++) {
      const start = (Math.floor(row / h) * height + top + (row % h)) * width + left;
      for (let i = start; i < start + w; i++) y[i] = value === 'normal' ? random.normal() : value;
    }
    return { ...image, data: y };
  }
  return image;
}
