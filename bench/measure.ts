/**
 * Timing: on a shared machine the minimum over many runs is what repeats; the median says how noisy it was.
 */

/** Milliseconds before measuring, until V8 has replaced its baseline code. */
const WARM_UP = 200;
const LEAST_RUNS = 5;

/** Seconds of every run of `fn`, as many as `seconds` allow, after a warm-up. */
export function times(fn: () => void, seconds: number): number[] {
  for (const start = performance.now(); performance.now() - start < WARM_UP; ) fn();
  const all: number[] = [];
  const start = performance.now();
  while (all.length < LEAST_RUNS || performance.now() - start < 1000 * seconds) {
    const t = performance.now();
    fn();
    all.push((performance.now() - t) / 1000);
  }
  return all;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
