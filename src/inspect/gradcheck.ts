/**
 * Gradients checked against finite differences, in float64.
 *
 * With outputs y(x) and a fixed random v, one backward gives the gradient of p(x) = ⟨v, y(x)⟩; each element of it is compared
 * with the central difference (p(x + h) − p(x − h)) / 2h. A kink between x − h and x + h would make the difference
 * meaningless: operations with kinks tell which branch every element took, and where that changes, the point is moved.
 */
import { isFloat, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, AutogradError, DTypeError, GradcheckError } from '../core/errors.ts';
import { Random } from '../core/random.ts';
import { formatShape, unravelIndex, type Shape } from '../core/shape.ts';
import { grad } from '../autograd/backward.ts';
import { pointsOf, type Point } from './gradcheck-point.ts';
import { scope } from '../autograd/lifetime.ts';
import { logBranches } from '../autograd/op.ts';
import { defaultGenerator } from '../autograd/random.ts';
import { withGradMode } from '../autograd/scope.ts';
import { fromElements, isTensor, type Tensor } from '../autograd/tensor.ts';

/** A function of tensors to be checked: one result or several. */
export type CheckedFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

export interface GradcheckOptions {
  /** The step h of the central difference. Default 1e-6. */
  readonly eps?: number;
  /** A gradient is right if |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5. */
  readonly atol?: number;
  /** See atol. Default 1e-3. */
  readonly rtol?: number;
  /** Of the projection v, and of the moves away from kinks. Default 0. */
  readonly seed?: number;
  /** How often the point is moved away from a kink before the check gives up. Default 20. */
  readonly maxResamples?: number;
  /** Throws GradcheckError unless all is well. Default true. */
  readonly raise?: boolean;
}

/** One element of one input, and its two gradients. */
export interface GradcheckElement {
  /** Position among the inputs. */
  readonly input: number;
  readonly label: string | null;
  /** One number per dim. */
  readonly index: readonly number[];
  /** What backward gave. */
  readonly analytic: number;
  /** What the central difference gave. */
  readonly numeric: number;
}

/** What a gradient check found. Prints as a table. */
export interface GradcheckReport {
  /** Whether every element was checked, away from kinks, and is right. */
  readonly ok: boolean;
  /** Elements compared. */
  readonly checked: number;
  /** How often the point was moved away from a kink. */
  readonly resampled: number;
  /** The element with a kink beside it at the last attempt; null where one attempt found none. */
  readonly kink: Pick<GradcheckElement, 'input' | 'label' | 'index'> | null;
  /** The element that used most of its tolerance; null where nothing was compared. */
  readonly worst: GradcheckElement | null;
  readonly failures: readonly GradcheckElement[];
  toString(): string;
}

type Settings = Required<GradcheckOptions>;

/** How many wrong elements a report spells out. */
const SHOWN = 8;

/**
 * Compares the gradients of `fn` at `inputs` with central differences, in every element of every input that requires one.
 *
 * Inputs are moved in place and restored to the bit, so `fn` may also reach them by closure (parameters of a module).
 * Where elements share memory (expanded inputs, two views of one tensor), and for inputs that are no leaves, a copy takes
 * the input's place. Tensors of int32 and bool are passed on as they are. The default generator has the same state at every
 * evaluation, so dropout is a fixed function.
 *
 * Throws: GradcheckError with the report's text (unless raise is false); DTypeError for a float32 input; AutogradError if
 * no input or no output requires a gradient
 * @example gradcheck((x, w) => x.matmul(w).tanh(), [x, w])
 */
export function gradcheck(fn: CheckedFunction, inputs: Tensor | readonly Tensor[], options: GradcheckOptions = {}): GradcheckReport {
  return check('gradcheck', fn, isTensor(inputs) ? [inputs] : inputs, settingsOf('gradcheck', options));
}

/**
 * Checks second derivatives: gradcheck of (inputs, gradOutputs) ↦ the gradients of `fn`, recorded with createGraph.
 * The gradOutputs are random, and checked as further inputs after the given ones. Throws as gradcheck does.
 */
export function gradgradcheck(fn: CheckedFunction, inputs: Tensor | readonly Tensor[], options: GradcheckOptions = {}): GradcheckReport {
  const settings = settingsOf('gradgradcheck', options);
  const xs = isTensor(inputs) ? [inputs] : inputs;
  const wanted = xs.flatMap((x, i) => (x.requiresGrad ? [i] : []));
  checkInputs('gradgradcheck', xs);
  return scope(() => {
    const random = new Random(settings.seed, 1);
    const shapes = withSameRandom(() =>
      scope(() => differentiable(withGradMode(true, () => fn(...xs))).map((y) => ({ shape: y.shape, dtype: y.dtype }))),
    );
    const gradOutputs = shapes.map(({ shape, dtype }, i) => {
      if (dtype !== 'float64') throw new DTypeError(`gradgradcheck: output ${i} is ${dtype}; compute in float64`);
      const g = randomSigned(random, shape, dtype).requiresGrad_();
      g.label = `gradOutput ${i}`;
      return g;
    });
    const gradients: CheckedFunction = (...all) => {
      const ys = differentiable(fn(...all.slice(0, xs.length)));
      const at = wanted.map((i) => all[i]!);
      return grad(ys, at, { gradOutputs: all.slice(xs.length), createGraph: true, allowUnused: true }).filter((g) => g !== null);
    };
    return check('gradgradcheck', gradients, [...xs, ...gradOutputs], settings);
  });
}

function settingsOf(name: string, options: GradcheckOptions): Settings {
  const s = { eps: 1e-6, atol: 1e-5, rtol: 1e-3, seed: 0, maxResamples: 20, raise: true, ...options };
  if (!(s.eps > 0) || !(s.atol >= 0) || !(s.rtol >= 0) || !(s.maxResamples >= 0)) {
    throw new ArgumentError(
      `${name}: eps must be > 0, atol, rtol and maxResamples ≥ 0; got ${s.eps}, ${s.atol}, ${s.rtol} and ${s.maxResamples}`,
    );
  }
  return s;
}

function checkInputs(name: string, inputs: readonly Tensor[]): void {
  inputs.forEach((x, i) => {
    if (isFloat(x.dtype) && x.dtype !== 'float64') {
      throw new DTypeError(
        `${name}: input ${i} ${formatShape(x.shape)} is ${x.dtype}; finite differences need float64: use .to('float64')`,
      );
    }
  });
  if (!inputs.some((x) => x.requiresGrad))
    throw new AutogradError(`${name}: no input requires a gradient; make one with { requiresGrad: true }`);
}

function check(name: string, fn: CheckedFunction, given: readonly Tensor[], settings: Settings): GradcheckReport {
  checkInputs(name, given);
  const report = scope(() => {
    const points = pointsOf(given);
    const inputs = [...given];
    for (const p of points) inputs[p.input] = p.tensor;
    try {
      return withGradMode(true, () => attempts(fn, inputs, points, settings));
    } finally {
      for (const p of points) p.restore();
    }
  });
  const text = describe(name, report, settings);
  if (!report.ok && settings.raise) throw new GradcheckError(text);
  return { ...report, toString: () => text };
}

type Found = Omit<GradcheckReport, 'toString'>;

/** Moves the point until no element has a kink beside it. */
function attempts(fn: CheckedFunction, inputs: readonly Tensor[], points: readonly Point[], settings: Settings): Found {
  const random = new Random(settings.seed, 2);
  for (let resampled = 0; ; resampled++) {
    // Wider every time: many steps, so as to leave the kink, yet near enough to stay in the function's domain.
    if (resampled > 0) for (const p of points) p.jitter(random, 100 * settings.eps * resampled);
    const found = compare(fn, inputs, points, settings);
    if (found.kink === null || resampled >= settings.maxResamples) return { ...found, resampled };
  }
}

/** One pass over all elements; ends at the first kink. */
function compare(fn: CheckedFunction, inputs: readonly Tensor[], points: readonly Point[], settings: Settings): Omit<Found, 'resampled'> {
  const { eps, atol, rtol } = settings;
  const here = analyse(fn, inputs, points, settings.seed);
  const failures: GradcheckElement[] = [];
  let worst: GradcheckElement | null = null;
  let worstRatio = -1;
  let checked = 0;
  for (const [k, p] of points.entries()) {
    for (let i = 0; i < p.numel; i++) {
      const above = p.at(i, eps, () => evaluate(fn, inputs, here.differentiable));
      const below = p.at(i, -eps, () => evaluate(fn, inputs, here.differentiable));
      const element = { input: p.input, label: p.tensor.label, index: unravelIndex(i, p.tensor.shape) };
      if (!sameBranches(above.branches, below.branches) || !sameBranches(above.branches, here.branches)) {
        return { ok: false, checked, kink: element, worst, failures };
      }
      const numeric = difference(above.outputs, below.outputs, here.projection) / p.span(i, eps);
      const analytic = here.gradients[k]![i]!;
      const found = { ...element, analytic, numeric };
      const error = Math.abs(analytic - numeric);
      const ratio = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error / (atol + rtol * Math.abs(numeric));
      if (!(ratio <= 1)) failures.push(found);
      if (ratio > worstRatio) [worst, worstRatio] = [found, ratio];
      checked++;
    }
  }
  return { ok: failures.length === 0, checked, kink: null, worst, failures };
}

// — evaluation —

interface Analysis {
  /** For each point, the gradient of the projection, row-major. */
  readonly gradients: readonly ElementArray[];
  /** v, for each differentiable output. */
  readonly projection: readonly ElementArray[];
  /** Which outputs have a gradient: the others are not looked at. */
  readonly differentiable: readonly boolean[];
  readonly branches: readonly Float64Array[];
}

/** One forward, one backward. */
function analyse(fn: CheckedFunction, inputs: readonly Tensor[], points: readonly Point[], seed: number): Analysis {
  return scope(() =>
    withSameRandom(() => {
      const { result, branches } = logBranches(() => fn(...inputs));
      const all = outputsOf(result);
      const outputs = differentiable(result);
      if (outputs.length === 0)
        throw new AutogradError(
          'gradcheck: no output of the function requires a gradient: it does not depend on the inputs, or was detached',
        );
      const random = new Random(seed, 0);
      const gradOutputs = outputs.map((y) => randomSigned(random, y.shape, y.dtype));
      const grads = grad(
        outputs,
        points.map((p) => p.tensor),
        { gradOutputs, allowUnused: true },
      );
      return {
        // An input that the outputs do not depend on must have numeric gradients of 0.
        gradients: grads.map((g, k) => g?.data() ?? new Float64Array(points[k]!.numel)),
        projection: gradOutputs.map((v) => v.data()),
        differentiable: all.map((y) => y.requiresGrad),
        branches,
      };
    }),
  );
}

function evaluate(
  fn: CheckedFunction,
  inputs: readonly Tensor[],
  wanted: readonly boolean[],
): { outputs: ElementArray[]; branches: Float64Array[] } {
  return scope(() =>
    withSameRandom(() => {
      const { result, branches } = logBranches(() => fn(...inputs));
      const outputs = outputsOf(result).filter((_, i) => wanted[i]);
      return { outputs: outputs.map((y) => y.data()), branches };
    }),
  );
}

function outputsOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return isTensor(result) ? [result] : result;
}

function differentiable(result: Tensor | readonly Tensor[]): Tensor[] {
  return outputsOf(result).filter((y) => y.requiresGrad);
}

/** Runs `fn` and puts the default generator back: every evaluation draws the same numbers. */
function withSameRandom<T>(fn: () => T): T {
  const state = defaultGenerator.stateDict();
  try {
    return fn();
  } finally {
    defaultGenerator.loadStateDict(state);
  }
}

/** Numbers from ±[0.5, 1.5): none so small that it would hide an error. */
function randomSigned(random: Random, shape: Shape, dtype: Tensor['dtype']): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: n }, () => (random.uniform() < 0.5 ? -1 : 1) * (0.5 + random.uniform()));
  return fromElements(values, [...shape], dtype);
}

/** ⟨v, above − below⟩: differences first, so that large outputs cancel exactly. */
function difference(above: readonly ElementArray[], below: readonly ElementArray[], v: readonly ElementArray[]): number {
  let sum = 0;
  above.forEach((a, k) => {
    for (let i = 0; i < a.length; i++) sum += v[k]![i]! * (a[i]! - below[k]![i]!);
  });
  return sum;
}

function sameBranches(a: readonly Float64Array[], b: readonly Float64Array[]): boolean {
  return a.length === b.length && a.every((x, k) => x.length === b[k]!.length && x.every((branch, i) => branch === b[k]![i]));
}

// — the text —

function describe(name: string, report: Found, { eps, atol, rtol, seed }: Settings): string {
  const { ok, checked, resampled, kink, worst, failures } = report;
  const moved = resampled === 0 ? '' : `, moved away from kinks ${resampled} ${resampled === 1 ? 'time' : 'times'}`;
  if (kink !== null) {
    return (
      `${name}: nothing can be said: a kink lies within ${eps} of every point tried${moved}; the last beside ${where(kink)}. ` +
      'Give other values, a smaller eps or a larger maxResamples'
    );
  }
  if (ok) {
    const most = worst === null ? '' : `; largest difference at ${where(worst)}: ${values(worst)}`;
    return `${name}: all ${checked} gradients are right${moved}${most}`;
  }
  const head = `${name}: ${failures.length} of ${checked} gradients are wrong (eps ${eps}, atol ${atol}, rtol ${rtol}, seed ${seed}${moved})`;
  const lines = failures.slice(0, SHOWN).map((f) => `  ${where(f)}: ${values(f)}`);
  if (failures.length > SHOWN) lines.push(`  … and ${failures.length - SHOWN} more`);
  return [head, ...lines].join('\n');
}

function where({ input, label, index }: Pick<GradcheckElement, 'input' | 'label' | 'index'>): string {
  return `input ${input}${label === null ? '' : ` '${label}'`} ${formatShape(index)}`;
}

function values({ analytic, numeric }: GradcheckElement): string {
  return `analytic ${round(analytic)}, numeric ${round(numeric)}`;
}

function round(x: number): string {
  return String(Number(x.toPrecision(7)));
}
