/**
 * 3×3 convolution at stride 1 by Winograd's F(4×4, 3×3): 36 multiplications for 16 outputs, where the direct sum takes 144.
 *
 *   y = Aᵀ [ Σ_c (G w Gᵀ) ⊙ (Bᵀ x B) ] A   for tiles of 4×4 outputs, which read 6×6 inputs
 *
 * A plane is one of the 6×6 places of a tile. The sum over channels is, for each plane, a matrix product of tiles × channels with
 * channels × outputs. A block of up to TILES tiles goes through transform, products and output transform while it is in the L1 and L2 caches.
 *
 * Transformed values are stored in cells of 64 bytes, [4 vectors of channels][plane][tile], so that all offsets are compile-time constants.
 * Planes have 64 bytes of padding: at distances that are powers of two they would map to the same cache sets.
 *
 * Letters: N images, C input channels, O output channels.
 */
import { Output } from '../runtime/abi';
import { returnScratch, ScratchAreas, takeScratch } from '../runtime/scratch';
import { lanes, panelVectors } from '../simd/vector';
import { multiplyTiles } from './micro-kernel';
import { CELL, CELLS, inputTiles, outputTile, outputTileEnd, PLANE, TileArgs } from './tile-blocks';
import { weightLine } from './transforms';

@unmanaged
class WinogradWeightsArgs {
  /** Weights packed into panels of [tap, C, width]. */
  packed: usize;
  u: usize;
  /** Bytes from plane to plane of u. */
  uPlane: usize;
  C: i32;
  O: i32;
}

/** Computes U = G w Gᵀ, plane after plane, each in panels as matmul/pack.ts makes them. A chunk is a block of 4 vectors of columns. */
// @ts-ignore: decorator
@inline
function winogradWeights<T>(args: WinogradWeightsArgs, first: i32, last: i32): void {
  const packed = args.packed, u = args.u, plane = args.uPlane;
  const C = args.C, O = args.O;
  const block = 4 * lanes<T>();
  for (let chunk = first; chunk < last; chunk++) {
    const end = min(O, (chunk + 1) * block);
    for (let j = chunk * block; j < end; ) {
      const vectors = panelVectors<T>(end - j);
      const tap = <usize>(C * vectors) << 4;
      const at = <usize>(C * j) * sizeof<T>();
      for (let i: usize = 0; i < tap; i += 16) {
        const from = packed + 9 * at + i;
        const to = u + at + i;
        for (let k: usize = 0; k < 3; k++) weightLine<T>(from + k * tap, 3 * tap, to + k * plane, 6 * plane);
        for (let k: usize = 0; k < 6; k++) weightLine<T>(to + 6 * k * plane, plane, to + 6 * k * plane, plane);
      }
      j += vectors * lanes<T>();
    }
  }
}

export function winogradWeights_f32(args: WinogradWeightsArgs, first: i32, last: i32): void {
  winogradWeights<f32>(args, first, last);
}

export function winogradWeights_f64(args: WinogradWeightsArgs, first: i32, last: i32): void {
  winogradWeights<f64>(args, first, last);
}

/** Computes M = Σ_c V ⊙ U of a block of tiles and a panel of outputs. u: the panel in plane 0 · uPlane: bytes to the next plane. */
// @ts-ignore: decorator
@inline
function multiply<T>(vectors: i32, v: usize, u: usize, uPlane: usize, C: i32, m: usize, tiles: i32): void {
  const depth = 4 * lanes<T>();
  const cells = (C + depth - 1) / depth;
  for (let k = 0; k < 36; k++) {
    multiplyTiles<T>(vectors, v, u, depth, cells, C - (cells - 1) * depth, m, tiles);
    v += PLANE;
    u += uPlane;
    m += PLANE;
  }
}

@unmanaged
class WinogradArgs extends TileArgs {
  /** The transformed weights, see winogradWeights. */
  u: usize;
  uPlane: usize;
  y: Output;
  yImage: usize;
  yRow: usize;
  yPixel: usize;
}

/**
 * Computes y = x ⋆ w. A chunk is a block: some rows of tiles, numbered through all images, or a part of one row where that has more than TILES
 * tiles.
 */
// @ts-ignore: decorator
@inline
function winograd<T>(args: WinogradArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const u = args.u, uPlane = args.uPlane;
  const y = args.y, yImage = args.yImage, yRow = args.yRow, yPixel = args.yPixel;
  const N = args.N, C = args.C, O = args.O;
  const H = args.H, startY = args.startY, OH = args.OH;
  const W = args.W, startX = args.startX, OW = args.OW;
  const blockRows = args.blockRows, blockTiles = args.blockTiles;
  const zeros = args.zeros;
  const scratch = changetype<ScratchAreas>(args.scratch);
  const area = takeScratch(scratch.flags, scratch.count);
  const m = scratch.address + <usize>area * scratch.bytes;
  const rowsRow = args.rowBytes;
  const rows = m + CELLS;
  const v = rows + 6 * rowsRow;
  const tilesY = (OH + 3) >> 2, tilesX = (OW + 3) >> 2;
  const parts = (tilesX + blockTiles - 1) / blockTiles;
  for (let chunk = first; chunk < last; chunk++) {
    const r0 = chunk / parts * blockRows;
    const rEnd = min(N * tilesY, r0 + blockRows);
    const t0 = chunk % parts * blockTiles;
    const count = min(blockTiles, tilesX - t0);
    for (let r = r0; r < rEnd; r++) {
      const atY = startY + 4 * (r % tilesY);
      const from = x + <usize>(r / tilesY) * xImage + <usize>atY * xRow;
      const cells = v + <usize>((r - r0) * count) * CELL;
      inputTiles<T>(from, xRow, xPixel, zeros, atY, H, startX + 4 * t0, W, C, count, rows, rowsRow, cells, PLANE);
    }
    for (let o = 0; o < O; ) {
      const vectors = panelVectors<T>(O - o);
      multiply<T>(vectors, v, u + <usize>(C * o) * sizeof<T>(), uPlane, C, m, (rEnd - r0) * count);
      let tile = m;
      for (let r = r0; r < rEnd; r++) {
        const atY = 4 * (r % tilesY);
        let to = y + <usize>(r / tilesY) * yImage + <usize>atY * yRow + <usize>(4 * t0) * yPixel + <usize>o * sizeof<T>();
        for (let t = t0; t < t0 + count; t++) {
          const height = min(4, OH - atY), width = OW - 4 * t;
          const whole = width < 4 ? 0 : min(vectors, (O - o) / lanes<T>());
          let i = 0;
          for (; i + 2 <= whole; i += 2) outputTile<T>(2, tile + (<usize>i << 4), to + (<usize>i << 4), yRow, yPixel, height);
          for (; i < vectors; i++) {
            const shift = <usize>i << 4;
            if (i < whole) outputTile<T>(1, tile + shift, to + shift, yRow, yPixel, height);
            else outputTileEnd<T>(tile + shift, to + shift, yRow, yPixel, height, width, O - o - i * lanes<T>());
          }
          tile += CELL;
          to += 4 * yPixel;
        }
      }
      o += vectors * lanes<T>();
    }
  }
  returnScratch(scratch.flags, area);
}

export function winograd_f32(args: WinogradArgs, first: i32, last: i32): void {
  winograd<f32>(args, first, last);
}

export function winograd_f64(args: WinogradArgs, first: i32, last: i32): void {
  winograd<f64>(args, first, last);
}
