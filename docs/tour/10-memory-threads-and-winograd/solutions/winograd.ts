/** Returns two outputs of a filter with three weights, with four multiplications. */
export function winograd(
  [d0, d1, d2, d3]: readonly [number, number, number, number],
  [w0, w1, w2]: readonly [number, number, number],
  times: (a: number, b: number) => number,
): [number, number] {
  const m0 = times(d0 - d2, w0);
  const m1 = times(d1 + d2, (w0 + w1 + w2) / 2);
  const m2 = times(d2 - d1, (w0 - w1 + w2) / 2);
  const m3 = times(d1 - d3, w2);
  return [m0 + m1 + m2, m1 - m2 - m3];
}
