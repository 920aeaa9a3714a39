/**
 * The weight gradient of a 3×3 convolution at stride 1: the exact adjoint of Winograd's algorithm, see winograd.ts.
 *
 *   dw = Gᵀ [ Σ over tiles (Bᵀ x B) ⊗ (A g Aᵀ) ] G   with ⊗ an outer product of C input and O output channels, for each plane
 */
import { intArg, ptrArg } from '../runtime/abi';
import { lanes, panelVectors } from '../simd/vector';
import { returnScratch, takeScratch } from '../runtime/scratch';
import { filterLine } from './transforms';
import { multiplyChannels } from './micro-kernel';
import { CELL, gradientTiles, inputTiles } from './tile-blocks';

/** Most tiles of a block: twice as many as of a correlation, as products run over them. src/kernels/wasm/conv-winograd.ts has the same. */
const TILES: usize = 32;
/** Bytes from one plane of transformed values to the next, and of all of them. */
const PLANE: usize = TILES * CELL + 64;
const CELLS: usize = 36 * PLANE;

/** Bytes of the sums of 4 vectors of input × 4 vectors of output channels in one plane, and one plane to the next. */
// @ts-ignore: decorator
@inline
function sumPlane<T>(): usize {
  return <usize>(4 * lanes<T>()) * CELL + 64;
}

/** sums += V ⊗ G over the tiles of a block, for one cell of `channels` input and `outputs` output channels. */
// @ts-ignore: decorator
@inline
function multiply<T>(v: usize, g: usize, tiles: i32, sums: usize, channels: i32, outputs: i32): void {
  for (let k = 0; k < 36; k++) {
    for (let o = 0; o < outputs; ) {
      const vectors = panelVectors<T>(outputs - o);
      const shift = <usize>o * sizeof<T>();
      multiplyChannels<T>(vectors, v, g + shift, tiles, sums + shift, channels);
      o += vectors * lanes<T>();
    }
    v += PLANE;
    g += PLANE;
    sums += sumPlane<T>();
  }
}

/**
 * Partial sums [part, cell of C, cell of O, plane, channel of C, channel of O]. A chunk is a part of the blocks × a group of input × one of
 * output channels, `group` of each, the last ones up to twice as many; it sums in the order of the blocks.
 * args: x, its image, row and pixel stride; g, its image, row and pixel stride; the sums; N, C, O; height of x, start and height of g;
 * width of x, start and width of g; rows of tiles per block, tiles per row of a block; blocks per part; channels per group; bytes of
 * transformed x; zeros; scratch flags, count, address, bytes of each, bytes of a transformed row. Strides in bytes.
 */
// @ts-ignore: decorator
@inline
function winogradGradW<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0), xImage = ptrArg(args, 1), xRow = ptrArg(args, 2), xPixel = ptrArg(args, 3);
  const g = ptrArg(args, 4), gImage = ptrArg(args, 5), gRow = ptrArg(args, 6), gPixel = ptrArg(args, 7);
  const sums = ptrArg(args, 8);
  const N = intArg(args, 9), C = intArg(args, 10), O = intArg(args, 11);
  const H = intArg(args, 12), startY = intArg(args, 13), OH = intArg(args, 14);
  const W = intArg(args, 15), startX = intArg(args, 16), OW = intArg(args, 17);
  const blockRows = intArg(args, 18), blockTiles = intArg(args, 19), partBlocks = intArg(args, 20), group = intArg(args, 21);
  const zeros = ptrArg(args, 23), flags = ptrArg(args, 24);
  const slot = takeScratch(flags, intArg(args, 25));
  const rows = ptrArg(args, 26) + <usize>slot * ptrArg(args, 27);
  const rowsRow = ptrArg(args, 28);
  const v = rows + 6 * rowsRow;
  const depth = 4 * lanes<T>();
  const u = v + ptrArg(args, 22);
  const tilesY = (OH + 3) >> 2, tilesX = (OW + 3) >> 2;
  const pieces = (tilesX + blockTiles - 1) / blockTiles;
  const blocks = (N * tilesY + blockRows - 1) / blockRows * pieces;
  const groupsC = max(1, C / group), groupsO = max(1, O / group);
  const cellsC = (C + depth - 1) / depth, cellsO = (O + depth - 1) / depth;
  for (let chunk = first; chunk < last; chunk++) {
    const part = chunk / (groupsC * groupsO);
    const o0 = chunk % groupsO * group;
    const outputs = chunk % groupsO == groupsO - 1 ? O - o0 : group;
    const i0 = chunk / groupsO % groupsC * group;
    const channels = chunk / groupsO % groupsC == groupsC - 1 ? C - i0 : group;
    const to = sums + <usize>((part * cellsC + i0 / depth) * cellsO + o0 / depth) * 36 * sumPlane<T>();
    for (let i = 0; i < channels; i += depth) {
      const bytes = <usize>((outputs + depth - 1) / depth) * 36 * sumPlane<T>();
      memory.fill(to + <usize>(i / depth * cellsO) * 36 * sumPlane<T>(), 0, bytes);
    }
    const blockEnd = min(blocks, (part + 1) * partBlocks);
    for (let block = part * partBlocks; block < blockEnd; block++) {
      const r0 = block / pieces * blockRows;
      const rEnd = min(N * tilesY, r0 + blockRows);
      const t0 = block % pieces * blockTiles;
      const count = min(blockTiles, tilesX - t0);
      for (let r = r0; r < rEnd; r++) {
        const n = <usize>(r / tilesY);
        const atY = 4 * (r % tilesY);
        const tile = <usize>((r - r0) * count) * CELL;
        const xAt = x + n * xImage + <usize>(startY + atY) * xRow + <usize>i0 * sizeof<T>();
        inputTiles<T>(xAt, xRow, xPixel, zeros, startY + atY, H, startX + 4 * t0, W, channels, count, rows, rowsRow, v + tile, PLANE);
        const gAt = g + n * gImage + <usize>atY * gRow + <usize>o0 * sizeof<T>();
        gradientTiles<T>(gAt, gRow, gPixel, zeros, atY, OH, 4 * t0, OW, outputs, count, rows, rowsRow, u + tile, PLANE);
      }
      for (let i = 0; i < channels; i += depth) {
        for (let o = 0; o < outputs; o += depth) {
          const cell = to + <usize>(i / depth * cellsO + o / depth) * 36 * sumPlane<T>();
          const vAt = v + <usize>(i / depth) * CELLS, uAt = u + <usize>(o / depth) * CELLS;
          multiply<T>(vAt, uAt, (rEnd - r0) * count, cell, min(depth, channels - i), min(depth, outputs - o));
        }
      }
    }
  }
  returnScratch(flags, slot);
}

export function winogradGradW_f32(args: usize, first: i32, last: i32): void {
  winogradGradW<f32>(args, first, last);
}

export function winogradGradW_f64(args: usize, first: i32, last: i32): void {
  winogradGradW<f64>(args, first, last);
}

/**
 * dw [O, C, 3, 3] = Gᵀ S G of the sums S of winogradGradW, added in the order of the parts; overwrites them. A chunk is a cell of input ×
 * one of output channels. args: sums, dw, parts, C, O.
 */
// @ts-ignore: decorator
@inline
function winogradFilters<T>(args: usize, first: i32, last: i32): void {
  const sums = ptrArg(args, 0), dw = ptrArg(args, 1);
  const parts = intArg(args, 2), C = intArg(args, 3), O = intArg(args, 4);
  const depth = 4 * lanes<T>();
  const cellsC = (C + depth - 1) / depth, cellsO = (O + depth - 1) / depth;
  const plane = sumPlane<T>();
  const partBytes = <usize>(cellsC * cellsO) * 36 * plane;
  const filter = <usize>(9 * C) * sizeof<T>();
  for (let chunk = first; chunk < last; chunk++) {
    const cell = sums + <usize>chunk * 36 * plane;
    const c0 = chunk / cellsO * depth, o0 = chunk % cellsO * depth;
    const channels = min(depth, C - c0);
    for (let o = o0; o < min(O, o0 + depth); o += lanes<T>()) {
      for (let c = 0; c < channels; c++) {
        const at = cell + <usize>c * CELL + <usize>(o - o0) * sizeof<T>();
        for (let k: usize = 0; k < 36; k++) {
          const p = at + k * plane;
          let sum = v128.load(p);
          for (let i = 1; i < parts; i++) sum = v128.add<T>(sum, v128.load(p + <usize>i * partBytes));
          v128.store(p, sum);
        }
        for (let k: usize = 0; k < 6; k++) filterLine<T>(at + k * plane, 6 * plane, at + k * plane, 6 * plane);
        for (let k: usize = 0; k < 3; k++) filterLine<T>(at + 6 * k * plane, plane, at + 6 * k * plane, plane);
        const to = dw + <usize>o * filter + <usize>(9 * (c0 + c)) * sizeof<T>();
        for (let i = 0; i < min(lanes<T>(), O - o); i++) {
          for (let t: usize = 0; t < 9; t++) {
            const from = at + (6 * (t / 3) + t % 3) * plane + <usize>i * sizeof<T>();
            store<T>(to + <usize>i * filter + t * sizeof<T>(), load<T>(from));
          }
        }
      }
    }
  }
}

export function winogradFilters_f32(args: usize, first: i32, last: i32): void {
  winogradFilters<f32>(args, first, last);
}

export function winogradFilters_f64(args: usize, first: i32, last: i32): void {
  winogradFilters<f64>(args, first, last);
}
