/**
 * The steps h of the check, and the shape of the error over them.
 */

/** The exponents of the smallest and the largest step. */
export const STEP_RANGE = { min: -12, max: 0 } as const;

/** The steps of the chart: three in each decade. */
export const STEPS: readonly number[] = Array.from(
  { length: 3 * (STEP_RANGE.max - STEP_RANGE.min) + 1 },
  (_, i) => 10 ** (STEP_RANGE.min + i / 3),
);

/** Returns c of the lines c/h and c·h² along the two arms of an error curve; null where the curve has no such arm. */
export function armsOf(errors: readonly (number | null)[]): { readonly rounding: number | null; readonly truncation: number | null } {
  const found = errors.flatMap((error, i) => (error !== null && error > 0 ? [{ h: STEPS[i]!, error }] : []));
  const smallest = found.reduce((least, { error }) => Math.min(least, error), Infinity);
  const best = found.findIndex(({ error }) => error === smallest);
  return {
    rounding: constantAlong(found.slice(0, best), (h) => 1 / h),
    truncation: constantAlong(found.slice(best + 1), (h) => h * h),
  };
}

/** Returns the median of error / f(h) if the errors change tenfold and half of the points lie within a factor of 4 of it, else null. */
function constantAlong(points: readonly { readonly h: number; readonly error: number }[], f: (h: number) => number): number | null {
  const errors = points.map(({ error }) => error);
  if (points.length < 4 || Math.max(...errors) < 10 * Math.min(...errors)) return null;
  const ratios = points.map(({ h, error }) => error / f(h)).sort((a, b) => a - b);
  const median = ratios[Math.floor(ratios.length / 2)]!;
  const near = ratios.filter((r) => r < 4 * median && r > median / 4);
  return near.length * 2 >= ratios.length ? median : null;
}
