/** Returns whether |a − b| ≤ atol + rtol·|b| for all elements. */
export function agrees(analytic: readonly number[], numeric: readonly number[], atol: number, rtol: number): boolean {
  return analytic.length === numeric.length && numeric.every((b, i) => Math.abs(analytic[i]! - b) <= atol + rtol * Math.abs(b));
}
