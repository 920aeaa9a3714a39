/**
 * Arguments of the WebAssembly kernels of optimizers; see assembly/optim.ts.
 */
import { isDense, sizeOf } from '../../core/shape.ts';
import type { AdamEntry, OptimizerKernels, SgdEntry } from '../interface.ts';
import { launchSlots } from './launch.ts';
import { memoryViews } from '../memory/wasm-memory.ts';
import { optimizers as reference } from '../reference/optimizers.ts';
import { addressOf, type View } from '../view.ts';
import { divideUp, suffix, withWorkspaces } from './workspace.ts';

/** Elements a chunk of an update has. */
const UPDATE_CHUNK = 16384;
/** About how many nanoseconds an element takes in a pass over memory, and where it takes a root and a division. */
const PASS = 0.25;
const ROOT = 1;

/** One parameter in a kernel's table: its views, the parameter's own or its gradient first, and numbers. */
interface Row {
  readonly views: readonly [View, ...(View | null)[]];
  readonly numbers: readonly number[];
}

/** Whether the views are dense in one memory order, so that they are flat arrays to a kernel. */
function isFlat([main, ...others]: Row['views']): boolean {
  const alike = (v: View | null): boolean => v === null || v.strides.every((s, d) => s === main.strides[d] || main.shape[d] === 1);
  return isDense(main.shape, main.strides) && others.every(alike);
}

/** Runs a kernel over rows of one width and any dtypes. Memory for the whole table is taken before anything is written. */
function launchRows(kernel: string, rows: readonly Row[], nanoseconds: number): void {
  const kinds = ['_f32', '_f64'].map((s) => rows.filter(({ views: [v] }) => suffix(v) === s && sizeOf(v.shape) > 0));
  const width = 2 + (rows[0]?.views.length ?? 0) + (rows[0]?.numbers.length ?? 0);
  withWorkspaces((workspace) => {
    let table = workspace(rows.length * width * 8).ptr;
    for (const own of kinds) {
      if (own.length === 0) continue;
      const { f64 } = memoryViews();
      let [at, chunks, elements] = [table / 8, 0, 0];
      for (const { views, numbers } of own) {
        const n = sizeOf(views[0].shape);
        f64[at++] = n;
        f64[at++] = chunks;
        for (const v of views) f64[at++] = v === null ? 0 : addressOf(v);
        for (const x of numbers) f64[at++] = x;
        chunks += divideUp(n, UPDATE_CHUNK);
        elements += n;
      }
      launchSlots(`${kernel}${suffix(own[0]!.views[0])}`, { chunks, work: elements * nanoseconds }, table, own.length, UPDATE_CHUNK);
      table += own.length * width * 8;
    }
  });
}

/** Runs a kernel over what it takes, and the definition over the rest: memory orders that differ are legal but rare. */
function run<E>(kernel: string, nanoseconds: number, entries: readonly E[], rowOf: (e: E) => Row, definition: (odd: E[]) => void): void {
  const [rows, odd]: [Row[], E[]] = [[], []];
  for (const e of entries) {
    const row = rowOf(e);
    if (isFlat(row.views)) rows.push(row);
    else odd.push(e);
  }
  launchRows(kernel, rows, nanoseconds);
  if (odd.length > 0) definition(odd);
}

/** A row of SGD's table. */
function sgdRow({ param, grad, velocity, first, options: o }: SgdEntry): Row {
  const numbers = [first ? 1 : 0, o.lr, o.momentum, o.dampening, o.nesterov ? 1 : 0, o.weightDecay, o.maximize ? 1 : 0];
  return { views: [param, grad, velocity], numbers };
}

/** A row of Adam's table. */
function adamRow({ param, grad, expAvg, expAvgSq, maxExpAvgSq, step, options: o }: AdamEntry): Row {
  const [beta1, beta2] = o.betas;
  const [added, stays] = o.decoupled ? [0, 1 - o.lr * o.weightDecay] : [o.weightDecay, 1];
  const [size, factor] = [o.lr / (1 - beta1 ** step), (1 - beta2 ** step) ** -0.5];
  const numbers = [size, factor, beta1, beta2, o.eps, added, stays, o.maximize ? 1 : 0];
  return { views: [param, grad, expAvg, expAvgSq, maxExpAvgSq], numbers };
}

export const optimizerKernels: OptimizerKernels = {
  sgd: (entries) => run('sgd', PASS, entries, sgdRow, reference.sgd),

  adam: (entries) => run('adam', ROOT, entries, adamRow, reference.adam),

  sumSquares(views) {
    const chunks = views.reduce((n, v) => n + divideUp(sizeOf(v.shape), UPDATE_CHUNK), 0);
    let sum = 0;
    withWorkspaces((workspace) => {
      const partial = workspace(chunks * 8).ptr;
      let end = partial;
      const rowOf = (v: View): Row => {
        const start = end;
        // What the definition sums leaves no partial sums.
        if (isFlat([v])) end += divideUp(sizeOf(v.shape), UPDATE_CHUNK) * 8;
        return { views: [v], numbers: [start] };
      };
      run('sumSquares', PASS, views, rowOf, (odd) => (sum = reference.sumSquares(odd)));
      for (const s of memoryViews().f64.subarray(partial / 8, end / 8)) sum += s;
    });
    return sum;
  },

  blend: (entries) => run('blend', PASS, entries, ({ x, y, keep, take }) => ({ views: [x, y], numbers: [keep, take] }), reference.blend),
};
