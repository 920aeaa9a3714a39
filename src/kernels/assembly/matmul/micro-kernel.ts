/**
 * The micro-kernels that matrix products and convolutions share.
 *
 *   C[i, j] = Σₖ A[i, k] · B[k, j]   for up to 4 rows i and up to 4 vectors j
 *
 * 2 rows × 4 vectors is the largest tile whose accumulators, B vectors and A splats all stay in the 15 SSE registers that V8
 * gives on x64. The sum runs over sweeps × runs × steps: within a run A and B are read step by step, runs and sweeps lie
 * anywhere. A convolution's sweeps are kernel rows, its steps channels. A strip is a row of tiles that share B. In 256-bit code
 * (`wide`) two neighbouring tiles of a strip are one of 4 rows: 8 accumulators again, which fill the time that additions take.
 *
 * What costs most besides the arithmetic is decoding: so pointers are advanced before they are used, as V8 copies those whose
 * old value lives on, and loops nest deep, as V8 unrolls the more the deeper.
 */
import { wide } from '../runtime/abi';
import { putRow } from '../simd/vector';

// @ts-ignore: decorator
@inline
function stripOf<T>(
  rows: i32, vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (run <= 0) sweeps = 0;
  // An addition waits for the one before it to the same sum; with less than 4 vectors there are too few sums to fill that time,
  // so the second of two steps has its own. How many rows the tile has changes no bit.
  const apart = vectors < 4;
  // Two steps an iteration, the last of an odd number alone. The branch between them keeps V8 from loading both steps at once,
  // for which there are not enough registers.
  const element = sizeof<T>();
  const step: usize = <usize>vectors * 16;
  const bRun = <usize>run * step;
  a0 -= 2 * element;
  a1 -= 2 * element;
  b -= 2 * step;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0), c03 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0), c13 = v128.splat<T>(0);
    let c20 = v128.splat<T>(0), c21 = v128.splat<T>(0), c22 = v128.splat<T>(0), c23 = v128.splat<T>(0);
    let c30 = v128.splat<T>(0), c31 = v128.splat<T>(0), c32 = v128.splat<T>(0), c33 = v128.splat<T>(0);
    let e00 = v128.splat<T>(0), e01 = v128.splat<T>(0), e10 = v128.splat<T>(0), e11 = v128.splat<T>(0);
    let aAt: usize = 0;
    let bAt = b;
    for (let i = sweeps; i > 0; i--) {
      let at = aAt;
      let q = bAt;
      for (let r = runs; r > 0; r--) {
        let p0 = a0 + at;
        let p1 = a1 + at;
        let p2 = p0 + aNext;
        let p3 = p1 + aNext;
        const last = q + bRun;
        const lastOdd = last + step;
        do {
          p0 += 2 * element;
          if (rows > 1) p1 += 2 * element;
          if (rows > 2) {
            p2 += 2 * element;
            p3 += 2 * element;
          }
          q += 2 * step;
          const b0 = v128.load(q);
          const b1 = vectors > 1 ? v128.load(q, 16) : b0;
          const b2 = vectors > 2 ? v128.load(q, 32) : b0;
          const b3 = vectors > 2 ? v128.load(q, 48) : b0;
          const s0 = v128.load_splat<T>(p0);
          c00 = v128.add<T>(c00, v128.mul<T>(s0, b0));
          if (vectors > 1) c01 = v128.add<T>(c01, v128.mul<T>(s0, b1));
          if (vectors > 2) {
            c02 = v128.add<T>(c02, v128.mul<T>(s0, b2));
            c03 = v128.add<T>(c03, v128.mul<T>(s0, b3));
          }
          if (rows > 1) {
            const s1 = v128.load_splat<T>(p1);
            c10 = v128.add<T>(c10, v128.mul<T>(s1, b0));
            if (vectors > 1) c11 = v128.add<T>(c11, v128.mul<T>(s1, b1));
            if (vectors > 2) {
              c12 = v128.add<T>(c12, v128.mul<T>(s1, b2));
              c13 = v128.add<T>(c13, v128.mul<T>(s1, b3));
            }
          }
          if (rows > 2) {
            const s2 = v128.load_splat<T>(p2);
            c20 = v128.add<T>(c20, v128.mul<T>(s2, b0));
            c21 = v128.add<T>(c21, v128.mul<T>(s2, b1));
            c22 = v128.add<T>(c22, v128.mul<T>(s2, b2));
            c23 = v128.add<T>(c23, v128.mul<T>(s2, b3));
            const s3 = v128.load_splat<T>(p3);
            c30 = v128.add<T>(c30, v128.mul<T>(s3, b0));
            c31 = v128.add<T>(c31, v128.mul<T>(s3, b1));
            c32 = v128.add<T>(c32, v128.mul<T>(s3, b2));
            c33 = v128.add<T>(c33, v128.mul<T>(s3, b3));
          }
          if (q == lastOdd) break;
          const d0 = vectors > 2 ? v128.load(q, 64) : vectors > 1 ? v128.load(q, 32) : v128.load(q, 16);
          const d1 = vectors > 2 ? v128.load(q, 80) : vectors > 1 ? v128.load(q, 48) : d0;
          const d2 = vectors > 2 ? v128.load(q, 96) : d0;
          const d3 = vectors > 2 ? v128.load(q, 112) : d0;
          const u0 = v128.load_splat<T>(p0, sizeof<T>());
          const u1 = rows > 1 ? v128.load_splat<T>(p1, sizeof<T>()) : u0;
          if (apart) {
            e00 = v128.add<T>(e00, v128.mul<T>(u0, d0));
            if (vectors > 1) e01 = v128.add<T>(e01, v128.mul<T>(u0, d1));
            if (rows > 1) e10 = v128.add<T>(e10, v128.mul<T>(u1, d0));
            if (rows > 1 && vectors > 1) e11 = v128.add<T>(e11, v128.mul<T>(u1, d1));
          } else {
            c00 = v128.add<T>(c00, v128.mul<T>(u0, d0));
            c01 = v128.add<T>(c01, v128.mul<T>(u0, d1));
            c02 = v128.add<T>(c02, v128.mul<T>(u0, d2));
            c03 = v128.add<T>(c03, v128.mul<T>(u0, d3));
            if (rows > 1) {
              c10 = v128.add<T>(c10, v128.mul<T>(u1, d0));
              c11 = v128.add<T>(c11, v128.mul<T>(u1, d1));
              c12 = v128.add<T>(c12, v128.mul<T>(u1, d2));
              c13 = v128.add<T>(c13, v128.mul<T>(u1, d3));
            }
            if (rows > 2) {
              const u2 = v128.load_splat<T>(p2, sizeof<T>());
              c20 = v128.add<T>(c20, v128.mul<T>(u2, d0));
              c21 = v128.add<T>(c21, v128.mul<T>(u2, d1));
              c22 = v128.add<T>(c22, v128.mul<T>(u2, d2));
              c23 = v128.add<T>(c23, v128.mul<T>(u2, d3));
              const u3 = v128.load_splat<T>(p3, sizeof<T>());
              c30 = v128.add<T>(c30, v128.mul<T>(u3, d0));
              c31 = v128.add<T>(c31, v128.mul<T>(u3, d1));
              c32 = v128.add<T>(c32, v128.mul<T>(u3, d2));
              c33 = v128.add<T>(c33, v128.mul<T>(u3, d3));
            }
          }
        } while (q != last);
        at += aRun;
        q = last;
      }
      aAt += aSweep;
      bAt += bSweep;
    }
    if (apart) {
      c00 = v128.add<T>(c00, e00);
      if (vectors > 1) c01 = v128.add<T>(c01, e01);
      if (rows > 1) c10 = v128.add<T>(c10, e10);
      if (rows > 1 && vectors > 1) c11 = v128.add<T>(c11, e11);
    }
    putRow<T>(vectors, c0, c00, c01, c02, c03, columns, add);
    if (rows > 1) putRow<T>(vectors, c1, c10, c11, c12, c13, columns, add);
    if (rows > 2) {
      putRow<T>(vectors, c0 + cNext, c20, c21, c22, c23, columns, add);
      putRow<T>(vectors, c1 + cNext, c30, c31, c32, c33, columns, add);
    }
    const tiles: usize = rows > 2 ? 2 : 1;
    a0 += tiles * aNext;
    a1 += tiles * aNext;
    c0 += tiles * cNext;
    c1 += tiles * cNext;
  }
}

function strip4x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(4, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip2x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip2x2<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 2, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip2x1<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(2, 1, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function strip1x4<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 4, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function strip1x2<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 2, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function strip1x1<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  stripOf<T>(1, 1, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

/**
 * C = A · B, or C += A · B, for `count` tiles of 2 rows × `vectors` (4, 2 or 1), of which the first `columns` are written. The sum
 * is formed apart and added at the end, so that long sums are sums of partial sums; an empty one gives 0.
 *
 * a0, a1: the rows of the first tile, their elements side by side within a run · b: packed, a run behind the other ·
 * aRun, aSweep, bSweep, aNext, cNext: bytes from one run, sweep, tile to the next.
 */
// @ts-ignore: decorator
@inline
export function strip2<T>(
  vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (wide != 0 && vectors == 4 && count > 1) {
    strip4x4<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count >> 1);
    const done = <usize>(count & -2);
    a0 += done * aNext;
    a1 += done * aNext;
    c0 += done * cNext;
    c1 += done * cNext;
    count &= 1;
  }
  if (vectors == 4) strip2x4<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else if (vectors == 2) strip2x2<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else strip2x1<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

/** The same for tiles of one row. */
// @ts-ignore: decorator
@inline
export function strip1<T>(
  vectors: i32,
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (vectors == 4) strip1x4<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else if (vectors == 2) strip1x2<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else strip1x1<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
}
