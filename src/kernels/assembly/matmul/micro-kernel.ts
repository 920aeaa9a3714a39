/**
 * The micro-kernels that matrix products and direct convolutions share.
 *
 *   C[i, j] = Σₖ A[i, k] · B[k, j]   for up to 4 rows i and up to 4 vectors j
 *
 * A register block of 2 rows × 4 vectors is the largest whose accumulators, B vectors and A splats all fit the 15 SSE registers that V8 uses
 * on x64. The sum runs over sweeps × runs × steps. Within a run, A and B are read step by step; runs and sweeps may start anywhere. A
 * convolution's sweeps are kernel rows, its steps channels. A strip is a column of register blocks that share B. In 256-bit code (`wide`),
 * two neighbouring blocks of a strip become one of 4 rows: 8 accumulators again, enough to hide the latency of additions. With fused
 * multiply-adds (`fused`), which need no register for the product, three become one of 6 rows: 12 accumulators, 2 of B and 1 of A.
 *
 * After arithmetic, instruction decoding costs most. So pointers are advanced before they are used, because V8 copies a pointer whose old
 * value is still needed. And loops nest deeply, because V8 unrolls deeper loops more.
 */
import { fused, wide } from '../runtime/abi';
import { lanes, mulAdd, putRow } from '../simd/vector';

// @ts-ignore: decorator
@inline
function microKernel<T>(
  rows: i32, vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (run <= 0) sweeps = 0;
  // An addition depends on the previous one to the same sum. Fewer than 4 vectors are too few sums to hide that latency, so the second of
  // two steps has sums of its own. Results do not depend on the number of rows of the block.
  const apart = vectors < 4;
  // Two steps an iteration; an odd last step is alone. The branch between the steps keeps V8 from loading both at once, for which there are
  // too few registers.
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
    let c40 = v128.splat<T>(0), c41 = v128.splat<T>(0), c42 = v128.splat<T>(0), c43 = v128.splat<T>(0);
    let c50 = v128.splat<T>(0), c51 = v128.splat<T>(0), c52 = v128.splat<T>(0), c53 = v128.splat<T>(0);
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
        let p4 = p2 + aNext;
        let p5 = p3 + aNext;
        const last = q + bRun;
        const lastOdd = last + step;
        do {
          p0 += 2 * element;
          if (rows > 1) p1 += 2 * element;
          if (rows > 2) {
            p2 += 2 * element;
            p3 += 2 * element;
          }
          if (rows > 4) {
            p4 += 2 * element;
            p5 += 2 * element;
          }
          q += 2 * step;
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
            const s1 = v128.load_splat<T>(p1);
            c10 = mulAdd<T>(s1, b0, c10);
            if (vectors > 1) c11 = mulAdd<T>(s1, b1, c11);
            if (vectors > 2) {
              c12 = mulAdd<T>(s1, b2, c12);
              c13 = mulAdd<T>(s1, b3, c13);
            }
          }
          if (rows > 2) {
            const s2 = v128.load_splat<T>(p2);
            c20 = mulAdd<T>(s2, b0, c20);
            c21 = mulAdd<T>(s2, b1, c21);
            c22 = mulAdd<T>(s2, b2, c22);
            c23 = mulAdd<T>(s2, b3, c23);
            const s3 = v128.load_splat<T>(p3);
            c30 = mulAdd<T>(s3, b0, c30);
            c31 = mulAdd<T>(s3, b1, c31);
            c32 = mulAdd<T>(s3, b2, c32);
            c33 = mulAdd<T>(s3, b3, c33);
          }
          if (rows > 4) {
            const s4 = v128.load_splat<T>(p4);
            c40 = mulAdd<T>(s4, b0, c40);
            c41 = mulAdd<T>(s4, b1, c41);
            c42 = mulAdd<T>(s4, b2, c42);
            c43 = mulAdd<T>(s4, b3, c43);
            const s5 = v128.load_splat<T>(p5);
            c50 = mulAdd<T>(s5, b0, c50);
            c51 = mulAdd<T>(s5, b1, c51);
            c52 = mulAdd<T>(s5, b2, c52);
            c53 = mulAdd<T>(s5, b3, c53);
          }
          if (q == lastOdd) break;
          const d0 = vectors > 2 ? v128.load(q, 64) : vectors > 1 ? v128.load(q, 32) : v128.load(q, 16);
          const d1 = vectors > 2 ? v128.load(q, 80) : vectors > 1 ? v128.load(q, 48) : d0;
          const d2 = vectors > 2 ? v128.load(q, 96) : d0;
          const d3 = vectors > 2 ? v128.load(q, 112) : d0;
          const u0 = v128.load_splat<T>(p0, sizeof<T>());
          const u1 = rows > 1 ? v128.load_splat<T>(p1, sizeof<T>()) : u0;
          if (apart) {
            e00 = mulAdd<T>(u0, d0, e00);
            if (vectors > 1) e01 = mulAdd<T>(u0, d1, e01);
            if (rows > 1) e10 = mulAdd<T>(u1, d0, e10);
            if (rows > 1 && vectors > 1) e11 = mulAdd<T>(u1, d1, e11);
          } else {
            c00 = mulAdd<T>(u0, d0, c00);
            c01 = mulAdd<T>(u0, d1, c01);
            c02 = mulAdd<T>(u0, d2, c02);
            c03 = mulAdd<T>(u0, d3, c03);
            if (rows > 1) {
              c10 = mulAdd<T>(u1, d0, c10);
              c11 = mulAdd<T>(u1, d1, c11);
              c12 = mulAdd<T>(u1, d2, c12);
              c13 = mulAdd<T>(u1, d3, c13);
            }
            if (rows > 2) {
              const u2 = v128.load_splat<T>(p2, sizeof<T>());
              c20 = mulAdd<T>(u2, d0, c20);
              c21 = mulAdd<T>(u2, d1, c21);
              c22 = mulAdd<T>(u2, d2, c22);
              c23 = mulAdd<T>(u2, d3, c23);
              const u3 = v128.load_splat<T>(p3, sizeof<T>());
              c30 = mulAdd<T>(u3, d0, c30);
              c31 = mulAdd<T>(u3, d1, c31);
              c32 = mulAdd<T>(u3, d2, c32);
              c33 = mulAdd<T>(u3, d3, c33);
            }
            if (rows > 4) {
              const u4 = v128.load_splat<T>(p4, sizeof<T>());
              c40 = mulAdd<T>(u4, d0, c40);
              c41 = mulAdd<T>(u4, d1, c41);
              c42 = mulAdd<T>(u4, d2, c42);
              c43 = mulAdd<T>(u4, d3, c43);
              const u5 = v128.load_splat<T>(p5, sizeof<T>());
              c50 = mulAdd<T>(u5, d0, c50);
              c51 = mulAdd<T>(u5, d1, c51);
              c52 = mulAdd<T>(u5, d2, c52);
              c53 = mulAdd<T>(u5, d3, c53);
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
    if (rows > 4) {
      putRow<T>(vectors, c0 + 2 * cNext, c40, c41, c42, c43, columns, add);
      putRow<T>(vectors, c1 + 2 * cNext, c50, c51, c52, c53, columns, add);
    }
    const pairs: usize = rows > 4 ? 3 : rows > 2 ? 2 : 1;
    a0 += pairs * aNext;
    a1 += pairs * aNext;
    c0 += pairs * cNext;
    c1 += pairs * cNext;
  }
}

function microKernel6x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, add: bool, count: i32,
): void {
  microKernel<T>(6, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, 4 * lanes<T>(), add, count);
}

function microKernel4x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, add: bool, count: i32,
): void {
  microKernel<T>(4, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, 4 * lanes<T>(), add, count);
}

/** Computes the register blocks of a strip that form blocks of 6 and 4 rows, with all columns. Returns how many these are. */
function wideBlocks<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, add: bool, count: i32,
): i32 {
  let done = 0;
  if (fused != 0 && sizeof<T>() == 4 && count > 2) {
    // The rest is 0, 2 or 4 blocks, because a single one has too few sums.
    const sixes = count / 3 - (count % 3 == 1 ? 1 : 0);
    microKernel6x4<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, add, sixes);
    done = 3 * sixes;
  }
  const a = <usize>done * aNext, c = <usize>done * cNext;
  const fours = (count - done) >> 1;
  microKernel4x4<T>(a0 + a, a1 + a, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0 + c, c1 + c, cNext, add, fours);
  return done + 2 * fours;
}

function microKernel2x4<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(2, 4, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function microKernel2x2<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(2, 2, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function microKernel2x1<T>(
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(2, 1, a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

function microKernel1x4<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(1, 4, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function microKernel1x2<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(1, 2, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

function microKernel1x1<T>(
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  microKernel<T>(1, 1, a0, a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c0, cNext, columns, add, count);
}

/**
 * Computes C = A · B, or with `add` C += A · B, for a strip of `count` register blocks of 2 rows × `vectors` (4, 2 or 1). Writes the first
 * `columns` columns. `add` adds the finished sum, so that long sums are sums of partial sums. An empty sum is 0.
 *
 * a0, a1: the rows of the first block, contiguous within a run · b: packed, one run after another ·
 * aRun, aSweep, bSweep, aNext, cNext: bytes from one run, sweep or block to the next.
 */
// @ts-ignore: decorator
@inline
export function microKernel2<T>(
  vectors: i32,
  a0: usize, a1: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, c1: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (wide != 0 && vectors == 4 && columns >= 4 * lanes<T>()) {
    const done = wideBlocks<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, add, count);
    a0 += <usize>done * aNext;
    a1 += <usize>done * aNext;
    c0 += <usize>done * cNext;
    c1 += <usize>done * cNext;
    count -= done;
  }
  if (vectors == 4) microKernel2x4<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else if (vectors == 2) microKernel2x2<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
  else microKernel2x1<T>(a0, a1, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, c1, cNext, columns, add, count);
}

/** The same for register blocks of one row. */
// @ts-ignore: decorator
@inline
export function microKernel1<T>(
  vectors: i32,
  a0: usize, aRun: usize, aSweep: usize, aNext: usize, b: usize, bSweep: usize, run: i32, runs: i32, sweeps: i32,
  c0: usize, cNext: usize, columns: i32, add: bool, count: i32,
): void {
  if (vectors == 4) microKernel1x4<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else if (vectors == 2) microKernel1x2<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
  else microKernel1x1<T>(a0, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps, c0, cNext, columns, add, count);
}
