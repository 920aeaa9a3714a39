/**
 * Matrix products: in general, and of a matrix with a vector.
 */
import { intArg, ptrArg } from '../runtime/abi';
import { lanes, loadSome, panelVectors, sumLanes } from '../simd/vector';
import { strip1, strip2 } from './micro-kernel';

/** Steps of the sum per pass: a panel of B of this depth takes half of a 32 KiB L1 cache. */
const DEPTH = 256;

/**
 * y [M, N] = a [M, K] · b for each entry of a table of (a, packed b, y). A chunk is one block of rows × columns of one entry.
 * The rows of a are contiguous. args: table, M, N, K, row stride of a in bytes, rows (even) and columns (a multiple of 4
 * vectors) per block.
 */
// @ts-ignore: decorator
@inline
function matmul<T>(args: usize, first: i32, last: i32): void {
  const table = ptrArg(args, 0);
  const M = intArg(args, 1), N = intArg(args, 2), K = intArg(args, 3);
  const aRow = ptrArg(args, 4);
  const rowBlock = intArg(args, 5), columnBlock = intArg(args, 6);
  const rowBlocks = (M + rowBlock - 1) / rowBlock;
  const columnBlocks = (N + columnBlock - 1) / columnBlock;
  const yRow = <usize>N * sizeof<T>();
  for (let chunk = first; chunk < last; chunk++) {
    const entry = table + <usize>(chunk / (rowBlocks * columnBlocks)) * 12;
    const a = <usize>load<u32>(entry), b = <usize>load<u32>(entry, 4), y = <usize>load<u32>(entry, 8);
    const block = chunk % (rowBlocks * columnBlocks);
    const m0 = (block / columnBlocks) * rowBlock;
    const mEnd = min(M, m0 + rowBlock);
    const n0 = (block % columnBlocks) * columnBlock;
    const nEnd = min(N, n0 + columnBlock);
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
        strip2<T>(vectors, a0, a0 + aRow, 0, 0, 2 * aRow, panel, 0, depth, 1, 1, c0, c0 + yRow, 2 * yRow, nEnd - j, k > 0, pairs);
        if ((mEnd - m0) & 1) {
          const single = <usize>(mEnd - m0 - 1);
          strip1<T>(vectors, a0 + single * aRow, 0, 0, 0, panel, 0, depth, 1, 1, c0 + single * yRow, 0, nEnd - j, k > 0, 1);
        }
        j += width;
      }
      k += DEPTH;
    } while (k < K);
  }
}

export function matmul_f32(args: usize, first: i32, last: i32): void {
  matmul<f32>(args, first, last);
}

export function matmul_f64(args: usize, first: i32, last: i32): void {
  matmul<f64>(args, first, last);
}

/** Rows of a matrix-vector product that one chunk computes. */
const VECTOR_ROWS = 64;

/**
 * y [M] = a [M, K] · v [K] for each entry of a table of (a, v, y), rows and v contiguous. A chunk is 64 rows of one entry.
 * args: table, M, K, row stride of a in bytes.
 */
// @ts-ignore: decorator
@inline
function matvec<T>(args: usize, first: i32, last: i32): void {
  const table = ptrArg(args, 0);
  const M = intArg(args, 1), K = intArg(args, 2);
  const aRow = ptrArg(args, 3);
  const blocks = (M + VECTOR_ROWS - 1) / VECTOR_ROWS;
  for (let chunk = first; chunk < last; chunk++) {
    const entry = table + <usize>(chunk / blocks) * 12;
    const a = <usize>load<u32>(entry), v = <usize>load<u32>(entry, 4), y = <usize>load<u32>(entry, 8);
    const m0 = (chunk % blocks) * VECTOR_ROWS;
    const mEnd = min(M, m0 + VECTOR_ROWS);
    for (let m = m0; m < mEnd; m += 4) {
      // Four rows at a time; at the end the last one stands in for those that are missing.
      const p0 = a + <usize>m * aRow;
      const p1 = m + 1 < mEnd ? p0 + aRow : p0;
      const p2 = m + 2 < mEnd ? p1 + aRow : p1;
      const p3 = m + 3 < mEnd ? p2 + aRow : p2;
      let c0 = v128.splat<T>(0), c1 = c0, c2 = c0, c3 = c0;
      let k = 0;
      let at: usize = 0;
      for (; k <= K - lanes<T>(); k += lanes<T>()) {
        const x = v128.load(v + at);
        c0 = v128.add<T>(c0, v128.mul<T>(x, v128.load(p0 + at)));
        c1 = v128.add<T>(c1, v128.mul<T>(x, v128.load(p1 + at)));
        c2 = v128.add<T>(c2, v128.mul<T>(x, v128.load(p2 + at)));
        c3 = v128.add<T>(c3, v128.mul<T>(x, v128.load(p3 + at)));
        at += 16;
      }
      const rest = K - k;
      if (rest > 0) {
        const x = loadSome<T>(v + at, rest);
        c0 = v128.add<T>(c0, v128.mul<T>(x, loadSome<T>(p0 + at, rest)));
        c1 = v128.add<T>(c1, v128.mul<T>(x, loadSome<T>(p1 + at, rest)));
        c2 = v128.add<T>(c2, v128.mul<T>(x, loadSome<T>(p2 + at, rest)));
        c3 = v128.add<T>(c3, v128.mul<T>(x, loadSome<T>(p3 + at, rest)));
      }
      const to = y + <usize>m * sizeof<T>();
      store<T>(to, sumLanes<T>(c0));
      if (m + 1 < mEnd) store<T>(to, sumLanes<T>(c1), sizeof<T>());
      if (m + 2 < mEnd) store<T>(to, sumLanes<T>(c2), 2 * sizeof<T>());
      if (m + 3 < mEnd) store<T>(to, sumLanes<T>(c3), 3 * sizeof<T>());
    }
  }
}

export function matvec_f32(args: usize, first: i32, last: i32): void {
  matvec<f32>(args, first, last);
}

export function matvec_f64(args: usize, first: i32, last: i32): void {
  matvec<f64>(args, first, last);
}
