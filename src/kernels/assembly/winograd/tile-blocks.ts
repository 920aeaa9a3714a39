/**
 * Two-dimensional Winograd transforms of rows of tiles, the scratch memory that they fill, and the arguments by which kernels find the tiles.
 */
import { CELL as CELL_BYTES, TILES } from '../constants';
import { Input, Pointer } from '../runtime/abi';
import { ScratchAreas } from '../runtime/scratch';
import { lanes } from '../simd/vector';
import { gradientLine, inputLine, outputEnd, outputLine } from './transforms';

/** Bytes of a cell. */
export const CELL: usize = CELL_BYTES;
/** Bytes from one plane of transformed values to the next. */
export const PLANE: usize = TILES * CELL + 64;
/** Bytes of all planes. */
export const CELLS: usize = 36 * PLANE;

/** Arguments that the kernels over blocks of tiles share. Strides are in bytes. */
@unmanaged
export class TileArgs {
  x: Input;
  xImage: usize;
  xRow: usize;
  xPixel: usize;
  N: i32;
  C: i32;
  O: i32;
  /** Height of x. */
  H: i32;
  /** The row of x that output 0's first tap reads. */
  startY: i32;
  /** Height of the output. */
  OH: i32;
  /** Width of x. */
  W: i32;
  /** The column of x that output 0's first tap reads. */
  startX: i32;
  /** Width of the output. */
  OW: i32;
  /** Rows of tiles of a block. */
  blockRows: i32;
  /** Tiles of a row of a block. */
  blockTiles: i32;
  /** Zeros that are read instead of rows outside an image. */
  zeros: usize;
  scratch: Pointer<ScratchAreas>;
  /** Bytes of a row of a block's pixels after the vertical half of a transform. */
  rowBytes: usize;
}

/** Transforms one line: 6 inputs, or 4 gradients from p0 … p3. */
// @ts-ignore: decorator
@inline
function line<T>(
  taps: i32, vectors: i32, p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, q: usize, t: usize,
): void {
  if (taps == 6) inputLine<T>(vectors, p0, p1, p2, p3, p4, p5, q, t);
  else gradientLine<T>(vectors, p0, p1, p2, p3, q, t);
}

/** Clears `bytes` bytes, rounded up to whole vectors, of each of 6 rows. These are few, and a call of memory.fill takes longer. */
// @ts-ignore: decorator
@inline
function clearColumn(to: usize, row: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    for (let k: usize = 0; k < 6; k++) v128.store(to + i + k * row, i32x4.splat(0));
  }
}

/**
 * Computes the first, vertical half of a transform for a row of tiles: `taps` rows of pixels (6 of inputs or 4 of gradients) become 6 rows
 * in `to`. The pixels are q … qEnd − 1 of an image row; those outside 0 … size − 1 are 0.
 *
 * p: pixel 0 of the first row · y: the first row; rows outside 0 … height − 1 are read at `zeros` · run: channels, at least a vector ·
 * toRow: bytes from row to row of `to`.
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
  clearColumn(to, toRow, before);
  // Contiguous pixels are one run.
  const joined = pixel == toPixel;
  const length = joined ? after - before : toPixel;
  let o = to + before;
  for (let n = joined ? 1 : insideEnd - inside; n > 0; n--) {
    let i: usize = 0;
    for (; i + 32 <= length; i += 32) line<T>(taps, 2, p0 + i, p1 + i, p2 + i, p3 + i, p4 + i, p5 + i, o + i, toRow);
    for (; i < length; i += 16) {
      // Where less than a vector is left, the last one overlaps the one before it.
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
  clearColumn(to + after, toRow, all - after);
}

/** Transforms the 6 lines of the second half for one tile and 1 or 2 vectors of channels. */
// @ts-ignore: decorator
@inline
function tileColumns<T>(taps: i32, vectors: i32, p: usize, row: usize, pixel: usize, q: usize, plane: usize): void {
  for (let k = 0; k < 6; k++) {
    line<T>(taps, vectors, p, p + pixel, p + 2 * pixel, p + 3 * pixel, p + 4 * pixel, p + 5 * pixel, q, plane);
    p += row;
    q += 6 * plane;
  }
}

/** Computes the second half: `count` tiles of transformRows' rows become cells; `cells` is the first tile's cell in plane 0. */
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

/** Computes V = Bᵀ x B of a row of `count` tiles. q and y are the first tile's first pixel and row; see transformRows. */
export function inputTiles<T>(
  x: usize, row: usize, pixel: usize, zeros: usize, y: i32, H: i32, q: i32, W: i32, run: i32, count: i32,
  rows: usize, rowsRow: usize, cells: usize, plane: usize,
): void {
  transformRows<T>(6, x, row, pixel, zeros, y, H, q, q + 4 * count + 2, W, run, rows, rowsRow);
  transformColumns<T>(6, rows, rowsRow, run, count, cells, plane);
}

/** Computes A g Aᵀ of a row of `count` tiles of gradients: the adjoint of the output transform. */
export function gradientTiles<T>(
  g: usize, row: usize, pixel: usize, zeros: usize, y: i32, H: i32, q: i32, W: i32, run: i32, count: i32,
  rows: usize, rowsRow: usize, cells: usize, plane: usize,
): void {
  transformRows<T>(4, g, row, pixel, zeros, y, H, q, q + 4 * count, W, run, rows, rowsRow);
  transformColumns<T>(4, rows, rowsRow, run, count, cells, plane);
}

/** Computes `height` rows of y = Aᵀ m A of one tile and 1 or 2 whole vectors of channels. */
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

/** The same for one vector; stores only `columns` lanes and `width` pixels of a row. */
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

