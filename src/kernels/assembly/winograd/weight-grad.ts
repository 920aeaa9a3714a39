/**
 * The weight gradient of a 3×3 convolution at stride 1: the exact adjoint of Winograd's algorithm, see convolution.ts.
 *
 *   dw = Gᵀ [ Σ over tiles (Bᵀ x B) ⊗ (A g Aᵀ) ] G   with ⊗ an outer product of C input and O output channels, for each plane
 */
import { GRAD_TILES } from '../constants';
import { Input, Output } from '../runtime/abi';
import { returnScratch, ScratchAreas, takeScratch } from '../runtime/scratch';
import { lanes, panelVectors } from '../simd/vector';
import { multiplyChannels } from './micro-kernel';
import { CELL, gradientTiles, inputTiles, TileArgs } from './tile-blocks';
import { weightGradLine } from './transforms';

/** Bytes from one plane of transformed values to the next. */
const PLANE: usize = GRAD_TILES * CELL + 64;
/** Bytes of all planes. */
const CELLS: usize = 36 * PLANE;

/** Bytes from plane to plane of the sums of 4 vectors of input × 4 vectors of output channels. */
// @ts-ignore: decorator
@inline
function sumPlane<T>(): usize {
  return <usize>(4 * lanes<T>()) * CELL + 64;
}

/** Adds V ⊗ G over the tiles of a block to `sums`, for one cell of `channels` input and `outputs` output channels. */
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

@unmanaged
class WinogradGradWArgs extends TileArgs {
  g: Input;
  gImage: usize;
  gRow: usize;
  gPixel: usize;
  /** The partial sums. */
  sums: usize;
  /** Blocks of one part: one chunk sums over them. */
  blocksPerPart: i32;
  /** Input channels of one chunk. The last chunk has up to twice as many. */
  chunkInputs: i32;
  /** The same for output channels. */
  chunkOutputs: i32;
  /** Bytes of a block's transformed x. */
  vBytes: usize;
}

/**
 * Computes partial sums [part, cell of C, cell of O, plane, channel of C, channel of O]. A chunk is one part of the blocks × some input × some
 * output channels. It sums in the order of the blocks.
 */
// @ts-ignore: decorator
@inline
function winogradGradW<T>(args: WinogradGradWArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const g = args.g, gImage = args.gImage, gRow = args.gRow, gPixel = args.gPixel;
  const sums = args.sums;
  const N = args.N, C = args.C, O = args.O;
  const H = args.H, startY = args.startY, OH = args.OH;
  const W = args.W, startX = args.startX, OW = args.OW;
  const blockRows = args.blockRows, blockTiles = args.blockTiles;
  const blocksPerPart = args.blocksPerPart, chunkInputs = args.chunkInputs, chunkOutputs = args.chunkOutputs;
  const zeros = args.zeros;
  const scratch = changetype<ScratchAreas>(args.scratch);
  const area = takeScratch(scratch.flags, scratch.count);
  const rows = scratch.address + <usize>area * scratch.bytes;
  const rowsRow = args.rowBytes;
  const v = rows + 6 * rowsRow;
  const depth = 4 * lanes<T>();
  const u = v + args.vBytes;
  const tilesY = (OH + 3) >> 2, tilesX = (OW + 3) >> 2;
  const pieces = (tilesX + blockTiles - 1) / blockTiles;
  const blocks = (N * tilesY + blockRows - 1) / blockRows * pieces;
  const chunksC = max(1, C / chunkInputs), chunksO = max(1, O / chunkOutputs);
  const cellsC = (C + depth - 1) / depth, cellsO = (O + depth - 1) / depth;
  for (let chunk = first; chunk < last; chunk++) {
    const part = chunk / (chunksC * chunksO);
    const o0 = chunk % chunksO * chunkOutputs;
    const outputs = chunk % chunksO == chunksO - 1 ? O - o0 : chunkOutputs;
    const i0 = chunk / chunksO % chunksC * chunkInputs;
    const channels = chunk / chunksO % chunksC == chunksC - 1 ? C - i0 : chunkInputs;
    const to = sums + <usize>((part * cellsC + i0 / depth) * cellsO + o0 / depth) * 36 * sumPlane<T>();
    for (let i = 0; i < channels; i += depth) {
      const bytes = <usize>((outputs + depth - 1) / depth) * 36 * sumPlane<T>();
      memory.fill(to + <usize>(i / depth * cellsO) * 36 * sumPlane<T>(), 0, bytes);
    }
    const blockEnd = min(blocks, (part + 1) * blocksPerPart);
    for (let block = part * blocksPerPart; block < blockEnd; block++) {
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
  returnScratch(scratch.flags, area);
}

export function winogradGradW_f32(args: WinogradGradWArgs, first: i32, last: i32): void {
  winogradGradW<f32>(args, first, last);
}

export function winogradGradW_f64(args: WinogradGradWArgs, first: i32, last: i32): void {
  winogradGradW<f64>(args, first, last);
}

@unmanaged
class WinogradGradWSumArgs {
  sums: usize;
  dw: Output;
  parts: i32;
  C: i32;
  O: i32;
}

/**
 * Computes dw [O, C, 3, 3] = Gᵀ S G, where S is winogradGradW's partial sums added in the order of the parts; overwrites them. A chunk is a
 * cell of input × one of output channels.
 */
// @ts-ignore: decorator
@inline
function winogradGradWSum<T>(args: WinogradGradWSumArgs, first: i32, last: i32): void {
  const sums = args.sums, dw = args.dw;
  const parts = args.parts, C = args.C, O = args.O;
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
        for (let k: usize = 0; k < 6; k++) weightGradLine<T>(at + k * plane, 6 * plane, at + k * plane, 6 * plane);
        for (let k: usize = 0; k < 3; k++) weightGradLine<T>(at + 6 * k * plane, plane, at + 6 * k * plane, plane);
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

export function winogradGradWSum_f32(args: WinogradGradWSumArgs, first: i32, last: i32): void {
  winogradGradWSum<f32>(args, first, last);
}

export function winogradGradWSum_f64(args: WinogradGradWSumArgs, first: i32, last: i32): void {
  winogradGradWSum<f64>(args, first, last);
}
