/**
 * The numerical part of a gradient check: evaluations, one backward, central differences.
 */
import { type ElementArray, type DType } from '../../core/dtype.ts';
import { AutogradError } from '../../core/errors.ts';
import { Random } from '../../core/random.ts';
import type { Shape } from '../../core/shape.ts';
import { grad } from '../../autograd/backward.ts';
import { withGradMode } from '../../autograd/grad-mode.ts';
import { scope } from '../../autograd/scopes.ts';
import { logBranches } from '../../autograd/op.ts';
import { fromElements, isTensor, type Tensor } from '../../autograd/tensor.ts';
import { perturbedInputs, withSameState, type PerturbedInput, type Subject } from './perturbed-input.ts';
import type { GradcheckElement, GradcheckInput } from './report.ts';
import type { Settings } from './settings.ts';
import { unravelIndex } from '../unravel-index.ts';

/** One check: the subject, and its inputs with the perturbed tensors in place of those that move. */
export interface Run {
  readonly subject: Subject;
  readonly inputs: readonly Tensor[];
  readonly perturbed: readonly PerturbedInput[];
  readonly settings: Settings;
}

/** The result of one forward and one backward at the checked point. */
export interface Analysis {
  /** For each perturbed input, the gradient of ⟨v, y⟩, row-major. */
  readonly gradients: readonly ElementArray[];
  /** The projection v, for each differentiable output. */
  readonly projection: readonly ElementArray[];
  /** The shapes of the differentiable outputs. */
  readonly shapes: readonly Shape[];
  /** For each output, whether it requires a gradient; the others are ignored. */
  readonly differentiable: readonly boolean[];
  /** The branch each element took, for each operation with kinks. */
  readonly branches: readonly Float64Array[];
}

/** The result of one forward at another point. */
export interface Evaluation {
  readonly outputs: readonly ElementArray[];
  readonly branches: readonly Float64Array[];
}

/** The result of comparing one input, or a kink that makes the comparison meaningless. */
export type Comparison = { readonly kink: ElementLocation } | ComparedInput;

/** Which element of which input. */
export type ElementLocation = Pick<GradcheckElement, 'input' | 'name' | 'label' | 'index'>;

/** One compared input: its row of the report, and the wrong elements. */
export interface ComparedInput {
  readonly kink: null;
  readonly report: GradcheckInput;
  readonly elements: readonly GradcheckElement[];
  readonly failures: readonly GradcheckElement[];
  /** All central differences, row-major; null if only a projection was compared. */
  readonly numeric: Float64Array | null;
}

/** Runs `fn` with the subject's inputs as movable points and recording on, and restores them. Frees what `fn` made. */
export function withRun<T>(subject: Subject, settings: Settings, fn: (run: Run) => T): T {
  return scope(() => {
    const perturbed = perturbedInputs(subject.inputs);
    const inputs = [...subject.inputs];
    for (const p of perturbed) inputs[p.index] = p.tensor;
    try {
      return withGradMode(true, () => fn({ subject, inputs, perturbed, settings }));
    } finally {
      for (const p of perturbed) p.restore();
    }
  });
}

/** Calls the subject with recording on; runs `fn` with its outputs and the branches taken. */
export function withOutputs<T>(run: Run, fn: (outputs: readonly Tensor[], branches: readonly Float64Array[]) => T): T {
  return scope(() =>
    withSameState(run.subject.buffers, () => {
      const { result, branches } = logBranches(() => run.subject.call(run.inputs));
      return fn(isTensor(result) ? [result] : result, branches);
    }),
  );
}

/** Runs one forward and one backward with the projection v: 1 if the output is one number, else random. */
export function analyse(name: string, run: Run): Analysis {
  return withOutputs(run, (all, branches) => {
    const outputs = all.filter((y) => y.requiresGrad);
    if (outputs.length === 0) {
      throw new AutogradError(`${name}: no output of the function requires a gradient: it does not depend on the inputs, or was detached`);
    }
    const gradOutputs = projectionOf(outputs, run.settings.seed);
    return {
      gradients: gradientsOf(run, outputs, gradOutputs),
      projection: gradOutputs.map((v) => v.data()),
      shapes: outputs.map((y) => [...y.shape]),
      differentiable: all.map((y) => y.requiresGrad),
      branches,
    };
  });
}

function projectionOf(outputs: readonly Tensor[], seed: number): Tensor[] {
  const isOneNumber = outputs.length === 1 && outputs[0]!.numel === 1;
  const random = new Random(seed, 0);
  return outputs.map((y) => (isOneNumber ? fromElements([1], [...y.shape], y.dtype) : randomSigned(random, y.shape, y.dtype)));
}

/** Returns the gradients for the perturbed inputs and retains the graph. An input that the outputs do not depend on gets zeros. */
export function gradientsOf(run: Run, outputs: readonly Tensor[], gradOutputs: readonly Tensor[]): ElementArray[] {
  const inputs = run.perturbed.map((p) => p.tensor);
  const gradients = grad(outputs, inputs, { gradOutputs, allowUnused: true, retainGraph: true });
  return gradients.map((g, k) => g?.data() ?? new Float64Array(run.perturbed[k]!.numel));
}

/** Runs one forward; returns the outputs that were differentiable in the analysis. */
export function evaluate(run: Run, analysis: Analysis): Evaluation {
  return withOutputs(run, (all, branches) => {
    const outputs = all.filter((_, i) => analysis.differentiable[i]);
    return { outputs: outputs.map((y) => y.data()), branches };
  });
}

/** Compares every element of perturbed input k; ends at the first kink. */
export function compareElements(run: Run, analysis: Analysis, k: number): Comparison {
  const { eps, atol, rtol } = run.settings;
  const p = run.perturbed[k]!;
  const elements: GradcheckElement[] = [];
  const numerics = new Float64Array(p.numel);
  for (let i = 0; i < p.numel; i++) {
    const above = p.withElementMoved(i, eps, () => evaluate(run, analysis));
    const below = p.withElementMoved(i, -eps, () => evaluate(run, analysis));
    const location = { ...locationOf(run, p), index: unravelIndex(i, p.tensor.shape) };
    if (!sameBranches(above, analysis) || !sameBranches(below, analysis)) return { kink: location };
    const numeric = projectedDifference(above.outputs, below.outputs, analysis.projection) / p.actualStep(i, eps);
    const analytic = analysis.gradients[k]![i]!;
    numerics[i] = numeric;
    const tolerance = atol + rtol * Math.abs(numeric);
    elements.push({ ...location, analytic, numeric, error: Math.abs(analytic - numeric), tolerance });
  }
  return { ...comparedInput(run, p, elements), numeric: numerics };
}

/** Compares ⟨u, gradient⟩ with the slope along u, for one random direction u of length 1. */
export function compareProjection(run: Run, analysis: Analysis, k: number): Comparison {
  const { eps, atol, rtol, seed } = run.settings;
  const p = run.perturbed[k]!;
  const location = { ...locationOf(run, p), index: null };
  if (p.numel === 0) return { ...comparedInput(run, p, []), numeric: null };
  const random = new Random(seed, 3 + k);
  const drawn = Float64Array.from({ length: p.numel }, () => random.normal());
  const length = Math.sqrt(drawn.reduce((sum, x) => sum + x * x, 0));
  const u = drawn.map((x) => x / length);
  const above = p.withAllMoved(u, eps, () => evaluate(run, analysis));
  const below = p.withAllMoved(u, -eps, () => evaluate(run, analysis));
  if (!sameBranches(above, analysis) || !sameBranches(below, analysis)) return { kink: location };
  const numeric = projectedDifference(above.outputs, below.outputs, analysis.projection) / (2 * eps);
  const analytic = dot(u, analysis.gradients[k]!);
  // Each element may be off by atol, so their projection may be off by atol · Σ|u|.
  const tolerance = atol * u.reduce((sum, x) => sum + Math.abs(x), 0) + rtol * Math.abs(numeric);
  const projection = { ...location, analytic, numeric, error: Math.abs(analytic - numeric), tolerance };
  return { ...comparedInput(run, p, [projection]), numeric: null };
}

function locationOf(run: Run, p: PerturbedInput): Omit<ElementLocation, 'index'> {
  return { input: p.index, name: run.subject.names[p.index]!, label: run.subject.labels[p.index]! };
}

function comparedInput(run: Run, p: PerturbedInput, elements: readonly GradcheckElement[]): Omit<ComparedInput, 'numeric'> {
  const failures = elements.filter((e) => !(e.error <= e.tolerance));
  const worst = elements.reduce<GradcheckElement | null>((a, b) => (a === null || toleranceUsed(b) > toleranceUsed(a) ? b : a), null);
  const report = { ...locationOf(run, p), shape: p.tensor.shape, checked: elements.length, wrong: failures.length, worst };
  return { kink: null, report, elements, failures };
}

/** Returns the error as a fraction of the tolerance; Infinity for NaN, which is always wrong. */
export function toleranceUsed({ error, tolerance }: GradcheckElement): number {
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error / tolerance;
}

/** Returns the numeric Jacobian by columns: for each element of the input, the central difference of every output element, flattened. */
export function jacobianColumns(run: Run, analysis: Analysis, p: PerturbedInput): Float64Array[] {
  const { eps } = run.settings;
  return Array.from({ length: p.numel }, (_, i) => {
    const above = p.withElementMoved(i, eps, () => evaluate(run, analysis).outputs);
    const below = p.withElementMoved(i, -eps, () => evaluate(run, analysis).outputs);
    const step = p.actualStep(i, eps);
    return Float64Array.from(above.flatMap((a, k) => Array.from(a, (x, j) => (x - below[k]![j]!) / step)));
  });
}

/** Runs `fn` with all perturbed inputs moved by h times their directions. */
export function withAllInputsMoved<T>(run: Run, directions: readonly Float64Array[], h: number, fn: () => T): T {
  const moveFrom = (k: number): T => {
    const p = run.perturbed[k];
    return p === undefined ? fn() : p.withAllMoved(directions[k]!, h, () => moveFrom(k + 1));
  };
  return moveFrom(0);
}

/** Returns random numbers from ±[0.5, 1.5): none is so small that it could hide an error. */
export function randomSigned(random: Random, shape: Shape, dtype: DType): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: n }, () => (random.uniform() < 0.5 ? -1 : 1) * (0.5 + random.uniform()));
  return fromElements(values, [...shape], dtype);
}

/** Returns ⟨v, above − below⟩. It subtracts before it multiplies, so that large outputs cancel exactly. */
export function projectedDifference(above: readonly ElementArray[], below: readonly ElementArray[], v: readonly ElementArray[]): number {
  let sum = 0;
  above.forEach((a, k) => {
    for (let i = 0; i < a.length; i++) sum += v[k]![i]! * (a[i]! - below[k]![i]!);
  });
  return sum;
}

/** Returns the largest finite absolute value; 0 if there is none. */
export function maxAbs(...arrays: readonly ElementArray[]): number {
  let largest = 0;
  for (const array of arrays) {
    for (const x of array) {
      if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
    }
  }
  return largest;
}

export function dot(a: ElementArray, b: ElementArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Returns whether every element took the same branch in both evaluations. */
export function sameBranches({ branches: a }: Pick<Evaluation, 'branches'>, { branches: b }: Pick<Evaluation, 'branches'>): boolean {
  return a.length === b.length && a.every((x, k) => x.length === b[k]!.length && x.every((branch, i) => branch === b[k]![i]));
}
