/**
 * Every kernel in plain TypeScript loops: its definition, its oracle, and a backend to step through with a debugger.
 *
 * Results are rounded when they are stored; whatever happens in between is float64.
 */
import type { Kernels } from './interface.ts';
import { elementwise } from './reference-elementwise.ts';
import { optimizers } from './reference-optim.ts';
import { pooling } from './reference-pooling.ts';
import { products } from './reference-products.ts';
import { reductions } from './reference-reduce.ts';

export const reference: Kernels = { name: 'reference', ...elementwise, ...reductions, ...products, ...pooling, ...optimizers };
