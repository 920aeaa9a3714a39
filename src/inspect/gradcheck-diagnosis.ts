/**
 * What a wrong gradient looks like. Each hypothesis predicts the whole gradient from the right one, and is told only where
 * every element agrees with it closely: a gradient that looks like nothing known gets no diagnosis.
 */
import type { ElementArray } from '../core/dtype.ts';
import { rowMajorStrides, sameShape, unravelIndex, formatShape, type Shape } from '../core/shape.ts';
import { fromElements } from '../autograd/tensor.ts';
import type { Point } from './gradcheck-point.ts';
import { round } from './gradcheck-report.ts';
import { columnsOf, difference, evaluate, magnitude, type Analysis, type Row, type Run } from './gradcheck-run.ts';

/** One input's gradients, and which of them are wrong. */
interface Evidence {
  readonly name: string;
  readonly shape: Shape;
  readonly point: Point;
  readonly analytic: ElementArray;
  readonly numeric: Float64Array;
  /** Row-major numbers of the wrong elements. */
  readonly wrong: readonly number[];
}

/** Says what an error looks like, or null. */
type Hypothesis = (e: Evidence, run: Run, here: Analysis) => string | null;

/** How near to a prediction every element must be, as a part of the largest. */
const NEAR = 1e-4;
/** How many numbers are computed for a hypothesis at most. */
const AFFORDABLE = 200_000;

/** What the errors look like, one line each; inputs with the same error share one. */
export function diagnose(run: Run, here: Analysis, rows: readonly Row[]): string[] {
  const all = rows.flatMap((r): Evidence[] => {
    const k = run.points.findIndex((p) => p.input === r.row.input);
    if (r.numeric === null) return [];
    const { shape } = r.row;
    const strides = rowMajorStrides(shape);
    const wrong = r.failures.map((f) => f.index!.reduce((at, i, d) => at + i * strides[d]!, 0));
    return [{ name: r.row.name, shape, point: run.points[k]!, analytic: here.gradients[k]!, numeric: r.numeric, wrong }];
  });
  const open = all.filter((e) => e.wrong.length > 0);
  const said = new Map<string, string[]>();
  const say = (text: string, name: string): void => void said.set(text, [...(said.get(text) ?? []), name]);
  const simple = open.filter((e) => {
    const found = first([notFinite, zero, factor], e, run, here);
    if (found !== null) say(found, e.name);
    return found === null;
  });
  const pairs = exchanged(simple);
  const lines = [...said].map(([text, names]) => `${names.join(', ')}: ${text}`);
  lines.push(...pairs.map(([a, b]) => `${a.name} and ${b.name}: their gradients are exchanged`));
  said.clear();
  for (const e of simple.filter((x) => !pairs.some((p) => p.includes(x)))) {
    const found = first(HYPOTHESES, e, run, here);
    if (found !== null) say(found, e.name);
  }
  return [...lines, ...[...said].map(([text, names]) => `${names.join(', ')}: ${text}`)];
}

function first(hypotheses: readonly Hypothesis[], e: Evidence, run: Run, here: Analysis): string | null {
  for (const h of hypotheses) {
    const found = h(e, run, here);
    if (found !== null) return found;
  }
  return null;
}

// — hypotheses, from the plain to the involved —

const notFinite: Hypothesis = ({ analytic, numeric, shape }) => {
  const at = [...analytic.keys()].filter((i) => !Number.isFinite(analytic[i]!) && Number.isFinite(numeric[i]!));
  if (at.length === 0) return null;
  return `the gradient is ${analytic[at[0]!]} at ${formatShape(unravelIndex(at[0]!, shape))}, where the slope is finite`;
};

const zero: Hypothesis = ({ analytic }) =>
  analytic.every((x) => x === 0) ? 'the gradient is zero everywhere: nothing flows back (a detach(), a null, a forgotten path?)' : null;

/** Analytic = c · numeric. */
const factor: Hypothesis = ({ analytic, numeric, shape }, _, here) => {
  const c = ratioOf(analytic, numeric);
  if (c === null) return null;
  const { value, evidence } = c;
  // From one element any error is a factor; a whole one is hardly chance.
  if (evidence < (isNice(value) ? 1 : 3)) return null;
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
    moves.push([`the right values reversed along dim ${d}`, (x) => at(x, n - 1 - x[d]!)]);
    for (const by of [1, -1, 2, -2]) {
      if (Math.abs(by) >= n) continue;
      const to = (x: number[]): number => x[d]! - by;
      moves.push([`the right values shifted by ${by} along dim ${d}`, (x) => (to(x) < 0 || to(x) >= n ? null : at(x, to(x)))]);
      moves.push([`the right values rolled by ${by} along dim ${d}`, (x) => at(x, (to(x) + n) % n)]);
    }
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

/** The dims of `to` along which `shape` was broadcast; null if it does not broadcast to it. */
function broadcastDims(shape: Shape, to: Shape): number[] | null {
  const lead = to.length - shape.length;
  if (lead < 0 || shape.some((n, d) => n !== 1 && n !== to[lead + d])) return null;
  return [...to.keys()].filter((d) => to[d]! > 1 && (d < lead || shape[d - lead] === 1));
}

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

const complement: Hypothesis = ({ analytic, numeric }) => {
  const big = magnitude(numeric, analytic) * NEAR;
  const inside = numeric.filter((x) => Math.abs(x) > big).length;
  const opposite = numeric.every((x, i) => Math.abs(x) > big === (analytic[i] === 0));
  const some = inside > 0 && inside < numeric.length;
  return some && numeric.length > 3 && opposite
    ? 'zero exactly where the right one is not: the cases of a mask or where() are exchanged'
    : null;
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

function slopes(run: Run, here: Analysis, p: Point): Float64Array {
  const { eps } = run.settings;
  return Float64Array.from({ length: p.numel }, (_, i) => {
    const above = p.at(i, eps, () => evaluate(run, here).outputs);
    const below = p.at(i, -eps, () => evaluate(run, here).outputs);
    return difference(above, below, here.projection) / p.span(i, eps);
  });
}

/** One element, or one index along a dim, is wrong and all else right. */
const local: Hypothesis = ({ analytic, shape, wrong }) => {
  const n = analytic.length;
  if (n < 3 || wrong.length === n) return null;
  if (wrong.length === 1) return `only the element ${formatShape(unravelIndex(wrong[0]!, shape))} is wrong; the other ${n - 1} are right`;
  const indices = wrong.map((i) => unravelIndex(i, shape));
  const d = shape.findIndex((size, d) => wrong.length * size === n && indices.every((x) => x[d] === indices[0]![d]));
  return d < 0 ? null : `only index ${indices[0]![d]} along dim ${d} is wrong; the rest is right`;
};

/** The difference is the same all along some dims, as the gradient of a sum or mean over them is. */
const missingPath: Hypothesis = ({ analytic, numeric, shape }) => {
  const difference = analytic.map((x, i) => x - numeric[i]!);
  if (difference.length < 3) return null;
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

const HYPOTHESES: readonly Hypothesis[] = [reordered, unsummed, lostOutput, otherTransposed, complement, local, missingPath, factorAlong];

/** Pairs of inputs of one shape, each with the other's gradient. */
function exchanged(open: readonly Evidence[]): [Evidence, Evidence][] {
  const pairs: [Evidence, Evidence][] = [];
  for (const a of open) {
    if (pairs.some((p) => p.includes(a))) continue;
    const b = open.find((x) => x !== a && sameShape(x.shape, a.shape) && has(a, x) && has(x, a));
    if (b !== undefined) pairs.push([a, b]);
  }
  return pairs;
}

function has(a: Evidence, b: Evidence): boolean {
  return predicts(a.analytic, (i) => b.numeric[i]!);
}

/** Whether `f` gives every element, and at least two of them are not near 0. */
function predicts(analytic: ElementArray, f: (i: number) => number): boolean {
  const predicted = Float64Array.from(analytic, (_, i) => f(i));
  const largest = magnitude(analytic, predicted);
  const near = analytic.every((x, i) => Math.abs(x - predicted[i]!) <= NEAR * largest);
  return near && predicted.filter((x) => Math.abs(x) > NEAR * largest).length >= Math.min(2, analytic.length);
}

/** c with a = c · b, and how many elements say so; null if there is none. */
function ratioOf(a: ElementArray, b: ElementArray): { value: number; evidence: number } | null {
  const largest = magnitude(b);
  const at = b.findIndex((x) => Math.abs(x) === largest);
  const ratio = a[at]! / b[at]!;
  const nice = niceOf(ratio);
  const bound = NEAR * magnitude(a, b);
  if (!Number.isFinite(ratio) || ratio === 0 || !a.every((x, i) => Math.abs(x - nice * b[i]!) <= bound)) return null;
  return { value: nice, evidence: b.filter((x) => Math.abs(x) > 100 * NEAR * largest).length };
}

/** A whole number or one over a whole number where c is that near to one, else c. */
function niceOf(c: number): number {
  const near = [Math.round(c), 1 / Math.round(1 / c)].find((x) => Number.isFinite(x) && x !== 0 && Math.abs(c / x - 1) < NEAR);
  return near ?? c;
}

function isNice(c: number): boolean {
  return Number.isInteger(c) || Number.isInteger(Math.round(1e9 / c) / 1e9);
}
