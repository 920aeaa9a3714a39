/**
 * gather, and the kernels that process whole lines along one dim: argmax, argmin, cumsum, scatterAdd.
 *
 * Line kernels take a nest over the other dims (see runtime/strided.ts). A line has `length` elements; the operands' strides along it
 * precede the nest.
 */
import { Flag } from './runtime/abi';
import { Nest, endRow, firstRow, rowPointer, rowStride, runStride, sweepOf } from './runtime/strided';

@unmanaged
class GatherArgs {
  /** x's stride along the dim in bytes. */
  dimStride: usize;
  /** The loops over y, index and x, see runtime/strided.ts. x's stride along the dim is 0 in them. */
  nest: Nest;
}

/** y[i] = x[index[i]] along a dim. */
// @ts-ignore: decorator
@inline
function gather<T>(args: GatherArgs, first: i32, last: i32): void {
  const s = args.dimStride;
  const nest = args.nest;
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 3);
  const sy = runStride(nest, 0);
  const si = runStride(nest, 1);
  const sx = runStride(nest, 2);
  const run = nest.run;
  const tail = nest.tail;
  const ry = rowStride(nest, 3, 0);
  const ri = rowStride(nest, 3, 1);
  const rx = rowStride(nest, 3, 2);
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 3, 0, row);
    let index = rowPointer(nest, 3, 1, row);
    let x = rowPointer(nest, 3, 2, row);
    for (; row < stop; row++) {
      gatherRun<T>(y, index, x, row + 1 == sweepEnd ? tail : run, s, sy, si, sx);
      y += ry;
      index += ri;
      x += rx;
    }
  }
}

/** y[i] = x[index[i]·s + i·sx] for n elements. */
// @ts-ignore: decorator
@inline
function gatherRun<T>(y: usize, index: usize, x: usize, n: i32, s: usize, sy: usize, si: usize, sx: usize): void {
  for (; n > 0; n--) {
    store<T>(y, load<T>(x + <usize>load<i32>(index) * s));
    y += sy;
    index += si;
    x += sx;
  }
}

@unmanaged
class ScatterAddArgs {
  /** Elements of x along the dim. */
  length: i32;
  /** Strides along the dim in bytes. */
  indexStride: usize;
  xStride: usize;
  yStride: usize;
  /** Whether the inner loop is over the dim. */
  linesInner: Flag;
  /** The loops over x, index and y, see runtime/strided.ts. */
  nest: Nest;
}

/** y[index[i]] += x[i] along a dim. Both loops process a line in the order of the dim. */
// @ts-ignore: decorator
@inline
function scatterAdd<T>(args: ScatterAddArgs, first: i32, last: i32): void {
  const length = args.length;
  const si = args.indexStride;
  const sx = args.xStride;
  const sy = args.yStride;
  const linesInner = args.linesInner != 0;
  const nest = args.nest;
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 3);
  const rx = runStride(nest, 0);
  const ri = runStride(nest, 1);
  const ry = runStride(nest, 2);
  for (let row = firstRow(nest, first); row < end; row++) {
    const n = row % sweep == sweep - 1 ? nest.tail : nest.run;
    const x = rowPointer(nest, 3, 0, row);
    const index = rowPointer(nest, 3, 1, row);
    const y = rowPointer(nest, 3, 2, row);
    if (linesInner) {
      for (let k = 0; k < n; k++) scatterRun<T>(y + <usize>k * ry, index + <usize>k * ri, x + <usize>k * rx, length, sy, 0, si, sx);
    } else {
      for (let k = 0; k < length; k++) scatterRun<T>(y, index + <usize>k * si, x + <usize>k * sx, n, sy, ry, ri, rx);
    }
  }
}

/** y[index[i]·sy + i·ry] += x[i] for n elements. */
// @ts-ignore: decorator
@inline
function scatterRun<T>(y: usize, index: usize, x: usize, n: i32, sy: usize, ry: usize, ri: usize, rx: usize): void {
  for (; n > 0; n--) {
    const p = y + <usize>load<i32>(index) * sy;
    store<T>(p, <T>(load<T>(p) + load<T>(x)));
    index += ri;
    x += rx;
    y += ry;
  }
}

@unmanaged
class CumsumArgs {
  /** Elements along the dim. */
  length: i32;
  /** Strides along the dim in bytes. */
  yStride: usize;
  xStride: usize;
  /** The loops over y and x, see runtime/strided.ts. */
  nest: Nest;
}

/** y[i] = Σ_{j ≤ i} x[j]; floats are summed in f64. */
// @ts-ignore: decorator
@inline
function cumsum<T, A>(args: CumsumArgs, first: i32, last: i32): void {
  const length = args.length;
  const sy = args.yStride;
  const sx = args.xStride;
  const nest = args.nest;
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 2);
  const ry = runStride(nest, 0);
  const rx = runStride(nest, 1);
  for (let row = firstRow(nest, first); row < end; row++) {
    const n = row % sweep == sweep - 1 ? nest.tail : nest.run;
    const y0 = rowPointer(nest, 2, 0, row);
    const x0 = rowPointer(nest, 2, 1, row);
    for (let k = 0; k < n; k++) {
      let y = y0 + <usize>k * ry;
      let x = x0 + <usize>k * rx;
      let acc: A = 0;
      for (let i = 0; i < length; i++) {
        acc = <A>(acc + <A>load<T>(x));
        store<T>(y, <T>acc);
        y += sy;
        x += sx;
      }
    }
  }
}

@unmanaged
class ArgReduceArgs {
  /** Elements along the dim. */
  length: i32;
  /** x's stride along the dim in bytes. */
  xStride: usize;
  /** The loops over y and x, see runtime/strided.ts. */
  nest: Nest;
}

/** Index of the first largest or smallest element; the first NaN takes precedence. */
// @ts-ignore: decorator
@inline
function argReduce<T>(largest: bool, args: ArgReduceArgs, first: i32, last: i32): void {
  const length = args.length;
  const sx = args.xStride;
  const nest = args.nest;
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 2);
  const ry = runStride(nest, 0);
  const rx = runStride(nest, 1);
  for (let row = firstRow(nest, first); row < end; row++) {
    const n = row % sweep == sweep - 1 ? nest.tail : nest.run;
    let y = rowPointer(nest, 2, 0, row);
    const x0 = rowPointer(nest, 2, 1, row);
    for (let k = 0; k < n; k++) {
      let x = x0 + <usize>k * rx;
      let best = load<T>(x);
      let at = 0;
      // The first NaN ends the search.
      for (let i = 1; i < length && best == best; i++) {
        x += sx;
        const v = load<T>(x);
        if ((largest ? v > best : v < best) || v != v) {
          best = v;
          at = i;
        }
      }
      store<i32>(y, at);
      y += ry;
    }
  }
}

export function gather_8(args: GatherArgs, first: i32, last: i32): void { gather<u8>(args, first, last); }
export function gather_32(args: GatherArgs, first: i32, last: i32): void { gather<i32>(args, first, last); }
export function gather_64(args: GatherArgs, first: i32, last: i32): void { gather<i64>(args, first, last); }
export function scatter_add_f32(args: ScatterAddArgs, first: i32, last: i32): void { scatterAdd<f32>(args, first, last); }
export function scatter_add_f64(args: ScatterAddArgs, first: i32, last: i32): void { scatterAdd<f64>(args, first, last); }
export function scatter_add_i32(args: ScatterAddArgs, first: i32, last: i32): void { scatterAdd<i32>(args, first, last); }
export function cumsum_f32(args: CumsumArgs, first: i32, last: i32): void { cumsum<f32, f64>(args, first, last); }
export function cumsum_f64(args: CumsumArgs, first: i32, last: i32): void { cumsum<f64, f64>(args, first, last); }
export function cumsum_i32(args: CumsumArgs, first: i32, last: i32): void { cumsum<i32, i32>(args, first, last); }
export function argmax_f32(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<f32>(true, args, first, last); }
export function argmin_f32(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<f32>(false, args, first, last); }
export function argmax_f64(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<f64>(true, args, first, last); }
export function argmin_f64(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<f64>(false, args, first, last); }
export function argmax_i32(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<i32>(true, args, first, last); }
export function argmin_i32(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<i32>(false, args, first, last); }
export function argmax_u8(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<u8>(true, args, first, last); }
export function argmin_u8(args: ArgReduceArgs, first: i32, last: i32): void { argReduce<u8>(false, args, first, last); }
