/**
 * Elementwise, reduction, indexing and random kernels: plans their loops and passes them to assembly/.
 */
import { ITEM_SIZE, type DType } from '../../core/dtype.ts';
import { planIteration, type Plan } from '../../core/plan.ts';
import { isRowMajor, sizeOf, type Shape } from '../../core/shape.ts';
import type { BinaryOp, CompareOp, Kernels, ReduceOp, UnaryOp } from '../interface.ts';
import { launch, type Split } from './launch.ts';
import { allocate } from '../memory/allocator.ts';
import { addressOf, type View } from '../view.ts';

/** Elements in a chunk: enough to hide its start, few enough to spread over threads. */
const CHUNK = 16384;
/** Rows that a column reduction sums in lanes; assembly/reduce.ts has the same. */
const BLOCK_ROWS = 128;
/** Tiles of a transpose, p × q of assembly/copy.ts, that keep few lines of the side whose rows lie further apart. */
const WIDE_TILE = [64, 16] as const;
const TALL_TILE = [8, 32] as const;
/** Results that one chunk of a combination joins; assembly/reduce.ts has the same. */
const RESULTS = 1024;
/** The widest piece of columns that one chunk of a column reduction takes. */
const COLUMNS = 2048;
/** A reduction with at least this many independent results is not cut into segments. */
const ENOUGH_RESULTS = 32;

/** Bytes per element of a reduction's partial results: float64 for floats, int32. */
const PARTIAL_SIZE: Record<DType, number> = { float32: 8, float64: 8, int32: 4, bool: 4 };

/** The exports of a family of kernels by operation and dtype; each name is joined once, as joining costs more than a small kernel. */
function exportsOf<Op extends string>(family: string): (op: Op, dtype: DType) => string {
  const table = new Map<Op, Record<DType, string>>();
  return (op, dtype) => {
    let byType = table.get(op);
    if (byType === undefined) {
      const stem = `${family}${op}`;
      byType = { float32: `${stem}_f32`, float64: `${stem}_f64`, int32: `${stem}_i32`, bool: `${stem}_u8` };
      table.set(op, byType);
    }
    return byType[dtype];
  };
}

const unaryExport = exportsOf<UnaryOp>('unary_');
const binaryExport = exportsOf<BinaryOp>('binary_');
const compareExport = exportsOf<CompareOp>('compare_');
const rowsExport = exportsOf<ReduceOp>('reduce_rows_');
const columnsExport = exportsOf<ReduceOp>('reduce_columns_');
const combineExport = exportsOf<ReduceOp>('reduce_combine_');
const plainExport = exportsOf<
  'fill' | 'uniform' | 'cumsum' | 'scatter_add' | 'argmax' | 'argmin' | 'copy_f32' | 'copy_f64' | 'copy_i32' | 'copy_u8'
>('');

/** Kernels that only move bits exist once per element size. */
const WHERE: Record<DType, string> = { float32: 'where_32', float64: 'where_64', int32: 'where_32', bool: 'where_8' };
const COPY: Record<DType, string> = { float32: 'copy_32', float64: 'copy_64', int32: 'copy_32', bool: 'copy_8' };
const GATHER: Record<DType, string> = { float32: 'gather_32', float64: 'gather_64', int32: 'gather_32', bool: 'gather_8' };
const TRANSPOSE: Record<DType, string> = { float32: 'transpose_32', float64: 'transpose_64', int32: 'transpose_32', bool: 'transpose_8' };
const CONVERT = { float32: 'copy_f32', float64: 'copy_f64', int32: 'copy_i32', bool: 'copy_u8' } as const;

/** About how many nanoseconds an element takes that is copied, added or compared. */
const NANOSECONDS = 0.25;
/** How many times as long a kernel takes that goes from element to element, not by vectors. */
const SCALAR = 5;
/** How many times as long an operation takes, where it takes much longer. */
const COST: Partial<Record<UnaryOp | BinaryOp, number>> & { readonly uniform: number } = {
  exp: 5,
  expm1: 30,
  log: 30,
  log1p: 30,
  sin: 30,
  cos: 30,
  tanh: 8,
  sigmoid: 6,
  erf: 90,
  pow: 90,
  uniform: 20,
};

/** How many indivisible units of `size` elements make a chunk. */
function unitsPerChunk(size: number): number {
  return Math.max(1, Math.floor(CHUNK / size));
}

/**
 * Runs a kernel over a planned nest of `views`, output first; assembly/strided.ts has the layout.
 * @param leading the kernel's own arguments · @param weight elements of work per element of the nest · @param cost see COST
 */
function launchNest(name: string, leading: readonly number[], views: readonly View[], plan: Plan, weight = 1, cost = 1): void {
  const { sizes, strides } = plan;
  const last = sizes.length - 1;
  const length = sizes[last]!;
  const longest = Math.max(1, Math.floor(CHUNK / weight));
  const pieces = length > longest ? Math.ceil(length / longest) : 1;
  const run = pieces > 1 ? longest : length;
  let rows = pieces;
  for (let d = 0; d < last; d++) rows *= sizes[d]!;
  const rowsPerChunk = unitsPerChunk(run * weight);
  // A single row needs a row dim too.
  const cut = pieces > 1 || last === 0;
  const args = leading.slice();
  const bytes: number[] = [];
  for (let k = 0; k < views.length; k++) {
    const v = views[k]!;
    bytes.push(ITEM_SIZE[v.dtype]);
    args.push(addressOf(v));
  }
  args.push(rows, rowsPerChunk, run, length - (pieces - 1) * run, cut ? last + 1 : last);
  for (let k = 0; k < views.length; k++) args.push(strides[k]![last]! * bytes[k]!);
  if (cut) {
    args.push(pieces);
    for (let k = 0; k < views.length; k++) args.push(strides[k]![last]! * bytes[k]! * run);
  }
  for (let d = last - 1; d >= 0; d--) {
    args.push(sizes[d]!);
    for (let k = 0; k < views.length; k++) args.push(strides[k]![d]! * bytes[k]!);
  }
  launch(name, { chunks: Math.ceil(rows / rowsPerChunk), work: rows * run * weight * cost * NANOSECONDS }, ...args);
}

function stridesOf(v: View): readonly number[] {
  return v.strides;
}

function isEmpty(plan: Plan): boolean {
  return plan.sizes.includes(0);
}

/** The arguments of a small call: with those of a tiny one, arrays would take longer than the kernel. */
const small: number[] = [];
const ONE_CHUNK: Split = { chunks: 1, work: 0 };

/**
 * Runs a kernel over at most a chunk of elements, where they lie one after another in each view, or are all the same one; false
 * elsewhere. What it passes is what launchNest would for one row.
 */
function launchSmall(name: string, leading: readonly number[], views: readonly View[]): boolean {
  const { length } = leading;
  const count = views.length;
  let n = 1;
  for (const size of views[0]!.shape) n *= size;
  if (n === 0 || n > CHUNK) return false;
  const strides = length + count + 5;
  // What waits there runs now, as it may need the table too.
  for (const v of views) addressOf(v);
  for (let k = 0; k < count; k++) {
    const v = views[k]!;
    const stride = isRowMajor(v.shape, v.strides) ? ITEM_SIZE[v.dtype] : isOne(v) ? 0 : -1;
    if (stride < 0) return false;
    small[length + k] = addressOf(v);
    small[strides + k] = stride;
    small[strides + count + 1 + k] = stride * n;
  }
  for (let i = 0; i < length; i++) small[i] = leading[i]!;
  small[length + count] = small[strides - 1] = small[strides + count] = 1;
  small[strides - 4] = unitsPerChunk(n);
  small[strides - 3] = small[strides - 2] = n;
  // Setting a length costs, even the same.
  if (small.length !== strides + 2 * count + 1) small.length = strides + 2 * count + 1;
  launch(name, ONE_CHUNK, ...small);
  return true;
}

/** Whether all indices lead to one element. */
function isOne({ shape, strides }: View): boolean {
  for (let d = 0; d < shape.length; d++) if (shape[d] !== 1 && strides[d] !== 0) return false;
  return true;
}

/** Runs a kernel over whole views of one shape, output first. */
function launchViews(name: string, leading: readonly number[], views: readonly View[], cost?: number): void {
  if (launchSmall(name, leading, views)) return;
  const plan = planIteration(views[0]!.shape, views.map(stridesOf));
  if (!isEmpty(plan)) launchNest(name, leading, views, plan, 1, cost);
}

/** Runs a kernel over the lines of `views` along `dim`, one line per element of the nest. */
function launchLines(name: string, leading: readonly number[], views: readonly View[], shape: Shape, dim: number): void {
  const others = shape.filter((_, d) => d !== dim);
  const plan = planIteration(
    others,
    views.map((v) => v.strides.filter((_, d) => d !== dim)),
  );
  const length = lengthOf(shape, dim);
  if (length === 0 || isEmpty(plan)) return;
  launchNest(name, leading, views, plan, length, SCALAR);
}

/** The size of a dim; dim 0 of a 0-d view is one element. */
function lengthOf(shape: Shape, dim: number): number {
  return shape[dim] ?? 1;
}

/** The stride of `v` along `dim` in bytes. */
function byteStride(v: View, dim: number): number {
  return (v.strides[dim] ?? 0) * ITEM_SIZE[v.dtype];
}

/** Copies along the dim that is contiguous in x and the one that is in y, in tiles; false where there are no such two. */
function transpose(x: View, y: View, plan: Plan): boolean {
  const { sizes, strides } = plan;
  const [ys, xs] = strides as [readonly number[], readonly number[]];
  const q = sizes.length - 1;
  const p = xs.indexOf(1);
  if (ys[q] !== 1 || xs[q] === 0 || p < 0 || p === q || sizes[p]! < 4) return false;
  const size = ITEM_SIZE[y.dtype];
  const [tileP, tileQ] = ys[p]! < xs[q]! ? WIDE_TILE : TALL_TILE;
  const strips = Math.ceil(sizes[p]! / tileP);
  const outer: number[] = [];
  let all = strips;
  for (let d = q - 1; d >= 0; d--) {
    if (d === p) continue;
    outer.push(sizes[d]!, ys[d]! * size, xs[d]! * size);
    all *= sizes[d]!;
  }
  const perChunk = unitsPerChunk(tileP * sizes[q]!);
  const shape = [sizes[p]!, sizes[q]!, ys[p]! * size, xs[q]! * size, tileP, tileQ];
  const counts = [strips, all, perChunk, outer.length / 3];
  const split = { chunks: Math.ceil(all / perChunk), work: all * tileP * sizes[q]! * NANOSECONDS };
  launch(TRANSPOSE[y.dtype], split, addressOf(y), addressOf(x), ...shape, ...counts, ...outer);
  return true;
}

/** One loop of a reduction; strides in bytes, sy is 0 where the loop is reduced. */
interface Loop {
  readonly size: number;
  readonly sx: number;
  readonly sy: number;
}

/** The loops of a reduction, innermost first. */
interface ReduceLoops {
  readonly kept: Loop[];
  readonly reduced: Loop[];
  /** Whether the innermost loop over x is a kept one that goes from element to element. */
  readonly columns: boolean;
}

function reduceLoops(x: View, y: View): ReduceLoops {
  const yStrides: number[] = [];
  for (let d = 0; d < x.shape.length; d++) yStrides.push(y.shape[d] === x.shape[d] ? y.strides[d]! : 0);
  const { sizes, strides } = planIteration(x.shape, [x.strides, yStrides]);
  const [xs, ys] = strides as [readonly number[], readonly number[]];
  const bytes = ITEM_SIZE[x.dtype];
  const kept: Loop[] = [];
  const reduced: Loop[] = [];
  const last = sizes.length - 1;
  for (let d = last; d >= 0; d--) (ys[d] === 0 ? reduced : kept).push({ size: sizes[d]!, sx: xs[d]! * bytes, sy: ys[d]! * bytes });
  return { kept, reduced, columns: ys[last] !== 0 && xs[last] === 1 };
}

function countOf(loops: readonly Loop[]): number {
  let n = 1;
  for (const l of loops) n *= l.size;
  return n;
}

/** Adds loops to a kernel's arguments: size, stride in x, and where results are kept stride in y. */
function pushLoops(args: number[], kept: readonly Loop[], reduced: readonly Loop[]): void {
  args.push(kept.length, reduced.length);
  for (const l of kept) args.push(l.size, l.sx, l.sy);
  for (const l of reduced) args.push(l.size, l.sx);
}

/** Each result walks over its own elements; see assembly/reduce.ts. */
function reduceRows(op: ReduceOp, x: View, y: View, { kept, reduced }: ReduceLoops): void {
  const inner = reduced[0]!;
  const pieces = Math.ceil(inner.size / CHUNK);
  const run = Math.min(inner.size, CHUNK);
  const loops = reduced.slice(1);
  if (pieces > 1 || loops.length === 0) loops.unshift({ size: pieces, sx: run * inner.sx, sy: 0 });
  const rows = countOf(loops);
  const results = countOf(kept);
  const whole = results >= ENOUGH_RESULTS || rows * run <= 2 * CHUNK;
  const rowsPerSegment = whole ? rows : unitsPerChunk(run);
  const segments = Math.ceil(rows / rowsPerSegment);
  const units = results * segments;
  const perChunk = unitsPerChunk(rowsPerSegment * run);
  const partials = segments > 1 ? allocate(units * PARTIAL_SIZE[x.dtype]) : null;
  try {
    const out = partials === null ? addressOf(y) : partials.ptr;
    const tail = inner.size - (pieces - 1) * run;
    const args = [addressOf(x), out, units, perChunk, segments, rowsPerSegment, rows, run, tail, loops[0]!.size, inner.sx];
    pushLoops(args, kept, loops);
    launch(rowsExport(op, x.dtype), { chunks: Math.ceil(units / perChunk), work: results * rows * run * NANOSECONDS }, ...args);
    if (partials !== null) combine(op, y, partials.ptr, results, segments, segments, 1, kept);
  } finally {
    partials?.free();
  }
}

/** Contiguous runs of results advance together; see assembly/reduce.ts. */
function reduceColumns(op: ReduceOp, x: View, y: View, { kept, reduced }: ReduceLoops): void {
  const columns = kept[0]!.size;
  const outer = kept.slice(1);
  const pieces = Math.ceil(columns / COLUMNS);
  const width = Math.min(columns, COLUMNS);
  const outerResults = countOf(outer);
  const rows = countOf(reduced);
  const direct = reduced.length === 1 && rows <= BLOCK_ROWS && kept[0]!.sy === ITEM_SIZE[y.dtype];
  const whole = direct || outerResults * pieces >= ENOUGH_RESULTS;
  const rowsPerSegment = whole ? rows : Math.ceil(CHUNK / width / BLOCK_ROWS) * BLOCK_ROWS;
  const segments = Math.ceil(rows / rowsPerSegment);
  const units = segments * outerResults * pieces;
  const perChunk = unitsPerChunk(width * rowsPerSegment);
  const results = outerResults * columns;
  const partials = direct ? null : allocate(segments * results * PARTIAL_SIZE[x.dtype]);
  try {
    const out = partials === null ? addressOf(y) : partials.ptr;
    const args = [
      addressOf(x),
      out,
      columns,
      width,
      pieces,
      outerResults,
      units,
      perChunk,
      rowsPerSegment,
      rows,
      reduced[0]!.size,
      direct ? 1 : 0,
    ];
    pushLoops(args, outer, reduced);
    launch(columnsExport(op, x.dtype), { chunks: Math.ceil(units / perChunk), work: results * rows * NANOSECONDS }, ...args);
    if (partials !== null) combine(op, y, partials.ptr, results, segments, 1, results, kept);
  } finally {
    partials?.free();
  }
}

/** y[r] = the join of partials[r · a + s · b] over the segments s, in order. */
function combine(
  op: ReduceOp,
  y: View,
  partials: number,
  results: number,
  segments: number,
  a: number,
  b: number,
  kept: readonly Loop[],
): void {
  const args = [addressOf(y), partials, results, segments, a, b, kept.length];
  for (const l of kept) args.push(l.size, l.sy);
  launch(combineExport(op, y.dtype), { chunks: Math.ceil(results / RESULTS), work: results * segments * NANOSECONDS }, ...args);
}

export const elementwiseKernels: Pick<
  Kernels,
  'fill' | 'copy' | 'unary' | 'binary' | 'compare' | 'where' | 'reduce' | 'argReduce' | 'cumsum' | 'gather' | 'scatterAdd' | 'uniform'
> = {
  fill(value, y) {
    launchViews(plainExport('fill', y.dtype), [y.dtype === 'bool' ? Number(value !== 0) : value], [y]);
  },

  copy(x, y) {
    const plan = planIteration(y.shape, [y.strides, x.strides]);
    if (isEmpty(plan)) return;
    if (x.dtype !== y.dtype) launchNest(plainExport(CONVERT[x.dtype], y.dtype), [], [y, x], plan);
    else if (!transpose(x, y, plan)) launchNest(COPY[y.dtype], [], [y, x], plan);
  },

  unary(op, x, y) {
    launchViews(unaryExport(op, y.dtype), [], [y, x], COST[op]);
  },

  binary(op, a, b, y) {
    launchViews(binaryExport(op, y.dtype), [], [y, a, b], COST[op]);
  },

  compare(op, a, b, y) {
    launchViews(compareExport(op, a.dtype), [], [y, a, b]);
  },

  where(c, a, b, y) {
    launchViews(WHERE[y.dtype], [], [y, c, a, b]);
  },

  reduce(op, x, y) {
    if (x.shape.includes(0)) return elementwiseKernels.fill(op === 'sum' ? 0 : 1, y);
    const loops = reduceLoops(x, y);
    if (loops.reduced.length === 0) return elementwiseKernels.copy(x, y);
    (loops.columns ? reduceColumns : reduceRows)(op, x, y, loops);
  },

  argReduce(op, x, dim, y) {
    launchLines(plainExport(op, x.dtype), [lengthOf(x.shape, dim), byteStride(x, dim)], [y, x], x.shape, dim);
  },

  cumsum(x, dim, y) {
    launchLines(plainExport('cumsum', y.dtype), [lengthOf(x.shape, dim), byteStride(y, dim), byteStride(x, dim)], [y, x], x.shape, dim);
  },

  gather(x, dim, index, y) {
    const plan = planIteration(y.shape, [y.strides, index.strides, x.strides.map((s, d) => (d === dim ? 0 : s))]);
    if (isEmpty(plan)) return;
    launchNest(GATHER[y.dtype], [byteStride(x, dim)], [y, index, x], plan, 1, SCALAR);
  },

  scatterAdd(x, dim, index, y) {
    const sx = byteStride(x, dim);
    // The innermost loop is over the dim unless another dim lies closer in memory.
    const linesInner = x.shape.every((n, d) => d === dim || n === 1 || byteStride(x, d) === 0 || sx <= byteStride(x, d));
    const leading = [lengthOf(index.shape, dim), byteStride(index, dim), sx, byteStride(y, dim), linesInner ? 1 : 0];
    launchLines(plainExport('scatter_add', y.dtype), leading, [x, index, y], index.shape, dim);
  },

  uniform(key, stream, y) {
    const n = sizeOf(y.shape);
    const split = { chunks: Math.ceil(n / CHUNK), work: n * COST.uniform * NANOSECONDS };
    launch(plainExport('uniform', y.dtype), split, addressOf(y), n, key[0] | 0, key[1] | 0, stream | 0);
  },
};
