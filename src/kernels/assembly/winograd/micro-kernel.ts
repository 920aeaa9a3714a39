/**
 * The micro-kernel of Winograd's products, for operands in cells (see convolution.ts). Its register blocks are 2 rows × 4 vectors as in
 * matmul/micro-kernel.ts. All distances are constants, which leaves less to do around the sums: with 16 channels these are only 16 steps
 * long. In `wide` code a block has 4 rows: its 16 sums are 8 registers of 256 bits, enough to hide the latency of additions.
 */
import { wide } from '../runtime/abi';
import { lanes, mulAdd, putRow } from '../simd/vector';
import { CELL, CELLS } from './tile-blocks';

// @ts-ignore: decorator
@inline
function winogradMicroKernel<T>(
  rows: i32, vectors: i32, byTiles: bool, a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, count: i32,
): void {
  // If `byTiles`, rows of A are tiles and steps are channels; otherwise rows are channels and steps are tiles. The strides are those of A's
  // cell, and of B's panel or cell.
  const element = sizeof<T>();
  const aStep: usize = byTiles ? element : CELL, aRow: usize = byTiles ? CELL : element;
  const bStep: usize = byTiles ? <usize>vectors * 16 : CELL;
  const wholeCell = vectors > 2 || !byTiles;
  // Two steps an iteration, and pointers advanced before use, for the reasons given in matmul/micro-kernel.ts.
  a -= 2 * aStep;
  b -= 2 * bStep;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0), c03 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0), c13 = v128.splat<T>(0);
    let c20 = v128.splat<T>(0), c21 = v128.splat<T>(0), c22 = v128.splat<T>(0), c23 = v128.splat<T>(0);
    let c30 = v128.splat<T>(0), c31 = v128.splat<T>(0), c32 = v128.splat<T>(0), c33 = v128.splat<T>(0);
    let cell = a;
    let q = b;
    for (let i = runs; i > 0; i--) {
      let p = cell;
      const last = q + <usize>(i > 1 ? run : lastRun) * bStep;
      const lastOdd = last + bStep;
      do {
        p += 2 * aStep;
        q += 2 * bStep;
        const b0 = v128.load(q);
        const b1 = vectors > 1 ? v128.load(q, 16) : b0;
        const b2 = vectors > 2 ? v128.load(q, 32) : b0;
        const b3 = vectors > 2 ? v128.load(q, 48) : b0;
        const s0 = v128.load_splat<T>(p);
        c00 = mulAdd<T>(s0, b0, c00);
        if (vectors > 1) c01 = mulAdd<T>(s0, b1, c01);
        if (vectors > 2) {
          c02 = mulAdd<T>(s0, b2, c02);
          c03 = mulAdd<T>(s0, b3, c03);
        }
        const s1 = byTiles ? v128.load_splat<T>(p, CELL) : v128.load_splat<T>(p, sizeof<T>());
        c10 = mulAdd<T>(s1, b0, c10);
        if (vectors > 1) c11 = mulAdd<T>(s1, b1, c11);
        if (vectors > 2) {
          c12 = mulAdd<T>(s1, b2, c12);
          c13 = mulAdd<T>(s1, b3, c13);
        }
        if (rows > 2) {
          const s2 = byTiles ? v128.load_splat<T>(p, 2 * CELL) : v128.load_splat<T>(p, 2 * sizeof<T>());
          c20 = mulAdd<T>(s2, b0, c20);
          if (vectors > 1) c21 = mulAdd<T>(s2, b1, c21);
          if (vectors > 2) {
            c22 = mulAdd<T>(s2, b2, c22);
            c23 = mulAdd<T>(s2, b3, c23);
          }
          const s3 = byTiles ? v128.load_splat<T>(p, 3 * CELL) : v128.load_splat<T>(p, 3 * sizeof<T>());
          c30 = mulAdd<T>(s3, b0, c30);
          if (vectors > 1) c31 = mulAdd<T>(s3, b1, c31);
          if (vectors > 2) {
            c32 = mulAdd<T>(s3, b2, c32);
            c33 = mulAdd<T>(s3, b3, c33);
          }
        }
        if (q == lastOdd) break;
        const d0 = wholeCell ? v128.load(q, 64) : vectors > 1 ? v128.load(q, 32) : v128.load(q, 16);
        const d1 = vectors > 1 ? (wholeCell ? v128.load(q, 80) : v128.load(q, 48)) : d0;
        const d2 = vectors > 2 ? v128.load(q, 96) : d0;
        const d3 = vectors > 2 ? v128.load(q, 112) : d0;
        const u0 = byTiles ? v128.load_splat<T>(p, sizeof<T>()) : v128.load_splat<T>(p, CELL);
        c00 = mulAdd<T>(u0, d0, c00);
        if (vectors > 1) c01 = mulAdd<T>(u0, d1, c01);
        if (vectors > 2) {
          c02 = mulAdd<T>(u0, d2, c02);
          c03 = mulAdd<T>(u0, d3, c03);
        }
        const u1 = v128.load_splat<T>(p, sizeof<T>() + CELL);
        c10 = mulAdd<T>(u1, d0, c10);
        if (vectors > 1) c11 = mulAdd<T>(u1, d1, c11);
        if (vectors > 2) {
          c12 = mulAdd<T>(u1, d2, c12);
          c13 = mulAdd<T>(u1, d3, c13);
        }
        if (rows > 2) {
          const u2 = byTiles ? v128.load_splat<T>(p, sizeof<T>() + 2 * CELL) : v128.load_splat<T>(p, CELL + 2 * sizeof<T>());
          c20 = mulAdd<T>(u2, d0, c20);
          if (vectors > 1) c21 = mulAdd<T>(u2, d1, c21);
          if (vectors > 2) {
            c22 = mulAdd<T>(u2, d2, c22);
            c23 = mulAdd<T>(u2, d3, c23);
          }
          const u3 = byTiles ? v128.load_splat<T>(p, sizeof<T>() + 3 * CELL) : v128.load_splat<T>(p, CELL + 3 * sizeof<T>());
          c30 = mulAdd<T>(u3, d0, c30);
          if (vectors > 1) c31 = mulAdd<T>(u3, d1, c31);
          if (vectors > 2) {
            c32 = mulAdd<T>(u3, d2, c32);
            c33 = mulAdd<T>(u3, d3, c33);
          }
        }
      } while (q != last);
      cell += CELLS;
      q = last;
    }
    putRow<T>(vectors, c, c00, c01, c02, c03, 4 * lanes<T>(), !byTiles);
    putRow<T>(vectors, c + CELL, c10, c11, c12, c13, 4 * lanes<T>(), !byTiles);
    if (rows > 2) {
      putRow<T>(vectors, c + 2 * CELL, c20, c21, c22, c23, 4 * lanes<T>(), !byTiles);
      putRow<T>(vectors, c + 3 * CELL, c30, c31, c32, c33, 4 * lanes<T>(), !byTiles);
    }
    c += <usize>rows * CELL;
    a += <usize>rows * aRow;
  }
}

function tiles2x4<T>(a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 4, true, a, b, run, runs, lastRun, c, count);
}

function tiles2x2<T>(a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 2, true, a, b, run, runs, lastRun, c, count);
}

function tiles2x1<T>(a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 1, true, a, b, run, runs, lastRun, c, count);
}

function tiles4x4<T>(a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(4, 4, true, a, b, run, runs, lastRun, c, count);
}

function channels2x4<T>(a: usize, b: usize, run: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 4, false, a, b, run, 1, run, c, count);
}

function channels2x2<T>(a: usize, b: usize, run: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 2, false, a, b, run, 1, run, c, count);
}

function channels2x1<T>(a: usize, b: usize, run: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(2, 1, false, a, b, run, 1, run, c, count);
}

function channels4x4<T>(a: usize, b: usize, run: i32, c: usize, count: i32): void {
  winogradMicroKernel<T>(4, 4, false, a, b, run, 1, run, c, count);
}

/**
 * Computes C = A · B for `tiles` tiles, rounded up to 2 or 4, of an A in cells and a panel B. The sum runs over `runs` cells of `run` channels,
 * the last of `lastRun`.
 */
// @ts-ignore: decorator
@inline
export function multiplyTiles<T>(vectors: i32, a: usize, b: usize, run: i32, runs: i32, lastRun: i32, c: usize, tiles: i32): void {
  if (wide != 0 && vectors == 4) tiles4x4<T>(a, b, run, runs, lastRun, c, (tiles + 3) >> 2);
  else if (vectors == 4) tiles2x4<T>(a, b, run, runs, lastRun, c, (tiles + 1) >> 1);
  else if (vectors == 2) tiles2x2<T>(a, b, run, runs, lastRun, c, (tiles + 1) >> 1);
  else tiles2x1<T>(a, b, run, runs, lastRun, c, (tiles + 1) >> 1);
}

/** Computes C += Aᵀ · B for `channels` channels of A, rounded up to 2 or 4, with both in cells. The sum runs over `run` tiles. */
// @ts-ignore: decorator
@inline
export function multiplyChannels<T>(vectors: i32, a: usize, b: usize, run: i32, c: usize, channels: i32): void {
  if (wide != 0 && vectors == 4) channels4x4<T>(a, b, run, c, (channels + 3) >> 2);
  else if (vectors == 4) channels2x4<T>(a, b, run, c, (channels + 1) >> 1);
  else if (vectors == 2) channels2x2<T>(a, b, run, c, (channels + 1) >> 1);
  else channels2x1<T>(a, b, run, c, (channels + 1) >> 1);
}
