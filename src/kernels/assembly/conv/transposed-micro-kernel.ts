/**
 * The micro-kernel of weight gradients, where A is transposed: its rows are neighbouring channels. The sum runs over images (sweeps), rows
 * (runs) and columns (steps), any distance apart. The notes on speed in matmul/micro-kernel.ts apply here too.
 */
import { wide } from '../runtime/abi';
import { lanes, mulAdd, putRow } from '../simd/vector';

// @ts-ignore: decorator
@inline
function transposedMicroKernel<T>(
  rows: i32, vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  const length = <usize>run * bStep;
  a -= aStep;
  b -= bStep;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0), c03 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0), c13 = v128.splat<T>(0);
    let c20 = v128.splat<T>(0), c21 = v128.splat<T>(0), c22 = v128.splat<T>(0), c23 = v128.splat<T>(0);
    let c30 = v128.splat<T>(0), c31 = v128.splat<T>(0), c32 = v128.splat<T>(0), c33 = v128.splat<T>(0);
    let aAt = a;
    let bAt = b;
    for (let i = sweeps; i > 0; i--) {
      let aFrom = aAt;
      let bFrom = bAt;
      for (let r = runs; r > 0; r--) {
        let p0 = aFrom;
        let q = bFrom;
        const last = q + length;
        do {
          p0 += aStep;
          q += bStep;
          const b0 = v128.load(q);
          const b1 = vectors > 1 ? v128.load(q, 16) : b0;
          const b2 = vectors > 2 ? v128.load(q, 32) : b0;
          const b3 = vectors > 2 ? v128.load(q, 48) : b0;
          const s0 = v128.load_splat<T>(p0);
          c00 = mulAdd<T>(s0, b0, c00);
          if (vectors > 1) c01 = mulAdd<T>(s0, b1, c01);
          if (vectors > 2) {
            c02 = mulAdd<T>(s0, b2, c02);
            c03 = mulAdd<T>(s0, b3, c03);
          }
          if (rows > 1) {
            const s1 = v128.load_splat<T>(p0, sizeof<T>());
            c10 = mulAdd<T>(s1, b0, c10);
            if (vectors > 1) c11 = mulAdd<T>(s1, b1, c11);
            if (vectors > 2) {
              c12 = mulAdd<T>(s1, b2, c12);
              c13 = mulAdd<T>(s1, b3, c13);
            }
          }
          if (rows > 2) {
            const s2 = v128.load_splat<T>(p0, 2 * sizeof<T>());
            c20 = mulAdd<T>(s2, b0, c20);
            c21 = mulAdd<T>(s2, b1, c21);
            c22 = mulAdd<T>(s2, b2, c22);
            c23 = mulAdd<T>(s2, b3, c23);
            const s3 = v128.load_splat<T>(p0, 3 * sizeof<T>());
            c30 = mulAdd<T>(s3, b0, c30);
            c31 = mulAdd<T>(s3, b1, c31);
            c32 = mulAdd<T>(s3, b2, c32);
            c33 = mulAdd<T>(s3, b3, c33);
          }
        } while (q != last);
        aFrom += aRun;
        bFrom += bRun;
      }
      aAt += aSweep;
      bAt += bSweep;
    }
    putRow<T>(vectors, c, c00, c01, c02, c03, 4 * lanes<T>(), true);
    if (rows > 1) putRow<T>(vectors, c + cRow, c10, c11, c12, c13, 4 * lanes<T>(), true);
    if (rows > 2) {
      putRow<T>(vectors, c + 2 * cRow, c20, c21, c22, c23, 4 * lanes<T>(), true);
      putRow<T>(vectors, c + 3 * cRow, c30, c31, c32, c33, 4 * lanes<T>(), true);
    }
    a += <usize>rows * sizeof<T>();
    c += <usize>rows * cRow;
  }
}

function transposed4x4<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  transposedMicroKernel<T>(4, 4, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function transposed2x4<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  transposedMicroKernel<T>(2, 4, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function transposed2x2<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  transposedMicroKernel<T>(2, 2, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function transposed2x1<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  transposedMicroKernel<T>(2, 1, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

function transposed1x4<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  transposedMicroKernel<T>(1, 4, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

function transposed1x2<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  transposedMicroKernel<T>(1, 2, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

function transposed1x1<T>(
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  transposedMicroKernel<T>(1, 1, a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, 0, 1);
}

/**
 * Computes C += Aᵀ · B for `count` adjacent register blocks, each 2 neighbouring columns of A × `vectors` whole vectors of B.
 * aStep, bStep, …: bytes from one step, run or sweep to the next · cRow: bytes from one row of C to the next.
 */
// @ts-ignore: decorator
@inline
export function transposedMicroKernel2<T>(
  vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize, cRow: usize, count: i32,
): void {
  if (wide != 0 && vectors == 4 && count > 1) {
    transposed4x4<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count >> 1);
    const done = <usize>(count & -2);
    a += 2 * done * sizeof<T>();
    c += 2 * done * cRow;
    count &= 1;
  }
  if (vectors == 4) transposed2x4<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
  else if (vectors == 2) transposed2x2<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
  else transposed2x1<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c, cRow, count);
}

/** The same for one column of A. */
// @ts-ignore: decorator
@inline
export function transposedMicroKernel1<T>(
  vectors: i32,
  a: usize, aStep: usize, aRun: usize, aSweep: usize, b: usize, bStep: usize, bRun: usize, bSweep: usize,
  run: i32, runs: i32, sweeps: i32, c: usize,
): void {
  if (vectors == 4) transposed1x4<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
  else if (vectors == 2) transposed1x2<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
  else transposed1x1<T>(a, aStep, aRun, aSweep, b, bStep, bRun, bSweep, run, runs, sweeps, c);
}
