/**
 * Timing. On a shared machine the minimum over many runs is reproducible; the median shows the noise.
 */

/** Time of the warm-up in milliseconds, in which V8 replaces its baseline code by optimised code. */
const WARM_UP_MS = 200;
const LEAST_RUNS = 5;

/** Runs `fn` for `seconds` after a warm-up, and returns the seconds of every run. */
export function times(fn: () => void, seconds: number): number[] {
  const warmUpStart = performance.now();
  while (performance.now() - warmUpStart < WARM_UP_MS) fn();
  const all: number[] = [];
  const start = performance.now();
  while (all.length < LEAST_RUNS || performance.now() - start < 1000 * seconds) {
    const runStart = performance.now();
    fn();
    all.push((performance.now() - runStart) / 1000);
  }
  return all;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
