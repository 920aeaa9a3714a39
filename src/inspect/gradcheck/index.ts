/**
 * Checks gradients against finite differences, in float64.
 *
 * With outputs y(x) and a fixed v, one backward computes the gradient of p(x) = ⟨v, y(x)⟩. v is the incoming gradient: 1 if the output
 * is one number, else random. Each element is compared with the central difference (p(x + h) − p(x − h)) / 2h. A kink between x − h
 * and x + h would make the difference meaningless. Operations with kinks therefore log which branch every element took; where that
 * changes, the point is moved.
 */
import { DTypeError, GradcheckError } from '../../core/errors.ts';
import { Random } from '../../core/random.ts';
import { grad } from '../../autograd/backward.ts';
import { scope } from '../../autograd/scopes.ts';
import { withGradMode } from '../../autograd/grad-mode.ts';
import { isTensor, type Tensor } from '../../autograd/tensor.ts';
import { diagnose } from './diagnosis.ts';
import { withSameState, type Subject } from './perturbed-input.ts';
import { explainRefusal, probe, probeTie, type ProbeResult } from './probes.ts';
import { reportText, type GradcheckElement, type GradcheckOutput, type GradcheckReport, type ReportData } from './report.ts';
import {
  analyse,
  compareElements,
  compareProjection,
  randomSigned,
  toleranceUsed,
  withRun,
  type Analysis,
  type Comparison,
  type ElementLocation,
  type ComparedInput,
  type Run,
} from './run.ts';
import { settingsOf, type GradcheckOptions, type Settings } from './settings.ts';
import { subjectOf, type CheckedFunction, type CheckedModule } from './subject.ts';

export type { GradcheckElement, GradcheckInput, GradcheckOutput, GradcheckReport } from './report.ts';
export { GRADCHECK_DEFAULTS, type GradcheckOptions } from './settings.ts';
export { gradcheckSteps, type GradcheckStep, type GradcheckStepsOptions } from './steps.ts';
export type { CheckedFunction, CheckedModule } from './subject.ts';

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
 * The incoming gradient is 1 if the output is one number, else random; the report prints it. The report's table shows each input's
 * error; its diagnosis describes the kind of error.
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

function check(name: string, subject: Subject, settings: Settings): GradcheckReport {
  const data = withRun(subject, settings, (run) => checkAwayFromKinks(name, run));
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
    if ('problems' in analysis) return reportData([], [], null, resampled, analysis);
    const { compared, kink } = compareAll(run, analysis);
    if (kink !== null && resampled === 0) tie = probeTie(run, analysis, kink);
    if (kink !== null && resampled < maxResamples) continue;
    const probed = kink === null ? probe(run, analysis) : { problems: [], diagnosis: [] };
    // A gradient that differs between calls, or is not linear in g, has no pattern: one g predicts nothing about another.
    const patterns = probed.problems.length > 0 ? [] : diagnose(run, analysis, compared);
    const diagnosis = [...tie.diagnosis, ...probed.diagnosis, ...patterns];
    return reportData(compared, gradOutputsOf(analysis), kink, resampled, { problems: [...tie.problems, ...probed.problems], diagnosis });
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

/** Returns the incoming gradient of each output that requires one. */
function gradOutputsOf({ projection, shapes, differentiable }: Analysis): GradcheckOutput[] {
  const outputs = [...differentiable.keys()].filter((output) => differentiable[output]);
  return outputs.map((output, k) => ({ output, shape: shapes[k]!, g: projection[k]! }));
}

function reportData(
  compared: readonly ComparedInput[],
  gradOutputs: readonly GradcheckOutput[],
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
    elements: compared.flatMap((input) => input.elements),
    gradOutputs,
    inputs,
    problems,
    diagnosis,
  };
}
