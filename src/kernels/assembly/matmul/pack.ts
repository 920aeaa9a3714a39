/**
 * Packing of right operands and convolution weights into panels: the order in which the micro-kernel reads them.
 */
import { lanes, panelVectors } from '../simd/vector';

/** Packs one panel: for each of n1·n2·n3 steps of the sum, `width` columns. Columns past `columns` are 0. Strides are in bytes. */
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

/** Whole panels of 4 vectors that are packed together: more of each row is read at a time, so fewer pages are open. */
const TOGETHER = 4;

/** Packs TOGETHER whole panels of adjacent columns. Strides are in bytes. */
function packAdjacentPanels<T>(src: usize, K: i32, row: usize, dst: usize): void {
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

/** The addresses of one matrix and of its panels. */
@unmanaged
class PackingEntry {
  source: usize;
  panels: usize;
}

/** Where the columns of a matrix are. Its steps form three nested loops of n1 × n2 × n3; strides in bytes. */
@unmanaged
export class ColumnLayout {
  columns: i32;
  columnStride: usize;
  n1: i32;
  stride1: usize;
  n2: i32;
  stride2: usize;
  n3: i32;
  stride3: usize;
}

@unmanaged
class PackPanelsArgs extends ColumnLayout {
  /** PackingEntry records. */
  entries: usize;
}

/**
 * Packs B [K, N] into panels of 4, 2 or 1 vectors of columns, each [K, width]. K = n1·n2·n3: of convolution weights taps × channels.
 * The panel of column j starts K·j elements in. A chunk is one block of 4 vectors of columns of one entry.
 */
// @ts-ignore: decorator
@inline
function packPanels<T>(args: PackPanelsArgs, first: i32, last: i32): void {
  const entries = args.entries;
  const N = args.columns;
  const n1 = args.n1, n2 = args.n2, n3 = args.n3;
  const s1 = args.stride1, s2 = args.stride2, s3 = args.stride3, sn = args.columnStride;
  const block = 4 * lanes<T>();
  const blocks = (N + block - 1) / block;
  for (let chunk = first; chunk < last; chunk++) {
    const entry = changetype<PackingEntry>(entries + <usize>(chunk / blocks) * offsetof<PackingEntry>());
    const src = entry.source;
    const dst = entry.panels;
    const j0 = (chunk % blocks) * block;
    if (sn == sizeof<T>() && n1 == 1 && n2 == 1 && chunk + TOGETHER <= last && j0 + TOGETHER * block <= N) {
      packAdjacentPanels<T>(src + <usize>j0 * sn, n3, s3, dst + <usize>n3 * <usize>j0 * sizeof<T>());
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

export function packPanels_f32(args: PackPanelsArgs, first: i32, last: i32): void {
  packPanels<f32>(args, first, last);
}

export function packPanels_f64(args: PackPanelsArgs, first: i32, last: i32): void {
  packPanels<f64>(args, first, last);
}
