/**
 * The gradient of max pooling, from the index of each window's maximum. A chunk is one row of dx with all its channels.
 */
import { Input, Output } from '../runtime/abi';
import { ImageStrides, rowAddress, vectorChannels } from './image-rows';
import { MaxPoolArgs } from './max';
import { lanes, put, putRow, splatIndex } from '../simd/vector';

/** Loads int32 indices as integers as wide as an element of T. */
// @ts-ignore: decorator
@inline
function loadIndex<T>(p: usize): v128 {
  return sizeof<T>() == 4 ? v128.load(p) : v128.load32x2_s(p);
}

/** Returns g where its index is `here`, else 0. */
// @ts-ignore: decorator
@inline
function taken<T>(g: usize, index: usize, here: v128): v128 {
  const i = loadIndex<T>(index);
  return v128.and(v128.load(g), sizeof<T>() == 4 ? i32x4.eq(i, here) : i64x2.eq(i, here));
}

/**
 * The gradient for one tap of a row of windows: g where its index is the tap's position `place`, else 0, for C channels. It is added to dx,
 * or stored if `adds` is false. From window to window, g, index, dx and place advance by gw, iw, xw and stride. The loop over windows
 * is the innermost one: some channels of all windows are processed before the next channels.
 */
// @ts-ignore: decorator
@inline
function addTap<T>(
  g: usize, gw: usize, gc: usize, index: usize, iw: usize, ic: usize, dx: usize, xw: usize, xc: usize,
  C: i32, vectors: i32, windows: i32, place: i32, stride: i32, adds: bool,
): void {
  const step = splatIndex<T>(stride);
  let c = 0;
  for (; c + 4 * lanes<T>() <= vectors; c += 4 * lanes<T>()) {
    let from = g + <usize>c * sizeof<T>(), where = index + <usize>c * 4, to = dx + <usize>c * sizeof<T>();
    let here = splatIndex<T>(place);
    for (let i = windows; i > 0; i--) {
      const v0 = taken<T>(from, where, here), v1 = taken<T>(from + 16, where + 4 * lanes<T>(), here);
      const v2 = taken<T>(from + 32, where + 8 * lanes<T>(), here), v3 = taken<T>(from + 48, where + 12 * lanes<T>(), here);
      putRow<T>(4, to, v0, v1, v2, v3, 4 * lanes<T>(), adds);
      from += gw;
      where += iw;
      to += xw;
      here = sizeof<T>() == 4 ? i32x4.add(here, step) : i64x2.add(here, step);
    }
  }
  for (; c < vectors; c += lanes<T>()) {
    let from = g + <usize>c * sizeof<T>(), where = index + <usize>c * 4, to = dx + <usize>c * sizeof<T>();
    for (let i = 0; i < windows; i++, from += gw, where += iw, to += xw) {
      put<T>(to, taken<T>(from, where, splatIndex<T>(place + i * stride)), adds);
    }
  }
  for (; c < C; c++) {
    let from = g + <usize>c * gc, where = index + <usize>c * ic, to = dx + <usize>c * xc;
    for (let i = 0; i < windows; i++, from += gw, where += iw, to += xw) {
      const v = load<i32>(where) == place + i * stride ? load<T>(from) : <T>0;
      store<T>(to, adds ? load<T>(to) + v : v);
    }
  }
}

/**
 * The gradient of a row of dx of one channel, row-major, with adjacent windows of two taps: as addTap for both taps, in vectors of windows.
 * Returns the number of windows that it processed.
 */
// @ts-ignore: decorator
@inline
function storePairs<T>(g: usize, index: usize, dx: usize, windows: i32, place: i32): i32 {
  const vectors = windows / lanes<T>();
  const step = splatIndex<T>(2 * lanes<T>());
  const one = splatIndex<T>(1);
  let here = splatIndex<T>(place);
  if (sizeof<T>() == 4) here = i32x4.add(here, i32x4(0, 2, 4, 6));
  else here = i64x2.replace_lane(here, 1, place + 2);
  for (let i = 0; i < vectors; i++, g += 16, index += <usize>lanes<T>() * 4, dx += 32) {
    const left = taken<T>(g, index, here);
    const right = taken<T>(g, index, sizeof<T>() == 4 ? i32x4.add(here, one) : i64x2.add(here, one));
    if (sizeof<T>() == 4) {
      v128.store(dx, v128.shuffle<f32>(left, right, 0, 4, 1, 5));
      v128.store(dx, v128.shuffle<f32>(left, right, 2, 6, 3, 7), 16);
    } else {
      v128.store(dx, v128.shuffle<f64>(left, right, 0, 2));
      v128.store(dx, v128.shuffle<f64>(left, right, 1, 3), 16);
    }
    here = sizeof<T>() == 4 ? i32x4.add(here, step) : i64x2.add(here, step);
  }
  return vectors * lanes<T>();
}

/** Stores zeros for pixels w … end−1 of a row of dx. */
// @ts-ignore: decorator
@inline
function clearPixels<T>(row: usize, w: i32, end: i32, dw: usize, dc: usize, C: i32): void {
  if (w >= end) return;
  if (dc == sizeof<T>() && dw == <usize>C * sizeof<T>()) {
    memory.fill(row + <usize>w * dw, 0, <usize>(end - w) * dw);
    return;
  }
  for (; w < end; w++) {
    for (let c = 0; c < C; c++) store<T>(row + <usize>w * dw + <usize>c * dc, 0);
  }
}

@unmanaged
class MaxPool2dGradArgs extends MaxPoolArgs {
  g: Input;
  index: Input;
  dx: Output;
}

/**
 * dx = Σ g over the windows whose index is the element's position. A chunk is a row of dx. If windows are adjacent and do not overlap, the
 * common case, each pixel belongs to one window and is written once. Otherwise the row is set to zero, and stays in L1 while windows
 * add to it.
 */
// @ts-ignore: decorator
@inline
function maxPoolGrad<T>(args: MaxPool2dGradArgs, first: i32, last: i32): void {
  const C = args.C;
  const H = args.H;
  const W = args.W;
  const OW = args.OW;
  const KH = args.KH;
  const KW = args.KW;
  const strideH = args.strideH;
  const strideW = args.strideW;
  const paddingW = args.paddingW;
  const dh = args.dilationH;
  const dw = args.dilationW;
  const gStrides = changetype<ImageStrides>(args.yStrides);
  const indexStrides = changetype<ImageStrides>(args.indexStrides);
  const dxStrides = changetype<ImageStrides>(args.xStrides);
  const gc = <usize>gStrides.c * sizeof<T>();
  const gw = <usize>gStrides.w * sizeof<T>();
  const ic = <usize>indexStrides.c * 4;
  const iw = <usize>indexStrides.w * 4;
  const xc = <usize>dxStrides.c * sizeof<T>();
  const xw = <usize>dxStrides.w * sizeof<T>();
  const xStride = <usize>strideW * xw;
  const vectors = vectorChannels<T>(C, gc == sizeof<T>() && xc == sizeof<T>() && ic == 4);
  const partition = strideH == KH && strideW == KW && dh == 1 && dw == 1;
  const alongRows = gw == sizeof<T>() && xw == sizeof<T>() && iw == 4 && vectors == 0;
  const pairs = partition && alongRows && KW == 2 && paddingW == 0 && 2 * OW <= W;
  for (let row = first; row < last; row++) {
    const n = row / H;
    const h = row % H;
    const dx = rowAddress(dxStrides, args.dx, sizeof<T>(), n, h);
    // Windows begin at oh·stride and reach over (KH − 1)·dh rows more.
    const low = h + args.paddingH;
    const reach = (KH - 1) * dh;
    const start = low > reach ? (low - reach + strideH - 1) / strideH : 0;
    const end = min(args.OH, low / strideH + 1);
    clearPixels<T>(dx, partition && start < end ? max(0, OW * strideW - paddingW) : 0, W, xw, xc, C);
    for (let oh = start; oh < end; oh++) {
      if ((low - oh * strideH) % dh != 0) continue;
      const g = rowAddress(gStrides, args.g, sizeof<T>(), n, oh);
      const index = rowAddress(indexStrides, args.index, 4, n, oh);
      if (pairs) {
        for (let c = 0; c < C; c++) {
          const at = g + <usize>c * gc, where = index + <usize>c * ic, to = dx + <usize>c * xc;
          const done = storePairs<T>(at, where, to, OW, h * W);
          for (let ow = done; ow < OW; ow++) {
            const chosen = load<i32>(where + <usize>ow * iw) - (h * W + 2 * ow);
            const v = load<T>(at + <usize>ow * gw);
            store<T>(to + <usize>(2 * ow) * xw, chosen == 0 ? v : <T>0);
            store<T>(to + <usize>(2 * ow + 1) * xw, chosen == 1 ? v : <T>0);
          }
        }
        continue;
      }
      for (let j = 0; j < KW; j++) {
        // The first window whose tap is inside the image, and the number of such windows.
        let w = j * dw - paddingW, ow = 0;
        for (; w < 0; w += strideW) ow++;
        const windows = w < W ? min(OW - ow, (W - 1 - w) / strideW + 1) : 0;
        const at = g + <usize>ow * gw, where = index + <usize>ow * iw, to = dx + <usize>w * xw;
        if (partition) addTap<T>(at, gw, gc, where, iw, ic, to, xStride, xc, C, vectors, windows, h * W + w, strideW, false);
        else addTap<T>(at, gw, gc, where, iw, ic, to, xStride, xc, C, vectors, windows, h * W + w, strideW, true);
      }
    }
  }
}

export function maxPool2dGrad_f32(args: MaxPool2dGradArgs, first: i32, last: i32): void {
  maxPoolGrad<f32>(args, first, last);
}

export function maxPool2dGrad_f64(args: MaxPool2dGradArgs, first: i32, last: i32): void {
  maxPoolGrad<f64>(args, first, last);
}
