/**
 * Matrix product and convolution kernels: packs operands, lays out workspaces and launches assembly/.
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { channelsLastStrides, rowMajorStrides, sizeOf } from '../core/shape.ts';
import type { ConvParams, Kernels } from './interface.ts';
import { launch } from './launch.ts';
import { memoryViews } from './memory.ts';
import { addressOf, restride, type View } from './view.ts';
import { elementwiseKernels } from './wasm-elementwise.ts';
import { correlateTiles, goesInTiles, gradWOfTiles } from './wasm-winograd.ts';
import { divideUp, imageStrides, scratchAreas, suffix, withWorkspaces, type Axis, type Workspaces } from './workspace.ts';

/** Bytes of a vector. */
const VECTOR = 16;
/** Rows and columns of a product that one chunk computes, and the fewest. */
const ROW_BLOCK = { most: 64, least: 16 };
const COLUMN_BLOCK = { most: 256, least: 64 };
/** Rows of a matrix-vector product that one chunk computes; assembly/matmul.ts has the same. */
const VECTOR_ROWS = 64;
/** Chunks that a problem is split into where it is large enough: enough to keep every core busy to the end. */
const CHUNKS = 16;
/** Multiplications that are no longer worth a chunk of their own, and the most there may be in one. */
const SMALL = 2 ** 18;
const LARGE = 2 ** 30;
/** Input channels per chunk of a weight gradient, and blocks of four vectors of output channels. */
const CHANNEL_BLOCK = 16;
const WIDE = 4;
/** Most output channels for which assembly/narrow.ts is faster. */
const NARROW = 3;
/** Bytes of images that a kernel goes over again and again: they should stay in the L1 cache. */
const BAND_BYTES = 24576;
type Four = readonly [number, number, number, number];

/** Bytes of `n` elements of v's dtype rounded up to whole vectors. */
function vectorBytes(n: number, v: View): number {
  return divideUp(n * ITEM_SIZE[v.dtype], VECTOR) * VECTOR;
}

/** About how many nanoseconds so many multiplications and additions of v's dtype take. */
function productWork(n: number, v: View): number {
  return (n * ITEM_SIZE[v.dtype]) / 64;
}

/** The same for packing n elements. */
function packingWork(n: number): number {
  return n / 2;
}

/** A table of addresses in a workspace. */
function addressTable(rows: readonly (readonly number[])[], workspace: Workspaces): number {
  const addresses = rows.flat();
  const { ptr } = workspace(addresses.length * 4);
  memoryViews().u32.set(addresses, ptr / 4);
  return ptr;
}

/** Element offsets of all batch entries of a and b, the dims before the last two, in row-major order. */
function batchOffsets(a: View, b: View): [number, number][] {
  let offsets: [number, number][] = [[0, 0]];
  for (let d = 0; d < a.shape.length - 2; d++) {
    const next: [number, number][] = [];
    for (const [p, q] of offsets) {
      for (let i = 0; i < a.shape[d]!; i++) next.push([p + i * a.strides[d]!, q + i * b.strides[d]!]);
    }
    offsets = next;
  }
  return offsets;
}

function matmul(a: View, b: View, y: View): void {
  const rank = y.shape.length;
  const M = y.shape[rank - 2]!;
  const N = y.shape[rank - 1]!;
  const K = a.shape[rank - 1]!;
  if (sizeOf(y.shape) === 0) return;
  const size = ITEM_SIZE[y.dtype];
  // Row by column vector: yᵀ = bᵀ·aᵀ is the same memory, so that either operand can be the matrix.
  if (a.strides[rank - 1] === 1 && b.strides[rank - 2] === 1 && (M === 1 || N === 1)) return matvec(a, b, y);
  withWorkspaces((workspace) => {
    const left = contiguousRows(a, workspace);
    const offsets = batchOffsets(left, b);
    const distinct = [...new Set(offsets.map(([, q]) => q))];
    const panelBytes = K * vectorBytes(N, y);
    const panels = workspace(distinct.length * panelBytes).ptr;
    const panelsOf = new Map(distinct.map((q, i) => [q, panels + i * panelBytes]));
    launch(
      `packColumns${suffix(y)}`,
      { chunks: distinct.length * divideUp(N * size, 4 * VECTOR), work: packingWork(distinct.length * N * K) },
      addressTable(
        distinct.map((q) => [addressOf(b) + q * size, panelsOf.get(q)!]),
        workspace,
      ),
      N,
      1,
      0,
      1,
      0,
      K,
      b.strides[rank - 2]! * size,
      b.strides[rank - 1]! * size,
    );
    const { rows, columns, chunks } = productBlocks(offsets.length, M, N, K);
    launch(
      `matmul${suffix(y)}`,
      { chunks, work: productWork(offsets.length * M * N * K, y) },
      addressTable(
        offsets.map(([p, q], i) => [addressOf(left) + p * size, panelsOf.get(q)!, addressOf(y) + i * M * N * size]),
        workspace,
      ),
      M,
      N,
      K,
      left.strides[rank - 2]! * size,
      rows,
      columns,
    );
  });
}

/** The blocks of `entries` products that are one chunk each: smaller ones where there would be too few chunks, or too large. */
function productBlocks(entries: number, M: number, N: number, K: number): { rows: number; columns: number; chunks: number } {
  let rows = ROW_BLOCK.most;
  let columns = COLUMN_BLOCK.most;
  const chunks = (): number => entries * divideUp(M, rows) * divideUp(N, columns);
  const work = (): number => Math.min(M, rows) * Math.min(N, columns) * K;
  while ((chunks() < CHUNKS && work() > SMALL) || work() > LARGE) {
    if (columns > COLUMN_BLOCK.least) columns /= 2;
    else if (rows > ROW_BLOCK.least) rows /= 2;
    else break;
  }
  return { rows, columns, chunks: chunks() };
}

/** The product where b has one column, or a one row; both contiguous along K. */
function matvec(a: View, b: View, y: View): void {
  const rank = y.shape.length;
  const size = ITEM_SIZE[y.dtype];
  const byColumns = y.shape[rank - 1] !== 1;
  const M = byColumns ? y.shape[rank - 1]! : y.shape[rank - 2]!;
  const row = byColumns ? b.strides[rank - 1]! : a.strides[rank - 2]!;
  withWorkspaces((workspace) => {
    const entries = batchOffsets(a, b).map(([p, q], i) => {
      const [left, right] = [addressOf(a) + p * size, addressOf(b) + q * size];
      return [byColumns ? right : left, byColumns ? left : right, addressOf(y) + i * M * size];
    });
    const K = a.shape[rank - 1]!;
    const split = { chunks: entries.length * divideUp(M, VECTOR_ROWS), work: 2 * productWork(entries.length * M * K, y) };
    launch(`matvec${suffix(y)}`, split, addressTable(entries, workspace), M, K, row * size);
  });
}

/** A matrix batch whose rows are contiguous: a itself or a copy, in which broadcast dims still are. */
function contiguousRows(a: View, workspace: Workspaces): View {
  const rank = a.shape.length;
  if (a.strides[rank - 1] === 1 || a.shape[rank - 1]! <= 1) return a;
  const once = (d: number): boolean => d < rank - 2 && a.strides[d] === 0;
  const shape = a.shape.map((n, d) => (once(d) ? 1 : n));
  const strides = rowMajorStrides(shape);
  const copy: View = { storage: workspace(sizeOf(shape) * ITEM_SIZE[a.dtype]), offset: 0, shape, strides, dtype: a.dtype };
  elementwiseKernels.copy(restride(a, shape, a.strides), copy);
  return restride(
    copy,
    a.shape,
    strides.map((s, d) => (once(d) ? 0 : s)),
  );
}

/** An image batch whose channels lie side by side: x itself or a copy. */
function channelsLast(x: View, workspace: Workspaces): View {
  if (x.strides[1] === 1 || x.shape[1] === 1) return x;
  const strides = channelsLastStrides(x.shape);
  const copy: View = { storage: workspace(sizeOf(x.shape) * ITEM_SIZE[x.dtype]), offset: 0, shape: x.shape, strides, dtype: x.dtype };
  elementwiseKernels.copy(x, copy);
  return copy;
}

function geometry(...axes: Axis[]): number[] {
  return axes.flatMap((a) => [a.count, a.start, a.step, a.tapStep, a.taps, a.size]);
}

/** The axis `d` (0 vertical, 1 horizontal) of a forward convolution with `size` inputs, `count` outputs and `taps` kernel elements. */
function forwardAxis(p: ConvParams, d: 0 | 1, size: number, count: number, taps: number): Axis {
  return {
    count,
    start: -p.padding[d],
    step: p.stride[d],
    tapStep: p.dilation[d],
    taps,
    size,
    outStart: 0,
    outStep: 1,
    kStart: 0,
    kStep: 1,
  };
}

/**
 * The axes of an input gradient, one for each residue r of the input position modulo the stride s. Position h = r + i·s meets kernel
 * elements k with (h + padding − k·dilation) divisible by s: every (s / gcd(s, dilation))-th from the first; last comes first here.
 */
function backwardAxes(p: ConvParams, d: 0 | 1, size: number, count: number, K: number): Axis[] {
  const s = p.stride[d];
  const dilation = p.dilation[d];
  const every = s / gcd(s, dilation);
  const axes: Axis[] = [];
  for (let r = 0; r < Math.min(s, count); r++) {
    let k = 0;
    while (k < every && (r + p.padding[d] - k * dilation) % s !== 0) k++;
    const taps = k < every && k < K ? Math.floor((K - 1 - k) / every) + 1 : 0;
    const tapStep = (dilation * every) / s;
    axes.push({
      count: divideUp(count - r, s),
      start: taps > 0 ? (r + p.padding[d] - k * dilation) / s - (taps - 1) * tapStep : 0,
      step: 1,
      tapStep,
      taps,
      size,
      outStart: r,
      outStep: s,
      kStart: k + (taps - 1) * every,
      kStep: -every,
    });
  }
  return axes;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** y = the correlation of x with w along the axes; `from` and `to` are the weights' dims of x's and y's channels. */
function correlate(x: View, w: View, y: View, groups: number, from: 0 | 1, to: 0 | 1, vertical: Axis, horizontal: Axis): void {
  const [N, channels] = x.shape as Four;
  const size = ITEM_SIZE[y.dtype];
  const C = channels / groups;
  const O = y.shape[1]! / groups;
  const depthwise = C === 1 && O === 1;
  const taps = vertical.taps * horizontal.taps;
  const columns = depthwise ? groups : O;
  const groupBytes = taps * C * vectorBytes(columns, y);
  const [, , rowStride, columnStride] = w.strides as Four;
  const first = addressOf(w) + (vertical.kStart * rowStride + horizontal.kStart * columnStride) * size;
  const [yImage, yRow, yPixel] = imageStrides(y) as [number, number, number];
  const yAt = addressOf(y) + vertical.outStart * yRow + horizontal.outStart * yPixel;
  const yArgs = [yAt, yImage, yRow * vertical.outStep, yPixel * horizontal.outStep];
  const narrow = groups === 1 && O <= NARROW && (C * size) % VECTOR === 0;
  const xArgs = [addressOf(x), ...imageStrides(x)];
  const units = depthwise || narrow ? N : divideUp(N, 2);
  const results = N * vertical.count * horizontal.count * groups * O;
  const products = results * taps * C;
  const bands = Math.max(divideUp(CHUNKS, units), divideUp(products, units * LARGE));
  const band = divideUp(vertical.count, Math.min(vertical.count, bands));
  // Where no tap meets, there are results all the same: zeros.
  const work = (depthwise ? 4 : 1) * productWork(products, y) + results / 4;
  const split = { chunks: units * divideUp(vertical.count, band), work };
  // Steps over a flipped kernel are negative: pointers wrap at 32 bits.
  const bytes = (n: number): number => (n * size) >>> 0;
  withWorkspaces((workspace) => {
    if (narrow) {
      const { ptr } = workspace(taps * C * O * size);
      const [vertically, horizontally] = [bytes(vertical.kStep * rowStride), bytes(horizontal.kStep * columnStride)];
      const steps = [vertical.taps, vertically, horizontal.taps, horizontally, C, bytes(w.strides[from]!), bytes(w.strides[to]!)];
      launch(`packNarrow${suffix(y)}`, { chunks: O, work: packingWork(O * taps * C) }, first, ptr, O, ...steps);
      launch(`convNarrow${suffix(y)}`, split, ...xArgs, ptr, ...yArgs, N, C, O, ...geometry(vertical, horizontal), band);
      return;
    }
    const entries = depthwise ? 1 : groups;
    const packed = workspace(entries * groupBytes);
    const table = Array.from({ length: entries }, (_, g) => [
      first + g * (w.shape[0]! / groups) * w.strides[0]! * size,
      packed.ptr + g * groupBytes,
    ]);
    launch(
      `packColumns${suffix(y)}`,
      { chunks: entries * divideUp(columns * size, 4 * VECTOR), work: packingWork(entries * columns * taps * C) },
      addressTable(table, workspace),
      columns,
      vertical.taps,
      bytes(vertical.kStep * rowStride),
      horizontal.taps,
      bytes(horizontal.kStep * columnStride),
      C,
      bytes(w.strides[from]!),
      bytes(w.strides[depthwise ? 0 : to]!),
    );
    if (goesInTiles(N, C, O, groups, vertical, horizontal)) {
      correlateTiles(x, packed.ptr, y, vertical, horizontal, workspace);
      return;
    }
    if (depthwise) {
      launch(`depthwise${suffix(y)}`, split, ...xArgs, packed.ptr, ...yArgs, N, groups, ...geometry(vertical, horizontal), band);
    } else {
      launch(
        `conv${suffix(y)}`,
        split,
        ...xArgs,
        packed.ptr,
        groupBytes,
        ...yArgs,
        N,
        groups,
        C,
        O,
        ...geometry(vertical, horizontal),
        band,
        ...passes(C * size, groups, vertical, horizontal, band, split.chunks, workspace),
      );
    }
  });
}

/**
 * The passes in which a correlation goes through a band, and the scratch that what they read is copied to: none without groups, or where
 * most of what would be copied is not read. As arguments: rows per pass, see scratchAreas.
 */
function passes(
  pixelBytes: number,
  groups: number,
  vertical: Axis,
  horizontal: Axis,
  band: number,
  chunks: number,
  workspace: Workspaces,
): number[] {
  if (groups === 1 || vertical.taps * horizontal.taps <= vertical.step * horizontal.step) return [band, 0, 0, 0, 0];
  const rowBytes = 2 * horizontal.size * pixelBytes;
  const halo = (vertical.taps - 1) * vertical.tapStep + 1 - vertical.step;
  const most = Math.floor((Math.floor(BAND_BYTES / rowBytes) - halo) / vertical.step);
  const rows = Math.max(1, Math.min(band, most));
  const height = Math.min(vertical.size, rows * vertical.step + halo);
  return [rows, ...scratchAreas(chunks, height * rowBytes, workspace)];
}

function conv2d(x: View, w: View, y: View, p: ConvParams): void {
  if (sizeOf(y.shape) === 0) return;
  const [, , H, W] = x.shape as Four;
  const [, , OH, OW] = y.shape as Four;
  const [, , KH, KW] = w.shape as Four;
  withWorkspaces((workspace) => {
    correlate(channelsLast(x, workspace), w, y, p.groups, 1, 0, forwardAxis(p, 0, H, OH, KH), forwardAxis(p, 1, W, OW, KW));
  });
}

function conv2dGradX(g: View, w: View, dx: View, p: ConvParams): void {
  if (sizeOf(dx.shape) === 0) return;
  const [, , OH, OW] = g.shape as Four;
  const [, , H, W] = dx.shape as Four;
  const [, , KH, KW] = w.shape as Four;
  withWorkspaces((workspace) => {
    const from = channelsLast(g, workspace);
    const axes = backwardAxes(p, 0, OH, H, KH).flatMap((v) => backwardAxes(p, 1, OW, W, KW).map((h) => [v, h] as const));
    const met = axes.filter(([v, h]) => v.taps > 0 && h.taps > 0);
    if (met.length < axes.length) elementwiseKernels.fill(0, dx);
    for (const [vertical, horizontal] of met) correlate(from, w, dx, p.groups, 0, 1, vertical, horizontal);
  });
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
    if (goesInTiles(N, channels, outputs, p.groups, vertical, horizontal)) {
      gradWOfTiles(gradients, images, dw, vertical, horizontal, workspace);
      return;
    }
    const size = ITEM_SIZE[dw.dtype];
    const depthwise = channels === p.groups && outputs === p.groups;
    const groups = depthwise ? 1 : p.groups;
    const C = depthwise ? 1 : channels / groups;
    const O = outputs / groups;
    const taps = KH * KW;
    const blockC = depthwise ? 1 : CHANNEL_BLOCK;
    const blockO = (depthwise ? vectorBytes(O, dw) : 4 * VECTOR) / size;
    const blocks = depthwise ? divideUp(O * size, 4 * VECTOR) : groups * divideUp(C, blockC) * divideUp(O, WIDE * blockO);
    const products = OH * OW * taps * groups * C * O;
    const most = Math.max(1, Math.floor((LARGE * blocks) / products));
    const perPart = Math.max(1, Math.min(most, divideUp(N, Math.max(1, Math.floor(CHUNKS / blocks)))));
    const parts = Math.max(1, divideUp(N, perPart));
    const sums = workspace(parts * groups * divideUp(C, blockC) * blockC * divideUp(O, blockO) * blockO * taps * size).ptr;
    const inputs = [addressOf(images), ...imageStrides(images), addressOf(gradients), ...imageStrides(gradients), sums];
    const axes = geometry(vertical, horizontal);
    const split = { chunks: parts * blocks, work: (depthwise ? 4 : 1) * productWork(N * products, dw) };
    if (depthwise) {
      launch(`depthwiseGradW${suffix(dw)}`, split, ...inputs, N, outputs, ...axes, perPart);
    } else {
      const bands = gradientBands(images, gradients, Math.min(C, blockC), O, perPart, vertical, horizontal, split.chunks, workspace);
      launch(`convGradW${suffix(dw)}`, split, ...inputs, N, groups, C, O, ...axes, perPart, blockC, WIDE, ...bands);
    }
    const joining = { chunks: groups * divideUp(O, blockO), work: parts * sizeOf(dw.shape) };
    launch(`convGradWSum${suffix(dw)}`, joining, sums, addressOf(dw), parts, groups, C, O, taps, blockC, blockO);
  });
}

/**
 * The bands in which a weight gradient goes over at most `most` images at once, and the scratch that they are copied to, `channels` of a pixel of
 * x and a block of g's, in whole vectors. As arguments: rows and images per band, whether x and g are copied, see scratchAreas.
 */
function gradientBands(
  x: View,
  g: View,
  channels: number,
  O: number,
  most: number,
  vertical: Axis,
  horizontal: Axis,
  chunks: number,
  workspace: Workspaces,
): number[] {
  const size = ITEM_SIZE[x.dtype];
  const strided = vertical.step > 1 || horizontal.step > 1;
  const once = vertical.taps * horizontal.taps === 1;
  const [xBytes, gBytes] = [channels * size, Math.min(4 * VECTOR, vectorBytes(O, g))];
  const copyX = xBytes % VECTOR === 0 && (strided || (!once && x.strides[3] !== channels));
  const copyG = (O * size) % VECTOR !== 0 || (!once && g.strides[3]! * size !== gBytes);
  const pixelBytes = (copyX ? xBytes : horizontal.step * x.strides[3]! * size) + (copyG ? gBytes : g.strides[3]! * size);
  const pixels = Math.max(1, Math.floor(BAND_BYTES / Math.max(1, pixelBytes)));
  const rows = Math.max(1, Math.min(vertical.count, Math.floor(pixels / horizontal.count)));
  const images = rows < vertical.count ? 1 : Math.max(1, Math.min(most, Math.floor(pixels / (horizontal.count * rows))));
  const height = divideUp((rows - 1) * vertical.step + (vertical.taps - 1) * vertical.tapStep + 1, vertical.step) + 1;
  const planeRows = Math.min(divideUp(vertical.size, vertical.step), height) * vertical.step;
  const planeBytes = planeRows * divideUp(horizontal.size, horizontal.step) * horizontal.step * xBytes;
  const gradientBytes = rows * horizontal.count * gBytes * Math.min(WIDE, divideUp(O * size, 4 * VECTOR));
  const bytes = images * ((copyX ? planeBytes : 0) + (copyG ? gradientBytes : 0));
  return [rows, images, Number(copyX), Number(copyG), ...scratchAreas(chunks, bytes, workspace)];
}

export const productKernels: Pick<Kernels, 'matmul' | 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = {
  matmul,
  conv2d,
  conv2dGradX,
  conv2dGradW,
};
