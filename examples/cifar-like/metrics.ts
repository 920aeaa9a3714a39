/**
 * The lines of metrics.jsonl.
 */
import { RunError } from './errors.ts';
import type { LineFile } from './line-file.ts';
import { excerpt } from './text.ts';

/** A training step. */
export interface StepMetric {
  readonly net: string;
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly lr: number;
}

/** A training step of the net that is being trained. */
export type StepReport = Omit<StepMetric, 'net'>;

/** An evaluation on test images. */
export interface TestMetric {
  readonly net: string;
  readonly step: number;
  readonly images: number;
  /** null: not finite. */
  readonly testLoss: number | null;
  readonly testAccuracy: number;
}

export type Metric = StepMetric | TestMetric;

/**
 * Reads the metrics in the first `bytes` bytes of the file.
 *
 * Throws: RunError that names the first line that is damaged, missing or there twice
 */
export function readMetrics(file: LineFile, bytes = Infinity): Metric[] {
  const metrics: Metric[] = [];
  const steps = new Map<string, number>();
  let read = 0;
  for (const { text, number, end } of file.lines(bytes)) {
    const metric = metricIn(text);
    const fail = (what: string) => new RunError(`${file.path}: line ${number}: ${what}; put the file back as the run left it`);
    if (metric === null) throw fail(`expected a step or a test of a net, got '${excerpt(text)}'`);
    const isStep = 'lr' in metric;
    const step = (steps.get(metric.net) ?? 0) + (isStep ? 1 : 0);
    if (metric.step !== step) throw fail(`expected step ${step} of the net ${metric.net}, got step ${metric.step}`);
    if (isStep) steps.set(metric.net, step);
    metrics.push(metric);
    read = end;
  }
  if (bytes === Infinity || read === bytes) return metrics;
  throw new RunError(`${file.path}: expected a line to end at byte ${bytes}, got one that goes on; put the file back as the run left it`);
}

/** Parses a line; returns null if it is no metric. */
function metricIn(text: string): Metric | null {
  const found = parsed(text);
  if (typeof found !== 'object' || found === null) return null;
  const m = found as Record<string, unknown>;
  const areNumbers = (...keys: string[]): boolean => keys.every((key) => typeof m[key] === 'number');
  if (!(m.net === 'plain' || m.net === 'se') || !Number.isSafeInteger(m.step)) return null;
  const isStep = areNumbers('epoch', 'loss', 'accuracy', 'lr');
  const isTest = areNumbers('images', 'testAccuracy') && (m.testLoss === null || areNumbers('testLoss'));
  return isStep !== isTest ? (found as Metric) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
