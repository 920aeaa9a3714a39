/**
 * Average pooling. A chunk is one row of the output image (of dx in the gradient), all channels of it.
 *
 * Where channels lie next to each other (channels-last) vectors of them go through the window together; what is left,
 * and every other layout, goes through the same window channel by channel.
 */
import { floatArg, intArg, ptrArg } from '../runtime/abi';
import { rowAddress, vectorChannels } from './image-rows';
import { lanes } from '../simd/vector';

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
