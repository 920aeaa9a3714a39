/**
 * Optimizer kernels: one launch over a table of parameters; see assembly/optimizers.ts.
 */
import { isDense, sizeOf } from '../../core/shape.ts';
import type { AdamEntry, BlendEntry, OptimizerKernels, SgdEntry } from '../interface.ts';
import { memoryViews, type MemoryViews } from '../memory/wasm-memory.ts';
import { optimizers as reference } from '../reference/optimizers.ts';
import { pow } from '../scalars.ts';
import type { View } from '../view.ts';
import {
  type AdamRow,
  BYTES,
  type SgdRow,
  type TableRow,
  writeAdamRow,
  writeBlendRow,
  writeSgdRow,
  writeSumSquaresRow,
} from './arguments.generated.ts';
import { launch } from './launch.ts';
import { float64Bytes, NANOSECONDS_PER_ELEMENT } from './work-estimates.ts';
import { divideUp, suffix, withWorkspaces } from './workspace.ts';

/** Elements that one chunk updates. */
const ELEMENTS_PER_CHUNK = 16384;
/** Estimated nanoseconds per element of an update with a square root and a division. */
const NANOSECONDS_PER_ROOT = 1;

/** Describes how a kernel's table is made from entries. */
interface TableOf<Entry, Row extends TableRow> {
  readonly kernel: 'sgd' | 'adam' | 'sumSquares' | 'blend';
  readonly nanoseconds: number;
  /** Bytes of a row, and the function that stores one. */
  readonly bytes: number;
  readonly write: (row: Row, at: number, views: MemoryViews) => void;
  /** The tensors of an entry. The first one determines dtype and size. */
  readonly views: (entry: Entry) => readonly [View, ...(View | null)[]];
  readonly rowOf: (entry: Entry, start: TableRow) => Row;
}

/** Returns whether the views are dense and have one memory order, so that kernels can treat them as flat arrays. */
function areFlat([main, ...others]: readonly [View, ...(View | null)[]]): boolean {
  const hasSameOrder = (v: View | null): boolean => {
    if (v === null) return true;
    return v.strides.every((s, d) => s === main.strides[d] || main.shape[d] === 1);
  };
  return isDense(main.shape, main.strides) && others.every(hasSameOrder);
}

/** Runs a kernel over a table of the entries. Allocates the tables of both dtypes before the kernel writes anything. */
function launchTable<Entry, Row extends TableRow>(table: TableOf<Entry, Row>, entries: readonly Entry[]): void {
  const { kernel, nanoseconds, bytes, write, views, rowOf } = table;
  withWorkspaces((workspace) => {
    let address = workspace(entries.length * bytes).ptr;
    for (const type of ['_f32', '_f64'] as const) {
      const own = entries.filter((e) => suffix(views(e)[0]) === type && sizeOf(views(e)[0].shape) > 0);
      if (own.length === 0) continue;
      const start = address;
      let chunks = 0;
      let elements = 0;
      for (const entry of own) {
        const n = sizeOf(views(entry)[0].shape);
        write(rowOf(entry, { elements: n, firstChunk: chunks }), address, memoryViews());
        address += bytes;
        chunks += divideUp(n, ELEMENTS_PER_CHUNK);
        elements += n;
      }
      const args = { table: start, rows: own.length, elementsPerChunk: ELEMENTS_PER_CHUNK };
      launch(`${kernel}${type}`, { chunks, work: elements * nanoseconds }, args);
    }
  });
}

/** Runs a kernel over the flat entries, and the reference implementation over the others. Mixed memory orders are legal but rare. */
function run<Entry, Row extends TableRow>(
  table: TableOf<Entry, Row>,
  entries: readonly Entry[],
  runReference: (others: Entry[]) => void,
): void {
  const flat: Entry[] = [];
  const others: Entry[] = [];
  for (const e of entries) {
    if (areFlat(table.views(e))) flat.push(e);
    else others.push(e);
  }
  launchTable(table, flat);
  if (others.length > 0) runReference(others);
}

const sgdTable: TableOf<SgdEntry, SgdRow> = {
  kernel: 'sgd',
  nanoseconds: NANOSECONDS_PER_ELEMENT,
  bytes: BYTES.SgdRow,
  write: writeSgdRow,
  views: ({ param, grad, velocity }) => [param, grad, velocity],
  rowOf: ({ param, grad, velocity, first, options }, start) => ({
    elements: start.elements,
    firstChunk: start.firstChunk,
    param,
    grad,
    velocity,
    isFirst: first,
    nesterov: options.nesterov,
    maximize: options.maximize,
    lr: options.lr,
    momentum: options.momentum,
    dampening: options.dampening,
    weightDecay: options.weightDecay,
  }),
};

const adamTable: TableOf<AdamEntry, AdamRow> = {
  kernel: 'adam',
  nanoseconds: NANOSECONDS_PER_ROOT,
  bytes: BYTES.AdamRow,
  write: writeAdamRow,
  views: ({ param, grad, expAvg, expAvgSq, maxExpAvgSq }) => [param, grad, expAvg, expAvgSq, maxExpAvgSq],
  rowOf: ({ param, grad, expAvg, expAvgSq, maxExpAvgSq, step, options }, start) => {
    const { lr, betas, eps, weightDecay, decoupled, maximize } = options;
    const [beta1, beta2] = betas;
    return {
      elements: start.elements,
      firstChunk: start.firstChunk,
      param,
      grad,
      expAvg,
      expAvgSq,
      maxExpAvgSq,
      maximize,
      stepSize: lr / (1 - pow(beta1, step)),
      rootFactor: 1 / Math.sqrt(1 - pow(beta2, step)),
      beta1,
      beta2,
      eps,
      gradDecay: decoupled ? 0 : weightDecay,
      keep: decoupled ? 1 - lr * weightDecay : 1,
    };
  },
};

const blendTable: TableOf<BlendEntry, TableRow & BlendEntry> = {
  kernel: 'blend',
  nanoseconds: NANOSECONDS_PER_ELEMENT,
  bytes: BYTES.BlendRow,
  write: writeBlendRow,
  views: ({ x, y }) => [x, y],
  rowOf: ({ x, y, keep, take }, { elements, firstChunk }) => ({ elements, firstChunk, x, y, keep, take }),
};

/** Returns Σ x² over all views. The kernel writes partial sums, which are added in order. */
function sumSquares(views: readonly View[]): number {
  const chunks = views.reduce((n, v) => n + divideUp(sizeOf(v.shape), ELEMENTS_PER_CHUNK), 0);
  let sum = 0;
  withWorkspaces((workspace) => {
    const partials = workspace(float64Bytes(chunks)).ptr;
    let end = partials;
    const table: TableOf<View, Parameters<typeof writeSumSquaresRow>[0]> = {
      kernel: 'sumSquares',
      nanoseconds: NANOSECONDS_PER_ELEMENT,
      bytes: BYTES.SumSquaresRow,
      write: writeSumSquaresRow,
      views: (v) => [v],
      rowOf: (x, start) => {
        const own = end;
        end += float64Bytes(divideUp(start.elements, ELEMENTS_PER_CHUNK));
        return { elements: start.elements, firstChunk: start.firstChunk, x, partials: own };
      },
    };
    run(table, views, (others) => {
      sum = reference.sumSquares(others);
    });
    for (const s of memoryViews().f64.subarray(partials / 8, end / 8)) sum += s;
  });
  return sum;
}

export const optimizerKernels: OptimizerKernels = {
  sgd: (entries) => run(sgdTable, entries, reference.sgd),
  adam: (entries) => run(adamTable, entries, reference.adam),
  sumSquares,
  blend: (entries) => run(blendTable, entries, reference.blend),
};
