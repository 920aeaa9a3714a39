/**
 * Convolution kernels: chooses an algorithm, packs weights, lays out workspaces and launches assembly/conv/.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { channelsLastStrides, sizeOf } from '../../core/shape.ts';
import type { ConvParams, Kernels } from '../interface.ts';
import { materializedAddressOf, materialize, restride, type View } from '../view.ts';
import { BYTES, writePackingEntry, type ScratchAreas } from './arguments.generated.ts';
import { backwardAxes, correlationArgs, forwardAxis, weightGradArgs, type Axis } from './conv-axes.ts';
import { usesWinograd, winogradCorrelation, winogradGradW } from './conv-winograd.ts';
import { elementwiseKernels } from './elementwise.ts';
import { launch } from './launch.ts';
import { storeRecords } from './tables.ts';
import { packingWork, productWork } from './work-estimates.ts';
import {
  CHUNKS,
  divideUp,
  LARGE,
  NO_SCRATCH,
  scratchAreas,
  suffix,
  VECTOR,
  vectorBytes,
  withWorkspaces,
  type Workspaces,
} from './workspace.ts';

/** Input channels of a chunk of a weight gradient. */
const CHANNEL_BLOCK = 16;
/** Blocks of four vectors of output channels of a chunk of a weight gradient. */
const OUTPUT_BLOCKS = 4;
/** Channels whose partial sums one chunk of a depthwise weight gradient adds. */
const CHANNELS_PER_CHUNK = 16;
/** Maximum number of output channels for which assembly/conv/few-channels.ts is faster. */
const FEW_CHANNELS = 3;
/** Bytes of images that a pass reads over and over: they should stay in the L1 cache. */
const PASS_BYTES = 24576;

type Four = readonly [number, number, number, number];

/** A correlation y = x ⋆ w along the axes. */
interface Correlation {
  /** Its channels are contiguous. */
  readonly x: View;
  readonly w: View;
  readonly y: View;
  readonly groups: number;
  /** The dim of the weights that is x's channels. */
  readonly from: 0 | 1;
  /** The dim of the weights that is y's channels. */
  readonly to: 0 | 1;
  readonly vertical: Axis;
  readonly horizontal: Axis;
}

type Algorithm = 'depthwise' | 'few-channels' | 'winograd' | 'general';

/** Images and channels of a correlation: C input and O output channels of one group. */
function sizesOf({ x, y, groups }: Correlation): { N: number; C: number; O: number } {
  return { N: x.shape[0]!, C: x.shape[1]! / groups, O: y.shape[1]! / groups };
}

function algorithmOf(c: Correlation): Algorithm {
  const { N, C, O } = sizesOf(c);
  if (C === 1 && O === 1) return 'depthwise';
  if (c.groups === 1 && O <= FEW_CHANNELS && (C * ITEM_SIZE[c.y.dtype]) % VECTOR === 0) return 'few-channels';
  return usesWinograd(N, C, O, c.groups, c.vertical, c.horizontal) ? 'winograd' : 'general';
}

/** Images with contiguous channels: x itself or a copy. */
function channelsLast(x: View, workspace: Workspaces): View {
  if (x.strides[1] === 1 || x.shape[1] === 1) return x;
  const strides = channelsLastStrides(x.shape);
  const copy: View = { storage: workspace(sizeOf(x.shape) * ITEM_SIZE[x.dtype]), offset: 0, shape: x.shape, strides, dtype: x.dtype };
  elementwiseKernels.copy(x, copy);
  return copy;
}

/** Splits n into the fewest parts of at most `most` and about equal size. Returns the size of all but the last, at least 1. */
function equally(n: number, most: number): number {
  const parts = Math.ceil(n / Math.max(1, most));
  return Math.max(1, divideUp(n, Math.max(1, parts)));
}

/** The packed weights of a correlation. */
interface PackedWeights {
  readonly ptr: number;
  /** Bytes of one group. */
  readonly groupBytes: number;
}

/** Packs weights into panels, or in the order of few-channels.ts. In depthwise convolutions the groups are the columns. */
function packedWeights(c: Correlation, algorithm: Algorithm, workspace: Workspaces): PackedWeights {
  const { w, vertical, horizontal } = c;
  const { C, O } = sizesOf(c);
  const size = ITEM_SIZE[w.dtype];
  const isDepthwise = algorithm === 'depthwise';
  const matrices = isDepthwise ? 1 : c.groups;
  const columns = isDepthwise ? c.groups : O;
  const steps = vertical.taps * horizontal.taps * C;
  const [, , row, column] = w.strides as Four;
  // Steps over a flipped kernel are negative: pointers wrap at 32 bits.
  const layout = {
    columns,
    columnStride: w.strides[isDepthwise ? 0 : c.to]! * size,
    n1: vertical.taps,
    stride1: vertical.kStep * row * size,
    n2: horizontal.taps,
    stride2: horizontal.kStep * column * size,
    n3: C,
    stride3: w.strides[c.from]! * size,
  };
  const first = restride(w, w.shape, w.strides, w.offset + vertical.kStart * row + horizontal.kStart * column);
  const work = packingWork(matrices * columns * steps);
  if (algorithm === 'few-channels') {
    const { ptr } = workspace(steps * columns * size);
    launch(`packFewChannels${suffix(w)}`, { chunks: columns, work }, Object.assign(layout, { w: first, packed: ptr }));
    return { ptr, groupBytes: steps * columns * size };
  }
  const groupBytes = steps * vectorBytes(columns, w);
  const { ptr } = workspace(matrices * groupBytes);
  const groupStride = (w.shape[0]! / c.groups) * w.strides[0]! * size;
  materialize(w, 'read');
  const source = materializedAddressOf(first);
  const table = Array.from({ length: matrices }, (_, g) => ({ source: source + g * groupStride, panels: ptr + g * groupBytes }));
  const entries = storeRecords(writePackingEntry, BYTES.PackingEntry, table, workspace);
  const split = { chunks: matrices * divideUp(columns * size, 4 * VECTOR), work };
  launch(`packPanels${suffix(w)}`, split, Object.assign(layout, { entries }));
  return { ptr, groupBytes };
}

/** Computes y = x ⋆ w. */
function correlate(c: Correlation): void {
  const algorithm = algorithmOf(c);
  withWorkspaces((workspace) => {
    const weights = packedWeights(c, algorithm, workspace);
    if (algorithm === 'winograd') winogradCorrelation(c.x, weights.ptr, c.y, c.vertical, c.horizontal, workspace);
    else correlateDirectly(c, algorithm, weights, workspace);
  });
}

function correlateDirectly(c: Correlation, algorithm: Algorithm, weights: PackedWeights, workspace: Workspaces): void {
  const { x, y, groups, vertical, horizontal } = c;
  const { N, C, O } = sizesOf(c);
  // A chunk is some rows of one image, or of a pair of images.
  const items = algorithm === 'general' ? divideUp(N, 2) : N;
  const results = N * vertical.count * horizontal.count * groups * O;
  const products = results * vertical.taps * horizontal.taps * C;
  const rowChunks = Math.max(divideUp(CHUNKS, items), divideUp(products, items * LARGE));
  const rowsPerChunk = divideUp(vertical.count, Math.min(vertical.count, rowChunks));
  const work = (algorithm === 'depthwise' ? 4 : 1) * productWork(products, y) + results / 4;
  const split = { chunks: items * divideUp(vertical.count, rowsPerChunk), work };
  const args = correlationArgs(x, weights.ptr, outputsOf(y, vertical, horizontal), vertical, horizontal, rowsPerChunk);
  if (algorithm === 'depthwise') {
    launch(`depthwise${suffix(y)}`, split, Object.assign(args, { C: groups }));
  } else if (algorithm === 'few-channels') {
    launch(`convFewChannels${suffix(y)}`, split, Object.assign(args, { C, O }));
  } else {
    const { rows, scratch } = correlationPasses(C * ITEM_SIZE[y.dtype], c, rowsPerChunk, split.chunks, workspace);
    const own = { N, G: groups, C, O, wGroup: weights.groupBytes, rowsPerPass: rows, scratch };
    launch(`conv${suffix(y)}`, split, Object.assign(args, own));
  }
}

/** The elements of y at the axes' output positions. */
function outputsOf(y: View, vertical: Axis, horizontal: Axis): View {
  const [N, O] = y.shape as Four;
  const [image, channel, row, pixel] = y.strides as Four;
  return restride(
    y,
    [N, O, vertical.count, horizontal.count],
    [image, channel, row * vertical.outStep, pixel * horizontal.outStep],
    y.offset + vertical.outStart * row + horizontal.outStart * pixel,
  );
}

/**
 * The output rows of a pass, and the scratch that it packs into: none without groups, or where most of what it would pack is not read.
 * @param rowsPerChunk the rows that a chunk goes through in passes
 */
function correlationPasses(
  pixelBytes: number,
  { groups, vertical, horizontal }: Correlation,
  rowsPerChunk: number,
  chunks: number,
  workspace: Workspaces,
): { rows: number; scratch: ScratchAreas } {
  if (groups === 1 || vertical.taps * horizontal.taps <= vertical.step * horizontal.step) {
    return { rows: rowsPerChunk, scratch: NO_SCRATCH };
  }
  const rowBytes = 2 * horizontal.size * pixelBytes;
  const halo = (vertical.taps - 1) * vertical.tapStep + 1 - vertical.step;
  const most = Math.floor((Math.floor(PASS_BYTES / rowBytes) - halo) / vertical.step);
  const rows = equally(rowsPerChunk, most);
  const height = Math.min(vertical.size, rows * vertical.step + halo);
  return { rows, scratch: scratchAreas(chunks, height * rowBytes, workspace) };
}

function conv2d(x: View, w: View, y: View, p: ConvParams): void {
  if (sizeOf(y.shape) === 0) return;
  const [, , H, W] = x.shape as Four;
  const [, , OH, OW] = y.shape as Four;
  const [, , KH, KW] = w.shape as Four;
  const vertical = forwardAxis(p, 0, H, OH, KH);
  const horizontal = forwardAxis(p, 1, W, OW, KW);
  withWorkspaces((workspace) => {
    correlate({ x: channelsLast(x, workspace), w, y, groups: p.groups, from: 1, to: 0, vertical, horizontal });
  });
}

function conv2dGradX(g: View, w: View, dx: View, p: ConvParams): void {
  if (sizeOf(dx.shape) === 0) return;
  const [, , OH, OW] = g.shape as Four;
  const [, , H, W] = dx.shape as Four;
  const [, , KH, KW] = w.shape as Four;
  withWorkspaces((workspace) => {
    const x = channelsLast(g, workspace);
    const rows = backwardAxes(p, 0, OH, H, KH);
    const columns = backwardAxes(p, 1, OW, W, KW);
    const axes = rows.flatMap((vertical) => columns.map((horizontal) => ({ vertical, horizontal })));
    const met = axes.filter(({ vertical, horizontal }) => vertical.taps > 0 && horizontal.taps > 0);
    if (met.length < axes.length) elementwiseKernels.fill(0, dx);
    for (const pair of met) correlate({ x, w, y: dx, groups: p.groups, from: 0, to: 1, ...pair });
  });
}

/** A weight gradient from images and gradients with contiguous channels, along the axes of the forward convolution. */
interface WeightGradient {
  readonly x: View;
  readonly g: View;
  readonly dw: View;
  readonly groups: number;
  readonly vertical: Axis;
  readonly horizontal: Axis;
}

function conv2dGradW(g: View, x: View, dw: View, p: ConvParams): void {
  if (sizeOf(dw.shape) === 0) return;
  const [N, channels, H, W] = x.shape as Four;
  const [, outputs, OH, OW] = g.shape as Four;
  const [, , KH, KW] = dw.shape as Four;
  const vertical = forwardAxis(p, 0, H, OH, KH);
  const horizontal = forwardAxis(p, 1, W, OW, KW);
  withWorkspaces((workspace) => {
    const images = channelsLast(x, workspace);
    const gradients = channelsLast(g, workspace);
    if (usesWinograd(N, channels, outputs, p.groups, vertical, horizontal)) {
      winogradGradW(gradients, images, dw, vertical, horizontal, workspace);
    } else {
      const gradWOf = channels === p.groups && outputs === p.groups ? gradWDepthwise : gradWDirectly;
      gradWOf({ x: images, g: gradients, dw, groups: p.groups, vertical, horizontal }, workspace);
    }
  });
}

/** The parts into which a weight gradient's N images are cut, given the blocks of channels of a part, and the products of an image. */
function gradientParts(N: number, blocks: number, products: number): { parts: number; imagesPerPart: number } {
  const most = Math.max(1, Math.floor((LARGE * blocks) / products));
  const imagesPerPart = Math.max(1, Math.min(most, divideUp(N, Math.max(1, Math.floor(CHUNKS / blocks)))));
  return { parts: Math.max(1, divideUp(N, imagesPerPart)), imagesPerPart };
}

function gradWDepthwise({ x, g, dw, vertical, horizontal }: WeightGradient, workspace: Workspaces): void {
  const [N, C] = x.shape as Four;
  const taps = vertical.taps * horizontal.taps;
  const blocks = divideUp(C * ITEM_SIZE[dw.dtype], 4 * VECTOR);
  const products = vertical.count * horizontal.count * taps * C;
  const { parts, imagesPerPart } = gradientParts(N, blocks, products);
  const padded = vectorBytes(C, dw) / ITEM_SIZE[dw.dtype];
  const sums = workspace(parts * taps * padded * ITEM_SIZE.float64).ptr;
  const split = { chunks: parts * blocks, work: 4 * productWork(N * products, dw) };
  const args = weightGradArgs(x, g, sums, vertical, horizontal, imagesPerPart);
  launch(`depthwiseGradW${suffix(dw)}`, split, Object.assign(args, { C }));
  const addition = { chunks: divideUp(C, CHANNELS_PER_CHUNK), work: parts * sizeOf(dw.shape) };
  launch(`depthwiseGradWSum${suffix(dw)}`, addition, { sums, dw, parts, C, taps, channelsPerChunk: CHANNELS_PER_CHUNK });
}

function gradWDirectly(c: WeightGradient, workspace: Workspaces): void {
  const { x, g, dw, vertical, horizontal } = c;
  const N = x.shape[0]!;
  const size = ITEM_SIZE[dw.dtype];
  const G = c.groups;
  const C = x.shape[1]! / G;
  const O = g.shape[1]! / G;
  const taps = vertical.taps * horizontal.taps;
  const blockC = CHANNEL_BLOCK;
  const blockO = (4 * VECTOR) / size;
  const blocks = G * divideUp(C, blockC) * divideUp(O, OUTPUT_BLOCKS * blockO);
  const products = vertical.count * horizontal.count * taps * G * C * O;
  const { parts, imagesPerPart } = gradientParts(N, blocks, products);
  const sums = workspace(parts * G * divideUp(C, blockC) * blockC * divideUp(O, blockO) * blockO * taps * size).ptr;
  const split = { chunks: parts * blocks, work: productWork(N * products, dw) };
  const passes = gradientPasses(c, Math.min(C, blockC), O, imagesPerPart, split.chunks, workspace);
  const own = {
    G,
    C,
    O,
    blockC,
    outputBlocks: OUTPUT_BLOCKS,
    rowsPerPass: passes.rows,
    imagesPerPass: passes.images,
    packsX: passes.packsX,
    packsG: passes.packsG,
    scratch: passes.scratch,
  };
  const args = weightGradArgs(x, g, sums, vertical, horizontal, imagesPerPart);
  launch(`convGradW${suffix(dw)}`, split, Object.assign(args, own));
  const addition = { chunks: G * divideUp(O, blockO), work: parts * sizeOf(dw.shape) };
  launch(`convGradWSum${suffix(dw)}`, addition, { sums, dw, parts, G, C, O, taps, blockC, blockO });
}

/** How convGradW goes over its images. */
interface GradientPasses {
  /** Rows of g of one pass. */
  readonly rows: number;
  /** Images of one pass. */
  readonly images: number;
  /** Whether a pass packs x. */
  readonly packsX: boolean;
  /** Whether a pass packs g. */
  readonly packsG: boolean;
  readonly scratch: ScratchAreas;
}

/**
 * The rows and images of a pass of convGradW, and what it packs: `channels` channels of a pixel of x, and a block of g's O channels in whole
 * vectors.
 * @param most the images that a pass may have
 */
function gradientPasses(
  { x, g, vertical, horizontal }: WeightGradient,
  channels: number,
  O: number,
  most: number,
  chunks: number,
  workspace: Workspaces,
): GradientPasses {
  const size = ITEM_SIZE[x.dtype];
  const xPixel = x.strides[3]! * size;
  const gPixel = g.strides[3]! * size;
  const xBytes = channels * size;
  const gBytes = Math.min(4 * VECTOR, vectorBytes(O, g));
  const isStrided = vertical.step > 1 || horizontal.step > 1;
  const isReadOnce = vertical.taps * horizontal.taps === 1;
  const packsX = xBytes % VECTOR === 0 && (isStrided || (!isReadOnce && xPixel !== xBytes));
  const packsG = (O * size) % VECTOR !== 0 || (!isReadOnce && gPixel !== gBytes);
  const pixelBytes = (packsX ? xBytes : horizontal.step * xPixel) + (packsG ? gBytes : gPixel);
  const pixels = Math.max(1, Math.floor(PASS_BYTES / Math.max(1, pixelBytes)));
  const rows = equally(vertical.count, Math.floor(pixels / horizontal.count));
  const images = rows < vertical.count ? 1 : Math.max(1, Math.min(most, Math.floor(pixels / (horizontal.count * rows))));
  const height = divideUp((rows - 1) * vertical.step + (vertical.taps - 1) * vertical.tapStep + 1, vertical.step) + 1;
  const planeRows = Math.min(divideUp(vertical.size, vertical.step), height) * vertical.step;
  const planeBytes = planeRows * divideUp(horizontal.size, horizontal.step) * horizontal.step * xBytes;
  const gradientBytes = rows * horizontal.count * gBytes * Math.min(OUTPUT_BLOCKS, divideUp(O * size, 4 * VECTOR));
  const bytes = images * ((packsX ? planeBytes : 0) + (packsG ? gradientBytes : 0));
  return { rows, images, packsX, packsG, scratch: scratchAreas(chunks, bytes, workspace) };
}

export const convKernels: Pick<Kernels, 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = { conv2d, conv2dGradX, conv2dGradW };
