/**
 * Winograd convolution: lays out workspaces and launches assembly/winograd.ts.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { paysInTiles, TILE } from '../conv-algorithm.ts';
import { launchSlots } from './launch.ts';
import { memoryViews } from '../memory/wasm-memory.ts';
import { addressOf, type View } from '../view.ts';
import type { Axis } from './conv-axes.ts';
import { divideUp, imageStrides, scratchAreas, suffix, type Workspaces } from './workspace.ts';

/** Most tiles in a block of a correlation, and of a weight gradient; see assembly/winograd-tiles.ts and winograd-grad.ts. */
const TILES = 16;
const GRAD_TILES = 32;
/** Bytes of a tile's four vectors of channels in one plane. */
const CELL = 64;
/** Bytes of the channels whose weight gradient one chunk sums. */
const GROUP = 256;
/** Most multiplications of a chunk: some 50 milliseconds. */
const LARGE = 2 ** 30;
/** Most chunks a weight gradient is split into, and most bytes of their partial sums. */
const CHUNKS = 16;
const PARTIAL_BYTES = 2.5e6;

/** Whether a convolution of N images with C to O channels along these axes goes through Winograd. */
export function goesInTiles(N: number, C: number, O: number, groups: number, vertical: Axis, horizontal: Axis): boolean {
  const plain = (a: Axis): boolean => a.taps === 3 && a.step === 1 && a.tapStep === 1 && a.outStep === 1;
  return groups === 1 && plain(vertical) && plain(horizontal) && paysInTiles(N, C, O, vertical.count, horizontal.count);
}

/** How tiles make blocks: whole rows of them where several fit, or parts of one. */
function blocks(most: number, N: number, tilesY: number, tilesX: number): { rows: number; tiles: number; count: number } {
  const parts = divideUp(tilesX, most);
  const tiles = divideUp(tilesX, parts);
  const rows = Math.floor(most / tiles);
  return { rows: parts > 1 ? 1 : rows, tiles, count: parts > 1 ? N * tilesY * parts : divideUp(N * tilesY, rows) };
}

/** Bytes of so many transformed channels of a block of at most `most` tiles. */
function cellBytes(most: number, channels: number, size: number): number {
  return divideUp(channels * size, CELL) * 36 * (most * CELL + CELL);
}

/** Bytes of a transformed row of pixels of a block; 64 more than they take. */
function rowBytes(tiles: number, channels: number, size: number): number {
  return divideUp((TILE * tiles + 2) * channels * size, CELL) * CELL + CELL;
}

/** About how many nanoseconds the products of so many tiles take, with all around them. */
function tileWork(tiles: number, C: number, O: number, size: number): number {
  return (36 * tiles * C * O * size) / 40;
}

/** Zeros, from which what lies outside an image is read, and scratch for blocks and a transformed row of their pixels: as arguments. */
function scratchArgs(zeroBytes: number, chunks: number, bytes: number, row: number, workspace: Workspaces): number[] {
  const zeros = workspace(zeroBytes).ptr;
  memoryViews().u8.fill(0, zeros, zeros + zeroBytes);
  return [zeros, ...Object.values(scratchAreas(chunks, bytes, workspace)), row];
}

function axisArgs(a: Axis): number[] {
  return [a.size, a.start, a.count];
}

/** y = the correlation of x with weights packed as panels of [tap, C, width]. */
export function correlateTiles(x: View, packed: number, y: View, vertical: Axis, horizontal: Axis, workspace: Workspaces): void {
  const [N, C] = x.shape as [number, number];
  const O = y.shape[1]!;
  const size = ITEM_SIZE[y.dtype];
  const plane = C * divideUp(O * size, 16) * 16 + CELL;
  const u = workspace(36 * plane).ptr;
  launchSlots(`winogradWeights${suffix(y)}`, { chunks: divideUp(O * size, CELL), work: C * O * size }, packed, u, plane, C, O);
  const [tilesY, tilesX] = [divideUp(vertical.count, TILE), divideUp(horizontal.count, TILE)];
  const block = blocks(TILES, N, tilesY, tilesX);
  const row = rowBytes(block.tiles, C, size);
  const images = imageStrides(x);
  const zeroBytes = (TILE * block.tiles + 2) * images[2]! + C * size;
  const bytes = cellBytes(TILES, C, size) + cellBytes(TILES, 1, size) + 6 * row;
  launchSlots(
    `winograd${suffix(y)}`,
    { chunks: block.count, work: tileWork(N * tilesY * tilesX, C, O, size) },
    addressOf(x),
    ...images,
    u,
    plane,
    addressOf(y),
    ...imageStrides(y),
    N,
    C,
    O,
    ...axisArgs(vertical),
    ...axisArgs(horizontal),
    block.rows,
    block.tiles,
    ...scratchArgs(zeroBytes, block.count, bytes, row, workspace),
  );
}

/** dw of images x and gradients g with channels side by side, along the axes of the forward convolution. */
export function gradWOfTiles(g: View, x: View, dw: View, vertical: Axis, horizontal: Axis, workspace: Workspaces): void {
  const [O, C] = dw.shape as [number, number];
  const N = x.shape[0]!;
  const size = ITEM_SIZE[dw.dtype];
  const [tilesY, tilesX] = [divideUp(vertical.count, TILE), divideUp(horizontal.count, TILE)];
  const block = blocks(GRAD_TILES, N, tilesY, tilesX);
  const group = GROUP / size;
  const groups = Math.max(1, Math.floor(C / group)) * Math.max(1, Math.floor(O / group));
  const cells = divideUp(C * size, CELL) * divideUp(O * size, CELL);
  const sumBytes = cells * 36 * ((CELL / size) * CELL + CELL);
  const tiles = N * tilesY * tilesX;
  const most = Math.floor(Math.min(CHUNKS / groups, PARTIAL_BYTES / sumBytes, block.count / 2));
  const least = divideUp(36 * tiles * C * O, groups * LARGE);
  const partBlocks = divideUp(block.count, Math.max(1, least, most));
  const parts = divideUp(block.count, partBlocks);
  const sums = workspace(parts * sumBytes).ptr;
  const [images, gradients] = [imageStrides(x), imageStrides(g)];
  const widest = Math.min(Math.max(C, O), 2 * group);
  const row = rowBytes(block.tiles, widest, size);
  const zeroBytes = (TILE * block.tiles + 2) * Math.max(images[2]!, gradients[2]!) + widest * size;
  const cellsOf = (channels: number): number => cellBytes(GRAD_TILES, Math.min(channels, 2 * group), size);
  const bytes = cellsOf(C) + cellsOf(O) + 6 * row;
  launchSlots(
    `winogradGradW${suffix(dw)}`,
    { chunks: parts * groups, work: tileWork(tiles, C, O, size) },
    addressOf(x),
    ...images,
    addressOf(g),
    ...gradients,
    sums,
    N,
    C,
    O,
    ...axisArgs(vertical),
    ...axisArgs(horizontal),
    block.rows,
    block.tiles,
    partBlocks,
    group,
    cellsOf(C),
    ...scratchArgs(zeroBytes, parts * groups, bytes, row, workspace),
  );
  launchSlots(`winogradFilters${suffix(dw)}`, { chunks: cells, work: 4 * parts * C * O * size }, sums, addressOf(dw), parts, C, O);
}
