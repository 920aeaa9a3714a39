/**
 * Trains and tests one net for a study, and summarises the results of several.
 */
import { chooseData } from './data.ts';
import { evaluate } from './evaluate.ts';
import { prepare, train } from './loop.ts';
import { type Net, parameterCount } from './model.ts';
import type { Settings } from './options.ts';

/** The result of one net with one seed. */
export interface Cell {
  readonly parameters: number;
  readonly steps: number;
  readonly testAccuracy: number;
}

/**
 * Trains and tests a net as `npm start` does, and frees it; returns null if it was stopped.
 *
 * Throws: NotFinite if the loss becomes NaN or infinite
 */
export async function measure(
  settings: Settings,
  make: (inChannels: number) => Net,
  stopRequested: () => boolean = () => false,
): Promise<Cell | null> {
  const data = chooseData(settings);
  const model = make(data.shape[0]!);
  const training = prepare(model, data, settings);
  try {
    const progress = { step: 0, seconds: 0, evaluatedAt: 0 };
    if (!(await train(training, { ...data, test: null }, settings, progress, { stopRequested }))) return null;
    const { batchSize } = settings;
    const tested = await evaluate(model, data.test, { batchSize, transform: data.testTransform, stopRequested });
    return tested && { parameters: parameterCount(model), steps: progress.step, testAccuracy: tested.accuracy };
  } finally {
    training.optimizer.dispose();
    model.dispose();
  }
}

/** Returns mean and sample standard deviation; the deviation of a single value is null. */
export function spread(values: readonly number[]): { mean: number; deviation: number | null } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  if (values.length < 2) return { mean, deviation: null };
  const squares = values.reduce((a, v) => a + (v - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}

export function meanAndDeviation(values: readonly number[]): string {
  const { mean, deviation } = spread(values);
  return deviation === null ? `${mean.toFixed(1)} (one seed)` : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}
