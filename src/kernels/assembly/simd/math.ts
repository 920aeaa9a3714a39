/**
 * Elementary functions: SIMD polynomials for float32, and scalar functions that AssemblyScript's library lacks.
 */

/**
 * The constants of exp4. They are loaded from memory where they are used: V8 computes each constant vector again in every pass of a loop, in
 * three instructions instead of one. The fourth is 1.5 · 2²³ + 254. Adding it rounds a small float n to a whole number, and the low bits of
 * the sum are n + 254.
 */
const EXP: usize = memory.data<f32>([
  -104.0, 89.0, 1.44269504088896341, 12583166.0, 0.693359375, 2.12194440e-4, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
  1.6666665459e-1, 5.0000001201e-1, 1.0,
]);

/** Returns the constant of exp4 at index i in each lane. */
// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load32_splat(EXP + 4 * i);
}

/**
 * eˣ of four floats, relative error 2e-7. It is decomposed as x = n·ln 2 + r, with ln 2 in two parts (Cody–Waite). A polynomial of degree 5
 * approximates (eʳ − 1 − r)/r² (Cephes' expf). 2ⁿ is multiplied in two factors, so that overflow and subnormal results are right. Their
 * exponents with the bias of 127 add up to n + 254.
 */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  // The constants are the second operands: pmin and pmax then propagate a NaN in x.
  x = f32x4.pmin(f32x4.pmax(x, constant(0)), constant(1));
  const z = f32x4.add(f32x4.mul(x, constant(2)), constant(3));
  const f = f32x4.sub(z, constant(3));
  let r = f32x4.sub(x, f32x4.mul(f, constant(4)));
  r = f32x4.add(r, f32x4.mul(f, constant(5)));
  let p = constant(6);
  p = f32x4.add(f32x4.mul(p, r), constant(7));
  p = f32x4.add(f32x4.mul(p, r), constant(8));
  p = f32x4.add(f32x4.mul(p, r), constant(9));
  p = f32x4.add(f32x4.mul(p, r), constant(10));
  p = f32x4.add(f32x4.mul(p, r), constant(11));
  const e = f32x4.add(f32x4.add(r, f32x4.mul(p, f32x4.mul(r, r))), constant(12));
  // The bits of z above the low ones leave the vector in the shift by 23.
  const half = i32x4.shr_s(z, 1);
  return f32x4.mul(f32x4.mul(e, i32x4.shl(half, 23)), i32x4.shl(i32x4.sub(z, half), 23));
}

/** 1 / (1 + e⁻ˣ) of four floats; 0 if e⁻ˣ overflows. */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1.0), f32x4.add(f32x4.splat(1.0), exp4(f32x4.neg(x))));
}

/** tanh of four floats: an odd polynomial below 0.625 (Cephes' tanhf), 1 − 2/(e²ˣ + 1) above. */
// @ts-ignore: decorator
@inline
export function tanh4(x: v128): v128 {
  const a = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = f32x4.splat(-5.70498872745e-3);
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(2.06390887954e-2));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-5.37397155531e-2));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(1.33314422036e-1));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-3.33332819422e-1));
  const small = f32x4.add(x, f32x4.mul(f32x4.mul(p, z), x));
  const e = exp4(f32x4.add(a, a));
  const large = f32x4.sub(f32x4.splat(1.0), f32x4.div(f32x4.splat(2.0), f32x4.add(e, f32x4.splat(1.0))));
  const signed = v128.or(large, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(small, signed, f32x4.lt(a, f32x4.splat(0.625)));
}

/** 1 / (1 + e⁻ˣ). */
export function sigmoid(x: f64): f64 {
  return 1.0 / (1.0 + Math.exp(-x));
}

/** erf(x): the rational approximations on five intervals of FreeBSD's s_erf.c (Sun, 1993). */
export function erf(x: f64): f64 {
  if (x != x) return x;
  const a = abs(x);
  if (a < 0.84375) {
    // Scaling by 8 makes subnormal results exact. Below 2⁻²⁸ the quotient does not change the result.
    if (a < 2.848094538889218e-306) return 0.125 * (8.0 * x + 1.02703333676410069053 * x);
    if (a < 3.7252902984e-9) return x + 1.28379167095512586316e-1 * x;
    const z = x * x;
    const r = 1.28379167095512558561e-1 + z * (-3.25042107247001499370e-1 +
      z * (-2.84817495755985104766e-2 + z * (-5.77027029648944159157e-3 + z * -2.37630166566501626084e-5)));
    const s = 1.0 + z * (3.97917223959155352819e-1 + z * (6.50222499887672944485e-2 +
      z * (5.08130628187576562776e-3 + z * (1.32494738004321644526e-4 + z * -3.96022827877536812320e-6))));
    return x + x * (r / s);
  }
  if (a < 1.25) {
    const s = a - 1.0;
    const p = -2.36211856075265944077e-3 + s * (4.14856118683748331666e-1 + s * (-3.72207876035701323847e-1 +
      s * (3.18346619901161753674e-1 + s * (-1.10894694282396677476e-1 +
        s * (3.54783043256182359371e-2 + s * -2.16637559486879084300e-3)))));
    const q = 1.0 + s * (1.06420880400844228286e-1 + s * (5.40397917702171048937e-1 + s * (7.18286544141962662868e-2 +
      s * (1.26171219808761642112e-1 + s * (1.36370839120290507362e-2 + s * 1.19844998467991074170e-2)))));
    return copysign<f64>(8.45062911510467529297e-1 + p / q, x);
  }
  if (a >= 6.0) return copysign<f64>(1.0, x);
  const s = 1.0 / (a * a);
  let r: f64;
  let d: f64;
  if (a < 2.857142857142857) {
    r = -9.86494403484714822705e-3 + s * (-6.93858572707181764372e-1 + s * (-1.05586262253232909814e1 + s * (-6.23753324503260060396e1 +
      s * (-1.62396669462573470355e2 + s * (-1.84605092906711035994e2 + s * (-8.12874355063065934246e1 + s * -9.81432934416914548592))))));
    d = 1.0 + s * (1.96512716674392571292e1 + s * (1.37657754143519042600e2 + s * (4.34565877475229228821e2 +
      s * (6.45387271733267880336e2 +
      s * (4.29008140027567833386e2 + s * (1.08635005541779435134e2 + s * (6.57024977031928170135 + s * -6.04244152148580987438e-2)))))));
  } else {
    r = -9.86494292470009928597e-3 + s * (-7.99283237680523006574e-1 + s * (-1.77579549177547519889e1 + s * (-1.60636384855821916062e2 +
      s * (-6.37566443368389627722e2 + s * (-1.02509513161107724954e3 + s * -4.83519191608651397019e2)))));
    d = 1.0 + s * (3.03380607434824582924e1 + s * (3.25792512996573918826e2 + s * (1.53672958608443695994e3 +
      s * (3.19985821950859553908e3 +
      s * (2.55305040643316442583e3 + s * (4.74528541206955367215e2 + s * -2.24409524465858183362e1))))));
  }
  // a with its low word cleared has an exact square, so that e⁻ᵃᵃ loses no digits.
  const z = reinterpret<f64>(reinterpret<u64>(a) & 0xffffffff00000000);
  const tail = Math.exp(-z * z - 0.5625) * Math.exp((z - a) * (z + a) + r / d);
  return copysign<f64>(1.0 - tail / a, x);
}
