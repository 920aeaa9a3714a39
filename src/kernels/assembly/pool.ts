/**
 * Pooling. A chunk is one row of the output image (of dx in a gradient), all channels of it.
 *
 * Where channels lie next to each other (channels-last) vectors of them go through the window together; what is left,
 * and every other layout, goes through the same window channel by channel.
 */
import { floatArg, intArg, ptrArg } from './abi';
import { lanes } from './lanes';

/** How many of C channels go in vectors. */
// @ts-ignore: decorator
@inline
function vectorChannels<T>(C: i32, neighbours: bool): i32 {
  return neighbours ? C - (C % lanes<T>()) : 0;
}

/** The address of element [n, ·, h, w], strides being arguments first … first+3. */
// @ts-ignore: decorator
@inline
function rowAddress(args: usize, base: usize, first: i32, size: i32, n: i32, h: i32): usize {
  return base + <usize>(n * intArg(args, first) + h * intArg(args, first + 2)) * size;
}

/** A lane-wide integer in every lane. */
// @ts-ignore: decorator
@inline
function splatIndex<T>(i: i32): v128 {
  if (sizeof<T>() == 4) return i32x4.splat(i);
  return i64x2.splat(i);
}

/** Stores lane-wide integers as int32. */
// @ts-ignore: decorator
@inline
function storeIndex<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 4) v128.store(p, v);
  else v128.store64_lane(p, v128.shuffle<i32>(v, v, 0, 2, 0, 2), 0);
}

/** Where v replaces the maximum so far: where it is larger, or NaN. */
// @ts-ignore: decorator
@inline
function wins<T>(v: v128, best: v128): v128 {
  return v128.or(v128.gt<T>(v, best), v128.ne<T>(v, v));
}

/**
 * y = max x over the window, index of the first; a NaN wins, the last of several.
 * args: x y index · C H W OH OW · kernel stride padding dilation (h, w each) · strides of x, y, index (n, c, h, w each)
 */
// @ts-ignore: decorator
@inline
function maxPool<T>(args: usize, first: i32, last: i32): void {
  const C = intArg(args, 3);
  const H = intArg(args, 4);
  const W = intArg(args, 5);
  const OH = intArg(args, 6);
  const OW = intArg(args, 7);
  const KH = intArg(args, 8);
  const KW = intArg(args, 9);
  const strideW = intArg(args, 11);
  const paddingW = intArg(args, 13);
  const dh = intArg(args, 14);
  const dw = intArg(args, 15);
  const xc = <usize>intArg(args, 17) * sizeof<T>();
  const xw = <usize>intArg(args, 19) * sizeof<T>();
  const tapDown = <usize>(dh * intArg(args, 18)) * sizeof<T>();
  const tapRight = <usize>dw * xw;
  const yc = <usize>intArg(args, 21) * sizeof<T>();
  const yw = <usize>intArg(args, 23) * sizeof<T>();
  const ic = <usize>intArg(args, 25) * 4;
  const iw = <usize>intArg(args, 27) * 4;
  const vectors = vectorChannels<T>(C, xc == sizeof<T>() && yc == sizeof<T>() && ic == 4);
  const quads = vectors - (vectors % (4 * lanes<T>()));
  for (let row = first; row < last; row++) {
    const n = row / OH;
    const oh = row % OH;
    const h = oh * intArg(args, 10) - intArg(args, 12);
    // The taps i0 … i1−1 that fall on the image, vertically.
    const i0 = h < 0 ? (dh - 1 - h) / dh : 0;
    const i1 = min(KH, (H - h + dh - 1) / dh);
    const xRow = rowAddress(args, ptrArg(args, 0), 16, sizeof<T>(), n, h + i0 * dh);
    let y = rowAddress(args, ptrArg(args, 1), 20, sizeof<T>(), n, oh);
    let index = rowAddress(args, ptrArg(args, 2), 24, 4, n, oh);
    for (let ow = 0; ow < OW; ow++, y += yw, index += iw) {
      const w = ow * strideW - paddingW;
      const j0 = w < 0 ? (dw - 1 - w) / dw : 0;
      const taps = (w + (KW - 1) * dw < W ? KW : (W - w + dw - 1) / dw) - j0;
      const x = xRow + <usize>(w + j0 * dw) * xw;
      const position = i0 < i1 && taps > 0 ? (h + i0 * dh) * W + w + j0 * dw : 0;
      let c = 0;
      // Four vectors at once share the window's bookkeeping.
      for (; c < quads; c += 4 * lanes<T>()) {
        let b0 = v128.splat<T>(-<T>Infinity), b1 = b0, b2 = b0, b3 = b0;
        let w0 = splatIndex<T>(position), w1 = w0, w2 = w0, w3 = w0;
        let tapRow = x + <usize>c * sizeof<T>();
        let at = position;
        for (let i = i0; i < i1; i++, tapRow += tapDown, at += dh * W) {
          let tap = tapRow;
          for (let j = 0; j < taps; j++, tap += tapRight) {
            const here = splatIndex<T>(at + j * dw);
            let v = v128.load(tap);
            let m = wins<T>(v, b0);
            b0 = v128.bitselect(v, b0, m);
            w0 = v128.bitselect(here, w0, m);
            v = v128.load(tap, 16);
            m = wins<T>(v, b1);
            b1 = v128.bitselect(v, b1, m);
            w1 = v128.bitselect(here, w1, m);
            v = v128.load(tap, 32);
            m = wins<T>(v, b2);
            b2 = v128.bitselect(v, b2, m);
            w2 = v128.bitselect(here, w2, m);
            v = v128.load(tap, 48);
            m = wins<T>(v, b3);
            b3 = v128.bitselect(v, b3, m);
            w3 = v128.bitselect(here, w3, m);
          }
        }
        const out = y + <usize>c * sizeof<T>();
        v128.store(out, b0);
        v128.store(out, b1, 16);
        v128.store(out, b2, 32);
        v128.store(out, b3, 48);
        const where = index + <usize>c * 4;
        storeIndex<T>(where, w0);
        storeIndex<T>(where + 4 * lanes<T>(), w1);
        storeIndex<T>(where + 8 * lanes<T>(), w2);
        storeIndex<T>(where + 12 * lanes<T>(), w3);
      }
      for (; c < vectors; c += lanes<T>()) {
        let best = v128.splat<T>(-<T>Infinity);
        let where = splatIndex<T>(position);
        let tapRow = x + <usize>c * sizeof<T>();
        let at = position;
        for (let i = i0; i < i1; i++, tapRow += tapDown, at += dh * W) {
          let tap = tapRow;
          for (let j = 0; j < taps; j++, tap += tapRight) {
            const v = v128.load(tap);
            const m = wins<T>(v, best);
            best = v128.bitselect(v, best, m);
            where = v128.bitselect(splatIndex<T>(at + j * dw), where, m);
          }
        }
        v128.store(y + <usize>c * sizeof<T>(), best);
        storeIndex<T>(index + <usize>c * 4, where);
      }
      for (; c < C; c++) {
        let best = -<T>Infinity;
        let where = position;
        let tapRow = x + <usize>c * xc;
        let at = position;
        for (let i = i0; i < i1; i++, tapRow += tapDown, at += dh * W) {
          let tap = tapRow;
          for (let j = 0; j < taps; j++, tap += tapRight) {
            const v = load<T>(tap);
            if (v > best || v != v) {
              best = v;
              where = at + j * dw;
            }
          }
        }
        store<T>(y + <usize>c * yc, best);
        store<i32>(index + <usize>c * ic, where);
      }
    }
  }
}

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

/** Window i of a table of int32 first, end, size; see pool-windows.ts. */
// @ts-ignore: decorator
@inline
function spanFirst(table: usize, i: i32): i32 {
  return load<i32>(table + <usize>i * 12);
}

// @ts-ignore: decorator
@inline
function spanEnd(table: usize, i: i32): i32 {
  return load<i32>(table + <usize>i * 12, 4);
}

// @ts-ignore: decorator
@inline
function spanSize(table: usize, i: i32): f64 {
  return <f64>load<i32>(table + <usize>i * 12, 8);
}

/**
 * y = Σ x / (divisor · row size · column size) over the window. Sums go along each window row, then over the rows: a global
 * pool's error grows with H + W, not with H·W.
 * args: x y · row spans, column spans, divisor · C OH OW · strides of x, y (n, c, h, w each)
 */
// @ts-ignore: decorator
@inline
function averagePool<T>(args: usize, first: i32, last: i32): void {
  const rows = ptrArg(args, 2);
  const columns = ptrArg(args, 3);
  const C = intArg(args, 5);
  const OH = intArg(args, 6);
  const OW = intArg(args, 7);
  const xc = <usize>intArg(args, 9) * sizeof<T>();
  const xh = <usize>intArg(args, 10) * sizeof<T>();
  const xw = <usize>intArg(args, 11) * sizeof<T>();
  const yc = <usize>intArg(args, 13) * sizeof<T>();
  const yw = <usize>intArg(args, 15) * sizeof<T>();
  const vectors = vectorChannels<T>(C, xc == sizeof<T>() && yc == sizeof<T>());
  const quads = vectors - (vectors % (4 * lanes<T>()));
  for (let row = first; row < last; row++) {
    const n = row / OH;
    const oh = row % OH;
    const height = spanEnd(rows, oh) - spanFirst(rows, oh);
    const rowDivisor = floatArg(args, 4) * spanSize(rows, oh);
    const xRow = rowAddress(args, ptrArg(args, 0), 8, sizeof<T>(), n, spanFirst(rows, oh));
    let y = rowAddress(args, ptrArg(args, 1), 12, sizeof<T>(), n, oh);
    for (let ow = 0; ow < OW; ow++, y += yw) {
      const width = spanEnd(columns, ow) - spanFirst(columns, ow);
      const x = xRow + <usize>spanFirst(columns, ow) * xw;
      // A window that holds nothing has sum 0, and may have size 0.
      const divisor = height == 0 || width == 0 ? <T>1 : <T>(rowDivisor * spanSize(columns, ow));
      const divisors = v128.splat<T>(divisor);
      let c = 0;
      // Four vectors at once: float32 then takes whole cache lines, and additions need not wait for each other.
      for (; c < quads; c += 4 * lanes<T>()) {
        let s0 = v128.splat<T>(0), s1 = s0, s2 = s0, s3 = s0;
        let tapRow = x + <usize>c * sizeof<T>();
        for (let i = 0; i < height; i++, tapRow += xh) {
          let r0 = v128.splat<T>(0), r1 = r0, r2 = r0, r3 = r0;
          let tap = tapRow;
          for (let j = 0; j < width; j++, tap += xw) {
            r0 = v128.add<T>(r0, v128.load(tap));
            r1 = v128.add<T>(r1, v128.load(tap, 16));
            r2 = v128.add<T>(r2, v128.load(tap, 32));
            r3 = v128.add<T>(r3, v128.load(tap, 48));
          }
          s0 = v128.add<T>(s0, r0);
          s1 = v128.add<T>(s1, r1);
          s2 = v128.add<T>(s2, r2);
          s3 = v128.add<T>(s3, r3);
        }
        const out = y + <usize>c * sizeof<T>();
        v128.store(out, v128.div<T>(s0, divisors));
        v128.store(out, v128.div<T>(s1, divisors), 16);
        v128.store(out, v128.div<T>(s2, divisors), 32);
        v128.store(out, v128.div<T>(s3, divisors), 48);
      }
      for (; c < vectors; c += lanes<T>()) {
        let sum = v128.splat<T>(0);
        let tapRow = x + <usize>c * sizeof<T>();
        for (let i = 0; i < height; i++, tapRow += xh) {
          let rowSum = v128.splat<T>(0);
          let tap = tapRow;
          for (let j = 0; j < width; j++, tap += xw) rowSum = v128.add<T>(rowSum, v128.load(tap));
          sum = v128.add<T>(sum, rowSum);
        }
        v128.store(y + <usize>c * sizeof<T>(), v128.div<T>(sum, divisors));
      }
      for (; c < C; c++) {
        let sum = <T>0;
        let tapRow = x + <usize>c * xc;
        for (let i = 0; i < height; i++, tapRow += xh) {
          let rowSum = <T>0;
          let tap = tapRow;
          for (let j = 0; j < width; j++, tap += xw) rowSum += load<T>(tap);
          sum += rowSum;
        }
        store<T>(y + <usize>c * yc, sum / divisor);
      }
    }
  }
}

/** dx = f·g, or dx += f·g where `adds`: the C channels of one window's gradient to each of `pixels` pixels, dw bytes apart. */
// @ts-ignore: decorator
@inline
function spread<T>(g: usize, gc: usize, dx: usize, dc: usize, dw: usize, pixels: i32, C: i32, vectors: i32, f: T, adds: bool): void {
  const factors = v128.splat<T>(f);
  let c = 0;
  for (; c + 4 * lanes<T>() <= vectors; c += 4 * lanes<T>()) {
    const from = g + <usize>c * sizeof<T>();
    const v0 = v128.mul<T>(v128.load(from), factors);
    const v1 = v128.mul<T>(v128.load(from, 16), factors);
    const v2 = v128.mul<T>(v128.load(from, 32), factors);
    const v3 = v128.mul<T>(v128.load(from, 48), factors);
    let to = dx + <usize>c * sizeof<T>();
    if (adds) {
      for (let i = 0; i < pixels; i++, to += dw) {
        v128.store(to, v128.add<T>(v128.load(to), v0));
        v128.store(to, v128.add<T>(v128.load(to, 16), v1), 16);
        v128.store(to, v128.add<T>(v128.load(to, 32), v2), 32);
        v128.store(to, v128.add<T>(v128.load(to, 48), v3), 48);
      }
    } else {
      for (let i = 0; i < pixels; i++, to += dw) {
        v128.store(to, v0);
        v128.store(to, v1, 16);
        v128.store(to, v2, 32);
        v128.store(to, v3, 48);
      }
    }
  }
  for (; c < vectors; c += lanes<T>()) {
    const v = v128.mul<T>(v128.load(g + <usize>c * sizeof<T>()), factors);
    let to = dx + <usize>c * sizeof<T>();
    for (let i = 0; i < pixels; i++, to += dw) v128.store(to, adds ? v128.add<T>(v128.load(to), v) : v);
  }
  for (; c < C; c++) {
    const v = load<T>(g + <usize>c * gc) * f;
    let to = dx + <usize>c * dc;
    for (let i = 0; i < pixels; i++, to += dw) store<T>(to, adds ? load<T>(to) + v : v);
  }
}

/**
 * dx = Σ g / (divisor · row size · column size) over the windows that cover it.
 * args: g dx · row spans, column spans · the windows that cover each row (int32 first, end) · the runs of columns that the
 *       same windows cover (int32 first column, end, first window, end), their number · divisor · C H ·
 *       strides of g, dx (n, c, h, w each)
 */
// @ts-ignore: decorator
@inline
function averagePoolGrad<T>(args: usize, first: i32, last: i32): void {
  const rows = ptrArg(args, 2);
  const columns = ptrArg(args, 3);
  const columnRuns = ptrArg(args, 5);
  const endRuns = columnRuns + <usize>intArg(args, 6) * 16;
  const divisor = floatArg(args, 7);
  const C = intArg(args, 8);
  const H = intArg(args, 9);
  const gn = <usize>intArg(args, 10) * sizeof<T>();
  const gc = <usize>intArg(args, 11) * sizeof<T>();
  const gh = <usize>intArg(args, 12) * sizeof<T>();
  const gw = <usize>intArg(args, 13) * sizeof<T>();
  const dc = <usize>intArg(args, 15) * sizeof<T>();
  const dw = <usize>intArg(args, 17) * sizeof<T>();
  const vectors = vectorChannels<T>(C, gc == sizeof<T>() && dc == sizeof<T>());
  for (let row = first; row < last; row++) {
    const n = row / H;
    const h = row % H;
    const firstRow = load<i32>(ptrArg(args, 4) + <usize>h * 8);
    const endRow = load<i32>(ptrArg(args, 4) + <usize>h * 8, 4);
    const gImage = ptrArg(args, 0) + <usize>n * gn;
    const dxRow = rowAddress(args, ptrArg(args, 1), 14, sizeof<T>(), n, h);
    for (let run = columnRuns; run < endRuns; run += 16) {
      const pixels = load<i32>(run, 4) - load<i32>(run);
      const firstColumn = load<i32>(run, 8);
      const endColumn = load<i32>(run, 12);
      const dx = dxRow + <usize>load<i32>(run) * dw;
      let adds = false;
      for (let oh = firstRow; oh < endRow; oh++) {
        const rowDivisor = divisor * spanSize(rows, oh);
        for (let ow = firstColumn; ow < endColumn; ow++) {
          const f = <T>(1 / (rowDivisor * spanSize(columns, ow)));
          spread<T>(gImage + <usize>oh * gh + <usize>ow * gw, gc, dx, dc, dw, pixels, C, vectors, f, adds);
          adds = true;
        }
      }
      if (adds) continue;
      for (let i = 0; i < pixels; i++) {
        for (let c = 0; c < C; c++) store<T>(dx + <usize>i * dw + <usize>c * dc, 0);
      }
    }
  }
}

export function maxPool2d_f32(args: usize, first: i32, last: i32): void {
  maxPool<f32>(args, first, last);
}

export function maxPool2d_f64(args: usize, first: i32, last: i32): void {
  maxPool<f64>(args, first, last);
}

export function maxPool2dGrad_f32(args: usize, first: i32, last: i32): void {
  maxPoolGrad<f32>(args, first, last);
}

export function maxPool2dGrad_f64(args: usize, first: i32, last: i32): void {
  maxPoolGrad<f64>(args, first, last);
}

export function averagePool_f32(args: usize, first: i32, last: i32): void {
  averagePool<f32>(args, first, last);
}

export function averagePool_f64(args: usize, first: i32, last: i32): void {
  averagePool<f64>(args, first, last);
}

export function averagePoolGrad_f32(args: usize, first: i32, last: i32): void {
  averagePoolGrad<f32>(args, first, last);
}

export function averagePoolGrad_f64(args: usize, first: i32, last: i32): void {
  averagePoolGrad<f64>(args, first, last);
}
