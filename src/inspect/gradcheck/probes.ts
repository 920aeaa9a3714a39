/**
 * What a gradient check asks besides single elements: is the function deterministic, is backward linear in the incoming
 * gradient, does it work for each output alone, and what does it say at a tie.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { AutogradError } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { fromElements, type Tensor } from '../../autograd/tensor.ts';
import {
  allMoved,
  difference,
  dot,
  evaluate,
  gradientsOf,
  magnitude,
  sameBranches,
  withResult,
  type Analysis,
  type Evaluation,
  type Place,
  type Run,
} from './run.ts';
import { round } from './report.ts';
import { unravelIndex } from '../unravel-index.ts';

/** What probing found. */
export interface Probed {
  readonly problems: readonly string[];
  /** By point: how backward depends on the incoming gradient where it should be linear in it. */
  readonly diagnosis: readonly string[];
}

/** Gradients for multiples of the incoming gradient; −2 also catches a backward that depends on its absolute value. */
const FACTORS = [0, -2] as const;

/** Runs the function once more and its backward several times. */
export function probe(run: Run, here: Analysis): Probed {
  const before = evaluate(run, here);
  return withResult(run, (all) => {
    const outputs = all.filter((y) => y.requiresGrad);
    const incoming = (factor: number): Tensor[] =>
      here.projection.map((v, i) =>
        fromElements(
          Float64Array.from(v, (x) => factor * x),
          here.shapes[i]!,
          outputs[i]!.dtype,
        ),
      );
    const problems = nondeterminism(run, here, before.outputs, outputs);
    const scaled = FACTORS.map((factor) => gradientsOf(run, outputs, incoming(factor)));
    const again = gradientsOf(run, outputs, incoming(1));
    run.points.forEach((p, k) => {
      const d = largest(here.gradients[k]!, again[k]!);
      if (d.size > run.settings.nondetTol)
        problems.push(
          `${nameOf(run, k)}: two backwards differ by ${round(d.size, 2)} at ${at(d.index, p.tensor)} (nondetTol ${run.settings.nondetTol})`,
        );
    });
    const diagnosis = run.points.flatMap((_, k) => linearity(run, here.gradients[k]!, k, scaled, problems));
    if (run.settings.checkUndefinedGrad && outputs.length > 1) problems.push(...eachAlone(run, here, outputs, incoming(1)));
    return { problems, diagnosis };
  });
}

function nondeterminism(run: Run, here: Analysis, before: readonly ElementArray[], outputs: readonly Tensor[]): string[] {
  const { nondetTol } = run.settings;
  return outputs.flatMap((y, i) => {
    const d = largest(before[i]!, y.data());
    if (!(d.size > nondetTol)) return [];
    const index = formatShape(unravelIndex(d.index, here.shapes[i]!));
    return [
      `output ${i}: two evaluations at one point differ by ${round(d.size, 2)} at ${index} (nondetTol ${nondetTol}). ` +
        'Random numbers must come from the default generator, whose state is the same every time',
    ];
  });
}

/** Compares backward at g with backward at multiples of g. Says more where it knows what happened. */
function linearity(
  run: Run,
  at1: ElementArray,
  k: number,
  scaled: readonly (readonly ElementArray[])[],
  problems: string[],
): readonly string[] {
  const name = nameOf(run, k);
  const t = run.points[k]!.tensor;
  for (const [i, factor] of FACTORS.entries()) {
    const found = scaled[i]![k]!;
    const scale = magnitude(at1);
    // An infinite slope times 0 is NaN: only what is finite is compared.
    const wrong = found.findIndex((x, j) => Number.isFinite(at1[j]!) && !(Math.abs(x - factor * at1[j]!) <= 1e-6 * scale + 1e-12));
    if (wrong < 0) continue;
    problems.push(
      `${name}: backward is not linear in the incoming gradient g: for ${factor} · g it gives ` +
        `${round(found[wrong]!)} at ${at(wrong, t)}, for g ${round(at1[wrong]!)}`,
    );
    return explainNonlinear(name, at1, scaled[0]![k]!, scaled[1]![k]!);
  }
  return [];
}

function explainNonlinear(name: string, g: ElementArray, zero: ElementArray, minusTwo: ElementArray): string[] {
  const near = (a: ElementArray, f: (i: number) => number): boolean =>
    a.every((x, i) => Math.abs(x - f(i)) <= 1e-6 * (1e-6 + Math.abs(x) + Math.abs(f(i))));
  if (near(zero, (i) => g[i]!) && near(minusTwo, (i) => g[i]!)) return [`${name}: backward ignores the incoming gradient g`];
  const affine = near(minusTwo, (i) => zero[i]! - 2 * (g[i]! - zero[i]!));
  return affine ? [`${name}: backward adds something that does not depend on the incoming gradient g`] : [];
}

/** The gradients of each output alone, the others undefined, must add up to those of all. */
function eachAlone(run: Run, here: Analysis, outputs: readonly Tensor[], gradOutputs: readonly Tensor[]): string[] {
  const sums = run.points.map((p) => new Float64Array(p.numel));
  outputs.forEach((y, i) => {
    gradientsOf(run, [y], [gradOutputs[i]!]).forEach((g, k) => g.forEach((x, j) => (sums[k]![j]! += x)));
  });
  return run.points.flatMap((p, k) => {
    const all = here.gradients[k]!;
    const scale = magnitude(all);
    const wrong = sums[k]!.findIndex((x, j) => Number.isFinite(all[j]!) && !(Math.abs(x - all[j]!) <= 1e-6 * scale + 1e-12));
    if (wrong < 0) return [];
    return [
      `${nameOf(run, k)}: the gradients of each output alone, the others undefined, add up to ${round(sums[k]![wrong]!)} at ` +
        `${at(wrong, p.tensor)}; together they give ${round(all[wrong]!)}`,
    ];
  });
}

/**
 * At a kink, directions along which nobody changes branch still have a slope: where all inputs move alike, tied elements stay
 * tied. A gradient that gives every one of them the whole of it is seen there, and nowhere else.
 */
export function probeTie(run: Run, here: Analysis, kink: Place): Probed {
  const { eps, atol, rtol } = run.settings;
  const alike = run.points.map((p) => new Float64Array(p.numel).fill(1));
  const [above, below] = [eps, -eps].map((h) => allMoved(run, alike, h, () => evaluate(run, here))) as [Evaluation, Evaluation];
  if (!sameBranches(above, here) || !sameBranches(below, here)) return { problems: [], diagnosis: [] };
  const numeric = difference(above.outputs, below.outputs, here.projection) / (2 * eps);
  const analytic = here.gradients.reduce((sum, g) => sum + dot(g, new Float64Array(g.length).fill(1)), 0);
  const count = run.points.reduce((sum, p) => sum + p.numel, 0);
  if (!Number.isFinite(numeric) || Math.abs(analytic - numeric) <= atol * count + rtol * Math.abs(numeric)) {
    return { problems: [], diagnosis: [] };
  }
  const times = analytic / numeric;
  const whole = Math.round(times);
  const shared = whole > 1 && Math.abs(times - whole) < 1e-3;
  return {
    problems: [
      `at the kink beside ${kink.name} ${kink.index === null ? '' : formatShape(kink.index)}: where all elements move alike no branch changes and the slope is ` +
        `${round(numeric)}, but the gradients add up to ${round(analytic)}`,
    ],
    diagnosis: shared
      ? [`${kink.name}: at a tie each of ${whole} equal elements gets the whole gradient; they must share it, or one take it`]
      : [],
  };
}

/** A backward whose gradient has not its argument's shape or dtype: the engine refuses it; here is what it looks like. */
export function explainRefusal(e: unknown): Probed | null {
  if (!(e instanceof AutogradError)) return null;
  const m = /^backward of (\S+): the gradient of argument (\d+) is (\w+) \[([\d,]*)\], the argument (\w+) \[([\d,]*)\]$/.exec(e.message);
  if (m === null) return null;
  const [, op, argument, dtype, shape, wantedDType, wantedShape] = m as unknown as string[];
  const dims = (s: string): number[] => (s === '' ? [] : s.split(',').map(Number));
  const [found, wanted] = [dims(shape!), dims(wantedShape!)];
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

/** Whether two shapes have the same sizes in some order. */
function sameSizes(a: readonly number[], b: readonly number[]): boolean {
  const sorted = (s: readonly number[]): string => String([...s].sort((x, y) => x - y));
  return sorted(a) === sorted(b);
}

/** Where two arrays differ most; equal NaNs do not differ. */
function largest(a: ElementArray, b: ElementArray): { size: number; index: number } {
  let [size, index] = [0, 0];
  a.forEach((x, i) => {
    const d = Object.is(x, b[i]) || x === b[i] ? 0 : Math.abs(x - b[i]!);
    if (d > size || Number.isNaN(d)) [size, index] = [Number.isNaN(d) ? Number.POSITIVE_INFINITY : d, i];
  });
  return { size, index };
}

function nameOf(run: Run, k: number): string {
  return run.subject.names[run.points[k]!.input]!;
}

function at(i: number, t: Tensor): string {
  return formatShape(unravelIndex(i, t.shape));
}
