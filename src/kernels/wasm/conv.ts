/**
 * Convolution kernels: packs weights, lays out workspaces and launches assembly/.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { channelsLastStrides, sizeOf } from '../../core/shape.ts';
import type { ConvParams, Kernels } from '../interface.ts';
import { BYTES, writePackingEntry } from './arguments.generated.ts';
import { launch, launchSlots } from './launch.ts';
import { storeRecords } from './records.ts';
import { addressOf, type View } from '../view.ts';
import { elementwiseKernels } from './elementwise.ts';
import { correlateTiles, goesInTiles, gradWOfTiles } from './conv-winograd.ts';
import {
  CHUNKS,
  divideUp,
  imageStrides,
  LARGE,
  packingWork,
  productWork,
  scratchAreas,
  suffix,
  VECTOR,
  vectorBytes,
  withWorkspaces,
  type Axis,
  type Workspaces,
} from './workspace.ts';

/** Input channels per chunk of a weight gradient, and blocks of four vectors of output channels. */
const CHANNEL_BLOCK = 16;
const WIDE = 4;
/** Most output channels for which assembly/narrow.ts is faster. */
const NARROW = 3;
/** Bytes of images that a kernel goes over again and again: they should stay in the L1 cache. */
const BAND_BYTES = 24576;

type Four = readonly [number, number, number, number];

/** An image batch whose channels lie side by side: x itself or a copy. */
function channelsLast(x: View, workspace: Workspaces): View {
  if (x.strides[1] === 1 || x.shape[1] === 1) return x;
  const strides = channelsLastStrides(x.shape);
  const copy: View = { storage: workspace(sizeOf(x.shape) * ITEM_SIZE[x.dtype]), offset: 0, shape: x.shape, strides, dtype: x.dtype };
  elementwiseKernels.copy(x, copy);
  return copy;
}

/** The size, at least 1, of all but the last of the fewest parts of about equal size that n is split into, none larger than `most`. */
function equally(n: number, most: number): number {
  const parts = Math.ceil(n / Math.max(1, most));
  return Math.max(1, divideUp(n, Math.max(1, parts)));
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

/**
 * The weights of a correlation, dim `from` to dim `to`, packed for its kernel: their address, and the bytes of a group. One column after
 * another where `narrow`, see assembly/narrow.ts; of depthwise convolutions the groups are the columns.
 */
function packedWeights(
  w: View,
  groups: number,
  from: 0 | 1,
  to: 0 | 1,
  narrow: boolean,
  vertical: Axis,
  horizontal: Axis,
  workspace: Workspaces,
): { ptr: number; groupBytes: number } {
  const size = ITEM_SIZE[w.dtype];
  const perGroup = w.shape[0]! / groups;
  const [C, O] = [from === 0 ? perGroup : w.shape[1]!, to === 0 ? perGroup : w.shape[1]!];
  const depthwise = C === 1 && O === 1;
  const [entries, columns] = depthwise ? [1, groups] : [groups, O];
  const steps = vertical.taps * horizontal.taps * C;
  const [, , row, column] = w.strides as Four;
  // Steps over a flipped kernel are negative: pointers wrap at 32 bits.
  const bytes = (n: number): number => (n * size) >>> 0;
  const first = addressOf(w) + (vertical.kStart * row + horizontal.kStart * column) * size;
  const [down, across] = [bytes(vertical.kStep * row), bytes(horizontal.kStep * column)];
  const layout = {
    columns,
    columnStride: bytes(w.strides[depthwise ? 0 : to]!),
    n1: vertical.taps,
    stride1: down,
    n2: horizontal.taps,
    stride2: across,
    n3: C,
    stride3: bytes(w.strides[from]!),
  };
  const groupBytes = steps * (narrow ? columns * size : vectorBytes(columns, w));
  const { ptr } = workspace(entries * groupBytes);
  const work = packingWork(entries * columns * steps);
  if (narrow) {
    const { columnStride, n1, stride1, n2, stride2, n3, stride3 } = layout;
    launchSlots(
      `packNarrow${suffix(w)}`,
      { chunks: columns, work },
      first,
      ptr,
      columns,
      n1,
      stride1,
      n2,
      stride2,
      n3,
      stride3,
      columnStride,
    );
  } else {
    const table = Array.from({ length: entries }, (_, g) => ({
      source: first + g * perGroup * w.strides[0]! * size,
      panels: ptr + g * groupBytes,
    }));
    const split = { chunks: entries * divideUp(columns * size, 4 * VECTOR), work };
    launch(`packPanels${suffix(w)}`, split, {
      entries: storeRecords(writePackingEntry, BYTES.PackingEntry, table, workspace),
      ...layout,
    });
  }
  return { ptr, groupBytes };
}

/** y = the correlation of x with w along the axes; `from` and `to` are the weights' dims of x's and y's channels. */
function correlate(x: View, w: View, y: View, groups: number, from: 0 | 1, to: 0 | 1, vertical: Axis, horizontal: Axis): void {
  const [N, channels] = x.shape as Four;
  const size = ITEM_SIZE[y.dtype];
  const C = channels / groups;
  const O = y.shape[1]! / groups;
  const depthwise = C === 1 && O === 1;
  const narrow = groups === 1 && O <= NARROW && (C * size) % VECTOR === 0;
  withWorkspaces((workspace) => {
    const weights = packedWeights(w, groups, from, to, narrow, vertical, horizontal, workspace);
    if (goesInTiles(N, C, O, groups, vertical, horizontal)) {
      correlateTiles(x, weights.ptr, y, vertical, horizontal, workspace);
      return;
    }
    const units = depthwise || narrow ? N : divideUp(N, 2);
    const results = N * vertical.count * horizontal.count * groups * O;
    const products = results * vertical.taps * horizontal.taps * C;
    const bands = Math.max(divideUp(CHUNKS, units), divideUp(products, units * LARGE));
    const band = divideUp(vertical.count, Math.min(vertical.count, bands));
    const work = (depthwise ? 4 : 1) * productWork(products, y) + results / 4;
    const split = { chunks: units * divideUp(vertical.count, band), work };
    const [yImage, yRow, yPixel] = imageStrides(y) as [number, number, number];
    const yAt = addressOf(y) + vertical.outStart * yRow + horizontal.outStart * yPixel;
    const images = [addressOf(x), ...imageStrides(x)];
    const outputs = [yAt, yImage, yRow * vertical.outStep, yPixel * horizontal.outStep];
    const axes = geometry(vertical, horizontal);
    if (depthwise) {
      launchSlots(`depthwise${suffix(y)}`, split, ...images, weights.ptr, ...outputs, N, groups, ...axes, band);
    } else if (narrow) {
      launchSlots(`convNarrow${suffix(y)}`, split, ...images, weights.ptr, ...outputs, N, C, O, ...axes, band);
    } else {
      const inPasses = passes(C * size, groups, vertical, horizontal, band, split.chunks, workspace);
      launchSlots(
        `conv${suffix(y)}`,
        split,
        ...images,
        weights.ptr,
        weights.groupBytes,
        ...outputs,
        N,
        groups,
        C,
        O,
        ...axes,
        band,
        ...inPasses,
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
  const rows = equally(band, most);
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
      launchSlots(`depthwiseGradW${suffix(dw)}`, split, ...inputs, N, outputs, ...axes, perPart);
    } else {
      const bands = gradientBands(images, gradients, Math.min(C, blockC), O, perPart, vertical, horizontal, split.chunks, workspace);
      launchSlots(`convGradW${suffix(dw)}`, split, ...inputs, N, groups, C, O, ...axes, perPart, blockC, WIDE, ...bands);
    }
    const joining = { chunks: groups * divideUp(O, blockO), work: parts * sizeOf(dw.shape) };
    launchSlots(`convGradWSum${suffix(dw)}`, joining, sums, addressOf(dw), parts, groups, C, O, taps, blockC, blockO);
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
  const rows = equally(vertical.count, Math.floor(pixels / horizontal.count));
  const images = rows < vertical.count ? 1 : Math.max(1, Math.min(most, Math.floor(pixels / (horizontal.count * rows))));
  const height = divideUp((rows - 1) * vertical.step + (vertical.taps - 1) * vertical.tapStep + 1, vertical.step) + 1;
  const planeRows = Math.min(divideUp(vertical.size, vertical.step), height) * vertical.step;
  const planeBytes = planeRows * divideUp(horizontal.size, horizontal.step) * horizontal.step * xBytes;
  const gradientBytes = rows * horizontal.count * gBytes * Math.min(WIDE, divideUp(O * size, 4 * VECTOR));
  const bytes = images * ((copyX ? planeBytes : 0) + (copyG ? gradientBytes : 0));
  return [rows, images, Number(copyX), Number(copyG), ...scratchAreas(chunks, bytes, workspace)];
}

export const convKernels: Pick<Kernels, 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = { conv2d, conv2dGradX, conv2dGradW };
