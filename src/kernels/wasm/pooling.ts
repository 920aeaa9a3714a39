/**
 * Arguments of the WebAssembly pooling kernels; see assembly/pool-max.ts and its neighbours.
 */
import { sizeOf } from '../../core/shape.ts';
import type { Kernels, PoolParams } from '../interface.ts';
import { launchSlots, type Split } from './launch.ts';
import { allocate } from '../memory/allocator.ts';
import { memoryViews } from '../memory/wasm-memory.ts';
import { adaptiveWindows, averageWindows, type Span, type Windows } from '../pool-windows.ts';
import { addressOf, type View } from '../view.ts';

type Pooling = 'maxPool2d' | 'maxPool2dGrad' | 'avgPool2d' | 'avgPool2dGrad' | 'adaptiveAvgPool2d' | 'adaptiveAvgPool2dGrad';

/** About how many nanoseconds an element of a window takes. */
const NANOSECONDS = 0.25;

function suffix(v: View): string {
  return v.dtype === 'float64' ? '_f64' : '_f32';
}

/** Writes lists of int32 one after another to a workspace and calls `run` with their addresses. */
function withTables(tables: readonly (readonly number[])[], run: (addresses: number[]) => void): void {
  const block = allocate(tables.reduce((n, t) => n + t.length, 0) * 4);
  try {
    const { i32 } = memoryViews();
    let at = block.ptr;
    const addresses = tables.map((t) => {
      i32.set(t, at / 4);
      at += t.length * 4;
      return at - t.length * 4;
    });
    run(addresses);
  } finally {
    block.free();
  }
}

function spanTable(spans: readonly Span[]): number[] {
  return spans.flatMap((s) => [s.first, s.end, s.size]);
}

/** For each of n positions the windows that cover it: starts and ends are sorted, so they are one range [first, end). */
function covers(spans: readonly Span[], n: number): [number, number][] {
  let first = 0;
  let end = 0;
  return Array.from({ length: n }, (_, i) => {
    while (first < spans.length && spans[first]!.end <= i) first++;
    while (end < spans.length && spans[end]!.first <= i) end++;
    return [first, end];
  });
}

/** The runs of positions that the same windows cover: first position, end, first window, end. */
function runTable(spans: readonly Span[], n: number): number[] {
  const table: number[] = [];
  covers(spans, n).forEach(([first, end], i) => {
    const last = table.length - 4;
    if (last >= 0 && table[last + 2] === first && table[last + 3] === end) table[last + 1] = i + 1;
    else table.push(i, i + 1, first, end);
  });
  return table;
}

/** How N images of C channels split, a row of the result a chunk. */
function splitOf(N: number, C: number, rows: number, w: Windows): Split {
  const covered = (spans: readonly Span[]): number => spans.reduce((n, s) => n + s.end - s.first, 0);
  return { chunks: N * rows, work: N * C * covered(w.rows) * covered(w.columns) * NANOSECONDS };
}

function average(x: View, y: View, w: Windows): void {
  const [N, C, OH, OW] = y.shape as [number, number, number, number];
  withTables([spanTable(w.rows), spanTable(w.columns)], (spans) => {
    const geometry = [...spans, w.divisor, C, OH, OW, ...x.strides, ...y.strides];
    launchSlots(`averagePool${suffix(x)}`, splitOf(N, C, OH, w), addressOf(x), addressOf(y), ...geometry);
  });
}

function averageGrad(g: View, dx: View, w: Windows): void {
  const [N, C, H, W] = dx.shape as [number, number, number, number];
  const runs = runTable(w.columns, W);
  withTables([spanTable(w.rows), spanTable(w.columns), covers(w.rows, H).flat(), runs], (tables) => {
    const geometry = [...tables, runs.length / 4, w.divisor, C, H, ...g.strides, ...dx.strides];
    launchSlots(`averagePoolGrad${suffix(g)}`, splitOf(N, C, H, w), addressOf(g), addressOf(dx), ...geometry);
  });
}

/** Max pooling over images x with windows y, or its adjoint: both take three views and one geometry; chunks are rows of `out`. */
function maximum(name: string, views: readonly View[], x: View, y: View, p: PoolParams, out: View): void {
  const sizes = [x.shape[1]!, x.shape[2]!, x.shape[3]!, y.shape[2]!, y.shape[3]!];
  const geometry = [...p.kernel, ...p.stride, ...p.padding, ...p.dilation];
  const split = { chunks: x.shape[0]! * out.shape[2]!, work: sizeOf(y.shape) * p.kernel[0] * p.kernel[1] * NANOSECONDS };
  launchSlots(name + suffix(x), split, ...views.map(addressOf), ...sizes, ...geometry, ...views.flatMap((v) => v.strides));
}

export const poolingKernels: Pick<Kernels, Pooling> = {
  maxPool2d(x, y, index, p) {
    maximum('maxPool2d', [x, y, index], x, y, p, y);
  },

  maxPool2dGrad(g, index, dx, p) {
    maximum('maxPool2dGrad', [g, index, dx], dx, g, p, dx);
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
