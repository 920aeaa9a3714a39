/**
 * The numerical side of a gradient check: evaluations, one backward, central differences.
 */
import { type ElementArray, type DType } from '../../core/dtype.ts';
import { AutogradError } from '../../core/errors.ts';
import { Random } from '../../core/random.ts';
import type { Shape } from '../../core/shape.ts';
import { grad } from '../../autograd/backward.ts';
import { scope } from '../../autograd/lifetime.ts';
import { logBranches } from '../../autograd/op.ts';
import { fromElements, isTensor, type Tensor } from '../../autograd/tensor.ts';
import { withSameState, type Point, type Subject } from './point.ts';
import type { GradcheckElement, GradcheckInput, Settings } from './report.ts';
import { unravelIndex } from '../unravel-index.ts';

/** One check: the subject, at `inputs`, in which points have taken the place of what moves. */
export interface Run {
  readonly subject: Subject;
  readonly inputs: readonly Tensor[];
  readonly points: readonly Point[];
  readonly settings: Settings;
}

/** One forward, one backward. */
export interface Analysis {
  /** For each point, the gradient of ⟨v, y⟩, row-major. */
  readonly gradients: readonly ElementArray[];
  /** v, for each differentiable output. */
  readonly projection: readonly ElementArray[];
  /** The shapes of these outputs. */
  readonly shapes: readonly Shape[];
  /** Which outputs have a gradient: the others are not looked at. */
  readonly differentiable: readonly boolean[];
  readonly branches: readonly Float64Array[];
}

export interface Evaluation {
  readonly outputs: readonly ElementArray[];
  readonly branches: readonly Float64Array[];
}

/** What the comparison of one input found: its row, or a kink that makes it meaningless. */
export type Compared = { readonly kink: Place } | Row;
export type Place = Pick<GradcheckElement, 'input' | 'name' | 'label' | 'index'>;

export interface Row {
  readonly kink: null;
  readonly row: GradcheckInput;
  readonly failures: readonly GradcheckElement[];
  /** All central differences, row-major; null where only a projection was compared. */
  readonly numeric: Float64Array | null;
}

/** Runs `fn` on what the subject returns, recorded. */
export function withResult<T>(run: Run, fn: (outputs: readonly Tensor[], branches: readonly Float64Array[]) => T): T {
  return scope(() =>
    withSameState(run.subject.buffers, () => {
      const { result, branches } = logBranches(() => run.subject.call(run.inputs));
      return fn(isTensor(result) ? [result] : result, branches);
    }),
  );
}

export function analyse(name: string, run: Run): Analysis {
  return withResult(run, (all, branches) => {
    const outputs = all.filter((y) => y.requiresGrad);
    if (outputs.length === 0)
      throw new AutogradError(`${name}: no output of the function requires a gradient: it does not depend on the inputs, or was detached`);
    const random = new Random(run.settings.seed, 0);
    const gradOutputs = outputs.map((y) => randomSigned(random, y.shape, y.dtype));
    return {
      gradients: gradientsOf(run, outputs, gradOutputs),
      projection: gradOutputs.map((v) => v.data()),
      shapes: outputs.map((y) => [...y.shape]),
      differentiable: all.map((y) => y.requiresGrad),
      branches,
    };
  });
}

/** The gradients with respect to the points, the graph left as it is; an input that the outputs do not depend on has one of 0. */
export function gradientsOf(run: Run, outputs: readonly Tensor[], gradOutputs: readonly Tensor[]): ElementArray[] {
  const at = run.points.map((p) => p.tensor);
  const found = grad(outputs, at, { gradOutputs, allowUnused: true, retainGraph: true });
  return found.map((g, k) => g?.data() ?? new Float64Array(run.points[k]!.numel));
}

export function evaluate(run: Run, here: Analysis): Evaluation {
  return withResult(run, (all, branches) => ({ outputs: all.filter((_, i) => here.differentiable[i]).map((y) => y.data()), branches }));
}

/** Compares every element of a point; ends at the first kink. */
export function compareElements(run: Run, here: Analysis, k: number): Compared {
  const { eps, atol, rtol } = run.settings;
  const p = run.points[k]!;
  const found: GradcheckElement[] = [];
  const numerics = new Float64Array(p.numel);
  for (let i = 0; i < p.numel; i++) {
    const above = p.at(i, eps, () => evaluate(run, here));
    const below = p.at(i, -eps, () => evaluate(run, here));
    const at = { ...placeOf(run, p), index: unravelIndex(i, p.tensor.shape) };
    if (!sameBranches(above, here) || !sameBranches(below, here)) return { kink: at };
    const numeric = difference(above.outputs, below.outputs, here.projection) / p.span(i, eps);
    const analytic = here.gradients[k]![i]!;
    numerics[i] = numeric;
    found.push({ ...at, analytic, numeric, error: Math.abs(analytic - numeric), tolerance: atol + rtol * Math.abs(numeric) });
  }
  return { ...rowOf(run, p, found), numeric: numerics };
}

/** Compares ⟨u, gradient⟩ for one random direction u of length 1 with the slope along it. */
export function compareProjection(run: Run, here: Analysis, k: number): Compared {
  const { eps, atol, rtol, seed } = run.settings;
  const p = run.points[k]!;
  const at = { ...placeOf(run, p), index: null };
  if (p.numel === 0) return { ...rowOf(run, p, []), numeric: null };
  const random = new Random(seed, 3 + k);
  const drawn = Float64Array.from({ length: p.numel }, () => random.normal());
  const length = Math.hypot(...drawn);
  const u = drawn.map((x) => x / length);
  const above = p.along(u, eps, () => evaluate(run, here));
  const below = p.along(u, -eps, () => evaluate(run, here));
  if (!sameBranches(above, here) || !sameBranches(below, here)) return { kink: at };
  const numeric = difference(above.outputs, below.outputs, here.projection) / (2 * eps);
  const analytic = dot(u, here.gradients[k]!);
  // Each element may be off by atol: so may their sum, weighted with |u|.
  const tolerance = atol * u.reduce((sum, x) => sum + Math.abs(x), 0) + rtol * Math.abs(numeric);
  return { ...rowOf(run, p, [{ ...at, analytic, numeric, error: Math.abs(analytic - numeric), tolerance }]), numeric: null };
}

function placeOf(run: Run, p: Point): Omit<Place, 'index'> {
  return { input: p.input, name: run.subject.names[p.input]!, label: run.subject.labels[p.input]! };
}

function rowOf(run: Run, p: Point, found: readonly GradcheckElement[]): Omit<Row, 'numeric'> {
  const failures = found.filter((e) => !(e.error <= e.tolerance));
  const worst = found.reduce<GradcheckElement | null>((a, b) => (a === null || used(b) > used(a) ? b : a), null);
  const row = { ...placeOf(run, p), shape: p.tensor.shape, checked: found.length, wrong: failures.length, worst };
  return { kink: null, row, failures };
}

/** Which part of its tolerance an element used; NaN is wrong. */
export function used({ error, tolerance }: GradcheckElement): number {
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error / tolerance;
}

/** For each element of a point, the central difference of every output element, all outputs in a row. */
export function columnsOf(run: Run, here: Analysis, p: Point): Float64Array[] {
  const { eps } = run.settings;
  return Array.from({ length: p.numel }, (_, i) => {
    const above = p.at(i, eps, () => evaluate(run, here).outputs);
    const below = p.at(i, -eps, () => evaluate(run, here).outputs);
    return Float64Array.from(above.flatMap((a, k) => Array.from(a, (x, j) => (x - below[k]![j]!) / p.span(i, eps))));
  });
}

/** Runs `fn` with all points moved by h times their directions. */
export function allMoved<T>(run: Run, directions: readonly Float64Array[], h: number, fn: () => T): T {
  const inner = run.points.reduceRight<() => T>((then, p, k) => () => p.along(directions[k]!, h, then), fn);
  return inner();
}

/** Numbers from ±[0.5, 1.5): none so small that it would hide an error. */
export function randomSigned(random: Random, shape: Shape, dtype: DType): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: n }, () => (random.uniform() < 0.5 ? -1 : 1) * (0.5 + random.uniform()));
  return fromElements(values, [...shape], dtype);
}

/** ⟨v, above − below⟩: differences first, so that large outputs cancel exactly. */
export function difference(above: readonly ElementArray[], below: readonly ElementArray[], v: readonly ElementArray[]): number {
  let sum = 0;
  above.forEach((a, k) => {
    for (let i = 0; i < a.length; i++) sum += v[k]![i]! * (a[i]! - below[k]![i]!);
  });
  return sum;
}

/** The largest absolute value; 0 of nothing. What is not finite does not count. */
export function magnitude(...arrays: readonly ElementArray[]): number {
  let largest = 0;
  for (const a of arrays) for (const x of a) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  return largest;
}

export function dot(a: ElementArray, b: ElementArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export function sameBranches({ branches: a }: Pick<Evaluation, 'branches'>, { branches: b }: Pick<Evaluation, 'branches'>): boolean {
  return a.length === b.length && a.every((x, k) => x.length === b[k]!.length && x.every((branch, i) => branch === b[k]![i]));
}
