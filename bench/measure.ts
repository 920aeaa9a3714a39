/**
 * Timing: the minimum over many runs, which on a shared machine is what repeats.
 */

/** Milliseconds before measuring, until V8 has replaced its baseline code. */
const WARM_UP = 150;
const LEAST_RUNS = 5;

/** The shortest time of `fn` in seconds, among as many runs as `seconds` allow. */
export function fastest(fn: () => void, seconds: number): number {
  for (const start = performance.now(); performance.now() - start < WARM_UP; ) fn();
  let best = Infinity;
  const start = performance.now();
  for (let runs = 0; runs < LEAST_RUNS || performance.now() - start < 1000 * seconds; runs++) {
    const t = performance.now();
    fn();
    best = Math.min(best, performance.now() - t);
  }
  return best / 1000;
}
