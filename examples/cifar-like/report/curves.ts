/**
 * Turns metrics.jsonl into the curves of the report's charts.
 */
import type { Metric } from '../metrics.ts';
import type { Result } from '../table.ts';

/** The values of a curve at the steps of a chart; null where it has none. */
type Column = (number | null)[];

export interface Curve {
  readonly net: Result['net'];
  readonly title: string;
  /** Loss and accuracy of training batches, smoothed. */
  readonly loss: Column;
  readonly accuracy: Column;
  /** Loss and accuracy on test images, at the steps that had an evaluation. */
  readonly testLoss: Column;
  readonly testAccuracy: Column;
  readonly lr: Column;
}

export interface Curves {
  /** The steps of all columns. */
  readonly steps: number[];
  readonly curves: Curve[];
  /** The step at the right end of the charts. */
  readonly end: number;
}

/** The approximate number of points in a chart. */
const POINTS = 500;
/** Length of the moving average over training batches, as a share of all steps. */
export const SMOOTHING_SHARE = 0.03;

/**
 * Returns the curves of `nets`, in their order; a net without metrics has curves without values.
 *
 * @param axisEnd the step at which the axis ends; null: the last one
 */
export function curvesOf(
  metrics: readonly Metric[],
  nets: readonly Pick<Result, 'net' | 'title'>[],
  axisEnd: number | null = null,
): Curves {
  const last = metrics.reduce((most, { step }) => Math.max(most, step), 1);
  const end = axisEnd ?? last;
  const steps = chartSteps(metrics, last);
  const window = Math.max(1, Math.round(end * SMOOTHING_SHARE));
  const curves = nets.map(({ net, title }) => {
    const ofNet = metrics.filter((m) => m.net === net);
    const training = ofNet.filter((m) => 'lr' in m);
    const test = new Map(ofNet.filter((m) => 'testLoss' in m).map((m) => [m.step, m]));
    const losses = training.map((m) => m.loss);
    const accuracies = training.map((m) => 100 * m.accuracy);
    const learningRates = training.map((m) => m.lr);
    return {
      net,
      title,
      loss: smoothAt(steps, losses, window),
      accuracy: smoothAt(steps, accuracies, window),
      lr: at(steps, learningRates),
      testLoss: steps.map((s) => test.get(s)?.testLoss ?? null),
      testAccuracy: steps.map((s) => percentage(test.get(s)?.testAccuracy)),
    };
  });
  return { steps, curves, end };
}

/** Returns the steps to draw: evenly spaced ones, those of evaluations on test images, the first and the last. */
function chartSteps(metrics: readonly Metric[], last: number): number[] {
  const steps = new Set([1, last]);
  const stride = Math.ceil(last / POINTS);
  for (let step = stride; step <= last; step += stride) steps.add(step);
  for (const metric of metrics) {
    if ('testLoss' in metric) steps.add(metric.step);
  }
  return [...steps].sort((a, b) => a - b);
}

function percentage(share: number | undefined): number | null {
  return share === undefined ? null : 100 * share;
}

/** Returns the values at the steps that are drawn; values[0] belongs to step 1. */
function at(steps: readonly number[], values: readonly number[]): Column {
  return steps.map((s) => values[s - 1] ?? null);
}

/**
 * Returns the means over a centred window at the steps that are drawn; the window is shorter near both ends. Each mean is summed by
 * itself: a difference of running sums would lose every value after a spike.
 */
function smoothAt(steps: readonly number[], values: readonly number[], window: number): Column {
  const half = Math.floor(window / 2);
  return steps.map((step) => {
    if (step > values.length) return null;
    const from = Math.max(0, step - 1 - half);
    const to = Math.min(values.length, step + half);
    let sum = 0;
    for (let i = from; i < to; i++) sum += values[i]!;
    return sum / (to - from);
  });
}
