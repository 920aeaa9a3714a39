/**
 * The matrix product on packed operands.
 */
import { intArg, ptrArg } from './abi';
import { lanes, pairs2, panelVectors, strip1, strip2 } from './tile';

/** Steps of the sum per pass: a panel of B of this depth takes half of a 32 KiB L1 cache. */
const DEPTH = 256;

/**
 * y [M, N] = a [M, K] · b for each entry of a table of (a, packed b, y). A chunk is one block of rows × columns of one entry.
 * args: table, M, N, K, row stride of a in bytes, rows (even) and columns (a multiple of 4 vectors) per block, whether a is
 * packed in pairs of rows; if not, its rows are contiguous.
 */
// @ts-ignore: decorator
@inline
function matmul<T>(args: usize, first: i32, last: i32): void {
  const table = ptrArg(args, 0);
  const M = intArg(args, 1), N = intArg(args, 2), K = intArg(args, 3);
  const sm = ptrArg(args, 4);
  const rowBlock = intArg(args, 5), columnBlock = intArg(args, 6);
  const packed = intArg(args, 7) != 0;
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
    const odd = ((mEnd - m0) & 1) != 0;
    let k = 0;
    do {
      const depth = min(DEPTH, K - k);
      for (let j = n0; j < nEnd; ) {
        const vectors = panelVectors<T>(nEnd - j);
        const width = vectors * lanes<T>();
        const step = <usize>width * sizeof<T>();
        const panel = b + <usize>K * <usize>j * sizeof<T>() + <usize>k * step;
        const pairs = (mEnd - m0) / 2;
        const single = <usize>(mEnd - 1);
        const c0 = y + <usize>m0 * yRow + <usize>j * sizeof<T>();
        const add = k > 0;
        if (packed) {
          const a0 = a + (<usize>m0 * <usize>K + <usize>k * 2) * sizeof<T>();
          pairs2<T>(vectors, a0, 0, 0, <usize>(2 * K) * sizeof<T>(), panel, 0, depth, 1, 1, c0, c0 + yRow, 2 * yRow, nEnd - j, add, pairs);
        } else {
          const a0 = a + <usize>m0 * sm + <usize>k * sizeof<T>();
          strip2<T>(vectors, a0, a0 + sm, 0, 0, 2 * sm, panel, 0, depth, 1, 1, c0, c0 + yRow, 2 * yRow, nEnd - j, add, pairs);
        }
        if (odd) {
          const a0 = a + single * (packed ? <usize>K * sizeof<T>() : sm) + <usize>k * sizeof<T>();
          strip1<T>(vectors, a0, 0, 0, 0, panel, 0, depth, 1, 1, c0 + <usize>(mEnd - m0 - 1) * yRow, 0, nEnd - j, add, 1);
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
