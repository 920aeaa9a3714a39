/**
 * Depthwise convolution (one input and one output channel per group): vectors of channels, multiplied element by element.
 */
import { Output } from '../runtime/abi';
import { addWide, lanes, loadSome, mulAdd, panelVectors, putSome } from '../simd/vector';
import { CorrelationArgs, WeightGradArgs } from './geometry';
import { endTap, firstAtLeast, firstTap } from './taps';

/** Products of a weight gradient that are added in T before their sum is added in float64, so that its error does not grow with the image. */
const BLOCK = 128;

/**
 * Computes y = Σ over taps of x · w for one pixel and `vectors` vectors of channels. Of these, `columns` channels exist; all of them where
 * `whole`.
 */
// @ts-ignore: decorator
@inline
function pixelOf<T>(
  vectors: i32, whole: bool, x: usize, xRow: usize, xPixel: usize, w: usize, wRow: usize, rows: i32, taps: i32, y: usize, columns: i32,
): void {
  const rest = columns - (vectors - 1) * lanes<T>();
  const end: usize = (vectors - 1) * 16;
  const width: usize = vectors * 16;
  let c0 = v128.splat<T>(0), c1 = v128.splat<T>(0), c2 = v128.splat<T>(0), c3 = v128.splat<T>(0);
  for (; rows > 0; rows--) {
    let p = x;
    let q = w;
    for (let t = taps; t > 0; t--) {
      if (vectors > 1) c0 = mulAdd<T>(v128.load(p), v128.load(q), c0);
      if (vectors > 2) {
        c1 = mulAdd<T>(v128.load(p, 16), v128.load(q, 16), c1);
        c2 = mulAdd<T>(v128.load(p, 32), v128.load(q, 32), c2);
      }
      const x3 = whole ? v128.load(p + end) : loadSome<T>(p + end, rest);
      c3 = mulAdd<T>(x3, v128.load(q + end), c3);
      p += xPixel;
      q += width;
    }
    x += xRow;
    w += wRow;
  }
  if (vectors > 1) v128.store(y, c0);
  if (vectors > 2) {
    v128.store(y, c1, 16);
    v128.store(y, c2, 32);
  }
  putSome<T>(y + end, c3, rest, false);
}

/**
 * The same for 2 whole vectors of two pixels with the same taps, xNext and yNext bytes apart. Each vector of w is read once for both pixels,
 * and all operands of a tap fit the registers.
 */
// @ts-ignore: decorator
@inline
function pixelPair<T>(
  x: usize, xNext: usize, xRow: usize, xPixel: usize, w: usize, wRow: usize, wStep: usize, rows: i32, taps: i32, y: usize, yNext: usize,
): void {
  let c0 = v128.splat<T>(0), c1 = v128.splat<T>(0), d0 = v128.splat<T>(0), d1 = v128.splat<T>(0);
  for (; rows > 0; rows--) {
    let p = x;
    let q = w;
    for (let t = taps; t > 0; t--) {
      const w0 = v128.load(q);
      const w1 = v128.load(q, 16);
      c0 = mulAdd<T>(v128.load(p), w0, c0);
      c1 = mulAdd<T>(v128.load(p, 16), w1, c1);
      const next = p + xNext;
      d0 = mulAdd<T>(v128.load(next), w0, d0);
      d1 = mulAdd<T>(v128.load(next, 16), w1, d1);
      p += xPixel;
      q += wStep;
    }
    x += xRow;
    w += wRow;
  }
  v128.store(y, c0);
  v128.store(y, c1, 16);
  v128.store(y + yNext, d0);
  v128.store(y + yNext, d1, 16);
}

@unmanaged
class DepthwiseArgs extends CorrelationArgs {
  C: i32;
}

/** Computes y = x ⋆ w, with w in panels. A chunk is some output rows of one image. */
// @ts-ignore: decorator
@inline
function depthwise<T>(args: DepthwiseArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const w = args.w;
  const y = args.y, yImage = args.yImage, yRow = args.yRow, yPixel = args.yPixel;
  const C = args.C;
  const countY = args.countY, startY = args.startY, stepY = args.stepY;
  const tapStepY = args.tapStepY, tapsY = args.tapsY, sizeY = args.sizeY;
  const countX = args.countX, startX = args.startX, stepX = args.stepX;
  const tapStepX = args.tapStepX, tapsX = args.tapsX, sizeX = args.sizeX;
  const rowsPerChunk = args.rowsPerChunk;
  const rowChunks = (countY + rowsPerChunk - 1) / rowsPerChunk;
  const nextRow = <usize>tapStepY * xRow;
  const nextPixel = <usize>tapStepX * xPixel;
  const aNext = <usize>stepX * xPixel;
  // Output columns from `inner` to `innerEnd` have all their taps inside.
  const inner = firstAtLeast(0, startX, stepX);
  const innerEnd = min(countX, firstAtLeast(sizeX - tapStepX * (tapsX - 1), startX, stepX));
  for (let chunk = first; chunk < last; chunk++) {
    const n = chunk / rowChunks;
    const p0 = (chunk % rowChunks) * rowsPerChunk;
    const pEnd = min(countY, p0 + rowsPerChunk);
    for (let p = p0; p < pEnd; p++) {
      const atY = startY + p * stepY;
      const ty = firstTap(atY, tapStepY);
      const rows = endTap(atY, tapStepY, tapsY, sizeY) - ty;
      for (let q = 0; q < countX; ) {
        const pair = q >= inner && q + 1 < innerEnd;
        const atX = startX + q * stepX;
        const tx = firstTap(atX, tapStepX);
        const taps = endTap(atX, tapStepX, tapsX, sizeX) - tx;
        const a = x + <usize>n * xImage + <usize>(atY + ty * tapStepY) * xRow + <usize>(atX + tx * tapStepX) * xPixel;
        const c = y + <usize>n * yImage + <usize>p * yRow + <usize>q * yPixel;
        for (let i = 0; i < C; ) {
          const vectors = panelVectors<T>(C - i);
          const offset = <usize>i * sizeof<T>();
          const wRow = <usize>(tapsX * vectors) << 4;
          const b = w + <usize>(tapsY * tapsX) * offset + <usize>((ty * tapsX + tx) * vectors << 4);
          i += vectors * lanes<T>();
          if (pair && vectors > 1 && C >= i) {
            for (let v = 0; v < vectors; v += 2) {
              const at = offset + (<usize>v << 4);
              pixelPair<T>(a + at, aNext, nextRow, nextPixel, b + (<usize>v << 4), wRow, <usize>vectors << 4, rows, taps, c + at, yPixel);
            }
            continue;
          }
          for (let k: usize = 0; k <= <usize>pair; k++) {
            const ak = a + offset + k * aNext;
            const ck = c + offset + k * yPixel;
            if (C >= i && vectors == 4) pixelOf<T>(4, true, ak, nextRow, nextPixel, b, wRow, rows, taps, ck, C - i + 4 * lanes<T>());
            else if (vectors == 4) pixelOf<T>(4, false, ak, nextRow, nextPixel, b, wRow, rows, taps, ck, C - i + 4 * lanes<T>());
            else if (vectors == 2) pixelOf<T>(2, false, ak, nextRow, nextPixel, b, wRow, rows, taps, ck, C - i + 2 * lanes<T>());
            else pixelOf<T>(1, false, ak, nextRow, nextPixel, b, wRow, rows, taps, ck, C - i + lanes<T>());
          }
        }
        q += pair ? 2 : 1;
      }
    }
  }
}

export function depthwise_f32(args: DepthwiseArgs, first: i32, last: i32): void {
  depthwise<f32>(args, first, last);
}

export function depthwise_f64(args: DepthwiseArgs, first: i32, last: i32): void {
  depthwise<f64>(args, first, last);
}

/** Adds Σ over a block of pixels of x · g to the float64 numbers at `sum`, for one tap and `vectors` vectors of channels as in pixelOf. */
// @ts-ignore: decorator
@inline
function tapOf<T>(
  vectors: i32, whole: bool, x: usize, xStep: usize, xRow: usize, g: usize, gStep: usize, gRow: usize, run: i32, runs: i32,
  sum: usize, columns: i32,
): void {
  const rest = columns - (vectors - 1) * lanes<T>();
  const end: usize = (vectors - 1) * 16;
  const wide: usize = lanes<T>() * 8;
  let left = run * runs;
  let p = x, q = g;
  // Products that are left of the current run.
  let k = run;
  while (left > 0) {
    let c0 = v128.splat<T>(0), c1 = v128.splat<T>(0), c2 = v128.splat<T>(0), c3 = v128.splat<T>(0);
    const stop = max(0, left - BLOCK);
    while (left > stop) {
      const n = min(k, left - stop);
      for (let i = n; i > 0; i--) {
        if (vectors > 1) c0 = mulAdd<T>(v128.load(p), v128.load(q), c0);
        if (vectors > 2) {
          c1 = mulAdd<T>(v128.load(p, 16), v128.load(q, 16), c1);
          c2 = mulAdd<T>(v128.load(p, 32), v128.load(q, 32), c2);
        }
        const x3 = whole ? v128.load(p + end) : loadSome<T>(p + end, rest);
        const g3 = whole ? v128.load(q + end) : loadSome<T>(q + end, rest);
        c3 = mulAdd<T>(x3, g3, c3);
        p += xStep;
        q += gStep;
      }
      left -= n;
      k -= n;
      if (k == 0) {
        x += xRow;
        g += gRow;
        p = x;
        q = g;
        k = run;
      }
    }
    if (vectors > 1) addWide<T>(sum, c0);
    if (vectors > 2) {
      addWide<T>(sum + wide, c1);
      addWide<T>(sum + 2 * wide, c2);
    }
    addWide<T>(sum + (vectors - 1) * wide, c3);
  }
}

@unmanaged
class DepthwiseGradWArgs extends WeightGradArgs {
  C: i32;
}

/**
 * Computes dw = Σ over images and pixels of x · g as partial sums in float64 [part, tap, C rounded up to whole vectors], which depthwiseGradWSum
 * adds. A chunk is one part of the images × 4 vectors of channels; it sums in image order.
 */
// @ts-ignore: decorator
@inline
function depthwiseGradW<T>(args: DepthwiseGradWArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const g = args.g, gImage = args.gImage, gRow = args.gRow, gPixel = args.gPixel;
  const sums = args.sums;
  const N = args.N, C = args.C;
  const countY = args.countY, startY = args.startY, stepY = args.stepY;
  const tapStepY = args.tapStepY, tapsY = args.tapsY, sizeY = args.sizeY;
  const countX = args.countX, startX = args.startX, stepX = args.stepX;
  const tapStepX = args.tapStepX, tapsX = args.tapsX, sizeX = args.sizeX;
  const imagesPerPart = args.imagesPerPart;
  const padded = (C + lanes<T>() - 1) / lanes<T>() * lanes<T>();
  const block = 4 * lanes<T>();
  const blocks = (C + block - 1) / block;
  const xStep = <usize>stepX * xPixel;
  const nextRow = <usize>stepY * xRow;
  for (let chunk = first; chunk < last; chunk++) {
    const i0 = (chunk % blocks) * block;
    const part = chunk / blocks;
    const out = sums + <usize>(part * tapsY * tapsX * padded + i0) * 8;
    const width = min(block, padded - i0);
    for (let t = 0; t < tapsY * tapsX; t++) memory.fill(out + <usize>(t * padded) * 8, 0, <usize>width * 8);
    const nEnd = min(N, (part + 1) * imagesPerPart);
    for (let n = part * imagesPerPart; n < nEnd; n++) {
      for (let ty = 0; ty < tapsY; ty++) {
        const shiftY = startY + ty * tapStepY;
        const p = firstAtLeast(0, shiftY, stepY);
        const runs = min(countY, firstAtLeast(sizeY, shiftY, stepY)) - p;
        if (runs <= 0) continue;
        for (let tx = 0; tx < tapsX; tx++) {
          const shiftX = startX + tx * tapStepX;
          const q = firstAtLeast(0, shiftX, stepX);
          const run = min(countX, firstAtLeast(sizeX, shiftX, stepX)) - q;
          if (run <= 0) continue;
          const a = x + <usize>n * xImage + <usize>(shiftY + p * stepY) * xRow + <usize>(shiftX + q * stepX) * xPixel;
          const b = g + <usize>n * gImage + <usize>p * gRow + <usize>q * gPixel;
          const c = out + <usize>((ty * tapsX + tx) * padded) * 8;
          for (let i = i0; i < i0 + width; ) {
            const vectors = panelVectors<T>(i0 + width - i);
            const offset = <usize>i * sizeof<T>();
            const ci = c + <usize>(i - i0) * 8;
            if (C - i >= 4 * lanes<T>()) tapOf<T>(4, true, a + offset, xStep, nextRow, b + offset, gPixel, gRow, run, runs, ci, C - i);
            else if (vectors == 4) tapOf<T>(4, false, a + offset, xStep, nextRow, b + offset, gPixel, gRow, run, runs, ci, C - i);
            else if (vectors == 2) tapOf<T>(2, false, a + offset, xStep, nextRow, b + offset, gPixel, gRow, run, runs, ci, C - i);
            else tapOf<T>(1, false, a + offset, xStep, nextRow, b + offset, gPixel, gRow, run, runs, ci, C - i);
            i += vectors * lanes<T>();
          }
        }
      }
    }
  }
}

export function depthwiseGradW_f32(args: DepthwiseGradWArgs, first: i32, last: i32): void {
  depthwiseGradW<f32>(args, first, last);
}

export function depthwiseGradW_f64(args: DepthwiseGradWArgs, first: i32, last: i32): void {
  depthwiseGradW<f64>(args, first, last);
}

@unmanaged
class DepthwiseGradWSumArgs {
  sums: usize;
  dw: Output;
  parts: i32;
  C: i32;
  taps: i32;
  channelsPerChunk: i32;
}

/** Adds the partial sums of depthwiseGradW to dw [C, 1, taps], in the order of the parts. A chunk is a range of channels. */
// @ts-ignore: decorator
@inline
function depthwiseGradWSum<T>(args: DepthwiseGradWSumArgs, first: i32, last: i32): void {
  const sums = args.sums, dw = args.dw;
  const parts = args.parts, C = args.C, taps = args.taps;
  const padded = (C + lanes<T>() - 1) / lanes<T>() * lanes<T>();
  const part = <usize>(taps * padded) * 8;
  const end = min(C, last * args.channelsPerChunk);
  for (let c = first * args.channelsPerChunk; c < end; c++) {
    for (let t = 0; t < taps; t++) {
      let from = sums + <usize>(t * padded + c) * 8;
      let sum: f64 = load<f64>(from);
      for (let k = 1; k < parts; k++) {
        from += part;
        sum += load<f64>(from);
      }
      store<T>(dw + <usize>(c * taps + t) * sizeof<T>(), <T>sum);
    }
  }
}

export function depthwiseGradWSum_f32(args: DepthwiseGradWSumArgs, first: i32, last: i32): void {
  depthwiseGradWSum<f32>(args, first, last);
}

export function depthwiseGradWSum_f64(args: DepthwiseGradWSumArgs, first: i32, last: i32): void {
  depthwiseGradWSum<f64>(args, first, last);
}
