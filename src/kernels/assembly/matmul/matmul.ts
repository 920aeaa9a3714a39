/**
 * Matrix products, and the special case of a matrix with a vector.
 */
import { MATVEC_ROWS } from '../constants';
import { lanes, loadSome, mulAdd, panelVectors, sumLanes } from '../simd/vector';
import { microKernel1, microKernel2 } from './micro-kernel';

/** Vectors of a dot product that are added in T before their sum is added in float64, so that its error does not grow with its length. */
const DOT_BLOCK = 128;

/** Steps of the sum per pass over the rows: a panel of B of this depth takes half of a 32 KiB L1 cache. */
const DEPTH = 256;

/** The addresses of one product of a batch, y = a · b; b is packed into panels. */
@unmanaged
class MatmulEntry {
  a: usize;
  b: usize;
  y: usize;
}

@unmanaged
class MatmulArgs {
  /** MatmulEntry records. */
  entries: usize;
  M: i32;
  N: i32;
  K: i32;
  /** Bytes from row to row of a. */
  aRow: usize;
  /** Rows, an even number, and columns, a multiple of 4 vectors, of a block of y. */
  blockRows: i32;
  blockColumns: i32;
}

/**
 * Computes y [M, N] = a [M, K] · b for each entry. A chunk is one block of y of one entry. The rows of a and of y are contiguous.
 */
// @ts-ignore: decorator
@inline
function matmul<T>(args: MatmulArgs, first: i32, last: i32): void {
  const entries = args.entries;
  const M = args.M, N = args.N, K = args.K;
  const aRow = args.aRow;
  const blockRows = args.blockRows, blockColumns = args.blockColumns;
  const rowBlocks = (M + blockRows - 1) / blockRows;
  const columnBlocks = (N + blockColumns - 1) / blockColumns;
  const yRow = <usize>N * sizeof<T>();
  for (let chunk = first; chunk < last; chunk++) {
    const entry = changetype<MatmulEntry>(entries + <usize>(chunk / (rowBlocks * columnBlocks)) * offsetof<MatmulEntry>());
    const a = entry.a, b = entry.b, y = entry.y;
    const block = chunk % (rowBlocks * columnBlocks);
    const m0 = (block / columnBlocks) * blockRows;
    const mEnd = min(M, m0 + blockRows);
    const n0 = (block % columnBlocks) * blockColumns;
    const nEnd = min(N, n0 + blockColumns);
    let k = 0;
    do {
      const depth = min(DEPTH, K - k);
      for (let j = n0; j < nEnd; ) {
        const vectors = panelVectors<T>(nEnd - j);
        const width = vectors * lanes<T>();
        const step = <usize>width * sizeof<T>();
        const panel = b + <usize>K * <usize>j * sizeof<T>() + <usize>k * step;
        const pairs = (mEnd - m0) / 2;
        const c0 = y + <usize>m0 * yRow + <usize>j * sizeof<T>();
        const a0 = a + <usize>m0 * aRow + <usize>k * sizeof<T>();
        microKernel2<T>(vectors, a0, a0 + aRow, 0, 0, 2 * aRow, panel, 0, depth, 1, 1, c0, c0 + yRow, 2 * yRow, nEnd - j, k > 0, pairs);
        if ((mEnd - m0) & 1) {
          const single = <usize>(mEnd - m0 - 1);
          microKernel1<T>(vectors, a0 + single * aRow, 0, 0, 0, panel, 0, depth, 1, 1, c0 + single * yRow, 0, nEnd - j, k > 0, 1);
        }
        j += width;
      }
      k += DEPTH;
    } while (k < K);
  }
}

export function matmul_f32(args: MatmulArgs, first: i32, last: i32): void {
  matmul<f32>(args, first, last);
}

export function matmul_f64(args: MatmulArgs, first: i32, last: i32): void {
  matmul<f64>(args, first, last);
}

/** The addresses of one product of a batch, y = a · v. */
@unmanaged
class MatvecEntry {
  a: usize;
  v: usize;
  y: usize;
}

@unmanaged
class MatvecArgs {
  /** MatvecEntry records. */
  entries: usize;
  M: i32;
  K: i32;
  /** Bytes from row to row of a. */
  aRow: usize;
}

/**
 * Computes y [M] = a [M, K] · v [K] for each entry. The rows of a are contiguous, and so is v. A chunk is MATVEC_ROWS rows of one entry.
 */
// @ts-ignore: decorator
@inline
function matvec<T>(args: MatvecArgs, first: i32, last: i32): void {
  const entries = args.entries;
  const M = args.M, K = args.K;
  const aRow = args.aRow;
  const blocks = (M + MATVEC_ROWS - 1) / MATVEC_ROWS;
  for (let chunk = first; chunk < last; chunk++) {
    const entry = changetype<MatvecEntry>(entries + <usize>(chunk / blocks) * offsetof<MatvecEntry>());
    const a = entry.a, v = entry.v, y = entry.y;
    const m0 = (chunk % blocks) * MATVEC_ROWS;
    const mEnd = min(M, m0 + MATVEC_ROWS);
    for (let m = m0; m < mEnd; m += 4) {
      // Four rows at a time. At the end, the last row takes the place of missing ones.
      const p0 = a + <usize>m * aRow;
      const p1 = m + 1 < mEnd ? p0 + aRow : p0;
      const p2 = m + 2 < mEnd ? p1 + aRow : p1;
      const p3 = m + 3 < mEnd ? p2 + aRow : p2;
      let s0: f64 = 0, s1: f64 = 0, s2: f64 = 0, s3: f64 = 0;
      let at: usize = 0;
      for (let k = 0; k < K; ) {
        let c0 = v128.splat<T>(0), c1 = c0, c2 = c0, c3 = c0;
        const stop = min(K, k + DOT_BLOCK * lanes<T>());
        for (; k <= stop - lanes<T>(); k += lanes<T>()) {
          const x = v128.load(v + at);
          c0 = mulAdd<T>(x, v128.load(p0 + at), c0);
          c1 = mulAdd<T>(x, v128.load(p1 + at), c1);
          c2 = mulAdd<T>(x, v128.load(p2 + at), c2);
          c3 = mulAdd<T>(x, v128.load(p3 + at), c3);
          at += 16;
        }
        const rest = stop - k;
        if (rest > 0) {
          const x = loadSome<T>(v + at, rest);
          c0 = mulAdd<T>(x, loadSome<T>(p0 + at, rest), c0);
          c1 = mulAdd<T>(x, loadSome<T>(p1 + at, rest), c1);
          c2 = mulAdd<T>(x, loadSome<T>(p2 + at, rest), c2);
          c3 = mulAdd<T>(x, loadSome<T>(p3 + at, rest), c3);
          k = stop;
        }
        s0 += <f64>sumLanes<T>(c0);
        s1 += <f64>sumLanes<T>(c1);
        s2 += <f64>sumLanes<T>(c2);
        s3 += <f64>sumLanes<T>(c3);
      }
      const to = y + <usize>m * sizeof<T>();
      store<T>(to, <T>s0);
      if (m + 1 < mEnd) store<T>(to, <T>s1, sizeof<T>());
      if (m + 2 < mEnd) store<T>(to, <T>s2, 2 * sizeof<T>());
      if (m + 3 < mEnd) store<T>(to, <T>s3, 3 * sizeof<T>());
    }
  }
}

export function matvec_f32(args: MatvecArgs, first: i32, last: i32): void {
  matvec<f32>(args, first, last);
}

export function matvec_f64(args: MatvecArgs, first: i32, last: i32): void {
  matvec<f64>(args, first, last);
}
