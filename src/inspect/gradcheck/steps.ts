/**
 * The error of central differences as a function of their step.
 */
import { ArgumentError, kindOf, shown, isArray } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import type { Tensor } from '../../autograd/tensor.ts';
import { GRADCHECK_DEFAULTS } from './settings.ts';
import { analyse, evaluate, projectedDifference, sameBranches, withRun, type Analysis, type Run } from './run.ts';
import { subjectOf, type CheckedFunction, type CheckedModule } from './subject.ts';

/** Options of gradcheckSteps. */
export interface GradcheckStepsOptions {
  /** Seed of the incoming gradient. Default 0. */
  readonly seed?: number;
}

/** The result of one step. */
export interface GradcheckStep {
  /** The step h. */
  readonly eps: number;
  /**
   * The largest |analytic − numeric| over all elements without a kink within the step; null if there are none. NaN if h is so small
   * that x + h and x − h round to the same number, or if a gradient is NaN.
   */
  readonly error: number | null;
  /** Number of elements with a kink within the step. */
  readonly kinks: number;
}

/**
 * Returns for each step h how far the central differences (p(x + h) − p(x − h)) / 2h are from the gradient of `fn` at `inputs`.
 *
 * The error of a right gradient falls as h² while curvature dominates, and rises as 1/h where rounding does. That of a wrong gradient has
 * a floor that no step removes. float32 inputs are allowed, to show how much earlier rounding sets in. gradcheck's moves away from
 * kinks and its further probes are left out.
 *
 * Throws: ArgumentError for a step that is not a number > 0; AutogradError if no input or no output requires a gradient, or if backward
 * returns a gradient of a wrong shape or dtype
 * @example gradcheckSteps((x) => x.exp(), x, [1e-2, 1e-4, 1e-6]).map(({ eps, error }) => [eps, error])
 */
export function gradcheckSteps(
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  steps: readonly number[],
  options: GradcheckStepsOptions = {},
): GradcheckStep[] {
  const { seed } = withDefaults('gradcheckSteps', options, { seed: GRADCHECK_DEFAULTS.seed });
  checkNumber('gradcheckSteps', 'seed', seed);
  if (!isArray(steps)) throw new ArgumentError(`gradcheckSteps: steps must be an array of numbers, got ${kindOf(steps)}`);
  const wrong = steps.findIndex((h) => typeof h !== 'number' || !(h > 0 && h < Infinity));
  if (wrong >= 0) throw new ArgumentError(`gradcheckSteps: steps must be numbers > 0, got ${shown(steps[wrong])} at ${wrong}`);
  const subject = subjectOf('gradcheckSteps', fn, inputs, { float32: true });
  return withRun(subject, { ...GRADCHECK_DEFAULTS, seed }, (run) => {
    const analysis = analyse('gradcheckSteps', run);
    return steps.map((eps) => stepOf(run, analysis, eps));
  });
}

function stepOf(run: Run, analysis: Analysis, eps: number): GradcheckStep {
  let error: number | null = null;
  let kinks = 0;
  for (const [k, p] of run.perturbed.entries()) {
    for (let i = 0; i < p.numel; i++) {
      const above = p.withElementMoved(i, eps, () => evaluate(run, analysis));
      const below = p.withElementMoved(i, -eps, () => evaluate(run, analysis));
      if (!sameBranches(above, analysis) || !sameBranches(below, analysis)) {
        kinks++;
        continue;
      }
      const numeric = projectedDifference(above.outputs, below.outputs, analysis.projection) / p.actualStep(i, eps);
      // Math.max returns NaN if either number is NaN.
      error = Math.max(error ?? 0, Math.abs(analysis.gradients[k]![i]! - numeric));
    }
  }
  return { eps, error, kinks };
}
