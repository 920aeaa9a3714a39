/**
 * What a diagnosis goes by: one input's gradients, and how to compare them with a prediction.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { Random } from '../../core/random.ts';
import { rowMajorStrides, type Shape } from '../../core/shape.ts';
import type { Point } from './point.ts';
import { allMoved, analyse, difference, evaluate, magnitude, type Analysis, type Run } from './run.ts';
import { unravelIndex } from '../unravel-index.ts';

/** One input's gradients, and which of them are wrong. */
export interface Evidence {
  readonly name: string;
  readonly shape: Shape;
  readonly point: Point;
  readonly analytic: ElementArray;
  readonly numeric: Float64Array;
  /** Row-major numbers of the wrong elements. */
  readonly wrong: readonly number[];
}

/** How near to a prediction every element must be, as a part of the largest. */
export const NEAR = 1e-4;
/** How many numbers are computed for a hypothesis at most. */
export const AFFORDABLE = 200_000;

/** The dims of `to` along which `shape` was broadcast; null if it does not broadcast to it. */
export function broadcastDims(shape: Shape, to: Shape): number[] | null {
  const lead = to.length - shape.length;
  if (lead < 0 || shape.some((n, d) => n !== 1 && n !== to[lead + d])) return null;
  return [...to.keys()].filter((d) => to[d]! > 1 && (d < lead || shape[d - lead] === 1));
}

/** `values` of shape `from`, summed over the dims along which `shape` broadcasts to it. */
export function sumTo(values: ElementArray, from: Shape, shape: Shape): Float64Array {
  const strides = rowMajorStrides(shape);
  const sums = new Float64Array(shape.reduce((a, b) => a * b, 1));
  values.forEach((x, o) => {
    const index = unravelIndex(o, from).slice(from.length - shape.length);
    sums[index.reduce((at, i, d) => at + (shape[d] === 1 ? 0 : i * strides[d]!), 0)]! += x;
  });
  return sums;
}

/** The central differences of a point. */
export function slopes(run: Run, here: Analysis, p: Point): Float64Array {
  const { eps } = run.settings;
  return Float64Array.from({ length: p.numel }, (_, i) => {
    const above = p.at(i, eps, () => evaluate(run, here).outputs);
    const below = p.at(i, -eps, () => evaluate(run, here).outputs);
    return difference(above, below, here.projection) / p.span(i, eps);
  });
}

/** Whether `f` gives every element. */
export function predicts(analytic: ElementArray, f: (i: number) => number): boolean {
  const predicted = Float64Array.from(analytic, (_, i) => f(i));
  const largest = magnitude(analytic, predicted);
  return analytic.every((x, i) => Math.abs(x - predicted[i]!) <= NEAR * largest);
}

/** c with a = c · b, and how many elements say so; null if there is none. */
export function ratioOf(a: ElementArray, b: ElementArray): { value: number; evidence: number } | null {
  const largest = magnitude(b);
  const at = b.findIndex((x) => Math.abs(x) === largest);
  const ratio = a[at]! / b[at]!;
  const value = wholeOf(ratio);
  const bound = NEAR * magnitude(a, b);
  if (!Number.isFinite(ratio) || ratio === 0 || !a.every((x, i) => Math.abs(x - value * b[i]!) <= bound)) return null;
  return { value, evidence: b.filter((x) => Math.abs(x) > 100 * NEAR * largest).length };
}

/** A whole number, or one over a whole number, where c is that near to one; else c. */
function wholeOf(c: number): number {
  const near = [Math.round(c), 1 / Math.round(1 / c)].find((x) => Number.isFinite(x) && x !== 0 && Math.abs(c / x - 1) < NEAR);
  return near ?? c;
}

/** Whether analytic = c · numeric at another point too. */
export function holdsElsewhere({ point }: Evidence, run: Run, c: number): boolean {
  const random = new Random(run.settings.seed, -1);
  const directions = run.points.map((p) => Float64Array.from(p.values, (x) => (1 + Math.abs(x)) * (0.5 + random.uniform())));
  return allMoved(run, directions, 0.01, () => {
    const there = analyse('gradcheck', run);
    const found = ratioOf(there.gradients[run.points.indexOf(point)]!, slopes(run, there, point));
    return found?.value === c;
  });
}

export function isWhole(c: number): boolean {
  return Number.isInteger(c) || Number.isInteger(Math.round(1e9 / c) / 1e9);
}
