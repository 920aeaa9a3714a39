/**
 * The gradient of max pooling: where each window's maximum was is known. A chunk is one row of dx, all channels of it.
 */
import { intArg, ptrArg } from './abi';
import { rowAddress, vectorChannels } from './images';
import { lanes, splatIndex } from './lanes';

/** Lane-wide integers from int32. */
// @ts-ignore: decorator
@inline
function loadIndex<T>(p: usize): v128 {
  return sizeof<T>() == 4 ? v128.load(p) : v128.load32x2_s(p);
}

/** g where its index is `here`, else 0. */
// @ts-ignore: decorator
@inline
function taken<T>(g: usize, index: usize, here: v128): v128 {
  const i = loadIndex<T>(index);
  return v128.and(v128.load(g), sizeof<T>() == 4 ? i32x4.eq(i, here) : i64x2.eq(i, here));
}

/** One tap's share of dx: g where its index is `place`, else 0, for C channels; added to what dx holds, or put in its place. */
// @ts-ignore: decorator
@inline
function giveTap<T>(g: usize, gc: usize, index: usize, ic: usize, dx: usize, dc: usize, C: i32, vectors: i32, place: i32, adds: bool): void {
  const here = splatIndex<T>(place);
  let c = 0;
  for (; c + 4 * lanes<T>() <= vectors; c += 4 * lanes<T>()) {
    const from = g + <usize>c * sizeof<T>();
    const where = index + <usize>c * 4;
    const to = dx + <usize>c * sizeof<T>();
    let v0 = taken<T>(from, where, here);
    let v1 = taken<T>(from + 16, where + 4 * lanes<T>(), here);
    let v2 = taken<T>(from + 32, where + 8 * lanes<T>(), here);
    let v3 = taken<T>(from + 48, where + 12 * lanes<T>(), here);
    if (adds) {
      v0 = v128.add<T>(v128.load(to), v0);
      v1 = v128.add<T>(v128.load(to, 16), v1);
      v2 = v128.add<T>(v128.load(to, 32), v2);
      v3 = v128.add<T>(v128.load(to, 48), v3);
    }
    v128.store(to, v0);
    v128.store(to, v1, 16);
    v128.store(to, v2, 32);
    v128.store(to, v3, 48);
  }
  for (; c < vectors; c += lanes<T>()) {
    const v = taken<T>(g + <usize>c * sizeof<T>(), index + <usize>c * 4, here);
    const to = dx + <usize>c * sizeof<T>();
    v128.store(to, adds ? v128.add<T>(v128.load(to), v) : v);
  }
  for (; c < C; c++) {
    const v = load<i32>(index + <usize>c * ic) == place ? load<T>(g + <usize>c * gc) : <T>0;
    const to = dx + <usize>c * dc;
    store<T>(to, adds ? load<T>(to) + v : v);
  }
}

/** Zeros for pixels w … end−1 of a row of dx. */
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

/**
 * dx = Σ g over the windows whose index is x's place. A chunk is a row of dx. Where windows tile the image, as most do, each
 * pixel belongs to one of them and is written once; elsewhere the row begins as zeros and stays in L1 while windows add to it.
 * args: g index dx · C H W OH OW · kernel stride padding dilation (h, w each) · strides of g, index, dx (n, c, h, w each)
 */
// @ts-ignore: decorator
@inline
function maxPoolGrad<T>(args: usize, first: i32, last: i32): void {
  const C = intArg(args, 3);
  const H = intArg(args, 4);
  const W = intArg(args, 5);
  const OW = intArg(args, 7);
  const KH = intArg(args, 8);
  const KW = intArg(args, 9);
  const strideH = intArg(args, 10);
  const strideW = intArg(args, 11);
  const paddingW = intArg(args, 13);
  const dh = intArg(args, 14);
  const dw = intArg(args, 15);
  const gc = <usize>intArg(args, 17) * sizeof<T>();
  const gw = <usize>intArg(args, 19) * sizeof<T>();
  const ic = <usize>intArg(args, 21) * 4;
  const iw = <usize>intArg(args, 23) * 4;
  const xc = <usize>intArg(args, 25) * sizeof<T>();
  const xw = <usize>intArg(args, 27) * sizeof<T>();
  const vectors = vectorChannels<T>(C, gc == sizeof<T>() && xc == sizeof<T>() && ic == 4);
  const tiles = strideH == KH && strideW == KW && dh == 1 && dw == 1;
  for (let row = first; row < last; row++) {
    const n = row / H;
    const h = row % H;
    const dx = rowAddress(args, ptrArg(args, 2), 24, sizeof<T>(), n, h);
    // Windows begin at oh·stride and reach over (KH − 1)·dh rows more.
    const low = h + intArg(args, 12);
    const reach = (KH - 1) * dh;
    const start = low > reach ? (low - reach + strideH - 1) / strideH : 0;
    const end = min(intArg(args, 6), low / strideH + 1);
    clearPixels<T>(dx, tiles && start < end ? max(0, OW * strideW - paddingW) : 0, W, xw, xc, C);
    for (let oh = start; oh < end; oh++) {
      if ((low - oh * strideH) % dh != 0) continue;
      let g = rowAddress(args, ptrArg(args, 0), 16, sizeof<T>(), n, oh);
      let index = rowAddress(args, ptrArg(args, 1), 20, 4, n, oh);
      for (let ow = 0; ow < OW; ow++, g += gw, index += iw) {
        for (let j = 0, w = ow * strideW - paddingW; j < KW; j++, w += dw) {
          if (<u32>w >= <u32>W) continue;
          const to = dx + <usize>w * xw;
          if (tiles) giveTap<T>(g, gc, index, ic, to, xc, C, vectors, h * W + w, false);
          else giveTap<T>(g, gc, index, ic, to, xc, C, vectors, h * W + w, true);
        }
      }
    }
  }
}

export function maxPool2dGrad_f32(args: usize, first: i32, last: i32): void {
  maxPoolGrad<f32>(args, first, last);
}

export function maxPool2dGrad_f64(args: usize, first: i32, last: i32): void {
  maxPoolGrad<f64>(args, first, last);
}
