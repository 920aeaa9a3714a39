/**
 * Every kernel in plain TypeScript loops: its definition, its oracle, and a backend to step through with a debugger.
 *
 * Results are rounded when they are stored; whatever happens in between is float64.
 */
import type { Kernels } from '../interface.ts';
import { convolutions } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { matrixProducts } from './matmul.ts';
import { optimizers } from './optimizers.ts';
import { pooling } from './pooling.ts';
import { reductions } from './reduce.ts';

export const reference: Kernels = {
  name: 'reference',
  ...elementwise,
  ...reductions,
  ...matrixProducts,
  ...convolutions,
  ...pooling,
  ...optimizers,
};
