/**
 * Max pooling, with the index of each maximum. A chunk is one row of the output image with all its channels.
 *
 * Windows of 2×2 inside the image, the common case, have their own loop. Others are processed tap by tap. Both loops process vectors
 * of channels if these are contiguous (channels-last). Row-major images are processed in vectors of windows instead (max-along-row.ts).
 * All compute maxima with pmax, one instruction that can lose a NaN. So they also sum the taps, and if the sum is NaN, `maxExact` computes
 * the window again.
 */
import { Input, Output, Pointer } from '../runtime/abi';
import { ImageStrides, vectorChannels } from './image-rows';
import { maxAlongRow } from './max-along-row';
import { hasNaN, maxExact, moved, place, plus, storeIndex, sum4 } from './max-window';
import { lanes, splatIndex } from '../simd/vector';

/** The images and windows of a max pool. */
@unmanaged
export class MaxPoolArgs {
  C: i32;
  H: i32;
  W: i32;
  OH: i32;
  OW: i32;
  KH: i32;
  KW: i32;
  strideH: i32;
  strideW: i32;
  paddingH: i32;
  paddingW: i32;
  dilationH: i32;
  dilationW: i32;
  /** Strides of x or dx, of y or g, and of the indices. */
  xStrides: Pointer<ImageStrides>;
  yStrides: Pointer<ImageStrides>;
  indexStrides: Pointer<ImageStrides>;
}

@unmanaged
class MaxPool2dArgs extends MaxPoolArgs {
  x: Input;
  y: Output;
  index: Output;
}

/**
 * A row of 2×2 windows of `quads` times four vectors of channels: the maxima of horizontal pairs, then of the two pairs, in 14
 * operations per vector, 4 of them for the sum. It processes two vectors at a time: their 8 taps and the results fill the registers, and
 * a sum that is used later would be spilled.
 * @param x address of the first tap, position its index · @param right, down bytes to the taps to the right and below
 * @param xStep, yStep, indexStep bytes from the end of a window's channels to the next window · @param step pixels to the next window
 * @returns false if it stopped at a NaN
 */
function maxSquares<T>(
  windows: i32, quads: i32, x: usize, right: usize, down: usize, xStep: usize, y: usize, yStep: usize, index: usize, indexStep: usize,
  position: i32, W: i32, step: i32,
): bool {
  const steps = splatIndex<T>(step);
  let at = splatIndex<T>(position + 1);
  let below = splatIndex<T>(position + 1 + W);
  let xb = x + right;
  let xc = x + down;
  let xd = xc + right;
  for (let i = 0; i < windows; i++) {
    for (let q = 0; q < quads; q++) {
      let a0 = v128.load(x), a1 = v128.load(x, 16);
      let b0 = v128.load(xb), b1 = v128.load(xb, 16);
      let c0 = v128.load(xc), c1 = v128.load(xc, 16);
      let d0 = v128.load(xd), d1 = v128.load(xd, 16);
      if (hasNaN<T>(v128.add<T>(sum4<T>(a0, b0, c0, d0), sum4<T>(a1, b1, c1, d1)))) return false;
      let t0 = v128.pmax<T>(a0, b0), t1 = v128.pmax<T>(a1, b1);
      let u0 = v128.pmax<T>(c0, d0), u1 = v128.pmax<T>(c1, d1);
      let y0 = v128.pmax<T>(t0, u0), y1 = v128.pmax<T>(t1, u1);
      v128.store(y, y0);
      v128.store(y, y1, 16);
      storeIndex<T>(index, place<T>(at, below, a0, c0, t0, u0, y0));
      storeIndex<T>(index + 4 * lanes<T>(), place<T>(at, below, a1, c1, t1, u1, y1));

      a0 = v128.load(x, 32), a1 = v128.load(x, 48);
      b0 = v128.load(xb, 32), b1 = v128.load(xb, 48);
      c0 = v128.load(xc, 32), c1 = v128.load(xc, 48);
      d0 = v128.load(xd, 32), d1 = v128.load(xd, 48);
      if (hasNaN<T>(v128.add<T>(sum4<T>(a0, b0, c0, d0), sum4<T>(a1, b1, c1, d1)))) return false;
      t0 = v128.pmax<T>(a0, b0), t1 = v128.pmax<T>(a1, b1);
      u0 = v128.pmax<T>(c0, d0), u1 = v128.pmax<T>(c1, d1);
      y0 = v128.pmax<T>(t0, u0), y1 = v128.pmax<T>(t1, u1);
      v128.store(y, y0, 32);
      v128.store(y, y1, 48);
      storeIndex<T>(index + 8 * lanes<T>(), place<T>(at, below, a0, c0, t0, u0, y0));
      storeIndex<T>(index + 12 * lanes<T>(), place<T>(at, below, a1, c1, t1, u1, y1));

      x += 64;
      xb += 64;
      xc += 64;
      xd += 64;
      y += 64;
      index += 16 * lanes<T>();
    }
    x += xStep;
    xb += xStep;
    xc += xStep;
    xd += xStep;
    y += yStep;
    index += indexStep;
    at = plus<T>(at, steps);
    below = plus<T>(below, steps);
  }
  return true;
}

/** Loads the vector at p, or one number into all lanes if `vectors` is 0. */
// @ts-ignore: decorator
@inline
function loadTap<T>(vectors: i32, p: usize): v128 {
  return vectors > 0 ? v128.load(p) : v128.load_splat<T>(p);
}

/**
 * One window of `rows` rows × `taps` taps, at least one tap, for 4 vectors of channels, 1, or (0) a single channel.
 * @param right, down bytes to the next tap, and to the next row · @param position index of the first tap; indexRight, indexDown likewise
 * @returns false if it met a NaN and wrote nothing
 */
// @ts-ignore: decorator
@inline
function maxWindow<T>(
  vectors: i32, x: usize, rows: i32, down: usize, taps: i32, right: usize, position: i32, indexDown: i32, indexRight: i32,
  y: usize, index: usize,
): bool {
  let b0 = loadTap<T>(vectors, x), b1 = b0, b2 = b0, b3 = b0;
  let w0 = splatIndex<T>(position), w1 = w0, w2 = w0, w3 = w0;
  let s = b0;
  if (vectors == 4) {
    b1 = v128.load(x, 16);
    b2 = v128.load(x, 32);
    b3 = v128.load(x, 48);
    s = sum4<T>(b0, b1, b2, b3);
  }
  let tap = x;
  let at = position;
  let j = taps;
  for (let t = rows * taps; t > 1; t--) {
    if (--j == 0) {
      j = taps;
      x += down;
      tap = x;
      position += indexDown;
      at = position;
    } else {
      tap += right;
      at += indexRight;
    }
    const here = splatIndex<T>(at);
    if (vectors == 4) {
      const v0 = v128.load(tap), v1 = v128.load(tap, 16), v2 = v128.load(tap, 32), v3 = v128.load(tap, 48);
      w0 = moved<T>(w0, here, v0, b0);
      w1 = moved<T>(w1, here, v1, b1);
      w2 = moved<T>(w2, here, v2, b2);
      w3 = moved<T>(w3, here, v3, b3);
      b0 = v128.pmax<T>(b0, v0);
      b1 = v128.pmax<T>(b1, v1);
      b2 = v128.pmax<T>(b2, v2);
      b3 = v128.pmax<T>(b3, v3);
      s = v128.add<T>(s, sum4<T>(v0, v1, v2, v3));
    } else {
      const v = loadTap<T>(vectors, tap);
      w0 = moved<T>(w0, here, v, b0);
      b0 = v128.pmax<T>(b0, v);
      s = v128.add<T>(s, v);
    }
  }
  if (hasNaN<T>(s)) return false;
  if (vectors == 0) {
    store<T>(y, v128.extract_lane<T>(b0, 0));
    store<i32>(index, v128.extract_lane<i32>(w0, 0));
    return true;
  }
  v128.store(y, b0);
  if (vectors == 4) {
    v128.store(y, b1, 16);
    v128.store(y, b2, 32);
    v128.store(y, b3, 48);
  }
  storeIndex<T>(index, w0);
  if (vectors == 4) {
    storeIndex<T>(index + 4 * lanes<T>(), w1);
    storeIndex<T>(index + 8 * lanes<T>(), w2);
    storeIndex<T>(index + 12 * lanes<T>(), w3);
  }
  return true;
}

/**
 * Windows `firstWindow` … `endWindow` − 1 of a row, channels c0 … C−1, of any shape and layout.
 * @param x, position address and index of the row's first pixel · @param rows the number of rows of taps inside the image
 * @param y, index addresses of the row's first window
 */
function maxRow<T>(
  args: MaxPool2dArgs, firstWindow: i32, endWindow: i32, c0: i32, C: i32, x: usize, rows: i32, position: i32, y: usize, index: usize,
): void {
  const W = args.W;
  const KW = args.KW;
  const strideW = args.strideW;
  const paddingW = args.paddingW;
  const dw = args.dilationW;
  const xStrides = changetype<ImageStrides>(args.xStrides);
  const yStrides = changetype<ImageStrides>(args.yStrides);
  const indexStrides = changetype<ImageStrides>(args.indexStrides);
  const xc = <usize>xStrides.c * sizeof<T>();
  const xw = <usize>xStrides.w * sizeof<T>();
  const down = <usize>(args.dilationH * xStrides.h) * sizeof<T>();
  const right = <usize>dw * xw;
  const indexDown = args.dilationH * W;
  const yc = <usize>yStrides.c * sizeof<T>();
  const yw = <usize>yStrides.w * sizeof<T>();
  const ic = <usize>indexStrides.c * 4;
  const iw = <usize>indexStrides.w * 4;
  const vectors = vectorChannels<T>(C, xc == sizeof<T>() && yc == sizeof<T>() && ic == 4);
  y += <usize>firstWindow * yw;
  index += <usize>firstWindow * iw;
  for (let ow = firstWindow; ow < endWindow; ow++, y += yw, index += iw) {
    const w = ow * strideW - paddingW;
    const j0 = w < 0 ? (dw - 1 - w) / dw : 0;
    const taps = (w + (KW - 1) * dw < W ? KW : (W - w + dw - 1) / dw) - j0;
    const hasTaps = rows > 0 && taps > 0;
    const window = x + <usize>(w + j0 * dw) * xw;
    const at = hasTaps ? position + w + j0 * dw : 0;
    let c = c0;
    while (c < C) {
      const p = window + <usize>c * xc;
      const q = y + <usize>c * yc;
      const i = index + <usize>c * ic;
      let next = c + 1;
      let done = hasTaps;
      if (c + 4 * lanes<T>() <= vectors) {
        next = c + 4 * lanes<T>();
        done = done && maxWindow<T>(4, p, rows, down, taps, right, at, indexDown, dw, q, i);
      } else if (c < vectors) {
        next = c + lanes<T>();
        done = done && maxWindow<T>(1, p, rows, down, taps, right, at, indexDown, dw, q, i);
      } else {
        done = done && maxWindow<T>(0, p, rows, down, taps, right, at, indexDown, dw, q, i);
      }
      if (!done) {
        for (let k = 0; k < next - c; k++) {
          maxExact<T>(p + <usize>k * xc, rows, down, taps, right, at, indexDown, dw, q + <usize>k * yc, i + <usize>k * ic);
        }
      }
      c = next;
    }
  }
}

/** As maxRow, for all windows of row-major images: those inside the image are processed in vectors of windows. */
function maxRowOfPlanes<T>(args: MaxPool2dArgs, x: usize, rows: i32, position: i32, y: usize, index: usize): void {
  const C = args.C;
  const OW = args.OW;
  const strideW = args.strideW;
  const dw = args.dilationW;
  const reach = args.W - 1 - (args.KW - 1) * dw + args.paddingW;
  const start = min(OW, (args.paddingW + strideW - 1) / strideW);
  const inside = reach < 0 ? 0 : max(0, min(OW, reach / strideW + 1) - start);
  const vectors = rows > 0 ? inside / lanes<T>() : 0;
  const end = start + vectors * lanes<T>();
  const w = start * strideW - args.paddingW;
  const xc = <usize>changetype<ImageStrides>(args.xStrides).c * sizeof<T>();
  const yc = <usize>changetype<ImageStrides>(args.yStrides).c * sizeof<T>();
  const ic = <usize>changetype<ImageStrides>(args.indexStrides).c * 4;
  const down = <usize>(args.dilationH * changetype<ImageStrides>(args.xStrides).h) * sizeof<T>();
  const indexDown = args.dilationH * args.W;
  const toX = x + <usize>w * sizeof<T>();
  const toY = y + <usize>start * sizeof<T>();
  const toIndex = index + <usize>start * 4;
  for (let c = 0; c < C; c++) {
    if (start > 0) maxRow<T>(args, 0, start, c, c + 1, x, rows, position, y, index);
    maxAlongRow<T>(
      vectors, strideW, toX + <usize>c * xc, rows, down, args.KW, dw, position + w, indexDown, toY + <usize>c * yc, toIndex + <usize>c * ic,
    );
    if (end < OW) maxRow<T>(args, end, OW, c, c + 1, x, rows, position, y, index);
  }
}

/** y = max x over the window, with the index of the first maximum, or of the last NaN. */
// @ts-ignore: decorator
@inline
function maxPool<T>(args: MaxPool2dArgs, first: i32, last: i32): void {
  const C = args.C;
  const H = args.H;
  const W = args.W;
  const OH = args.OH;
  const OW = args.OW;
  const KH = args.KH;
  const KW = args.KW;
  const strideH = args.strideH;
  const strideW = args.strideW;
  const paddingH = args.paddingH;
  const dh = args.dilationH;
  const xStrides = changetype<ImageStrides>(args.xStrides);
  const yStrides = changetype<ImageStrides>(args.yStrides);
  const indexStrides = changetype<ImageStrides>(args.indexStrides);
  const neighbours = xStrides.c == 1 && yStrides.c == 1 && indexStrides.c == 1;
  const planes = !neighbours && xStrides.w == 1 && yStrides.w == 1 && indexStrides.w == 1 && strideW <= 2;
  const xw = <usize>xStrides.w * sizeof<T>();
  const yw = <usize>yStrides.w * sizeof<T>();
  const iw = <usize>indexStrides.w * 4;
  const down = <usize>(dh * xStrides.h) * sizeof<T>();
  const inside = args.paddingW == 0 && (OW - 1) * strideW + KW <= W;
  const squares = KH == 2 && KW == 2 && dh == 1 && args.dilationW == 1 && inside;
  const quads = neighbours && squares ? C / (4 * lanes<T>()) : 0;
  const x0 = args.x, y0 = args.y, index0 = args.index;
  const xn = xStrides.n, yn = yStrides.n, indexN = indexStrides.n;
  const xh = xStrides.h, yh = yStrides.h, indexH = indexStrides.h;
  for (let row = first; row < last; row++) {
    const n = row / OH;
    const oh = row - n * OH;
    const h = oh * strideH - paddingH;
    // The rows of taps i0 … i0 + rows − 1 are inside the image.
    const i0 = h < 0 ? (dh - 1 - h) / dh : 0;
    const rows = (h + (KH - 1) * dh < H ? KH : (H - h + dh - 1) / dh) - i0;
    const x = x0 + <usize>(n * xn + (h + i0 * dh) * xh) * sizeof<T>();
    const y = y0 + <usize>(n * yn + oh * yh) * sizeof<T>();
    const index = index0 + <usize>(n * indexN + oh * indexH) * 4;
    const position = (h + i0 * dh) * W;
    if (planes) {
      maxRowOfPlanes<T>(args, x, rows, position, y, index);
      continue;
    }
    let c = 0;
    if (rows == 2 && quads > 0) {
      const run = <usize>quads * 64;
      const indexRun = <usize>(4 * lanes<T>() * quads) * 4;
      if (maxSquares<T>(OW, quads, x, xw, down, <usize>strideW * xw - run, y, yw - run, index, iw - indexRun, position, W, strideW)) {
        c = 4 * lanes<T>() * quads;
      }
    }
    if (c < C) maxRow<T>(args, 0, OW, c, C, x, rows, position, y, index);
  }
}

export function maxPool2d_f32(args: MaxPool2dArgs, first: i32, last: i32): void {
  maxPool<f32>(args, first, last);
}

export function maxPool2d_f64(args: MaxPool2dArgs, first: i32, last: i32): void {
  maxPool<f64>(args, first, last);
}
