/**
 * The error function in double precision, for the reference kernels.
 */

/** e^(−x²). The rounding error of x² would be magnified, so x is split: a number of 24 bits has an exact square, and the rest is small. */
function gauss(x: number): number {
  const h = Math.fround(x);
  return Math.exp(-h * h) * Math.exp(-(x - h) * (x + h));
}

/**
 * erf x = 2/√π ∫₀ˣ e^(−t²) dt
 *   |x| < 2:  2/√π · e^(−x²) · Σₙ 2ⁿ x^(2n+1) / (1·3·5·…·(2n+1)), all terms of one sign
 *   else:     1 − e^(−x²)/√π / (x + ½/(x + 1/(x + 3⁄2/(x + …))))
 * Source: Abramowitz and Stegun 7.1.6 and 7.1.14
 */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * gauss(x) * sum;
  }
  if (a > 6) return Math.sign(x); // 1 − erf 6 = 2e-17
  if (a !== a) return x;
  let f = a;
  for (let k = 60; k > 0; k--) f = a + k / 2 / f;
  return Math.sign(x) * (1 - gauss(a) / Math.sqrt(Math.PI) / f);
}
