/**
 * The parts of a gradient check beyond single elements:
 *   - the function is deterministic;
 *   - backward is linear in the incoming gradient;
 *   - backward works for each output alone;
 *   - gradients at a tie add up.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { AutogradError } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { fromElements, type Tensor } from '../../autograd/tensor.ts';
import {
  dot,
  evaluate,
  gradientsOf,
  maxAbs,
  projectedDifference,
  sameBranches,
  withAllInputsMoved,
  withOutputs,
  type Analysis,
  type ElementLocation,
  type Run,
} from './run.ts';
import { formatRounded } from './report.ts';
import { unravelIndex } from '../unravel-index.ts';

/** The result of a probe. */
export interface ProbeResult {
  readonly problems: readonly string[];
  /** Explanations of the problems, where they are known. */
  readonly diagnosis: readonly string[];
}

/** Multiples of the incoming gradient to test linearity with; −2 also catches a backward that depends on its absolute value. */
const FACTORS = [0, -2] as const;

/** Runs the function twice more and its backward several times, and compares the results. */
export function probe(run: Run, analysis: Analysis): ProbeResult {
  const before = evaluate(run, analysis);
  return withOutputs(run, (all) => {
    const outputs = all.filter((y) => y.requiresGrad);
    const incoming = (factor: number): Tensor[] =>
      analysis.projection.map((v, i) => {
        const scaled = Float64Array.from(v, (x) => factor * x);
        return fromElements(scaled, analysis.shapes[i]!, outputs[i]!.dtype);
      });
    const problems = differingEvaluations(run, analysis, before.outputs, outputs);
    const scaled = FACTORS.map((factor) => gradientsOf(run, outputs, incoming(factor)));
    const again = gradientsOf(run, outputs, incoming(1));
    problems.push(...differingBackwards(run, analysis, again));
    const diagnosis: string[] = [];
    for (const [k, gradient] of analysis.gradients.entries()) {
      const linearity = checkLinearity(run, gradient, k, scaled);
      problems.push(...linearity.problems);
      diagnosis.push(...linearity.diagnosis);
    }
    if (run.settings.checkUndefinedGrad && outputs.length > 1) {
      problems.push(...checkOutputsAlone(run, analysis, outputs, incoming(1)));
    }
    return { problems, diagnosis };
  });
}

/** Returns a problem for each output that differs between two evaluations at one point. */
function differingEvaluations(run: Run, analysis: Analysis, before: readonly ElementArray[], outputs: readonly Tensor[]): string[] {
  const { nondetTol } = run.settings;
  return outputs.flatMap((y, i) => {
    const d = largestDifference(before[i]!, y.data());
    if (!(d.size > nondetTol)) return [];
    const index = formatShape(unravelIndex(d.index, analysis.shapes[i]!));
    return [
      `output ${i}: two evaluations at one point differ by ${formatRounded(d.size, 2)} at ${index} (nondetTol ${nondetTol}). ` +
        'Random numbers must come from the default generator, whose state is the same every time',
    ];
  });
}

/** Returns a problem for each input whose gradient differs between two backwards. */
function differingBackwards(run: Run, analysis: Analysis, again: readonly ElementArray[]): string[] {
  const { nondetTol } = run.settings;
  return run.perturbed.flatMap((p, k) => {
    const d = largestDifference(analysis.gradients[k]!, again[k]!);
    if (!(d.size > nondetTol)) return [];
    const size = formatRounded(d.size, 2);
    return [`${nameOf(run, k)}: two backwards differ by ${size} at ${indexText(d.index, p.tensor)} (nondetTol ${nondetTol})`];
  });
}

/**
 * Compares the gradient of input k for the incoming gradient g with those for multiples of g.
 *
 * @param gradient for g · @param scaled for each of FACTORS, the gradients of all inputs
 */
function checkLinearity(run: Run, gradient: ElementArray, k: number, scaled: readonly (readonly ElementArray[])[]): ProbeResult {
  const name = nameOf(run, k);
  const t = run.perturbed[k]!.tensor;
  const bound = 1e-6 * maxAbs(gradient) + 1e-12;
  for (const [i, factor] of FACTORS.entries()) {
    const found = scaled[i]![k]!;
    // Only finite elements are compared, as an infinite slope times 0 is NaN.
    const wrong = found.findIndex((x, j) => Number.isFinite(gradient[j]!) && !(Math.abs(x - factor * gradient[j]!) <= bound));
    if (wrong < 0) continue;
    const problem =
      `${name}: backward is not linear in the incoming gradient g: for ${factor} · g it gives ` +
      `${formatRounded(found[wrong]!)} at ${indexText(wrong, t)}, for g ${formatRounded(gradient[wrong]!)}`;
    return { problems: [problem], diagnosis: explainNonlinear(name, gradient, scaled[0]![k]!, scaled[1]![k]!) };
  }
  return { problems: [], diagnosis: [] };
}

/** Explains a nonlinear backward from its gradients for g, 0 · g and −2 · g. */
function explainNonlinear(name: string, forG: ElementArray, forZero: ElementArray, forMinusTwo: ElementArray): string[] {
  const near = (a: ElementArray, f: (i: number) => number): boolean =>
    a.every((x, i) => Math.abs(x - f(i)) <= 1e-6 * (1e-6 + Math.abs(x) + Math.abs(f(i))));
  const isConstant = near(forZero, (i) => forG[i]!) && near(forMinusTwo, (i) => forG[i]!);
  if (isConstant) return [`${name}: backward ignores the incoming gradient g`];
  const isAffine = near(forMinusTwo, (i) => forZero[i]! - 2 * (forG[i]! - forZero[i]!));
  return isAffine ? [`${name}: backward adds something that does not depend on the incoming gradient g`] : [];
}

/** Checks that the gradients from each output alone, the others undefined, add up to those from all outputs together. */
function checkOutputsAlone(run: Run, analysis: Analysis, outputs: readonly Tensor[], gradOutputs: readonly Tensor[]): string[] {
  const sums = run.perturbed.map((p) => new Float64Array(p.numel));
  outputs.forEach((y, i) => {
    for (const [k, g] of gradientsOf(run, [y], [gradOutputs[i]!]).entries()) {
      const sum = sums[k]!;
      g.forEach((x, j) => {
        sum[j]! += x;
      });
    }
  });
  return run.perturbed.flatMap((p, k) => {
    const all = analysis.gradients[k]!;
    const scale = maxAbs(all);
    const wrong = sums[k]!.findIndex((x, j) => Number.isFinite(all[j]!) && !(Math.abs(x - all[j]!) <= 1e-6 * scale + 1e-12));
    if (wrong < 0) return [];
    return [
      `${nameOf(run, k)}: the gradients of each output alone, the others undefined, add up to ${formatRounded(sums[k]![wrong]!)} at ` +
        `${indexText(wrong, p.tensor)}; together they give ${formatRounded(all[wrong]!)}`,
    ];
  });
}

/**
 * Compares gradients with the slope at a kink, along the direction in which all elements move alike.
 *
 * Tied elements stay tied along it, so no branch changes and the slope exists. No other probe detects a gradient that assigns the
 * whole, not a share, to each tied element.
 */
export function probeTie(run: Run, analysis: Analysis, kink: ElementLocation): ProbeResult {
  const { eps, atol, rtol } = run.settings;
  const nothing = { problems: [], diagnosis: [] };
  const ones = run.perturbed.map((p) => new Float64Array(p.numel).fill(1));
  const above = withAllInputsMoved(run, ones, eps, () => evaluate(run, analysis));
  const below = withAllInputsMoved(run, ones, -eps, () => evaluate(run, analysis));
  if (!sameBranches(above, analysis) || !sameBranches(below, analysis)) return nothing;
  const numeric = projectedDifference(above.outputs, below.outputs, analysis.projection) / (2 * eps);
  const analytic = analysis.gradients.reduce((sum, g) => sum + dot(g, new Float64Array(g.length).fill(1)), 0);
  const count = run.perturbed.reduce((sum, p) => sum + p.numel, 0);
  if (!Number.isFinite(numeric)) return nothing;
  if (Math.abs(analytic - numeric) <= atol * count + rtol * Math.abs(numeric)) return nothing;
  const times = analytic / numeric;
  const whole = Math.round(times);
  const isMultiple = whole > 1 && Math.abs(times - whole) < 1e-3;
  return {
    problems: [
      `at the kink beside ${kink.name} ${kink.index === null ? '' : formatShape(kink.index)}: where all elements move alike no branch changes and the slope is ` +
        `${formatRounded(numeric)}, but the gradients add up to ${formatRounded(analytic)}`,
    ],
    diagnosis: isMultiple
      ? [`${kink.name}: at a tie each of ${whole} equal elements gets the whole gradient; they must share it, or one take it`]
      : [],
  };
}

/** Explains the engine's error about a gradient of the wrong shape or dtype; null for any other error. */
export function explainRefusal(e: unknown): ProbeResult | null {
  if (!(e instanceof AutogradError)) return null;
  const m = /^backward of (\S+): the gradient of argument (\d+) is (\w+) \[([\d,]*)\], the argument (\w+) \[([\d,]*)\]$/.exec(e.message);
  if (m === null) return null;
  const [, op, argument, dtype, shape, wantedDType, wantedShape] = m as unknown as string[];
  const dims = (s: string): number[] => (s === '' ? [] : s.split(',').map(Number));
  const found = dims(shape!);
  const wanted = dims(wantedShape!);
  const what = `argument ${argument} of ${op}`;
  const lead = found.length - wanted.length;
  const diagnosis: string[] = [];
  if (dtype !== wantedDType) diagnosis.push(`${what}: the gradient must be cast back to ${wantedDType}`);
  if (shape !== wantedShape && lead >= 0 && wanted.every((n, d) => n === 1 || n === found[lead + d])) {
    diagnosis.push(
      `${what}: the gradient is not summed over the dims along which the argument was broadcast; defineOp's broadcasts: true does that`,
    );
  } else if (shape !== wantedShape && sameSizes(found, wanted)) {
    diagnosis.push(`${what}: the gradient is transposed`);
  }
  return { problems: [e.message], diagnosis };
}

/** Returns whether two shapes have the same sizes in some order. */
function sameSizes(a: readonly number[], b: readonly number[]): boolean {
  const sorted = (s: readonly number[]): string => String([...s].sort((x, y) => x - y));
  return sorted(a) === sorted(b);
}

/** Returns the largest difference of two arrays and its index. Two NaNs are equal; NaN and a number differ by Infinity. */
function largestDifference(a: ElementArray, b: ElementArray): { size: number; index: number } {
  let size = 0;
  let index = 0;
  a.forEach((x, i) => {
    const y = b[i]!;
    if (Object.is(x, y) || x === y) return;
    const difference = Math.abs(x - y);
    if (Number.isNaN(difference)) {
      size = Number.POSITIVE_INFINITY;
      index = i;
    } else if (difference > size) {
      size = difference;
      index = i;
    }
  });
  return { size, index };
}

function nameOf(run: Run, k: number): string {
  return run.subject.names[run.perturbed[k]!.index]!;
}

function indexText(i: number, t: Tensor): string {
  return formatShape(unravelIndex(i, t.shape));
}
