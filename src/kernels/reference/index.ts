/**
 * The reference implementation: every kernel in plain TypeScript loops. It defines the kernels, tests compare with it, and a debugger can
 * step through it.
 *
 * All arithmetic is float64. Results are rounded when they are stored.
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
