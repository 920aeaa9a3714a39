/**
 * y = value over a nest of y (see runtime/strided.ts).
 */
import { Nest, endRow, firstRow, rowPointer, rowStride, runStride, sweepOf } from '../runtime/strided';

@unmanaged
class FillArgs {
  value: f64;
  /** The loops over y, see runtime/strided.ts. */
  nest: Nest;
}

// @ts-ignore: decorator
@inline
function fill<T>(args: FillArgs, first: i32, last: i32): void {
  const value = <T>args.value;
  const nest = args.nest;
  const end = endRow(nest, last);
  const sweep = sweepOf(nest, 1);
  const run = nest.run;
  const tail = nest.tail;
  const ry = rowStride(nest, 1, 0);
  const sy = runStride(nest, 0);
  for (let row = firstRow(nest, first); row < end; ) {
    const sweepEnd = row - (row % sweep) + sweep;
    const stop = min(end, sweepEnd);
    let y = rowPointer(nest, 1, 0, row);
    for (; row < stop; row++) {
      fillRun<T>(value, y, row + 1 == sweepEnd ? tail : run, sy);
      y += ry;
    }
  }
}

// @ts-ignore: decorator
@inline
function fillRun<T>(value: T, y: usize, n: i32, sy: usize): void {
  let i = 0;
  if (sy == sizeof<T>()) {
    const v = v128.splat<T>(value);
    const lanes = <i32>(16 / sizeof<T>());
    for (; i <= n - lanes; i += lanes) {
      v128.store(y, v);
      y += 16;
    }
  }
  for (; i < n; i++) {
    store<T>(y, value);
    y += sy;
  }
}

export function fill_f32(args: FillArgs, first: i32, last: i32): void { fill<f32>(args, first, last); }
export function fill_f64(args: FillArgs, first: i32, last: i32): void { fill<f64>(args, first, last); }
export function fill_i32(args: FillArgs, first: i32, last: i32): void { fill<i32>(args, first, last); }
export function fill_u8(args: FillArgs, first: i32, last: i32): void { fill<u8>(args, first, last); }
