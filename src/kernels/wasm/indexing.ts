/**
 * Gathering and scattering, and kernels that process whole lines along one dim.
 */
import { planIteration } from '../../core/iteration-plan.ts';
import type { Kernels } from '../interface.ts';
import { exportsOf } from './export-names.ts';
import { byteStride, isEmpty, launchLines, launchNest, lengthOf, NEST } from './launch-nest.ts';
import { SCALAR_COST } from './work-estimates.ts';

const cumsumExport = exportsOf<'', 'cumsum'>('');
const scatterExport = exportsOf<'', 'scatter_add'>('');
const argExport = exportsOf<'', 'argmax' | 'argmin'>('');
/** gather only copies bits, so it exists once per element size. */
const GATHER = { float32: 'gather_32', float64: 'gather_64', int32: 'gather_32', bool: 'gather_8' } as const;

export const indexingKernels: Pick<Kernels, 'argReduce' | 'cumsum' | 'gather' | 'scatterAdd'> = {
  argReduce(op, x, dim, y) {
    const line = { length: lengthOf(x.shape, dim), xStride: byteStride(x, dim), nest: NEST };
    launchLines(argExport(op, x.dtype), line, [y, x], x.shape, dim);
  },

  cumsum(x, dim, y) {
    const line = { length: lengthOf(x.shape, dim), yStride: byteStride(y, dim), xStride: byteStride(x, dim), nest: NEST };
    launchLines(cumsumExport('cumsum', y.dtype), line, [y, x], x.shape, dim);
  },

  gather(x, dim, index, y) {
    const xStrides = x.strides.map((s, d) => (d === dim ? 0 : s));
    const plan = planIteration(y.shape, [y.strides, index.strides, xStrides]);
    if (isEmpty(plan)) return;
    launchNest(GATHER[y.dtype], { dimStride: byteStride(x, dim), nest: NEST }, [y, index, x], plan, { cost: SCALAR_COST });
  },

  scatterAdd(x, dim, index, y) {
    const xStride = byteStride(x, dim);
    // The innermost loop is over the dim unless another dim lies closer in memory.
    const linesInner = x.shape.every((n, d) => d === dim || n === 1 || byteStride(x, d) === 0 || xStride <= byteStride(x, d));
    const line = {
      length: lengthOf(index.shape, dim),
      indexStride: byteStride(index, dim),
      xStride,
      yStride: byteStride(y, dim),
      linesInner,
      nest: NEST,
    };
    launchLines(scatterExport('scatter_add', y.dtype), line, [x, index, y], index.shape, dim, 2);
  },
};
