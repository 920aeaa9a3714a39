/**
 * Elementwise kernels and copies.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { planIteration, type Plan } from '../../core/iteration-plan.ts';
import type { BinaryOp, CompareOp, Kernels, UnaryOp } from '../interface.ts';
import type { View } from '../view.ts';
import type { TransposeLoop } from './arguments.generated.ts';
import { exportsOf } from './export-names.ts';
import { isEmpty, launchNest, launchViews, NEST } from './launch-nest.ts';
import { launch } from './launch.ts';
import { partsPerChunk, NANOSECONDS_PER_ELEMENT } from './work-estimates.ts';

/**
 * Rows × columns of the blocks of a transpose; see assembly/elementwise/copy.ts. A block has few lines of the operand whose lines lie
 * further apart: columns of y are lines of x.
 */
const FEW_COLUMNS = [64, 16] as const;
const FEW_ROWS = [8, 32] as const;

const unaryExport = exportsOf<'unary_', UnaryOp>('unary_');
const binaryExport = exportsOf<'binary_', BinaryOp>('binary_');
const compareExport = exportsOf<'compare_', CompareOp>('compare_');
const fillExport = exportsOf<'', 'fill'>('');
const convertExport = exportsOf<'copy_', 'f32' | 'f64' | 'i32' | 'u8'>('copy_');

/** Kernels that only copy bits exist once per element size. */
const WHERE = { float32: 'where_32', float64: 'where_64', int32: 'where_32', bool: 'where_8' } as const;
const COPY = { float32: 'copy_32', float64: 'copy_64', int32: 'copy_32', bool: 'copy_8' } as const;
const TRANSPOSE = { float32: 'transpose_32', float64: 'transpose_64', int32: 'transpose_32', bool: 'transpose_8' } as const;
const TYPE = { float32: 'f32', float64: 'f64', int32: 'i32', bool: 'u8' } as const;

/** The cost of an operation as a multiple of an addition's, if it is much higher. */
const COST: Partial<Record<UnaryOp | BinaryOp, number>> = {
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
};

/** Copies in blocks if x and y are contiguous along different dims, p and q. Returns false if they are not. */
function transpose(x: View, y: View, plan: Plan): boolean {
  const { sizes, strides } = plan;
  const [ys, xs] = strides as [readonly number[], readonly number[]];
  const q = sizes.length - 1;
  const p = xs.indexOf(1);
  if (ys[q] !== 1 || xs[q] === 0 || p < 0 || p === q || sizes[p]! < 4) return false;
  const size = ITEM_SIZE[y.dtype];
  const [blockP, blockQ] = ys[p]! < xs[q]! ? FEW_COLUMNS : FEW_ROWS;
  const strips = Math.ceil(sizes[p]! / blockP);
  const loops: TransposeLoop[] = [];
  let allStrips = strips;
  for (let d = q - 1; d >= 0; d--) {
    if (d === p) continue;
    loops.push({ size: sizes[d]!, yStride: ys[d]! * size, xStride: xs[d]! * size });
    allStrips *= sizes[d]!;
  }
  const stripsPerChunk = partsPerChunk(blockP * sizes[q]!);
  const split = { chunks: Math.ceil(allStrips / stripsPerChunk), work: allStrips * blockP * sizes[q]! * NANOSECONDS_PER_ELEMENT };
  launch(TRANSPOSE[y.dtype], split, {
    y,
    x,
    P: sizes[p]!,
    Q: sizes[q]!,
    yStride: ys[p]! * size,
    xStride: xs[q]! * size,
    blockP,
    blockQ,
    strips,
    allStrips,
    stripsPerChunk,
    loopCount: loops.length,
    loops,
  });
  return true;
}

export const elementwiseKernels: Pick<Kernels, 'fill' | 'copy' | 'unary' | 'binary' | 'compare' | 'where'> = {
  fill(value, y) {
    const stored = y.dtype === 'bool' ? Number(value !== 0) : value;
    launchViews(fillExport('fill', y.dtype), { value: stored, nest: NEST }, [y]);
  },

  copy(x, y) {
    const plan = planIteration(y.shape, [y.strides, x.strides]);
    if (isEmpty(plan)) return;
    if (x.dtype !== y.dtype) launchNest(convertExport(TYPE[x.dtype], y.dtype), null, [y, x], plan);
    else if (!transpose(x, y, plan)) launchNest(COPY[y.dtype], null, [y, x], plan);
  },

  unary(op, x, y) {
    launchViews(unaryExport(op, y.dtype), null, [y, x], COST[op]);
  },

  binary(op, a, b, y) {
    launchViews(binaryExport(op, y.dtype), null, [y, a, b], COST[op]);
  },

  compare(op, a, b, y) {
    launchViews(compareExport(op, a.dtype), null, [y, a, b]);
  },

  where(c, a, b, y) {
    launchViews(WHERE[y.dtype], null, [y, c, a, b]);
  },
};
