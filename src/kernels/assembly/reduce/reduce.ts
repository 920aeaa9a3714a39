/**
 * Sums, products, maxima and minima over strided dims, in two ways:
 *   rows     computes each result from its own elements; for reduced dims that are innermost, and for strided x
 *   columns  computes a run of results, contiguous in x, together; for reduced dims outside a contiguous kept one
 * A long reduction is divided into segments of fixed length. `combine` combines their partial results in order.
 *
 * T is the element type, A the type of partial results: f64 for floats, i32 for int32. A SIMD lane takes at most 64 additions of
 * float32, of two elements each, before it is added to a float64 sum. So the error does not grow with the length of the sum.
 */
import { BLOCK_ROWS, COMBINED_RESULTS } from '../constants';
import { Flag, Input, OptionalOutput, Output, Records } from '../runtime/abi';
import { offsetOf } from '../runtime/strided';

const SUM = 0;
const PROD = 1;
const AMAX = 2;
const AMIN = 3;

// @ts-ignore: decorator
@inline
function identity<A>(op: i32): A {
  if (op == SUM) return 0;
  if (op == PROD) return 1;
  if (isFloat<A>()) return <A>(op == AMAX ? -Infinity : Infinity);
  return op == AMAX ? i32.MIN_VALUE : i32.MAX_VALUE;
}

// @ts-ignore: decorator
@inline
function scalar<A>(op: i32, a: A, b: A): A {
  if (op == SUM) return <A>(a + b);
  if (op == PROD) return <A>(a * b);
  if (op == AMAX) return max<A>(a, b);
  return min<A>(a, b);
}

/** Products are not computed by vectors: a float32 lane could overflow although the whole product does not. */
// @ts-ignore: decorator
@inline
function vector<T>(op: i32, a: v128, b: v128): v128 {
  if (op == SUM) return v128.add<T>(a, b);
  if (op == AMAX) return v128.max<T>(a, b);
  return v128.min<T>(a, b);
}

/** Returns `acc` combined with all lanes of v. */
// @ts-ignore: decorator
@inline
function combineLanes<T, A>(op: i32, acc: A, v: v128): A {
  acc = scalar<A>(op, acc, scalar<A>(op, <A>v128.extract_lane<T>(v, 0), <A>v128.extract_lane<T>(v, 1)));
  if (sizeof<T>() == 4) acc = scalar<A>(op, acc, scalar<A>(op, <A>v128.extract_lane<T>(v, 2), <A>v128.extract_lane<T>(v, 3)));
  return acc;
}

/** Returns `acc` combined with n elements at x, s bytes apart. */
// @ts-ignore: decorator
@inline
function reduceRun<T, A>(op: i32, acc: A, x: usize, n: i32, s: usize): A {
  let i = 0;
  if (op != PROD) {
    if (s == sizeof<T>()) {
      const block = <i32>(64 / sizeof<T>());
      while (i <= n - block) {
        const stop = min(n - block, i + (BLOCK_ROWS - 1) * block);
        let v0 = v128.load(x);
        let v1 = v128.load(x, 16);
        let v2 = v128.load(x, 32);
        let v3 = v128.load(x, 48);
        x += 64;
        // Combining pairs of vectors first halves the chain of dependent additions: one per accumulator in 128 bytes.
        for (i += block; i <= stop - block; i += 2 * block) {
          v0 = vector<T>(op, v0, vector<T>(op, v128.load(x), v128.load(x, 64)));
          v1 = vector<T>(op, v1, vector<T>(op, v128.load(x, 16), v128.load(x, 80)));
          v2 = vector<T>(op, v2, vector<T>(op, v128.load(x, 32), v128.load(x, 96)));
          v3 = vector<T>(op, v3, vector<T>(op, v128.load(x, 48), v128.load(x, 112)));
          x += 128;
        }
        if (i <= stop) {
          v0 = vector<T>(op, v0, v128.load(x));
          v1 = vector<T>(op, v1, v128.load(x, 16));
          v2 = vector<T>(op, v2, v128.load(x, 32));
          v3 = vector<T>(op, v3, v128.load(x, 48));
          x += 64;
          i += block;
        }
        acc = combineLanes<T, A>(op, acc, vector<T>(op, vector<T>(op, v0, v1), vector<T>(op, v2, v3)));
      }
      const lanes = <i32>(16 / sizeof<T>());
      if (i <= n - lanes) {
        let v = v128.load(x);
        x += 16;
        for (i += lanes; i <= n - lanes; i += lanes) {
          v = vector<T>(op, v, v128.load(x));
          x += 16;
        }
        acc = combineLanes<T, A>(op, acc, v);
      }
    }
  }
  for (; i < n; i++) {
    acc = scalar<A>(op, acc, <A>load<T>(x));
    x += s;
  }
  return acc;
}

/** A loop over results; strides in bytes. */
@unmanaged
class KeptLoop {
  size: u32;
  xStride: usize;
  yStride: usize;
}

/** A loop over reduced elements; the stride in bytes. */
@unmanaged
class ReducedLoop {
  size: u32;
  xStride: usize;
}

/** Returns the offset in x of result `index`, from the kept loops. */
// @ts-ignore: decorator
@inline
function keptOffsetX(loops: usize, count: i32, index: u32): usize {
  return offsetOf(loops, count, offsetof<KeptLoop>(), offsetof<KeptLoop>('xStride'), index);
}

/** Returns the offset in y of result `index`, from the kept loops. */
// @ts-ignore: decorator
@inline
function keptOffsetY(loops: usize, count: i32, index: u32): usize {
  return offsetOf(loops, count, offsetof<KeptLoop>(), offsetof<KeptLoop>('yStride'), index);
}

/** Returns the offset in x of row `index`, from the reduced loops. */
// @ts-ignore: decorator
@inline
function rowOffset(loops: usize, count: i32, index: u32): usize {
  return offsetOf(loops, count, offsetof<ReducedLoop>(), offsetof<ReducedLoop>('xStride'), index);
}

/** The arguments that reductions by rows and by columns share. Partial results have type A. */
@unmanaged
class ReduceArgs {
  x: Input;
  /** The result; null if the kernel writes partial results. */
  y: OptionalOutput;
  /** Partial results; 0 if the kernel writes y. */
  partials: usize;
  /** The number of tasks: segments of results or of runs of results. */
  tasks: i32;
  /** The number of tasks that one chunk computes. */
  tasksPerChunk: i32;
  /** The number of rows of a segment. */
  rowsPerSegment: u32;
  /** The number of rows of the whole reduction. */
  rows: u32;
  /** Loops, innermost first. */
  keptCount: i32;
  reducedCount: i32;
  kept: Records<KeptLoop>;
  reduced: Records<ReducedLoop>;
}

@unmanaged
class ReduceRowsArgs extends ReduceArgs {
  segments: i32;
  /** Elements of a row. */
  run: i32;
  /** Elements of the last row of a sweep, which is one pass of the innermost reduced loop. */
  tail: i32;
  /** Bytes from element to element of a row. */
  runStride: usize;
}

/** A task is one segment of one result: result · segments + segment. */
// @ts-ignore: decorator
@inline
function reduceRows<T, A>(op: i32, args: ReduceRowsArgs, first: i32, last: i32): void {
  const x = args.x;
  const y = args.y;
  const partials = args.partials;
  const tasksPerChunk = args.tasksPerChunk;
  const end = min(args.tasks, last * tasksPerChunk);
  const segments = args.segments;
  const rowsPerSegment = args.rowsPerSegment;
  const rows = args.rows;
  const run = args.run;
  const tail = args.tail;
  const sx = args.runStride;
  const kept = args.keptCount;
  const reduced = args.reducedCount;
  const keptLoops = args.kept;
  const reducedLoops = args.reduced;
  const sweep = load<u32>(reducedLoops);
  const sweepStride = load<usize>(reducedLoops, offsetof<ReducedLoop>('xStride'));
  const sKept: usize = kept > 0 ? load<usize>(keptLoops, offsetof<KeptLoop>('xStride')) : 0;
  for (let task = first * tasksPerChunk; task < end; task++) {
    // Reductions of many short rows are common, so divisions are avoided where there is at most one loop of a kind.
    const result = segments == 1 ? task : task / segments;
    let row = <u32>(task - result * segments) * rowsPerSegment;
    const stop = min(rows, row + rowsPerSegment);
    const x0 = x + (kept <= 1 ? <usize>result * sKept : keptOffsetX(keptLoops, kept, result));
    let acc = identity<A>(op);
    while (row < stop) {
      const sweepEnd = reduced == 1 ? rows : row - (row % sweep) + sweep;
      const sweepStop = min(stop, sweepEnd);
      let p = x0 + (reduced == 1 ? <usize>row * sweepStride : rowOffset(reducedLoops, reduced, row));
      for (; row < sweepStop; row++) {
        acc = reduceRun<T, A>(op, acc, p, row + 1 == sweepEnd ? tail : run, sx);
        p += sweepStride;
      }
    }
    if (segments == 1) store<T>(y + keptOffsetY(keptLoops, kept, result), <T>acc);
    else store<A>(partials + <usize>task * sizeof<A>(), acc);
  }
}

/** Stores v as partial results of type A at p, or combines it with those at p. */
// @ts-ignore: decorator
@inline
function flush<T, A>(op: i32, p: usize, v: v128, isFirst: bool): void {
  if (isFloat<T>() && sizeof<T>() == 4) {
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(i64x2.shuffle(v, v, 1, 1));
    v128.store(p, isFirst ? low : vector<A>(op, v128.load(p), low));
    v128.store(p, isFirst ? high : vector<A>(op, v128.load(p, 16), high), 16);
  } else {
    v128.store(p, isFirst ? v : vector<A>(op, v128.load(p), v));
  }
}

/**
 * One block of at most BLOCK_ROWS rows, s bytes apart, over n columns.
 * If `direct`, writes results of type T to out. Otherwise writes partial results of type A (isFirst), or combines them with those at out.
 */
// @ts-ignore: decorator
@inline
function reduceBlock<T, A>(op: i32, out: usize, x: usize, n: i32, rows: i32, s: usize, isFirst: bool, direct: bool): void {
  const lanes = <i32>(16 / sizeof<T>());
  let c = 0;
  if (op != PROD) {
    for (; c <= n - 4 * lanes; c += 4 * lanes) {
      let p = x + <usize>c * sizeof<T>();
      let v0 = v128.load(p);
      let v1 = v128.load(p, 16);
      let v2 = v128.load(p, 32);
      let v3 = v128.load(p, 48);
      let r = 1;
      for (; r < rows - 1; r += 2) {
        p += s;
        const q = p + s;
        v0 = vector<T>(op, v0, vector<T>(op, v128.load(p), v128.load(q)));
        v1 = vector<T>(op, v1, vector<T>(op, v128.load(p, 16), v128.load(q, 16)));
        v2 = vector<T>(op, v2, vector<T>(op, v128.load(p, 32), v128.load(q, 32)));
        v3 = vector<T>(op, v3, vector<T>(op, v128.load(p, 48), v128.load(q, 48)));
        p = q;
      }
      if (r < rows) {
        p += s;
        v0 = vector<T>(op, v0, v128.load(p));
        v1 = vector<T>(op, v1, v128.load(p, 16));
        v2 = vector<T>(op, v2, v128.load(p, 32));
        v3 = vector<T>(op, v3, v128.load(p, 48));
      }
      if (direct) {
        const o = out + <usize>c * sizeof<T>();
        v128.store(o, v0);
        v128.store(o, v1, 16);
        v128.store(o, v2, 32);
        v128.store(o, v3, 48);
      } else {
        const o = out + <usize>c * sizeof<A>();
        const step = <usize>lanes * sizeof<A>();
        flush<T, A>(op, o, v0, isFirst);
        flush<T, A>(op, o + step, v1, isFirst);
        flush<T, A>(op, o + 2 * step, v2, isFirst);
        flush<T, A>(op, o + 3 * step, v3, isFirst);
      }
    }
    for (; c <= n - lanes; c += lanes) {
      let p = x + <usize>c * sizeof<T>();
      let v = v128.load(p);
      let r = 1;
      for (; r < rows - 1; r += 2) {
        p += s;
        const q = p + s;
        v = vector<T>(op, v, vector<T>(op, v128.load(p), v128.load(q)));
        p = q;
      }
      if (r < rows) v = vector<T>(op, v, v128.load(p + s));
      if (direct) v128.store(out + <usize>c * sizeof<T>(), v);
      else flush<T, A>(op, out + <usize>c * sizeof<A>(), v, isFirst);
    }
  }
  for (; c < n; c++) {
    let p = x + <usize>c * sizeof<T>();
    let acc = <A>load<T>(p);
    for (let r = 1; r < rows; r++) {
      p += s;
      acc = scalar<A>(op, acc, <A>load<T>(p));
    }
    if (direct) {
      store<T>(out + <usize>c * sizeof<T>(), <T>acc);
    } else {
      const o = out + <usize>c * sizeof<A>();
      store<A>(o, isFirst ? acc : scalar<A>(op, load<A>(o), acc));
    }
  }
}

@unmanaged
class ReduceColumnsArgs extends ReduceArgs {
  columns: i32;
  columnsPerPiece: i32;
  /** The number of pieces of the columns. */
  pieces: i32;
  /** The number of runs of columns. */
  outerResults: i32;
  /** Whether the kernel writes y: one sweep of at most BLOCK_ROWS rows. Otherwise it writes partials [segment][outer][column]. */
  direct: Flag;
}

/** A task is one segment of one piece of columns of one outer result: ((segment · outer) + result) · pieces + piece. */
// @ts-ignore: decorator
@inline
function reduceColumns<T, A>(op: i32, args: ReduceColumnsArgs, first: i32, last: i32): void {
  const columns = args.columns;
  const perPiece = args.columnsPerPiece;
  const pieces = args.pieces;
  const outer = args.outerResults;
  const tasksPerChunk = args.tasksPerChunk;
  const end = min(args.tasks, last * tasksPerChunk);
  const rowsPerSegment = args.rowsPerSegment;
  const rows = args.rows;
  const direct = args.direct != 0;
  const kept = args.keptCount;
  const reduced = args.reducedCount;
  const keptLoops = args.kept;
  const reducedLoops = args.reduced;
  const sweep = load<u32>(reducedLoops);
  const s = load<usize>(reducedLoops, offsetof<ReducedLoop>('xStride'));
  for (let task = first * tasksPerChunk; task < end; task++) {
    const index = task / pieces;
    const column = (task - index * pieces) * perPiece;
    const n = min(perPiece, columns - column);
    const segment = index / outer;
    const result = index - segment * outer;
    const x0 =
      args.x + keptOffsetX(keptLoops, kept, result) + <usize>column * sizeof<T>();
    let out: usize;
    if (direct) {
      out = args.y + keptOffsetY(keptLoops, kept, result) + <usize>column * sizeof<T>();
    } else {
      out = args.partials + <usize>(index * columns + column) * sizeof<A>();
    }
    const start = <u32>segment * rowsPerSegment;
    const stop = min(rows, start + rowsPerSegment);
    for (let row = start; row < stop; ) {
      const x = x0 + rowOffset(reducedLoops, reduced, row);
      const count = min(<u32>BLOCK_ROWS, min(stop - row, sweep - (row % sweep)));
      reduceBlock<T, A>(op, out, x, n, count, s, row == start, direct);
      row += count;
    }
  }
}

/** A loop over y; the stride in bytes. */
@unmanaged
class ResultLoop {
  size: u32;
  yStride: usize;
}

@unmanaged
class CombineArgs {
  y: Output;
  partials: usize;
  results: i32;
  segments: i32;
  /** The number of partial results from result to result. */
  resultStride: i32;
  /** The number of partial results from segment to segment. */
  segmentStride: i32;
  /** Loops over y, innermost first. */
  loopCount: i32;
  loops: Records<ResultLoop>;
}

/** Combines partial results in the order of their segments: y[r] = ⨁ₛ partial[r · resultStride + s · segmentStride]. */
// @ts-ignore: decorator
@inline
function combine<T, A>(op: i32, args: CombineArgs, first: i32, last: i32): void {
  const y = args.y;
  const partials = args.partials;
  const end = min(args.results, last * COMBINED_RESULTS);
  const segments = args.segments;
  const a = <usize>args.resultStride * sizeof<A>();
  const b = <usize>args.segmentStride * sizeof<A>();
  const count = args.loopCount;
  const loops = args.loops;
  const inner = count > 0 ? load<i32>(loops) : 1;
  const stride: usize = count > 0 ? load<usize>(loops, offsetof<ResultLoop>('yStride')) : 0;
  for (let r = first * COMBINED_RESULTS; r < end; ) {
    // The address of a result is computed once for each run of the innermost loop.
    const runEnd = min(end, r + inner - r % inner);
    let to = y + offsetOf(loops, count, offsetof<ResultLoop>(), offsetof<ResultLoop>('yStride'), r);
    for (; r < runEnd; r++, to += stride) {
      let p = partials + <usize>r * a;
      let acc = load<A>(p);
      for (let s = 1; s < segments; s++) {
        p += b;
        acc = scalar<A>(op, acc, load<A>(p));
      }
      store<T>(to, <T>acc);
    }
  }
}

export function reduce_rows_sum_f32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f32, f64>(SUM, args, first, last); }
export function reduce_rows_prod_f32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f32, f64>(PROD, args, first, last); }
export function reduce_rows_amax_f32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f32, f64>(AMAX, args, first, last); }
export function reduce_rows_amin_f32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f32, f64>(AMIN, args, first, last); }
export function reduce_columns_sum_f32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f32, f64>(SUM, args, first, last); }
export function reduce_columns_prod_f32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f32, f64>(PROD, args, first, last); }
export function reduce_columns_amax_f32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f32, f64>(AMAX, args, first, last); }
export function reduce_columns_amin_f32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f32, f64>(AMIN, args, first, last); }
export function reduce_combine_sum_f32(args: CombineArgs, first: i32, last: i32): void { combine<f32, f64>(SUM, args, first, last); }
export function reduce_combine_prod_f32(args: CombineArgs, first: i32, last: i32): void { combine<f32, f64>(PROD, args, first, last); }
export function reduce_combine_amax_f32(args: CombineArgs, first: i32, last: i32): void { combine<f32, f64>(AMAX, args, first, last); }
export function reduce_combine_amin_f32(args: CombineArgs, first: i32, last: i32): void { combine<f32, f64>(AMIN, args, first, last); }
export function reduce_rows_sum_f64(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f64, f64>(SUM, args, first, last); }
export function reduce_rows_prod_f64(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f64, f64>(PROD, args, first, last); }
export function reduce_rows_amax_f64(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f64, f64>(AMAX, args, first, last); }
export function reduce_rows_amin_f64(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<f64, f64>(AMIN, args, first, last); }
export function reduce_columns_sum_f64(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f64, f64>(SUM, args, first, last); }
export function reduce_columns_prod_f64(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f64, f64>(PROD, args, first, last); }
export function reduce_columns_amax_f64(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f64, f64>(AMAX, args, first, last); }
export function reduce_columns_amin_f64(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<f64, f64>(AMIN, args, first, last); }
export function reduce_combine_sum_f64(args: CombineArgs, first: i32, last: i32): void { combine<f64, f64>(SUM, args, first, last); }
export function reduce_combine_prod_f64(args: CombineArgs, first: i32, last: i32): void { combine<f64, f64>(PROD, args, first, last); }
export function reduce_combine_amax_f64(args: CombineArgs, first: i32, last: i32): void { combine<f64, f64>(AMAX, args, first, last); }
export function reduce_combine_amin_f64(args: CombineArgs, first: i32, last: i32): void { combine<f64, f64>(AMIN, args, first, last); }
export function reduce_rows_sum_i32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<i32, i32>(SUM, args, first, last); }
export function reduce_rows_prod_i32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<i32, i32>(PROD, args, first, last); }
export function reduce_rows_amax_i32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<i32, i32>(AMAX, args, first, last); }
export function reduce_rows_amin_i32(args: ReduceRowsArgs, first: i32, last: i32): void { reduceRows<i32, i32>(AMIN, args, first, last); }
export function reduce_columns_sum_i32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<i32, i32>(SUM, args, first, last); }
export function reduce_columns_prod_i32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<i32, i32>(PROD, args, first, last); }
export function reduce_columns_amax_i32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<i32, i32>(AMAX, args, first, last); }
export function reduce_columns_amin_i32(args: ReduceColumnsArgs, first: i32, last: i32): void { reduceColumns<i32, i32>(AMIN, args, first, last); }
export function reduce_combine_sum_i32(args: CombineArgs, first: i32, last: i32): void { combine<i32, i32>(SUM, args, first, last); }
export function reduce_combine_prod_i32(args: CombineArgs, first: i32, last: i32): void { combine<i32, i32>(PROD, args, first, last); }
export function reduce_combine_amax_i32(args: CombineArgs, first: i32, last: i32): void { combine<i32, i32>(AMAX, args, first, last); }
export function reduce_combine_amin_i32(args: CombineArgs, first: i32, last: i32): void { combine<i32, i32>(AMIN, args, first, last); }
