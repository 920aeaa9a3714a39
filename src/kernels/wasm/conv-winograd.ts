/**
 * Winograd convolution: cuts tiles into blocks, lays out workspaces and launches assembly/winograd/.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { CELL, GRAD_TILES, TILES } from '../assembly/constants.ts';
import { TILE, winogradPays } from '../conv-algorithm.ts';
import { memoryViews } from '../memory/wasm-memory.ts';
import type { View } from '../view.ts';
import type { ScratchAreas, TileArgs } from './arguments.generated.ts';
import type { Axis } from './conv-axes.ts';
import { launch } from './launch.ts';
import { CHUNKS, divideUp, LARGE, scratchAreas, suffix, vectorBytes, type Workspaces } from './workspace.ts';

/** The places of a transformed tile, each of which is a plane. */
const PLANES = 36;
/** The size of a weight-gradient chunk along C and along O, in bytes of channels. */
const CHUNK_BYTES = 256;
/** Maximum number of bytes of a weight gradient's partial sums. */
const PARTIAL_BYTES = 2.5e6;

/** Returns whether Winograd's algorithm computes a convolution of N images with C to O channels along these axes. */
export function usesWinograd(N: number, C: number, O: number, groups: number, vertical: Axis, horizontal: Axis): boolean {
  const isPlain = (a: Axis): boolean => a.taps === 3 && a.step === 1 && a.tapStep === 1 && a.outStep === 1;
  return groups === 1 && isPlain(vertical) && isPlain(horizontal) && winogradPays(N, C, O, vertical.count, horizontal.count);
}

/** How the tiles of a batch of images are cut into blocks. */
interface TileBlocks {
  /** Rows of tiles of a block. */
  readonly rows: number;
  /** Tiles of a row of a block. */
  readonly tiles: number;
  /** Blocks in all. */
  readonly count: number;
  /** Tiles in all. */
  readonly allTiles: number;
}

/** Cuts the tiles of N images into blocks of at most `most`: whole rows of tiles where they fit, or parts of one. */
function tileBlocks(most: number, N: number, vertical: Axis, horizontal: Axis): TileBlocks {
  const tilesY = divideUp(vertical.count, TILE);
  const tilesX = divideUp(horizontal.count, TILE);
  const parts = divideUp(tilesX, most);
  const tiles = divideUp(tilesX, parts);
  const allTiles = N * tilesY * tilesX;
  if (parts > 1) return { rows: 1, tiles, count: N * tilesY * parts, allTiles };
  const rows = Math.floor(most / tiles);
  return { rows, tiles, count: divideUp(N * tilesY, rows), allTiles };
}

/** Bytes of `channels` transformed channels of a block of at most `most` tiles. */
function cellBytes(most: number, channels: number, size: number): number {
  return divideUp(channels * size, CELL) * PLANES * (most * CELL + CELL);
}

/** Bytes of a vertically transformed row of a block's pixels, and 64 more. */
function rowBytesOf(tiles: number, channels: number, size: number): number {
  return divideUp((TILE * tiles + 2) * channels * size, CELL) * CELL + CELL;
}

/** About how many nanoseconds the products of `tiles` tiles take, transforms included. */
function tileWork(tiles: number, C: number, O: number, size: number): number {
  return (PLANES * tiles * C * O * size) / 40;
}

/** Zeros that kernels read outside an image: a row of a block's pixels, `pixelBytes` apart, and the channels of one. */
function zeroRow(tiles: number, pixelBytes: number, channelBytes: number, workspace: Workspaces): number {
  const bytes = (TILE * tiles + 2) * pixelBytes + channelBytes;
  const { ptr } = workspace(bytes);
  memoryViews().u8.fill(0, ptr, ptr + bytes);
  return ptr;
}

/** The memory of a kernel over blocks of tiles, see TileArgs. */
interface TileMemory {
  readonly zeros: number;
  readonly scratch: ScratchAreas;
  readonly rowBytes: number;
}

/** The arguments of a kernel over the tiles of images x, channels last. */
function tileArgs(x: View, O: number, vertical: Axis, horizontal: Axis, blocks: TileBlocks, memory: TileMemory): TileArgs {
  const size = ITEM_SIZE[x.dtype];
  return {
    x,
    xImage: x.strides[0]! * size,
    xRow: x.strides[2]! * size,
    xPixel: x.strides[3]! * size,
    N: x.shape[0]!,
    C: x.shape[1]!,
    O,
    H: vertical.size,
    startY: vertical.start,
    OH: vertical.count,
    W: horizontal.size,
    startX: horizontal.start,
    OW: horizontal.count,
    blockRows: blocks.rows,
    blockTiles: blocks.tiles,
    zeros: memory.zeros,
    scratch: memory.scratch,
    rowBytes: memory.rowBytes,
  };
}

/** Computes y = x ⋆ w. `packed` is the address of the weights in panels of [tap, C, width]. */
export function winogradCorrelation(x: View, packed: number, y: View, vertical: Axis, horizontal: Axis, workspace: Workspaces): void {
  const N = x.shape[0]!;
  const C = x.shape[1]!;
  const O = y.shape[1]!;
  const size = ITEM_SIZE[y.dtype];
  const uPlane = C * vectorBytes(O, y) + CELL;
  const u = workspace(PLANES * uPlane).ptr;
  launch(`winogradWeights${suffix(y)}`, { chunks: divideUp(O * size, CELL), work: C * O * size }, { packed, u, uPlane, C, O });
  const blocks = tileBlocks(TILES, N, vertical, horizontal);
  const rowBytes = rowBytesOf(blocks.tiles, C, size);
  const zeros = zeroRow(blocks.tiles, x.strides[3]! * size, C * size, workspace);
  const bytes = cellBytes(TILES, C, size) + cellBytes(TILES, 1, size) + 6 * rowBytes;
  const memory = { zeros, scratch: scratchAreas(blocks.count, bytes, workspace), rowBytes };
  const own = { u, uPlane, y, yImage: y.strides[0]! * size, yRow: y.strides[2]! * size, yPixel: y.strides[3]! * size };
  const split = { chunks: blocks.count, work: tileWork(blocks.allTiles, C, O, size) };
  launch(`winograd${suffix(y)}`, split, Object.assign(tileArgs(x, O, vertical, horizontal, blocks, memory), own));
}

/** Returns the number of chunks of a weight gradient along one kind of channels. */
function countChannelChunks(channels: number, chunkChannels: number): number {
  return Math.max(1, Math.floor(channels / chunkChannels));
}

/** Computes dw of images x and gradients g with contiguous channels, along the axes of the forward convolution. */
export function winogradGradW(g: View, x: View, dw: View, vertical: Axis, horizontal: Axis, workspace: Workspaces): void {
  const O = dw.shape[0]!;
  const C = dw.shape[1]!;
  const size = ITEM_SIZE[dw.dtype];
  const blocks = tileBlocks(GRAD_TILES, x.shape[0]!, vertical, horizontal);
  const wideChannels = CHUNK_BYTES / size;
  const wideChunks = countChannelChunks(C, wideChannels) * countChannelChunks(O, wideChannels);
  const cells = divideUp(C * size, CELL) * divideUp(O * size, CELL);
  const sumBytes = cells * PLANES * ((CELL / size) * CELL + CELL);
  const most = Math.floor(Math.min(CHUNKS / wideChunks, PARTIAL_BYTES / sumBytes, blocks.count / 2));
  const least = divideUp(PLANES * blocks.allTiles * C * O, wideChunks * LARGE);
  const blocksPerPart = divideUp(blocks.count, Math.max(1, least, most));
  const parts = divideUp(blocks.count, blocksPerPart);
  // One chunk would occupy one thread, and of 3, 5 or 7 one thread of two would get one more. Such chunks are divided, although each kind of
  // channels that is halved takes 6 % more time in all, as tiles are transformed twice. The order of the sums is the same.
  const wide = parts * wideChunks;
  const chunkOutputs = wide < 8 && wide % 2 === 1 && O >= wideChannels ? wideChannels / 2 : wideChannels;
  const chunkInputs = wide === 1 && Math.min(C, O) >= wideChannels ? wideChannels / 2 : wideChannels;
  const chunks = parts * countChannelChunks(C, chunkInputs) * countChannelChunks(O, chunkOutputs);
  const sums = workspace(parts * sumBytes).ptr;
  const xPixel = x.strides[3]! * size;
  const gPixel = g.strides[3]! * size;
  const inputs = Math.min(C, 2 * chunkInputs);
  const outputs = Math.min(O, 2 * chunkOutputs);
  const widest = Math.max(inputs, outputs);
  const rowBytes = rowBytesOf(blocks.tiles, widest, size);
  const zeros = zeroRow(blocks.tiles, Math.max(xPixel, gPixel), widest * size, workspace);
  const vBytes = cellBytes(GRAD_TILES, inputs, size);
  const gradientBytes = cellBytes(GRAD_TILES, outputs, size);
  const scratch = scratchAreas(chunks, vBytes + gradientBytes + 6 * rowBytes, workspace);
  const own = {
    g,
    gImage: g.strides[0]! * size,
    gRow: g.strides[2]! * size,
    gPixel,
    sums,
    blocksPerPart,
    chunkInputs,
    chunkOutputs,
    vBytes,
  };
  const args = Object.assign(tileArgs(x, O, vertical, horizontal, blocks, { zeros, scratch, rowBytes }), own);
  launch(`winogradGradW${suffix(dw)}`, { chunks, work: tileWork(blocks.allTiles, C, O, size) }, args);
  launch(`winogradGradWSum${suffix(dw)}`, { chunks: cells, work: 4 * parts * C * O * size }, { sums, dw, parts, C, O });
}
