/**
 * What the charts draw, from metrics.jsonl.
 */
import type { Metric } from '../run-folder.ts';
import type { Result } from '../table.ts';

type Column = (number | null)[];

export interface Curve {
  readonly net: Result['net'];
  readonly title: string;
  /** Training batches, smoothed. */
  readonly loss: Column;
  readonly accuracy: Column;
  /** Where test images were looked at. */
  readonly testLoss: Column;
  readonly testAccuracy: Column;
  readonly lr: Column;
}

export interface Curves {
  /** What all columns are over. */
  readonly steps: number[];
  readonly curves: Curve[];
}

/** A chart has room for about so many points. */
const POINTS = 500;
/** Steps over which training figures are averaged, as a share of all. */
export const SMOOTHED = 0.03;

export function curvesOf(metrics: readonly Metric[], results: readonly Result[]): Curves {
  const last = Math.max(...metrics.map((m) => m.step), 1);
  const stride = Math.ceil(last / POINTS);
  const tests = metrics.filter((m) => 'testLoss' in m);
  const marks = [...tests.map((m) => m.step), 1, last];
  const steps = [...new Set([...marks, ...Array.from({ length: Math.floor(last / stride) }, (_, i) => (i + 1) * stride)])].sort(
    (a, b) => a - b,
  );
  const curves = results.map(({ net, title }) => {
    const mine = metrics.filter((m) => m.net === net);
    const training = mine.filter((m) => 'lr' in m);
    const test = new Map(mine.filter((m) => 'testLoss' in m).map((m) => [m.step, m]));
    const window = Math.max(1, Math.round(last * SMOOTHED));
    const column = (values: number[]) => at(steps, smooth(values, window));
    return {
      net,
      title,
      loss: column(training.map((m) => m.loss)),
      accuracy: column(training.map((m) => 100 * m.accuracy)),
      lr: at(
        steps,
        training.map((m) => m.lr),
      ),
      testLoss: steps.map((s) => test.get(s)?.testLoss ?? null),
      testAccuracy: steps.map((s) => percentage(test.get(s)?.testAccuracy)),
    };
  });
  return { steps, curves };
}

function percentage(share: number | undefined): number | null {
  return share === undefined ? null : 100 * share;
}

/** The values after the steps that are drawn. */
function at(steps: readonly number[], values: readonly number[]): Column {
  return steps.map((s) => values[s - 1] ?? null);
}

/** The mean over a centred window, cut off at both ends. */
function smooth(values: readonly number[], window: number): number[] {
  const sums = [0];
  for (const v of values) sums.push(sums.at(-1)! + v);
  const half = Math.floor(window / 2);
  return values.map((_, i) => {
    const [from, to] = [Math.max(0, i - half), Math.min(values.length, i + half + 1)];
    return (sums[to]! - sums[from]!) / (to - from);
  });
}
