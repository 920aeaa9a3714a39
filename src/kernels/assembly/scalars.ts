/**
 * Functions of one or two numbers, for the TypeScript side: kernels/scalars.ts says why it does not use those of its platform. They are no kernels.
 */

export function scalarExp(x: f64): f64 {
  return Math.exp(x);
}

export function scalarExpm1(x: f64): f64 {
  return Math.expm1(x);
}

export function scalarLog(x: f64): f64 {
  return Math.log(x);
}

export function scalarLog1p(x: f64): f64 {
  return Math.log1p(x);
}

export function scalarCos(x: f64): f64 {
  return Math.cos(x);
}

export function scalarSin(x: f64): f64 {
  return Math.sin(x);
}

export function scalarPow(x: f64, y: f64): f64 {
  return Math.pow(x, y);
}
