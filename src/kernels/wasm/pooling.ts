/**
 * Pooling kernels: describes windows and launches assembly/pool/.
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
import { storeRecords } from './records.ts';
import { suffix, withWorkspaces } from './workspace.ts';

type Pooling = 'maxPool2d' | 'maxPool2dGrad' | 'avgPool2d' | 'avgPool2dGrad' | 'adaptiveAvgPool2d' | 'adaptiveAvgPool2dGrad';

/** About how many nanoseconds an element of a window takes. */
const NANOSECONDS = 0.25;

function strides(v: View): ImageStrides {
  const [n, c, h, w] = v.strides as [number, number, number, number];
  return { n, c, h, w };
}

/** For each of n positions the windows that cover it: starts and ends are sorted, so they are one range. */
function coveringWindows(spans: readonly Span[], n: number): CoveringWindows[] {
  let first = 0;
  let end = 0;
  return Array.from({ length: n }, (_, i) => {
    while (first < spans.length && spans[first]!.end <= i) first++;
    while (end < spans.length && spans[end]!.first <= i) end++;
    return { first, end };
  });
}

/** The runs of positions that the same windows cover. */
function columnRunsOf(spans: readonly Span[], n: number): ColumnRun[] {
  const runs: { start: number; stop: number; first: number; end: number }[] = [];
  coveringWindows(spans, n).forEach(({ first, end }, i) => {
    const last = runs.at(-1);
    if (last?.first === first && last.end === end) last.stop = i + 1;
    else runs.push({ start: i, stop: i + 1, first, end });
  });
  return runs;
}

/** How N images of C channels split, a row of the result a chunk. */
function splitOf(N: number, C: number, rows: number, w: Windows): Split {
  const covered = (spans: readonly Span[]): number => spans.reduce((n, s) => n + s.end - s.first, 0);
  return { chunks: N * rows, work: N * C * covered(w.rows) * covered(w.columns) * NANOSECONDS };
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

/** The geometry of max pooling: images x (or their gradient), windows y (or theirs). */
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

/** A chunk is a row of `out`: of y in the forward kernel, of dx in its adjoint. */
function maxPoolSplit(x: View, y: View, p: PoolParams, out: View): Split {
  return { chunks: x.shape[0]! * out.shape[2]!, work: sizeOf(y.shape) * p.kernel[0] * p.kernel[1] * NANOSECONDS };
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
