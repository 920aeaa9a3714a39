/**
 * What a wrong gradient can look like. Each hypothesis predicts the whole gradient from the right one, or from more differences.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { formatShape, rowMajorStrides, type Shape } from '../../core/shape.ts';
import { fromElements } from '../../autograd/tensor.ts';
import { AFFORDABLE, NEAR, broadcastDims, holdsElsewhere, isWhole, predicts, ratioOf, slopes, sumTo, type Evidence } from './evidence.ts';
import { round } from './report.ts';
import { columnsOf, magnitude, type Analysis, type Run } from './run.ts';
import { unravelIndex } from '../unravel-index.ts';

/** Says what an error looks like, or null. */
export type Hypothesis = (e: Evidence, run: Run, here: Analysis) => string | null;

const notFinite: Hypothesis = ({ analytic, numeric, shape }) => {
  const at = [...analytic.keys()].filter((i) => !Number.isFinite(analytic[i]!) && Number.isFinite(numeric[i]!));
  if (at.length === 0) return null;
  return `the gradient is ${analytic[at[0]!]} at ${formatShape(unravelIndex(at[0]!, shape))}, where the slope is finite`;
};

const zero: Hypothesis = ({ analytic }) =>
  analytic.every((x) => x === 0) ? 'the gradient is zero everywhere: nothing flows back (a detach(), a null, a forgotten path?)' : null;

/** Analytic = c · numeric. */
const factor: Hypothesis = (e, run, here) => {
  const { analytic, numeric, shape } = e;
  const c = ratioOf(analytic, numeric);
  if (c === null) return null;
  const { value, evidence } = c;
  // From one element any error is a factor: then a whole one counts, if it is the same elsewhere.
  if (evidence < 3 && !(isWhole(value) && holdsElsewhere(e, run, value))) return null;
  if (value === -1) return 'the sign is wrong';
  const sign = value < 0 ? ', and its sign is wrong' : '';
  const size = Math.abs(value);
  const n = analytic.length;
  const times = `the gradient is ${round(value)} times the right one`;
  if (size > 1) {
    const missing =
      size === n && n > 2
        ? `a division by ${n}, its number of elements ${formatShape(shape)}, is missing`
        : `a factor ${round(size)} too much`;
    return `${times}: ${missing}${sign}`;
  }
  const whole = Math.round(1 / size);
  const repeated = here.shapes.some((to) => (broadcastDims(shape, to)?.reduce((n, d) => n * to[d]!, 1) ?? 1) === whole);
  if (repeated && whole > 1 && value > 0) return `${times}: averaged over ${whole} repetitions by broadcasting, where the sum belongs`;
  return `${times}: a factor ${Math.abs(1 / size - whole) < 1e-3 ? whole : round(1 / size)} is missing${sign}`;
};

/** The same numbers in another order: two dims exchanged, a dim reversed, or moved along a dim. */
const reordered: Hypothesis = ({ analytic, numeric, shape }) => {
  const moves: [string, (index: number[]) => number[] | null][] = [];
  shape.forEach((n, d) => {
    if (n < 2) return;
    const at = (index: number[], to: number): number[] => index.map((i, j) => (j === d ? to : i));
    shape.forEach((m, e) => {
      if (e > d && m === n) {
        const swap = (x: number[]): number[] => x.map((i, j) => (j === d ? x[e]! : j === e ? x[d]! : i));
        moves.push([`the right values transposed: dims ${d} and ${e} are exchanged`, swap]);
      }
    });
    for (const by of [1, -1, 2, -2]) {
      if (Math.abs(by) >= n) continue;
      const to = (x: number[]): number => x[d]! - by;
      moves.push([`the right values shifted by ${by} along dim ${d}`, (x) => (to(x) < 0 || to(x) >= n ? null : at(x, to(x)))]);
      moves.push([`the right values rolled by ${by} along dim ${d}`, (x) => at(x, (to(x) + n) % n)]);
    }
    moves.push([`the right values reversed along dim ${d}`, (x) => at(x, n - 1 - x[d]!)]);
  });
  const strides = rowMajorStrides(shape);
  const value = (index: number[] | null): number => (index === null ? 0 : numeric[index.reduce((s, i, d) => s + i * strides[d]!, 0)]!);
  const found = moves.find(([, from]) => predicts(analytic, (i) => value(from(unravelIndex(i, shape)))));
  return found?.[0] ?? transposedLayout(analytic, numeric, shape);
};

/** [R,C] whose numbers lie as [C,R]. */
function transposedLayout(analytic: ElementArray, numeric: Float64Array, shape: Shape): string | null {
  if (shape.length !== 2) return null;
  const [R, C] = shape as [number, number];
  const transposed = predicts(analytic, (i) => numeric[(i % R) * C + Math.floor(i / R)]!);
  return transposed ? `the right values in the order of [${C},${R}]: transposed` : null;
}

/** Only the first (or last) of what broadcasting repeated arrives, instead of the sum. */
const unsummed: Hypothesis = (e, run, here) => {
  const masks = here.shapes.map((to) => broadcastDims(e.shape, to));
  if (masks.every((dims) => dims === null || dims.length === 0)) return null;
  for (const which of ['first', 'last'] as const) {
    const kept = here.projection.map((v, k) => {
      const to = here.shapes[k]!;
      const cut = masks[k] ?? [];
      return v.map((x, j) => {
        const index = unravelIndex(j, to);
        return cut.every((d) => index[d] === (which === 'first' ? 0 : to[d]! - 1)) ? x : 0;
      });
    });
    if (!explains(e, run, here, kept)) continue;
    const k = masks.findIndex((dims) => dims !== null && dims.length > 0);
    return (
      `broadcast to ${formatShape(here.shapes[k]!)}, and only the ${which} of what belongs together arrives: ` +
      `the sum over dims ${formatShape(masks[k]!)} is missing`
    );
  }
  return null;
};

/** Of several outputs, some give nothing back. */
const lostOutput: Hypothesis = (e, run, here) => {
  if (here.shapes.length < 2) return null;
  const lost = here.shapes.findIndex((_, out) =>
    explains(
      e,
      run,
      here,
      here.projection.map((v, k) => (k === out ? v.map(() => 0) : v)),
    ),
  );
  return lost < 0 ? null : `nothing arrives from output ${lost}`;
};

/** Whether the analytic gradient is the right one of ⟨v, y⟩ for another v. */
function explains(e: Evidence, run: Run, here: Analysis, v: readonly ElementArray[]): boolean {
  const outputs = here.projection.reduce((n, p) => n + p.length, 0);
  if (e.analytic.length * outputs > AFFORDABLE) return false;
  const flat = v.flatMap((x) => Array.from(x));
  const columns = columnsOf(run, here, e.point);
  return predicts(e.analytic, (i) => columns[i]!.reduce((sum, x, j) => sum + x * flat[j]!, 0));
}

/** Of g, just the part that belongs to the other case. */
const complement: Hypothesis = ({ analytic, numeric, shape }, _, here) => {
  const text = 'it gets what belongs to the other case: the cases of a mask or of where() are exchanged';
  const least = magnitude(numeric, analytic) * NEAR;
  const inside = numeric.filter((x) => Math.abs(x) > least).length;
  const opposite = numeric.every((x, i) => Math.abs(x) > least === (analytic[i] === 0));
  if (opposite && inside > 0 && inside < numeric.length) return text;
  const to = here.shapes[0]!;
  if (here.shapes.length > 1 || broadcastDims(shape, to) === null) return null;
  const whole = sumTo(here.projection[0]!, to, shape);
  return predicts(analytic, (i) => whole[i]! - numeric[i]!) ? text : null;
};

/** The gradient that would be right if another, square input were transposed. */
const otherTransposed: Hypothesis = (e, run, here) => {
  const at = run.inputs.findIndex((x, j) => {
    const [r, c] = x.shape.slice(-2);
    if (j >= run.subject.given || j === e.point.input || x.dtype !== 'float64' || x.ndim < 2 || r !== c || r! < 2) return false;
    if (e.analytic.length * here.projection.reduce((n, p) => n + p.length, 0) > AFFORDABLE) return false;
    const values = x.transpose(-2, -1).data();
    const other = fromElements(values, x.shape, x.dtype);
    const inputs = run.inputs.map((y, i) => (i === j ? other : y));
    const slope = slopes({ ...run, inputs }, here, e.point);
    other.dispose();
    return predicts(e.analytic, (i) => slope[i]!);
  });
  return at < 0
    ? null
    : `the gradient that would be right if ${run.subject.names[at]} were transposed: a transpose is missing, or one too much`;
};

/** One element, or one index along a dim, is wrong and all else right. */
const local: Hypothesis = ({ analytic, shape, wrong }) => {
  const n = analytic.length;
  // What is zero anyway cannot count as right.
  if (n < 3 || !analytic.some((x, i) => x !== 0 && !wrong.includes(i))) return null;
  if (wrong.length === 1) return `only the element ${formatShape(unravelIndex(wrong[0]!, shape))} is wrong; the other ${n - 1} are right`;
  const indices = wrong.map((i) => unravelIndex(i, shape));
  const d = shape.findIndex((size, d) => wrong.length * size === n && indices.every((x) => x[d] === indices[0]![d]));
  return d < 0 ? null : `only index ${indices[0]![d]} along dim ${d} is wrong; the rest is right`;
};

/** The difference is the same all along some dims, as the gradient of a sum or mean over them is. */
const missingPath: Hypothesis = ({ analytic, numeric, shape }) => {
  const difference = analytic.map((x, i) => x - numeric[i]!);
  const strides = rowMajorStrides(shape);
  const largest = magnitude(difference);
  const dims = [...shape.keys()].filter(
    (d) =>
      shape[d]! > 1 &&
      difference.every((x, i) => Math.abs(x - difference[i - unravelIndex(i, shape)[d]! * strides[d]!]!) <= NEAR * largest),
  );
  if (dims.length === 0) return null;
  return `off by an amount that is constant along dims ${formatShape(dims)}: a path through a sum or mean over them is missing or wrong`;
};

/** A factor for each index along a dim. */
const factorAlong: Hypothesis = ({ analytic, numeric, shape }) => {
  const d = shape.findIndex((n, d) => {
    if (n < 2 || analytic.length < 2 * n) return false;
    return Array.from({ length: n }, (_, k) => k).every((k) => {
      const inside = [...analytic.keys()].filter((i) => unravelIndex(i, shape)[d] === k);
      const c = ratioOf(
        Float64Array.from(inside, (i) => analytic[i]!),
        Float64Array.from(inside, (i) => numeric[i]!),
      );
      return c !== null && c.evidence >= 2;
    });
  });
  return d < 0 ? null : `off by a factor that depends on the index along dim ${d} alone`;
};

/** What needs a look at one input alone, and says all there is to say. */
export const SIMPLE: readonly Hypothesis[] = [notFinite, zero, factor];

/** The others, from the plain to the involved: the first that holds is told. */
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
