/**
 * Checks gradients against finite differences, in float64.
 *
 * With outputs y(x) and a fixed random v, one backward computes the gradient of p(x) = ⟨v, y(x)⟩. Each element of it is compared
 * with the central difference (p(x + h) − p(x − h)) / 2h. A kink between x − h and x + h would make the difference
 * meaningless. Operations with kinks therefore log which branch every element took; where that changes, the point is moved.
 */
import { foreignKind } from '../../core/copies.ts';
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, AutogradError, DTypeError, GradcheckError, kindOf } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import { Random } from '../../core/random.ts';
import { formatShape } from '../../core/shape.ts';
import { grad } from '../../autograd/backward.ts';
import { scope } from '../../autograd/scopes.ts';
import { withGradMode } from '../../autograd/grad-mode.ts';
import { checkTensor, isTensor, type Tensor } from '../../autograd/tensor.ts';
import { diagnose } from './diagnosis.ts';
import { perturbedInputs, withSameState, type Subject } from './perturbed-input.ts';
import { explainRefusal, probe, probeTie, type ProbeResult } from './probes.ts';
import { reportText, type GradcheckElement, type ReportData, type GradcheckReport, type Settings } from './report.ts';
import {
  analyse,
  compareElements,
  compareProjection,
  randomSigned,
  toleranceUsed,
  type Analysis,
  type Comparison,
  type ElementLocation,
  type ComparedInput,
  type Run,
} from './run.ts';

export type { GradcheckElement, GradcheckInput, GradcheckReport } from './report.ts';

/** A function to check: tensors to one result or several. */
export type CheckedFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** A module to check: any object with parameters and a forward. */
export interface CheckedModule {
  /** The module's function. */
  forward(...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** The parameters to check, with the names that reports use. */
  namedParameters(): Iterable<readonly [string, Tensor]>;
  /** Tensors that forward may write to; restored after every evaluation. */
  namedBuffers?(): Iterable<readonly [string, Tensor]>;
}

/** Options of gradcheck and gradgradcheck. Names are PyTorch's, in camelCase. */
export interface GradcheckOptions {
  /** The step h of the central difference. Default 1e-6. */
  readonly eps?: number;
  /** A gradient is right if |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5. */
  readonly atol?: number;
  /** See atol. Default 1e-3. */
  readonly rtol?: number;
  /** How much two evaluations, or two backwards, may differ at one point. Default 0. */
  readonly nondetTol?: number;
  /**
   * Compares one random projection of each input instead of every element: two evaluations an input, whatever its size. It can
   * miss one wrong element among thousands. An input that fails is then checked in every element. Default false.
   */
  readonly fastMode?: boolean;
  /** Whether to check that backward works from each of several outputs alone, and that these gradients add up. Default true. */
  readonly checkUndefinedGrad?: boolean;
  /** Seed of the projection v and of the moves away from kinks. Default 0. */
  readonly seed?: number;
  /** How often the check moves the point away from a kink before it gives up. Default 20. */
  readonly maxResamples?: number;
  /** Whether a failed check throws GradcheckError. Default true. */
  readonly raise?: boolean;
}

/** The defaults of the options. */
export const GRADCHECK_DEFAULTS: Required<GradcheckOptions> = {
  eps: 1e-6,
  atol: 1e-5,
  rtol: 1e-3,
  nondetTol: 0,
  fastMode: false,
  checkUndefinedGrad: true,
  seed: 0,
  maxResamples: 20,
  raise: true,
};

/** In fastMode, inputs with more elements than this are not checked element by element, even if they fail. */
const FAST_LIMIT = 4096;

/**
 * Compares the gradients of `fn` at `inputs` with central differences, in every element of every input that requires a gradient.
 * Of a module it also checks every parameter, by name.
 *
 * It further checks that
 *   - two evaluations and two backwards agree;
 *   - backward is linear in the incoming gradient;
 *   - backward works from each of several outputs alone;
 *   - gradients add up where inputs tie.
 * The report's table shows each input's error; its diagnosis describes the kind of error.
 *
 * Inputs are moved in place and restored bitwise, so `fn` may also read them through its closure. A copy replaces an input that is
 * not a leaf, or whose elements share memory (expanded inputs, two views of one tensor). int32 and bool tensors are passed
 * unchanged. The default generator and a module's buffers have the same state at every evaluation. Dropout is therefore a fixed
 * function, and batch norm's running statistics do not change.
 *
 * Throws: GradcheckError with the report's text (unless raise is false); DTypeError for a float32 input or parameter;
 * AutogradError if no input or no output requires a gradient
 * @example gradcheck((x, w) => x.matmul(w).tanh(), [x, w])
 * @example gradcheck(model.to('float64'), images)
 */
export function gradcheck(
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckReport {
  const settings = settingsOf('gradcheck', options);
  return check('gradcheck', subjectOf('gradcheck', fn, inputs), settings);
}

/**
 * Checks second derivatives: gradcheck of the function (inputs, gradOutputs) ↦ gradients of `fn`, recorded with createGraph.
 * The gradOutputs are random, and checked as further inputs after the given ones. Throws what gradcheck throws.
 */
export function gradgradcheck(
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckReport {
  const settings = settingsOf('gradgradcheck', options);
  const subject = subjectOf('gradgradcheck', fn, inputs);
  return scope(() => check('gradgradcheck', gradientsOf(subject, settings), settings));
}

/** Returns the gradients of a subject as a function of its inputs and gradOutputs, which follow the arguments. */
function gradientsOf(subject: Subject, { seed }: Settings): Subject {
  const { inputs: xs, argumentCount, buffers } = subject;
  const wanted = xs.flatMap((x, i) => (x.requiresGrad ? [i] : []));
  const random = new Random(seed, 1);
  const outputs = withSameState(buffers, () =>
    scope(() => {
      const ys = differentiable(withGradMode(true, () => subject.call(xs)));
      return ys.map(({ shape, dtype }) => ({ shape, dtype }));
    }),
  );
  const gradOutputs = outputs.map(({ shape, dtype }, i) => {
    if (dtype !== 'float64') throw new DTypeError(`gradgradcheck: output ${i} is ${dtype}; compute in float64`);
    return randomSigned(random, shape, dtype).requiresGrad_();
  });
  const n = gradOutputs.length;
  const labels = gradOutputs.map((_, i) => `gradOutput ${i}`);
  const names = labels.map((label, i) => `input ${argumentCount + i} '${label}'`);
  const insertAfterArguments = <T>(list: readonly T[], inserted: readonly T[]): T[] => [
    ...list.slice(0, argumentCount),
    ...inserted,
    ...list.slice(argumentCount),
  ];
  return {
    inputs: insertAfterArguments(xs, gradOutputs),
    labels: insertAfterArguments(subject.labels, labels),
    names: insertAfterArguments(subject.names, names),
    argumentCount: argumentCount + n,
    buffers,
    call: (all) => {
      const inputs = [...all.slice(0, argumentCount), ...all.slice(argumentCount + n)];
      const ys = differentiable(subject.call(inputs));
      const wantedInputs = wanted.map((i) => inputs[i]!);
      const options = { gradOutputs: all.slice(argumentCount, argumentCount + n), createGraph: true, allowUnused: true };
      return grad(ys, wantedInputs, options).filter((g) => g !== null);
    },
  };
}

function differentiable(result: Tensor | readonly Tensor[]): Tensor[] {
  return (isTensor(result) ? [result] : result).filter((y) => y.requiresGrad);
}

/** Fills in defaults and checks the options' ranges. */
function settingsOf(name: string, options: GradcheckOptions): Settings {
  const s: Settings = withDefaults(name, options, GRADCHECK_DEFAULTS);
  for (const option of ['eps', 'atol', 'rtol', 'nondetTol', 'seed', 'maxResamples'] as const) checkNumber(name, option, s[option]);
  if (!(s.eps > 0) || !(s.atol >= 0) || !(s.rtol >= 0) || !(s.nondetTol >= 0) || !(s.maxResamples >= 0)) {
    throw new ArgumentError(
      `${name}: eps must be > 0, atol, rtol, nondetTol and maxResamples ≥ 0; got ${s.eps}, ${s.atol}, ${s.rtol}, ${s.nondetTol} and ${s.maxResamples}`,
    );
  }
  return s;
}

/** Makes a subject of a function or module; a module reads its parameters itself, so only the given inputs are arguments. */
function subjectOf(name: string, fn: CheckedFunction | CheckedModule, inputs: Tensor | readonly Tensor[]): Subject {
  const xs = isTensor(inputs) ? [inputs] : inputs;
  if (!Array.isArray(xs)) throw new ArgumentError(`${name}: inputs must be a tensor or an array of tensors, got ${kindOf(xs)}`);
  xs.forEach((x, i) => checkTensor(name, `input ${i}`, x));
  if (typeof fn !== 'function' && !isModule(fn)) throw new ArgumentError(`${name}: expected a function or a module, got ${kindOf(fn)}`);
  const module = typeof fn === 'function' ? null : fn;
  const parameters = module === null ? [] : [...module.namedParameters()].filter(([, p]) => !isFloat(p.dtype) || p.requiresGrad);
  xs.forEach((x, i) => requireFloat64(name, x, `input ${i}`, "use .to('float64')"));
  for (const [path, p] of parameters) requireFloat64(name, p, `parameter '${path}'`, "convert the module with .to('float64')");
  if (!xs.some((x) => x.requiresGrad) && parameters.length === 0) {
    throw new AutogradError(`${name}: no input requires a gradient; make one with { requiresGrad: true }`);
  }
  return {
    inputs: [...xs, ...parameters.map(([, p]) => p)],
    labels: [...xs.map((x) => x.label), ...parameters.map(([path]) => path)],
    names: [...xs.map((x, i) => (x.label === null ? `input ${i}` : `input ${i} '${x.label}'`)), ...parameters.map(([path]) => path)],
    argumentCount: xs.length,
    buffers: Array.from(module?.namedBuffers?.() ?? [], ([, buffer]) => buffer),
    call: (all) => {
      const args = all.slice(0, xs.length);
      return checkedResult(name, module === null ? (fn as CheckedFunction)(...args) : module.forward(...args));
    },
  };
}

/** Returns whether the value has the methods of a module that the check calls. Those of another copy have its tensors. */
function isModule(value: unknown): value is CheckedModule {
  const { forward, namedParameters } = Object(value) as Partial<CheckedModule>;
  return typeof forward === 'function' && typeof namedParameters === 'function' && foreignKind(value) === null;
}

/** Throws unless the result of a checked function is a tensor, or an array of them. */
function checkedResult(name: string, result: Tensor | readonly Tensor[]): Tensor | readonly Tensor[] {
  if (isTensor(result)) return result;
  if (!Array.isArray(result))
    throw new ArgumentError(`${name}: the function must return a tensor or an array of tensors, got ${kindOf(result)}`);
  result.forEach((y, i) => checkTensor(name, `result ${i}`, y));
  return result;
}

function requireFloat64(name: string, x: Tensor, what: string, remedy: string): void {
  if (!isFloat(x.dtype) || x.dtype === 'float64') return;
  throw new DTypeError(`${name}: ${what} ${formatShape(x.shape)} is ${x.dtype}; finite differences need float64: ${remedy}`);
}

function check(name: string, subject: Subject, settings: Settings): GradcheckReport {
  const data = scope(() => {
    const perturbed = perturbedInputs(subject.inputs);
    const inputs = [...subject.inputs];
    for (const p of perturbed) inputs[p.index] = p.tensor;
    try {
      return withGradMode(true, () => checkAwayFromKinks(name, { subject, inputs, perturbed, settings }));
    } finally {
      for (const p of perturbed) p.restore();
    }
  });
  const toString = (): string => reportText(name, data, settings);
  if (!data.ok && settings.raise) throw new GradcheckError(toString());
  return { ...data, toString };
}

/** Checks at the given point; moves it and tries again while an element has a kink within the step. */
function checkAwayFromKinks(name: string, run: Run): ReportData {
  const { seed, eps, maxResamples } = run.settings;
  const random = new Random(seed, 2);
  let tie: ProbeResult = { problems: [], diagnosis: [] };
  for (let resampled = 0; ; resampled++) {
    // The radius of many steps leaves the kink. It grows with each attempt, but stays small, to remain in the function's domain.
    if (resampled > 0) {
      for (const p of run.perturbed) p.jitter(random, 100 * eps * resampled);
    }
    const analysis = analyseOrExplain(name, run);
    if ('problems' in analysis) return reportData([], null, resampled, analysis);
    const { compared, kink } = compareAll(run, analysis);
    if (kink !== null && resampled === 0) tie = probeTie(run, analysis, kink);
    if (kink !== null && resampled < maxResamples) continue;
    const probed = kink === null ? probe(run, analysis) : { problems: [], diagnosis: [] };
    // A gradient that differs between calls, or is not linear in g, has no pattern: one g predicts nothing about another.
    const patterns = probed.problems.length > 0 ? [] : diagnose(run, analysis, compared);
    const diagnosis = [...tie.diagnosis, ...probed.diagnosis, ...patterns];
    return reportData(compared, kink, resampled, { problems: [...tie.problems, ...probed.problems], diagnosis });
  }
}

/** Compares all inputs; stops at the first kink. */
function compareAll(run: Run, analysis: Analysis): { compared: readonly ComparedInput[]; kink: ElementLocation | null } {
  const compared: ComparedInput[] = [];
  for (const k of run.perturbed.keys()) {
    const comparison = compare(run, analysis, k);
    if (comparison.kink !== null) return { compared, kink: comparison.kink };
    compared.push(comparison);
  }
  return { compared, kink: null };
}

/** Returns the analysis. If the engine rejects a gradient of the backward, explains the error instead. */
function analyseOrExplain(name: string, run: Run): Analysis | ProbeResult {
  try {
    return analyse(name, run);
  } catch (e) {
    const refusal = explainRefusal(e);
    if (refusal === null) throw e;
    return refusal;
  }
}

/** Compares input k element by element; in fastMode only if its projection is wrong and it is not too large. */
function compare(run: Run, analysis: Analysis, k: number): Comparison {
  if (!run.settings.fastMode) return compareElements(run, analysis, k);
  const fast = compareProjection(run, analysis, k);
  if (fast.kink !== null || fast.failures.length === 0 || run.perturbed[k]!.numel > FAST_LIMIT) return fast;
  const slow = compareElements(run, analysis, k);
  // Many errors within tolerance can add up to one beyond it, so without a wrong element the projection's result stands.
  return slow.kink !== null || slow.failures.length > 0 ? slow : fast;
}

function reportData(
  compared: readonly ComparedInput[],
  kink: ReportData['kink'],
  resampled: number,
  { problems, diagnosis }: ProbeResult,
): ReportData {
  const inputs = compared.map(({ report }) => report);
  const failures = compared.flatMap((input) => input.failures);
  let worst: GradcheckElement | null = null;
  for (const input of inputs) {
    if (input.worst === null) continue;
    if (worst === null || !(toleranceUsed(worst) >= toleranceUsed(input.worst))) worst = input.worst;
  }
  return {
    ok: kink === null && failures.length === 0 && problems.length === 0,
    checked: inputs.reduce((n, input) => n + input.checked, 0),
    resampled,
    kink,
    worst,
    failures,
    inputs,
    problems,
    diagnosis,
  };
}
