/**
 * Sums, products, maxima and minima: chooses between reduction by rows and by columns, and divides long reductions into segments; see
 * assembly/reduce/reduce.ts.
 */
import { ITEM_SIZE, type DType } from '../../core/dtype.ts';
import { planIteration } from '../../core/iteration-plan.ts';
import { BLOCK_ROWS, COMBINED_RESULTS } from '../assembly/constants.ts';
import type { Kernels, ReduceOp } from '../interface.ts';
import { allocate } from '../memory/allocator.ts';
import type { View } from '../view.ts';
import type { CombineArgs, KeptLoop, ReducedLoop } from './arguments.generated.ts';
import { elementwiseKernels } from './elementwise.ts';
import { exportsOf } from './export-names.ts';
import { launch } from './launch.ts';
import { CHUNK_ELEMENTS, partsPerChunk, NANOSECONDS_PER_ELEMENT } from './work-estimates.ts';

/** The most columns in one piece of a reduction by columns. */
const MOST_COLUMNS = 2048;
/** A reduction with at least this many independent results is not divided into segments. */
const ENOUGH_RESULTS = 32;

/** Bytes of a partial result: float64 for floats, int32 for int32 and bool. */
const PARTIAL_SIZE: Record<DType, number> = { float32: 8, float64: 8, int32: 4, bool: 4 };

const rowsExport = exportsOf<'reduce_rows_', ReduceOp>('reduce_rows_');
const columnsExport = exportsOf<'reduce_columns_', ReduceOp>('reduce_columns_');
const combineExport = exportsOf<'reduce_combine_', ReduceOp>('reduce_combine_');

/** The loops of a reduction, innermost first. */
interface ReduceLoops {
  readonly kept: KeptLoop[];
  readonly reduced: ReducedLoop[];
  /** Whether the innermost loop is a kept one over contiguous elements of x. */
  readonly columns: boolean;
}

function reduceLoops(x: View, y: View): ReduceLoops {
  const yStrides: number[] = [];
  for (let d = 0; d < x.shape.length; d++) yStrides.push(y.shape[d] === x.shape[d] ? y.strides[d]! : 0);
  const { sizes, strides } = planIteration(x.shape, [x.strides, yStrides]);
  const [xs, ys] = strides as [readonly number[], readonly number[]];
  const bytes = ITEM_SIZE[x.dtype];
  const kept: KeptLoop[] = [];
  const reduced: ReducedLoop[] = [];
  const last = sizes.length - 1;
  for (let d = last; d >= 0; d--) {
    const loop = { size: sizes[d]!, xStride: xs[d]! * bytes, yStride: ys[d]! * bytes };
    if (ys[d] === 0) reduced.push(loop);
    else kept.push(loop);
  }
  return { kept, reduced, columns: ys[last] !== 0 && xs[last] === 1 };
}

function countOf(loops: readonly ReducedLoop[]): number {
  let n = 1;
  for (const l of loops) n *= l.size;
  return n;
}

/** Computes each result from its own elements, row by row. */
function reduceRows(op: ReduceOp, x: View, y: View, { kept, reduced: all }: ReduceLoops): void {
  const inner = all[0]!;
  const pieces = Math.ceil(inner.size / CHUNK_ELEMENTS);
  const run = Math.min(inner.size, CHUNK_ELEMENTS);
  const reduced = all.slice(1);
  if (pieces > 1 || reduced.length === 0) reduced.unshift({ size: pieces, xStride: run * inner.xStride });
  const rows = countOf(reduced);
  const results = countOf(kept);
  const whole = results >= ENOUGH_RESULTS || rows * run <= 2 * CHUNK_ELEMENTS;
  const rowsPerSegment = whole ? rows : partsPerChunk(run);
  const segments = Math.ceil(rows / rowsPerSegment);
  const tasks = results * segments;
  const tasksPerChunk = partsPerChunk(rowsPerSegment * run);
  const partials = segments > 1 ? allocate(tasks * PARTIAL_SIZE[x.dtype]) : null;
  const split = { chunks: Math.ceil(tasks / tasksPerChunk), work: results * rows * run * NANOSECONDS_PER_ELEMENT };
  try {
    launch(rowsExport(op, x.dtype), split, {
      x,
      y: partials === null ? y : null,
      partials: partials?.ptr ?? 0,
      tasks,
      tasksPerChunk,
      rowsPerSegment,
      rows,
      keptCount: kept.length,
      reducedCount: reduced.length,
      kept,
      reduced,
      segments,
      run,
      tail: inner.size - (pieces - 1) * run,
      runStride: inner.xStride,
    });
    if (partials !== null) combine(op, y, { partials: partials.ptr, results, segments, resultStride: segments, segmentStride: 1 }, kept);
  } finally {
    partials?.free();
  }
}

/** Computes contiguous runs of results together. */
function reduceColumns(op: ReduceOp, x: View, y: View, { kept, reduced }: ReduceLoops): void {
  const columns = kept[0]!.size;
  const outer = kept.slice(1);
  const pieces = Math.ceil(columns / MOST_COLUMNS);
  const width = Math.min(columns, MOST_COLUMNS);
  const outerResults = countOf(outer);
  const rows = countOf(reduced);
  const direct = reduced.length === 1 && rows <= BLOCK_ROWS && kept[0]!.yStride === ITEM_SIZE[y.dtype];
  const whole = direct || outerResults * pieces >= ENOUGH_RESULTS;
  const rowsPerSegment = whole ? rows : Math.ceil(CHUNK_ELEMENTS / width / BLOCK_ROWS) * BLOCK_ROWS;
  const segments = Math.ceil(rows / rowsPerSegment);
  const tasks = segments * outerResults * pieces;
  const tasksPerChunk = partsPerChunk(width * rowsPerSegment);
  const results = outerResults * columns;
  const partials = direct ? null : allocate(segments * results * PARTIAL_SIZE[x.dtype]);
  const split = { chunks: Math.ceil(tasks / tasksPerChunk), work: results * rows * NANOSECONDS_PER_ELEMENT };
  try {
    launch(columnsExport(op, x.dtype), split, {
      x,
      y: direct ? y : null,
      partials: partials?.ptr ?? 0,
      tasks,
      tasksPerChunk,
      rowsPerSegment,
      rows,
      keptCount: outer.length,
      reducedCount: reduced.length,
      kept: outer,
      reduced,
      columns,
      columnsPerPiece: width,
      pieces,
      outerResults,
      direct,
    });
    if (partials !== null) combine(op, y, { partials: partials.ptr, results, segments, resultStride: 1, segmentStride: results }, kept);
  } finally {
    partials?.free();
  }
}

/** Combines partial results in the order of their segments, and writes y. */
function combine(op: ReduceOp, y: View, sums: Omit<CombineArgs, 'y' | 'loopCount' | 'loops'>, kept: readonly KeptLoop[]): void {
  const { partials, results, segments, resultStride, segmentStride } = sums;
  const split = { chunks: Math.ceil(results / COMBINED_RESULTS), work: results * segments * NANOSECONDS_PER_ELEMENT };
  launch(combineExport(op, y.dtype), split, {
    y,
    partials,
    results,
    segments,
    resultStride,
    segmentStride,
    loopCount: kept.length,
    loops: kept,
  });
}

export const reductionKernels: Pick<Kernels, 'reduce'> = {
  reduce(op, x, y) {
    if (x.shape.includes(0)) return elementwiseKernels.fill(op === 'sum' ? 0 : 1, y);
    const loops = reduceLoops(x, y);
    if (loops.reduced.length === 0) return elementwiseKernels.copy(x, y);
    if (loops.columns) reduceColumns(op, x, y, loops);
    else reduceRows(op, x, y, loops);
  },
};
