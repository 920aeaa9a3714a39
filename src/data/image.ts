/**
 * Images as transforms receive them: their checks, windows of them, and ranges from which transforms draw.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, DTypeError, isArray, ShapeError, shown } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { formatShape } from '../core/shape.ts';
import { exp, log } from '../kernels/scalars.ts';

/** Returns the dims and elements of an image; throws an error that begins with `op` unless it is [C,H,W] float32. */
export function checkImage(
  op: string,
  { data, shape, dtype }: ArrayData,
): [channels: number, height: number, width: number, x: Float32Array] {
  const [channels, height, width] = shape;
  if (shape.length !== 3) throw new ShapeError(`${op}: expected an image [C,H,W], got ${formatShape(shape)}`);
  if (!(data instanceof Float32Array)) throw new DTypeError(`${op}: expected a float32 image, got ${dtype}`);
  return [channels!, height!, width!, data];
}

/** Copies the part of the window y [C,h,w] at (top, left) that lies inside the image x [C,H,W]; the rest of y stays. */
export function copyWindow(
  x: Float32Array,
  [channels, height, width]: readonly [number, number, number],
  y: Float32Array,
  [h, w]: readonly [number, number],
  top: number,
  left: number,
): void {
  const firstColumn = Math.max(left, 0);
  const endColumn = Math.min(left + w, width);
  // A window that lies entirely in the padding overlaps no column.
  if (firstColumn >= endColumn) return;
  const firstRow = Math.max(-top, 0);
  const endRow = Math.min(h, height - top);
  for (let c = 0; c < channels; c++) {
    for (let row = firstRow; row < endRow; row++) {
      const source = (c * height + top + row) * width;
      y.set(x.subarray(source + firstColumn, source + endColumn), (c * h + row) * w + firstColumn - left);
    }
  }
}

/** Returns the window [C,h,w] at (top, left) of an image, which must lie inside it. */
export function crop(image: ArrayData, top: number, left: number, h: number, w: number): ArrayData {
  const [channels, height, width] = image.shape as [number, number, number];
  const y = new Float32Array(channels * h * w);
  copyWindow(image.data as Float32Array, [channels, height, width], y, [h, w], top, left);
  return { data: y, shape: [channels, h, w], dtype: 'float32' };
}

/** The least and the largest value that a transform draws. */
export type Range = readonly [least: number, most: number];

/** Throws unless `value` is a pair of numbers from `least` on, in order. */
export function checkPair(op: string, name: string, value: unknown, least: number, most = Infinity): void {
  const [a, b] = isArray(value) && value.length === 2 ? value : [];
  if (typeof a === 'number' && typeof b === 'number' && a >= least && a <= b && b <= most && Number.isFinite(b - a)) return;
  const from = least === Number.MIN_VALUE ? '0 < ' : `${least} ≤ `;
  const bounds = `${least === -Infinity ? '' : from}a ≤ b${most === Infinity ? '' : ` ≤ ${most}`}`;
  throw new ArgumentError(`${op}: ${name} must be a pair [a, b] with ${bounds}, got ${shown(value)}`);
}

/** Draws a number uniformly from a range. */
export function between(random: Random, [least, most]: Range): number {
  return least + (most - least) * random.uniform();
}

/** Draws a number whose logarithm is uniform: a ratio and its inverse are equally likely. */
export function ratioBetween(random: Random, [least, most]: Range): number {
  return exp(between(random, [log(least), log(most)]));
}
