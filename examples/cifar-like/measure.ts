/**
 * Trains and tests one net for a study, and summarises the results of several.
 */
import { chooseData } from './data.ts';
import { prepare } from './loop.ts';
import { type Net, parameterCount } from './model.ts';
import type { Settings } from './options.ts';

/** The result of one net with one seed. */
export interface Cell {
  readonly parameters: number;
  readonly steps: number;
  readonly testAccuracy: number;
}

/**
 * Trains and tests a net as `npm start` does, and frees it; returns null if `signal` was aborted.
 *
 * Throws: NonFiniteLossError if the loss becomes NaN or infinite
 */
export async function measure(
  settings: Settings,
  make: (inChannels: number) => Net,
  signal: AbortSignal | null = null,
): Promise<Cell | null> {
  const data = chooseData(settings);
  const { run, answers } = prepare(make(data.shape[0]!), data, settings, { signal });
  try {
    if ((await run.finish()).type === 'pause') return null;
    return { parameters: parameterCount(run.model), steps: run.step, testAccuracy: answers.compute() };
  } finally {
    run.optimizer.dispose();
    run.model.dispose();
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
