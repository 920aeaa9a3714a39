/**
 * Pooling kernels: computes the windows and launches assembly/pool/.
 */
import { sizeOf } from '../../core/shape.ts';
import type { Kernels, PoolParams } from '../interface.ts';
import { adaptiveWindows, averageWindows, type Span, type Windows } from '../pool-windows.ts';
import type { View } from '../view.ts';
import {
  BYTES,
  type ColumnRun,
  type CoveringWindows,
  type ImageStrides,
  type MaxPoolArgs,
  writeColumnRun,
  writeCoveringWindows,
  writeWindowSpan,
} from './arguments.generated.ts';
import { launch, type Split } from './launch.ts';
import { storeRecords } from './tables.ts';
import { suffix, withWorkspaces } from './workspace.ts';

type Pooling = 'maxPool2d' | 'maxPool2dGrad' | 'avgPool2d' | 'avgPool2dGrad' | 'adaptiveAvgPool2d' | 'adaptiveAvgPool2dGrad';

/** An estimate of the nanoseconds per element of a window. */
const NANOSECONDS_PER_TAP = 0.25;

function strides(v: View): ImageStrides {
  const [n, c, h, w] = v.strides as [number, number, number, number];
  return { n, c, h, w };
}

/** Returns, for each of n positions, the windows that cover it. They are one range, as starts and ends are sorted. */
function coveringWindows(spans: readonly Span[], n: number): CoveringWindows[] {
  let first = 0;
  let end = 0;
  return Array.from({ length: n }, (_, i) => {
    while (first < spans.length && spans[first]!.end <= i) first++;
    while (end < spans.length && spans[end]!.first <= i) end++;
    return { first, end };
  });
}

/** Returns the runs of positions that are covered by the same windows. */
function columnRunsOf(spans: readonly Span[], n: number): ColumnRun[] {
  const runs: { start: number; stop: number; first: number; end: number }[] = [];
  coveringWindows(spans, n).forEach(({ first, end }, i) => {
    const last = runs.at(-1);
    if (last?.first === first && last.end === end) last.stop = i + 1;
    else runs.push({ start: i, stop: i + 1, first, end });
  });
  return runs;
}

/** The split of N images of C channels: one chunk per row of the result. */
function splitOf(N: number, C: number, rows: number, w: Windows): Split {
  const coveredBy = (spans: readonly Span[]): number => spans.reduce((n, s) => n + s.end - s.first, 0);
  return { chunks: N * rows, work: N * C * coveredBy(w.rows) * coveredBy(w.columns) * NANOSECONDS_PER_TAP };
}

function average(x: View, y: View, w: Windows): void {
  const [N, C, OH, OW] = y.shape as [number, number, number, number];
  withWorkspaces((workspace) => {
    launch(`averagePool${suffix(x)}`, splitOf(N, C, OH, w), {
      x,
      y,
      rows: storeRecords(writeWindowSpan, BYTES.WindowSpan, w.rows, workspace),
      columns: storeRecords(writeWindowSpan, BYTES.WindowSpan, w.columns, workspace),
      divisor: w.divisor,
      C,
      OH,
      OW,
      xStrides: strides(x),
      yStrides: strides(y),
    });
  });
}

function averageGrad(g: View, dx: View, w: Windows): void {
  const [N, C, H, W] = dx.shape as [number, number, number, number];
  const columnRuns = columnRunsOf(w.columns, W);
  withWorkspaces((workspace) => {
    launch(`averagePoolGrad${suffix(g)}`, splitOf(N, C, H, w), {
      g,
      dx,
      rows: storeRecords(writeWindowSpan, BYTES.WindowSpan, w.rows, workspace),
      columns: storeRecords(writeWindowSpan, BYTES.WindowSpan, w.columns, workspace),
      rowWindows: storeRecords(writeCoveringWindows, BYTES.CoveringWindows, coveringWindows(w.rows, H), workspace),
      columnRuns: storeRecords(writeColumnRun, BYTES.ColumnRun, columnRuns, workspace),
      columnRunCount: columnRuns.length,
      divisor: w.divisor,
      C,
      H,
      gStrides: strides(g),
      dxStrides: strides(dx),
    });
  });
}

/** Returns the arguments that describe a max pool: x are the images or their gradient, y the results or their gradient. */
function maxPoolArgs(x: View, y: View, index: View, p: PoolParams): MaxPoolArgs {
  const [, C, H, W] = x.shape as [number, number, number, number];
  const [, , OH, OW] = y.shape as [number, number, number, number];
  const [KH, KW] = p.kernel;
  const [strideH, strideW] = p.stride;
  const [paddingH, paddingW] = p.padding;
  const [dilationH, dilationW] = p.dilation;
  const windows = { KH, KW, strideH, strideW, paddingH, paddingW, dilationH, dilationW };
  return { C, H, W, OH, OW, ...windows, xStrides: strides(x), yStrides: strides(y), indexStrides: strides(index) };
}

/** The split of max pooling: one chunk per row of `out`, which is y in the forward kernel and dx in its adjoint. */
function maxPoolSplit(x: View, y: View, p: PoolParams, out: View): Split {
  return { chunks: x.shape[0]! * out.shape[2]!, work: sizeOf(y.shape) * p.kernel[0] * p.kernel[1] * NANOSECONDS_PER_TAP };
}

export const poolingKernels: Pick<Kernels, Pooling> = {
  maxPool2d(x, y, index, p) {
    launch(`maxPool2d${suffix(x)}`, maxPoolSplit(x, y, p, y), { x, y, index, ...maxPoolArgs(x, y, index, p) });
  },

  maxPool2dGrad(g, index, dx, p) {
    launch(`maxPool2dGrad${suffix(dx)}`, maxPoolSplit(dx, g, p, dx), { g, index, dx, ...maxPoolArgs(dx, g, index, p) });
  },

  avgPool2d(x, y, p) {
    average(x, y, averageWindows(x.shape, y.shape, p));
  },

  avgPool2dGrad(g, dx, p) {
    averageGrad(g, dx, averageWindows(dx.shape, g.shape, p));
  },

  adaptiveAvgPool2d(x, y) {
    average(x, y, adaptiveWindows(x.shape, y.shape));
  },

  adaptiveAvgPool2dGrad(g, dx) {
    averageGrad(g, dx, adaptiveWindows(dx.shape, g.shape));
  },
};
