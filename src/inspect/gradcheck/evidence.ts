/**
 * The evidence for a diagnosis: one input's gradients, and functions that compare them with a prediction.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { Random } from '../../core/random.ts';
import { rowMajorStrides, type Shape } from '../../core/shape.ts';
import type { PerturbedInput } from './perturbed-input.ts';
import { analyse, evaluate, maxAbs, projectedDifference, withAllInputsMoved, type Analysis, type Run } from './run.ts';
import { unravelIndex } from '../unravel-index.ts';

/** The two gradients of one input, and which elements are wrong. */
export interface Evidence {
  readonly name: string;
  readonly shape: Shape;
  readonly input: PerturbedInput;
  readonly analytic: ElementArray;
  readonly numeric: Float64Array;
  /** Row-major positions of the wrong elements. */
  readonly wrong: readonly number[];
}

/** How far an element may be from its prediction, relative to the largest element. */
export const PREDICTION_TOLERANCE = 1e-4;

/** A hypothesis that needs a Jacobian with more elements than this is skipped. */
export const MAX_JACOBIAN_SIZE = 200_000;

/** Returns the dims of `to` along which `shape` was broadcast; null if `shape` does not broadcast to `to`. */
export function broadcastDims(shape: Shape, to: Shape): number[] | null {
  const lead = to.length - shape.length;
  if (lead < 0 || shape.some((n, d) => n !== 1 && n !== to[lead + d])) return null;
  return [...to.keys()].filter((d) => to[d]! > 1 && (d < lead || shape[d - lead] === 1));
}

/** Sums `values` of shape `from` over the dims along which `shape` broadcasts to it. */
export function sumToShape(values: ElementArray, from: Shape, shape: Shape): Float64Array {
  const strides = rowMajorStrides(shape);
  const sums = new Float64Array(shape.reduce((a, b) => a * b, 1));
  values.forEach((x, o) => {
    const index = unravelIndex(o, from).slice(from.length - shape.length);
    const target = index.reduce((offset, i, d) => offset + (shape[d] === 1 ? 0 : i * strides[d]!), 0);
    sums[target]! += x;
  });
  return sums;
}

/** Returns the central difference for every element of an input. */
export function centralDifferences(run: Run, analysis: Analysis, p: PerturbedInput): Float64Array {
  const { eps } = run.settings;
  return Float64Array.from({ length: p.numel }, (_, i) => {
    const above = p.withElementMoved(i, eps, () => evaluate(run, analysis).outputs);
    const below = p.withElementMoved(i, -eps, () => evaluate(run, analysis).outputs);
    return projectedDifference(above, below, analysis.projection) / p.actualStep(i, eps);
  });
}

/** The slopes of a function of one element to its left and to its right. */
export interface OneSidedSlopes {
  readonly left: number;
  readonly right: number;
}

/** Returns (p(x) − p(x − h)) / h and (p(x + h) − p(x)) / h for element i of an input. */
export function oneSidedSlopes(run: Run, analysis: Analysis, p: PerturbedInput, i: number, h: number): OneSidedSlopes {
  const here = evaluate(run, analysis).outputs;
  const above = p.withElementMoved(i, h, () => evaluate(run, analysis).outputs);
  const below = p.withElementMoved(i, -h, () => evaluate(run, analysis).outputs);
  return {
    left: projectedDifference(here, below, analysis.projection) / h,
    right: projectedDifference(above, here, analysis.projection) / h,
  };
}

/** Returns whether `f` predicts every element of the gradient. */
export function agreesWith(analytic: ElementArray, f: (i: number) => number): boolean {
  const predicted = Float64Array.from(analytic, (_, i) => f(i));
  const largest = maxAbs(analytic, predicted);
  return analytic.every((x, i) => Math.abs(x - predicted[i]!) <= PREDICTION_TOLERANCE * largest);
}

/** Returns c with a = c · b, and how many elements are large enough to support it; null if there is no such c. */
export function commonFactor(a: ElementArray, b: ElementArray): { value: number; support: number } | null {
  const largest = maxAbs(b);
  const largestAt = b.findIndex((x) => Math.abs(x) === largest);
  const ratio = a[largestAt]! / b[largestAt]!;
  const value = snapToWhole(ratio);
  const bound = PREDICTION_TOLERANCE * maxAbs(a, b);
  if (!Number.isFinite(ratio) || ratio === 0) return null;
  if (!a.every((x, i) => Math.abs(x - value * b[i]!) <= bound)) return null;
  return { value, support: b.filter((x) => Math.abs(x) > 100 * PREDICTION_TOLERANCE * largest).length };
}

/** Returns the whole number, or reciprocal of one, that c is closest to if within tolerance; else c. */
function snapToWhole(c: number): number {
  const near = [Math.round(c), 1 / Math.round(1 / c)].find(
    (x) => Number.isFinite(x) && x !== 0 && Math.abs(c / x - 1) < PREDICTION_TOLERANCE,
  );
  return near ?? c;
}

/** Returns whether analytic = c · numeric holds at another point too. */
export function factorHoldsElsewhere({ input }: Evidence, run: Run, c: number): boolean {
  const random = new Random(run.settings.seed, 2 ** 32 - 1);
  const directions = run.perturbed.map((p) => Float64Array.from(p.values, (x) => (1 + Math.abs(x)) * (0.5 + random.uniform())));
  return withAllInputsMoved(run, directions, 0.01, () => {
    const there = analyse('gradcheck', run);
    const found = commonFactor(there.gradients[run.perturbed.indexOf(input)]!, centralDifferences(run, there, input));
    return found?.value === c;
  });
}

/** Returns whether c is a whole number or, to nine digits, the reciprocal of one. */
export function isWholeOrReciprocal(c: number): boolean {
  return Number.isInteger(c) || Number.isInteger(Math.round(1e9 / c) / 1e9);
}
