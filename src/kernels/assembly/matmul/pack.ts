/**
 * Packing of right operands and convolution weights into the order in which the micro-kernel reads them.
 */
import { intArg, ptrArg } from '../runtime/abi';
import { lanes, panelVectors } from '../simd/vector';

/** One panel: for each of n1·n2·n3 sum steps the next `width` columns, of which those past `columns` are 0. Strides in bytes. */
function packPanel<T>(
  src: usize, n1: i32, s1: usize, n2: i32, s2: usize, n3: i32, s3: usize, sn: usize, columns: i32, width: i32, dst: usize,
): void {
  const step = <usize>width * sizeof<T>();
  for (let i = 0; i < n1; i++) {
    for (let j = 0; j < n2; j++) {
      const from = src + <usize>i * s1 + <usize>j * s2;
      const to = dst + <usize>(i * n2 + j) * <usize>n3 * step;
      if (sn == sizeof<T>() && columns == width) {
        for (let k = 0; k < n3; k++) {
          const p = from + <usize>k * s3;
          const q = to + <usize>k * step;
          for (let c: usize = 0; c < step; c += 16) v128.store(q + c, v128.load(p + c));
        }
        continue;
      }
      for (let c = 0; c < width; c++) {
        let p = from + <usize>c * sn;
        let q = to + <usize>c * sizeof<T>();
        const end = q + <usize>n3 * step;
        if (c < columns) {
          for (; q != end; q += step, p += s3) store<T>(q, load<T>(p));
        } else {
          for (; q != end; q += step) store<T>(q, 0);
        }
      }
    }
  }
}

/** Whole blocks of 4 vectors that are packed together: more of each row is read at a time, so fewer pages are open. */
const TOGETHER = 4;

/** TOGETHER whole panels of columns that lie side by side. Strides in bytes. */
function packPanels<T>(src: usize, K: i32, row: usize, dst: usize): void {
  const panel = <usize>K * 64;
  for (let k = 0; k < K; k++) {
    let p = src + <usize>k * row;
    let q = dst + <usize>k * 64;
    for (let i = 0; i < TOGETHER; i++) {
      v128.store(q, v128.load(p));
      v128.store(q, v128.load(p, 16), 16);
      v128.store(q, v128.load(p, 32), 32);
      v128.store(q, v128.load(p, 48), 48);
      p += 64;
      q += panel;
    }
  }
}

/**
 * B [K, N] → panels of 4, 2 or 1 vectors of columns, each [K, width]; K = n1·n2·n3 (of convolution weights: taps × channels).
 * The panel that starts at column j lies K·j elements in. A chunk is one block of 4 vectors of columns of one entry.
 * args: table of (src, dst) pairs, N, n1, s1, n2, s2, n3, s3, column stride; strides in bytes.
 */
// @ts-ignore: decorator
@inline
function packColumns<T>(args: usize, first: i32, last: i32): void {
  const table = ptrArg(args, 0);
  const N = intArg(args, 1);
  const n1 = intArg(args, 2), n2 = intArg(args, 4), n3 = intArg(args, 6);
  const s1 = ptrArg(args, 3), s2 = ptrArg(args, 5), s3 = ptrArg(args, 7), sn = ptrArg(args, 8);
  const block = 4 * lanes<T>();
  const blocks = (N + block - 1) / block;
  for (let chunk = first; chunk < last; chunk++) {
    const entry = table + (<usize>(chunk / blocks) << 3);
    const src = <usize>load<u32>(entry);
    const dst = <usize>load<u32>(entry, 4);
    const j0 = (chunk % blocks) * block;
    if (sn == sizeof<T>() && n1 == 1 && n2 == 1 && chunk + TOGETHER <= last && j0 + TOGETHER * block <= N) {
      packPanels<T>(src + <usize>j0 * sn, n3, s3, dst + <usize>n3 * <usize>j0 * sizeof<T>());
      chunk += TOGETHER - 1;
      continue;
    }
    const end = min(N, j0 + block);
    for (let j = j0; j < end; ) {
      const width = panelVectors<T>(end - j) * lanes<T>();
      const to = dst + <usize>(n1 * n2 * n3) * <usize>j * sizeof<T>();
      packPanel<T>(src + <usize>j * sn, n1, s1, n2, s2, n3, s3, sn, min(width, end - j), width, to);
      j += width;
    }
  }
}

export function packColumns_f32(args: usize, first: i32, last: i32): void {
  packColumns<f32>(args, first, last);
}

export function packColumns_f64(args: usize, first: i32, last: i32): void {
  packColumns<f64>(args, first, last);
}
