/**
 * Every kernel in plain TypeScript loops: its definition, its oracle, and a backend to step through with a debugger.
 *
 * Results are rounded when they are stored; whatever happens in between is float64.
 */
import type { Kernels } from './interface.ts';
import { viewOf } from './memory.ts';
import { elementwise } from './reference-elementwise.ts';
import { pooling } from './reference-pooling.ts';
import { products } from './reference-products.ts';
import { reductions } from './reference-reduce.ts';
import { at, walk } from './reference-walk.ts';

const optimizers: Pick<Kernels, 'sgd'> = {
  /**
   * g ← g + weightDecay·p
   * v ← g at the first step, else momentum·v + (1 − dampening)·g
   * p ← p − lr·(nesterov ? g + momentum·v : v)      (without momentum: p − lr·g)
   */
  sgd(entries, { lr, momentum, dampening, nesterov, weightDecay }) {
    for (const { param, grad, velocity, first } of entries) {
      const P = viewOf(param.dtype);
      walk(param.shape, [at(param), at(grad), at(velocity ?? param)], (i, j, k) => {
        let g = weightDecay === 0 ? P[j]! : P[j]! + weightDecay * P[i]!;
        if (velocity !== null) {
          const v = first ? g : momentum * P[k]! + (1 - dampening) * g;
          P[k] = v;
          g = nesterov ? g + momentum * v : v;
        }
        P[i]! -= lr * g;
      });
    }
  },
};

export const reference: Kernels = { name: 'reference', ...elementwise, ...reductions, ...products, ...pooling, ...optimizers };
