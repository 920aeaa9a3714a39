/**
 * Hypotheses about wrong gradients. Each predicts the whole wrong gradient from the numeric one, or from further differences.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { formatShape, rowMajorStrides, type Shape } from '../../core/shape.ts';
import { fromElements, type Tensor } from '../../autograd/tensor.ts';
import {
  MAX_JACOBIAN_SIZE,
  PREDICTION_TOLERANCE,
  agreesWith,
  broadcastDims,
  centralDifferences,
  commonFactor,
  factorHoldsElsewhere,
  isWholeOrReciprocal,
  oneSidedSlopes,
  sumToShape,
  type Evidence,
} from './evidence.ts';
import { formatRounded } from './report.ts';
import { jacobianColumns, maxAbs, type Analysis, type Run } from './run.ts';
import { unravelIndex } from '../unravel-index.ts';

/** Returns a description of the error if the evidence matches the hypothesis, else null. */
export type Hypothesis = (e: Evidence, run: Run, analysis: Analysis) => string | null;

/** The gradient is NaN or infinite where the slope is finite. */
const notFinite: Hypothesis = ({ analytic, numeric, shape }) => {
  const first = analytic.findIndex((x, i) => !Number.isFinite(x) && Number.isFinite(numeric[i]!));
  if (first < 0) return null;
  return `the gradient is ${analytic[first]} at ${formatShape(unravelIndex(first, shape))}, where the slope is finite`;
};

/**
 * At every wrong element the slopes to the left and to the right differ, and the gradient is one of them or between: a kink. An op with
 * `branch` would have reported it. Unlike a kink's, the difference of a curve's slopes shrinks with the step.
 */
const unreportedKink: Hypothesis = ({ input, analytic, wrong, shape }, run, analysis) => {
  const { eps, atol, rtol } = run.settings;
  const isKink = (i: number): boolean => {
    const { left, right } = oneSidedSlopes(run, analysis, input, i, eps);
    const tolerance = atol + rtol * Math.max(Math.abs(left), Math.abs(right));
    const isBetween = analytic[i]! >= Math.min(left, right) - tolerance && analytic[i]! <= Math.max(left, right) + tolerance;
    if (!isBetween || !(Math.abs(right - left) > 2 * tolerance)) return false;
    const closer = oneSidedSlopes(run, analysis, input, i, eps / 4);
    return Math.abs(closer.right - closer.left) > Math.abs(right - left) / 2;
  };
  if (!wrong.every(isKink)) return null;
  const { left, right } = oneSidedSlopes(run, analysis, input, wrong[0]!, eps);
  const where = `${formatShape(unravelIndex(wrong[0]!, shape))}${wrong.length > 1 ? ` and ${wrong.length - 1} more` : ''}`;
  return (
    `a kink at ${where} that no op reported: the slope is ${formatRounded(left)} to its left and ${formatRounded(right)} to its right, ` +
    "and a gradient between them may be right; report it with defineOp's branch, or check elsewhere"
  );
};

/** The gradient agrees with the differences of another step. */
const otherStep: Hypothesis = ({ input, analytic }, run, analysis) => {
  const { eps, atol, rtol } = run.settings;
  const agreesAt = (other: number): boolean => {
    const numeric = centralDifferences({ ...run, settings: { ...run.settings, eps: other } }, analysis, input);
    return analytic.every((x, i) => Math.abs(x - numeric[i]!) <= atol + rtol * Math.abs(numeric[i]!));
  };
  const found = [eps / 8, USUAL_STEP].find((other) => other !== eps && agreesAt(other));
  if (found === undefined) return null;
  const why = found < eps ? 'too large for the curvature here, or a kink lies within it' : 'so small that rounding dominates';
  return `the gradient agrees with the differences of eps ${formatRounded(found)}: eps ${formatRounded(eps)} is ${why}`;
};

/** The default of eps. In float64 rounding and curvature are both small there for most functions. */
const USUAL_STEP = 1e-6;

/** The gradient is zero everywhere. */
const zero: Hypothesis = ({ analytic }) =>
  analytic.every((x) => x === 0) ? 'the gradient is zero everywhere: nothing flows back (a detach(), a null, a forgotten path?)' : null;

/** The gradient is a multiple of the right one: analytic = c · numeric. */
const factor: Hypothesis = (e, run, analysis) => {
  const { analytic, numeric, shape } = e;
  const c = commonFactor(analytic, numeric);
  if (c === null) return null;
  const { value, support } = c;
  // With one or two elements any error is a factor. Then only a whole factor counts, and only if it also holds at another point.
  if (support < 3 && !(isWholeOrReciprocal(value) && factorHoldsElsewhere(e, run, value))) return null;
  if (value === -1) return 'the sign is wrong';
  const sign = value < 0 ? ', and its sign is wrong' : '';
  const size = Math.abs(value);
  const n = analytic.length;
  const times = `the gradient is ${formatRounded(value)} times the right one`;
  if (size > 1) {
    const divisionMissing = size === n && n > 2;
    if (divisionMissing) return `${times}: a division by ${n}, its number of elements ${formatShape(shape)}, is missing${sign}`;
    return `${times}: a factor ${formatRounded(size)} too much${sign}`;
  }
  const whole = Math.round(1 / size);
  const averaged = whole > 1 && value > 0 && analysis.shapes.some((to) => repetitions(shape, to) === whole);
  if (averaged) return `${times}: averaged over ${whole} repetitions by broadcasting, where the sum belongs`;
  const missingFactor = Math.abs(1 / size - whole) < 1e-3 ? whole : formatRounded(1 / size);
  return `${times}: a factor ${missingFactor} is missing${sign}`;
};

/** Returns how often broadcasting from `shape` to `to` repeats each element; 1 if it does not broadcast. */
function repetitions(shape: Shape, to: Shape): number {
  const dims = broadcastDims(shape, to) ?? [];
  return dims.reduce((n, d) => n * to[d]!, 1);
}

/** A reordering of elements: the source index of each index, null for a source outside the array. */
interface Reordering {
  readonly text: string;
  readonly source: (index: readonly number[]) => readonly number[] | null;
}

/** The right values are in another order: two dims exchanged, a dim reversed, or all moved along a dim. */
const reordered: Hypothesis = ({ analytic, numeric, shape }) => {
  const strides = rowMajorStrides(shape);
  const valueAt = (index: readonly number[] | null): number => {
    if (index === null) return 0;
    return numeric[index.reduce((position, i, d) => position + i * strides[d]!, 0)]!;
  };
  const reorderings = shape.flatMap((_, d) => [...exchangesOf(d, shape), ...movesAlong(d, shape)]);
  const found = reorderings.find(({ source }) => agreesWith(analytic, (i) => valueAt(source(unravelIndex(i, shape)))));
  return found?.text ?? transposedLayout(analytic, numeric, shape);
};

/** The exchanges of dim d with a later dim of equal size. */
function exchangesOf(d: number, shape: Shape): Reordering[] {
  const n = shape[d]!;
  if (n < 2) return [];
  const partners = [...shape.keys()].filter((e) => e > d && shape[e] === n);
  return partners.map((e) => ({
    text: `the right values transposed: dims ${d} and ${e} are exchanged`,
    source: (index) => {
      const exchanged = [...index];
      exchanged[d] = index[e]!;
      exchanged[e] = index[d]!;
      return exchanged;
    },
  }));
}

/** Shifts and rolls along dim d by at most 2, and its reversal. */
function movesAlong(d: number, shape: Shape): Reordering[] {
  const n = shape[d]!;
  if (n < 2) return [];
  const withIndex = (index: readonly number[], i: number): number[] => index.map((old, e) => (e === d ? i : old));
  const moves = [1, -1, 2, -2]
    .filter((by) => Math.abs(by) < n)
    .flatMap((by): Reordering[] => [
      {
        text: `the right values shifted by ${by} along dim ${d}`,
        source: (index) => {
          const i = index[d]! - by;
          return i < 0 || i >= n ? null : withIndex(index, i);
        },
      },
      {
        text: `the right values rolled by ${by} along dim ${d}`,
        source: (index) => withIndex(index, (index[d]! - by + n) % n),
      },
    ]);
  const reversal = {
    text: `the right values reversed along dim ${d}`,
    source: (index: readonly number[]) => withIndex(index, n - 1 - index[d]!),
  };
  return [...moves, reversal];
}

/** The values of a matrix [R,C] are stored in the order of its transpose [C,R]. */
function transposedLayout(analytic: ElementArray, numeric: Float64Array, shape: Shape): string | null {
  if (shape.length !== 2) return null;
  const [R, C] = shape as [number, number];
  const transposed = agreesWith(analytic, (i) => numeric[(i % R) * C + Math.floor(i / R)]!);
  return transposed ? `the right values in the order of [${C},${R}]: transposed` : null;
}

/** Broadcasting is undone by taking the first (or last) repetition instead of the sum. */
const unsummed: Hypothesis = (e, run, analysis) => {
  const broadcast = analysis.shapes.map((to) => broadcastDims(e.shape, to));
  if (broadcast.every((dims) => dims === null || dims.length === 0)) return null;
  for (const which of ['first', 'last'] as const) {
    const kept = analysis.projection.map((v, k) => keepOneRepetition(v, analysis.shapes[k]!, broadcast[k] ?? [], which));
    if (!explains(e, run, analysis, kept)) continue;
    const k = broadcast.findIndex((dims) => dims !== null && dims.length > 0);
    return (
      `broadcast to ${formatShape(analysis.shapes[k]!)}, and only the ${which} of what belongs together arrives: ` +
      `the sum over dims ${formatShape(broadcast[k]!)} is missing`
    );
  }
  return null;
};

/** Sets all elements of v to 0 except those with the first (or last) index along every dim of `dims`. */
function keepOneRepetition(v: ElementArray, shape: Shape, dims: readonly number[], which: 'first' | 'last'): ElementArray {
  return v.map((x, j) => {
    const index = unravelIndex(j, shape);
    const isKept = dims.every((d) => index[d] === (which === 'first' ? 0 : shape[d]! - 1));
    return isKept ? x : 0;
  });
}

/** One of several outputs contributes no gradient. */
const lostOutput: Hypothesis = (e, run, analysis) => {
  if (analysis.shapes.length < 2) return null;
  const lost = analysis.shapes.findIndex((_, output) => {
    const without = analysis.projection.map((v, k) => (k === output ? v.map(() => 0) : v));
    return explains(e, run, analysis, without);
  });
  return lost < 0 ? null : `nothing arrives from output ${lost}`;
};

/** Returns whether the analytic gradient is that of ⟨v, y⟩ for the given v instead of the projection. */
function explains(e: Evidence, run: Run, analysis: Analysis, v: readonly ElementArray[]): boolean {
  const outputs = analysis.projection.reduce((n, p) => n + p.length, 0);
  if (e.analytic.length * outputs > MAX_JACOBIAN_SIZE) return false;
  const flat = v.flatMap((x) => Array.from(x));
  const columns = jacobianColumns(run, analysis, e.input);
  return agreesWith(e.analytic, (i) => columns[i]!.reduce((sum, x, j) => sum + x * flat[j]!, 0));
}

/** The gradient goes to the wrong case of a mask or where(). */
const complement: Hypothesis = ({ analytic, numeric, shape }, _, analysis) => {
  const text = 'it gets what belongs to the other case: the cases of a mask or of where() are exchanged';
  const threshold = maxAbs(numeric, analytic) * PREDICTION_TOLERANCE;
  const nonzero = numeric.filter((x) => Math.abs(x) > threshold).length;
  const opposite = numeric.every((x, i) => Math.abs(x) > threshold === (analytic[i] === 0));
  if (opposite && nonzero > 0 && nonzero < numeric.length) return text;
  const outputShape = analysis.shapes[0]!;
  if (analysis.shapes.length > 1 || broadcastDims(shape, outputShape) === null) return null;
  const incoming = sumToShape(analysis.projection[0]!, outputShape, shape);
  return agreesWith(analytic, (i) => incoming[i]! - numeric[i]!) ? text : null;
};

/** The gradient is right for a function in which another, square input is transposed. */
const otherTransposed: Hypothesis = (e, run, analysis) => {
  const outputs = analysis.projection.reduce((n, v) => n + v.length, 0);
  if (e.analytic.length * outputs > MAX_JACOBIAN_SIZE) return null;
  const transposed = run.inputs.findIndex((x, j) => {
    if (j >= run.subject.argumentCount || j === e.input.index || !isSquare(x)) return false;
    const values = x.transpose(-2, -1).data();
    const other = fromElements(values, x.shape, x.dtype);
    const inputs = run.inputs.map((y, i) => (i === j ? other : y));
    const slope = centralDifferences({ ...run, inputs }, analysis, e.input);
    other.dispose();
    return agreesWith(e.analytic, (i) => slope[i]!);
  });
  if (transposed < 0) return null;
  return `the gradient that would be right if ${run.subject.names[transposed]} were transposed: a transpose is missing, or one too much`;
};

/** Returns whether x is a float64 stack of square matrices larger than 1×1. */
function isSquare(x: Tensor): boolean {
  if (x.dtype !== 'float64' || x.ndim < 2) return false;
  const [rows, columns] = x.shape.slice(-2);
  return rows === columns && rows! >= 2;
}

/** Only one element, or one index along a dim, is wrong. */
const local: Hypothesis = ({ analytic, shape, wrong }) => {
  const n = analytic.length;
  // Zeros do not count as right: at least one nonzero element must be.
  if (n < 3 || !analytic.some((x, i) => x !== 0 && !wrong.includes(i))) return null;
  if (wrong.length === 1) return `only the element ${formatShape(unravelIndex(wrong[0]!, shape))} is wrong; the other ${n - 1} are right`;
  const indices = wrong.map((i) => unravelIndex(i, shape));
  const d = shape.findIndex((size, d) => wrong.length * size === n && indices.every((x) => x[d] === indices[0]![d]));
  return d < 0 ? null : `only index ${indices[0]![d]} along dim ${d} is wrong; the rest is right`;
};

/** The error is constant along some dims, as is the gradient of a sum or mean over them. */
const missingPath: Hypothesis = ({ analytic, numeric, shape }) => {
  const difference = analytic.map((x, i) => x - numeric[i]!);
  const strides = rowMajorStrides(shape);
  const largest = maxAbs(difference);
  const isConstantAlong = (d: number): boolean =>
    difference.every((x, i) => {
      const firstAlongDim = i - unravelIndex(i, shape)[d]! * strides[d]!;
      return Math.abs(x - difference[firstAlongDim]!) <= PREDICTION_TOLERANCE * largest;
    });
  const dims = [...shape.keys()].filter((d) => shape[d]! > 1 && isConstantAlong(d));
  if (dims.length === 0) return null;
  return `off by an amount that is constant along dims ${formatShape(dims)}: a path through a sum or mean over them is missing or wrong`;
};

/** The gradient is off by a factor that depends only on the index along one dim. */
const factorAlong: Hypothesis = ({ analytic, numeric, shape }) => {
  const hasFactorAt = (d: number, index: number): boolean => {
    const slice = [...analytic.keys()].filter((i) => unravelIndex(i, shape)[d] === index);
    const c = commonFactor(
      Float64Array.from(slice, (i) => analytic[i]!),
      Float64Array.from(slice, (i) => numeric[i]!),
    );
    return c !== null && c.support >= 2;
  };
  const d = shape.findIndex((n, d) => {
    if (n < 2 || analytic.length < 2 * n) return false;
    return Array.from({ length: n }, (_, index) => index).every((index) => hasFactorAt(d, index));
  });
  return d < 0 ? null : `off by a factor that depends on the index along dim ${d} alone`;
};

/** Hypotheses that need only one input's gradients, and explain its error completely. */
export const SIMPLE: readonly Hypothesis[] = [notFinite, unreportedKink, otherStep, zero, factor];

/** The other hypotheses, from simple to involved; the first that matches is reported. */
export const INVOLVED: readonly Hypothesis[] = [
  reordered,
  unsummed,
  lostOutput,
  otherTransposed,
  complement,
  local,
  missingPath,
  factorAlong,
];
