/**
 * Average pooling. A chunk is one row of the output image (of dx in the gradient) with all its channels.
 *
 * Contiguous channels (channels-last) are summed as vectors. The remaining channels, and all channels of other layouts, are summed one
 * by one.
 */
import { Input, Output, Pointer } from '../runtime/abi';
import { ImageStrides, rowAddress, vectorChannels } from './image-rows';
import { lanes } from '../simd/vector';

/** A window along one dim: it covers first … end−1 and counts as `size`; see pool-windows.ts. */
@unmanaged
class WindowSpan {
  first: i32;
  end: i32;
  size: i32;
}

/** The windows first … end−1 that cover a row. */
@unmanaged
class CoveringWindows {
  first: i32;
  end: i32;
}

/** Columns start … stop−1, which the windows first … end−1 cover. */
@unmanaged
class ColumnRun {
  start: i32;
  stop: i32;
  first: i32;
  end: i32;
}

/** Returns span i of a table. */
// @ts-ignore: decorator
@inline
function spanAt(table: usize, i: i32): WindowSpan {
  return changetype<WindowSpan>(table + <usize>i * offsetof<WindowSpan>());
}

@unmanaged
class AveragePoolArgs {
  x: Input;
  y: Output;
  /** Tables of WindowSpan. */
  rows: usize;
  columns: usize;
  divisor: f64;
  C: i32;
  OH: i32;
  OW: i32;
  xStrides: Pointer<ImageStrides>;
  yStrides: Pointer<ImageStrides>;
}

/**
 * y = Σ x / (divisor · row size · column size) over the window. Each row of the window is summed first, then the row sums, so that a
 * global pool's error grows with H + W, not with H·W.
 */
// @ts-ignore: decorator
@inline
function averagePool<T>(args: AveragePoolArgs, first: i32, last: i32): void {
  const rows = args.rows;
  const columns = args.columns;
  const C = args.C;
  const OH = args.OH;
  const OW = args.OW;
  const xStrides = changetype<ImageStrides>(args.xStrides);
  const yStrides = changetype<ImageStrides>(args.yStrides);
  const xc = <usize>xStrides.c * sizeof<T>();
  const xh = <usize>xStrides.h * sizeof<T>();
  const xw = <usize>xStrides.w * sizeof<T>();
  const yc = <usize>yStrides.c * sizeof<T>();
  const yw = <usize>yStrides.w * sizeof<T>();
  const vectors = vectorChannels<T>(C, xc == sizeof<T>() && yc == sizeof<T>());
  const quads = vectors - (vectors % (4 * lanes<T>()));
  for (let row = first; row < last; row++) {
    const n = row / OH;
    const oh = row % OH;
    const vertical = spanAt(rows, oh);
    const height = vertical.end - vertical.first;
    const rowDivisor = args.divisor * <f64>vertical.size;
    const xRow = rowAddress(xStrides, args.x, sizeof<T>(), n, vertical.first);
    let y = rowAddress(yStrides, args.y, sizeof<T>(), n, oh);
    for (let ow = 0; ow < OW; ow++, y += yw) {
      const horizontal = spanAt(columns, ow);
      const width = horizontal.end - horizontal.first;
      const x = xRow + <usize>horizontal.first * xw;
      // An empty window has sum 0, and may have size 0.
      const divisor = height == 0 || width == 0 ? <T>1 : <T>(rowDivisor * <f64>horizontal.size);
      const divisors = v128.splat<T>(divisor);
      let c = 0;
      // Four vectors at once: they are whole cache lines of float32, and four independent additions hide each other's latency.
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

/** dx = f·g, or dx += f·g if `adds`, for C channels of one window's gradient and each of `pixels` pixels, dw bytes apart. */
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

@unmanaged
class AveragePoolGradArgs {
  g: Input;
  dx: Output;
  /** Tables of WindowSpan. */
  rows: usize;
  columns: usize;
  /** A table of CoveringWindows, one per row of dx. */
  rowWindows: usize;
  /** A table of ColumnRun. */
  columnRuns: usize;
  columnRunCount: i32;
  divisor: f64;
  C: i32;
  H: i32;
  gStrides: Pointer<ImageStrides>;
  dxStrides: Pointer<ImageStrides>;
}

/** dx = Σ g / (divisor · row size · column size) over the windows that cover it. */
// @ts-ignore: decorator
@inline
function averagePoolGrad<T>(args: AveragePoolGradArgs, first: i32, last: i32): void {
  const rows = args.rows;
  const columns = args.columns;
  const columnRuns = args.columnRuns;
  const endRuns = columnRuns + <usize>args.columnRunCount * offsetof<ColumnRun>();
  const divisor = args.divisor;
  const C = args.C;
  const H = args.H;
  const gStrides = changetype<ImageStrides>(args.gStrides);
  const dxStrides = changetype<ImageStrides>(args.dxStrides);
  const gn = <usize>gStrides.n * sizeof<T>();
  const gc = <usize>gStrides.c * sizeof<T>();
  const gh = <usize>gStrides.h * sizeof<T>();
  const gw = <usize>gStrides.w * sizeof<T>();
  const dc = <usize>dxStrides.c * sizeof<T>();
  const dw = <usize>dxStrides.w * sizeof<T>();
  const vectors = vectorChannels<T>(C, gc == sizeof<T>() && dc == sizeof<T>());
  for (let row = first; row < last; row++) {
    const n = row / H;
    const h = row % H;
    const covering = changetype<CoveringWindows>(args.rowWindows + <usize>h * offsetof<CoveringWindows>());
    const firstRow = covering.first;
    const endRow = covering.end;
    const gImage = args.g + <usize>n * gn;
    const dxRow = rowAddress(dxStrides, args.dx, sizeof<T>(), n, h);
    for (let at = columnRuns; at < endRuns; at += offsetof<ColumnRun>()) {
      const run = changetype<ColumnRun>(at);
      const pixels = run.stop - run.start;
      const firstColumn = run.first;
      const endColumn = run.end;
      const dx = dxRow + <usize>run.start * dw;
      let adds = false;
      for (let oh = firstRow; oh < endRow; oh++) {
        const rowDivisor = divisor * <f64>spanAt(rows, oh).size;
        for (let ow = firstColumn; ow < endColumn; ow++) {
          const f = <T>(1 / (rowDivisor * <f64>spanAt(columns, ow).size));
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

export function averagePool_f32(args: AveragePoolArgs, first: i32, last: i32): void {
  averagePool<f32>(args, first, last);
}

export function averagePool_f64(args: AveragePoolArgs, first: i32, last: i32): void {
  averagePool<f64>(args, first, last);
}

export function averagePoolGrad_f32(args: AveragePoolGradArgs, first: i32, last: i32): void {
  averagePoolGrad<f32>(args, first, last);
}

export function averagePoolGrad_f64(args: AveragePoolGradArgs, first: i32, last: i32): void {
  averagePoolGrad<f64>(args, first, last);
}
