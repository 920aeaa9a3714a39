/**
 * Two-dimensional Winograd transforms of rows of tiles, see winograd.ts, and the scratch memory they fill.
 */
import { lanes } from '../simd/vector';
import { gradientLine, inputLine, outputEnd, outputLine } from './transforms';

/** Most tiles of a block of correlations, an even number; src/kernels/wasm/conv-winograd.ts has the same. */
const TILES: usize = 16;
/** Bytes of four vectors: a tile's channels in one cell. */
export const CELL: usize = 64;
/** Bytes from one plane of transformed values to the next, and of all of them. */
export const PLANE: usize = TILES * CELL + 64;
export const CELLS: usize = 36 * PLANE;

/** One line of either transform: of 6 inputs or, from p0 … p3, of 4 gradients. */
// @ts-ignore: decorator
@inline
function line<T>(
  taps: i32, vectors: i32, p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, q: usize, t: usize,
): void {
  if (taps == 6) inputLine<T>(vectors, p0, p1, p2, p3, p4, p5, q, t);
  else gradientLine<T>(vectors, p0, p1, p2, p3, q, t);
}

/**
 * The first, vertical half of a transform for a row of tiles: `taps` rows of pixels (6 of inputs or 4 of gradients) become 6 rows in
 * `to`. Its pixels are q … qEnd − 1 of the image's, 0 where outside 0 … size − 1.
 *
 * p: pixel 0 of the first row · rows outside 0 … height − 1 are read at `zeros` · y: the first row · run: channels, at least a vector · toRow: bytes.
 */
// @ts-ignore: decorator
@inline
function transformRows<T>(
  taps: i32, p: usize, row: usize, pixel: usize, zeros: usize, y: i32, height: i32, q: i32, qEnd: i32, size: i32, run: i32,
  to: usize, toRow: usize,
): void {
  const toPixel = <usize>run * sizeof<T>();
  const inside = max(0, q), insideEnd = max(inside, min(qEnd, size));
  const before = <usize>(inside - q) * toPixel;
  const after = <usize>(insideEnd - q) * toPixel;
  const all = <usize>(qEnd - q) * toPixel;
  const shift = <usize>inside * pixel;
  let p0 = y >= 0 && y < height ? p + shift : zeros;
  let p1 = y >= -1 && y + 1 < height ? p + row + shift : zeros;
  let p2 = y >= -2 && y + 2 < height ? p + 2 * row + shift : zeros;
  let p3 = y >= -3 && y + 3 < height ? p + 3 * row + shift : zeros;
  let p4 = y >= -4 && y + 4 < height ? p + 4 * row + shift : zeros;
  let p5 = y >= -5 && y + 5 < height ? p + 5 * row + shift : zeros;
  for (let k: usize = 0; k < 6; k++) memory.fill(to + k * toRow, 0, before);
  // Where pixels touch, they are one run.
  const joined = pixel == toPixel;
  const length = joined ? after - before : toPixel;
  let o = to + before;
  for (let n = joined ? 1 : insideEnd - inside; n > 0; n--) {
    let i: usize = 0;
    for (; i + 32 <= length; i += 32) line<T>(taps, 2, p0 + i, p1 + i, p2 + i, p3 + i, p4 + i, p5 + i, o + i, toRow);
    for (; i < length; i += 16) {
      // The last vector overlaps the one before where there is no whole one left.
      if (i + 16 > length) i = length - 16;
      line<T>(taps, 1, p0 + i, p1 + i, p2 + i, p3 + i, p4 + i, p5 + i, o + i, toRow);
    }
    p0 += pixel;
    p1 += pixel;
    p2 += pixel;
    p3 += pixel;
    p4 += pixel;
    p5 += pixel;
    o += toPixel;
  }
  for (let k: usize = 0; k < 6; k++) memory.fill(to + k * toRow + after, 0, all - after);
}

/** The 6 lines of the second half for one tile and 1 or 2 vectors of channels. */
// @ts-ignore: decorator
@inline
function tileColumns<T>(taps: i32, vectors: i32, p: usize, row: usize, pixel: usize, q: usize, plane: usize): void {
  for (let k = 0; k < 6; k++) {
    line<T>(taps, vectors, p, p + pixel, p + 2 * pixel, p + 3 * pixel, p + 4 * pixel, p + 5 * pixel, q, plane);
    p += row;
    q += 6 * plane;
  }
}

/** The second half: `count` tiles of the rows of transformRows, into cells from the first one's place in plane 0 on. */
// @ts-ignore: decorator
@inline
function transformColumns<T>(taps: i32, from: usize, row: usize, run: i32, count: i32, cells: usize, plane: usize): void {
  const pixel = <usize>run * sizeof<T>();
  for (; count > 0; count--) {
    let cell = cells;
    let i: usize = 0;
    for (; i + 32 <= pixel; i += 32) {
      tileColumns<T>(taps, 2, from + i, row, pixel, cell + (i & (CELL - 1)), plane);
      if ((i & (CELL - 1)) == CELL - 32) cell += 36 * plane;
    }
    for (; i < pixel; i += 16) tileColumns<T>(taps, 1, from + i, row, pixel, cell + (i & (CELL - 1)), plane);
    from += 4 * pixel;
    cells += CELL;
  }
}

/** V = Bᵀ x B of a row of `count` tiles; q is the first one's first pixel, y its first row. See transformRows. */
export function inputTiles<T>(
  x: usize, row: usize, pixel: usize, zeros: usize, y: i32, H: i32, q: i32, W: i32, run: i32, count: i32,
  rows: usize, rowsRow: usize, cells: usize, plane: usize,
): void {
  transformRows<T>(6, x, row, pixel, zeros, y, H, q, q + 4 * count + 2, W, run, rows, rowsRow);
  transformColumns<T>(6, rows, rowsRow, run, count, cells, plane);
}

/** A g Aᵀ of a row of `count` tiles of gradients: the adjoint of the transform of outputs. */
export function gradientTiles<T>(
  g: usize, row: usize, pixel: usize, zeros: usize, y: i32, H: i32, q: i32, W: i32, run: i32, count: i32,
  rows: usize, rowsRow: usize, cells: usize, plane: usize,
): void {
  transformRows<T>(4, g, row, pixel, zeros, y, H, q, q + 4 * count, W, run, rows, rowsRow);
  transformColumns<T>(4, rows, rowsRow, run, count, cells, plane);
}

/** y = Aᵀ m A of one tile and 1 or 2 whole vectors of channels, `height` rows of it. */
// @ts-ignore: decorator
@inline
export function outputTile<T>(vectors: i32, m: usize, y: usize, row: usize, pixel: usize, height: i32): void {
  for (let k: usize = 0; k < 6; k++) outputLine<T>(vectors, m + k * PLANE, 6 * PLANE, m + k * PLANE, 6 * PLANE);
  for (let j = height; j > 0; j--) {
    outputLine<T>(vectors, m, PLANE, y, pixel);
    m += 6 * PLANE;
    y += row;
  }
}

/** The same for one vector, of which only `columns` lanes and `width` columns are written. */
// @ts-ignore: decorator
@inline
export function outputTileEnd<T>(m: usize, y: usize, row: usize, pixel: usize, height: i32, width: i32, columns: i32): void {
  for (let k: usize = 0; k < 6; k++) outputLine<T>(1, m + k * PLANE, 6 * PLANE, m + k * PLANE, 6 * PLANE);
  for (let j = height; j > 0; j--) {
    outputEnd<T>(m, PLANE, y, pixel, width, columns);
    m += 6 * PLANE;
    y += row;
  }
}

