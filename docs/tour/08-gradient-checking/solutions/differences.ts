/** Returns the central difference of f by each of its inputs. */
export function centralDifferences(f: (xs: readonly number[]) => number, xs: number[], h: number): number[] {
  return xs.map((x, i) => (f(xs.with(i, x + h)) - f(xs.with(i, x - h))) / (2 * h));
}
