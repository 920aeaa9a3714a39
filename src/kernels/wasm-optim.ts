/**
 * Arguments of the WebAssembly kernels of optimizers; see assembly/optim.ts.
 */
import { isDense, sizeOf } from '../core/shape.ts';
import type { OptimizerKernels } from './interface.ts';
import { launch } from './launch.ts';
import { memoryViews } from './memory.ts';
import { optimizers as reference } from './reference-optim.ts';
import { addressOf, type View } from './view.ts';
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
function isFlat(...[main, ...others]: readonly [View, ...(View | null)[]]): boolean {
  const alike = (v: View): boolean => v.strides.every((s, d) => s === main.strides[d] || main.shape[d] === 1);
  return isDense(main.shape, main.strides) && others.every((v) => v === null || alike(v));
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
      let [chunks, elements] = [0, 0];
      own.forEach(({ views, numbers }, i) => {
        const n = sizeOf(views[0].shape);
        f64.set([n, chunks, ...views.map((v) => (v === null ? 0 : addressOf(v))), ...numbers], table / 8 + i * width);
        chunks += divideUp(n, UPDATE_CHUNK);
        elements += n;
      });
      launch(`${kernel}${suffix(own[0]!.views[0])}`, { chunks, work: elements * nanoseconds }, table, own.length, UPDATE_CHUNK);
      table += own.length * width * 8;
    }
  });
}

/** What a kernel takes, and what only the definition does: memory orders that differ are legal but rare. */
function sorted<E>(entries: readonly E[], viewsOf: (e: E) => Row['views']): { flat: E[]; odd: E[] } {
  return { flat: entries.filter((e) => isFlat(...viewsOf(e))), odd: entries.filter((e) => !isFlat(...viewsOf(e))) };
}

export const optimizerKernels: OptimizerKernels = {
  sgd(entries) {
    const { flat, odd } = sorted(entries, (e) => [e.param, e.grad, e.velocity]);
    const rows = flat.map(({ param, grad, velocity, first, options: o }): Row => {
      const numbers = [o.lr, o.momentum, o.dampening, o.nesterov ? 1 : 0, o.weightDecay, o.maximize ? 1 : 0];
      return { views: [param, grad, velocity], numbers: [first ? 1 : 0, ...numbers] };
    });
    launchRows('sgd', rows, PASS);
    reference.sgd(odd);
  },

  adam(entries) {
    const { flat, odd } = sorted(entries, (e) => [e.param, e.grad, e.expAvg, e.expAvgSq, e.maxExpAvgSq]);
    const rows = flat.map(({ param, grad, expAvg, expAvgSq, maxExpAvgSq, step, options: o }): Row => {
      const [beta1, beta2] = o.betas;
      const corrections = [o.lr / (1 - beta1 ** step), (1 - beta2 ** step) ** -0.5];
      const [added, stays] = o.decoupled ? [0, 1 - o.lr * o.weightDecay] : [o.weightDecay, 1];
      const numbers = [...corrections, beta1, beta2, o.eps, added, stays, o.maximize ? 1 : 0];
      return { views: [param, grad, expAvg, expAvgSq, maxExpAvgSq], numbers };
    });
    launchRows('adam', rows, ROOT);
    reference.adam(odd);
  },

  sumSquares(views) {
    const { flat, odd } = sorted(views, (v) => [v]);
    const chunks = flat.map((v) => divideUp(sizeOf(v.shape), UPDATE_CHUNK));
    let sum = reference.sumSquares(odd);
    withWorkspaces((workspace) => {
      const count = chunks.reduce((a, b) => a + b, 0);
      const partial = workspace(count * 8).ptr;
      let next = partial;
      const rows = flat.map((v, i): Row => {
        const at = next;
        next += chunks[i]! * 8;
        return { views: [v], numbers: [at] };
      });
      launchRows('sumSquares', rows, PASS);
      for (const s of memoryViews().f64.subarray(partial / 8, partial / 8 + count)) sum += s;
    });
    return sum;
  },

  scale(views, by) {
    const { flat, odd } = sorted(views, (v) => [v]);
    const rows = flat.map((v): Row => ({ views: [v], numbers: [by] }));
    launchRows('scale', rows, PASS);
    reference.scale(odd, by);
  },
};
