/**
 * Reference optimizer updates. Views may have any strides.
 */
import type { OptimizerKernels } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import { pow } from '../scalars.ts';
import { at, forEachIndex } from './strided.ts';

export const optimizers: OptimizerKernels = {
  /**
   * g ← ±g + weightDecay·p      (− to maximize)
   * v ← g at the first step, else momentum·v + (1 − dampening)·g
   * p ← p − lr·(nesterov ? g + momentum·v : v)      (without momentum: p − lr·g)
   */
  sgd(entries) {
    for (const { param, grad, velocity, first, options } of entries) {
      const { lr, momentum, dampening, nesterov, weightDecay, maximize } = options;
      const P = viewOf(param.dtype);
      forEachIndex(param.shape, [at(param), at(grad), at(velocity ?? param)], (i, j, k) => {
        let g = maximize ? -P[j]! : P[j]!;
        if (weightDecay !== 0) g += weightDecay * P[i]!;
        if (velocity !== null) {
          const v = first ? g : momentum * P[k]! + (1 - dampening) * g;
          P[k] = v;
          g = nesterov ? g + momentum * v : v;
        }
        P[i]! -= lr * g;
      });
    }
  },

  /**
   * g ← ±g + weightDecay·p      (− to maximize; without weightDecay·p if decoupled)
   * m ← β₁·m + (1 − β₁)·g,   v ← β₂·v + (1 − β₂)·g²,   v̂ ← max(v̂, v)
   * p ← p − lr·weightDecay·p if decoupled
   * p ← p − lr / (1 − β₁ᵗ) · m / (√(v̂ / (1 − β₂ᵗ)) + eps), with v instead of v̂ without amsgrad
   */
  adam(entries) {
    for (const { param, grad, expAvg, expAvgSq, maxExpAvgSq, step, options } of entries) {
      const { lr, betas, eps, weightDecay, decoupled, maximize } = options;
      const [beta1, beta2] = betas;
      const P = viewOf(param.dtype);
      forEachIndex(param.shape, [at(param), at(grad), at(expAvg), at(expAvgSq)], (i, j, k, l) => {
        let g = maximize ? -P[j]! : P[j]!;
        if (weightDecay !== 0 && !decoupled) g += weightDecay * P[i]!;
        P[k] = beta1 * P[k]! + (1 - beta1) * g;
        P[l] = beta2 * P[l]! + (1 - beta2) * g * g;
      });
      const top = maxExpAvgSq ?? expAvgSq;
      forEachIndex(param.shape, [at(param), at(expAvg), at(expAvgSq), at(top)], (i, k, l, h) => {
        P[h] = Math.max(P[h]!, P[l]!);
        const p = decoupled ? P[i]! * (1 - lr * weightDecay) : P[i]!;
        P[i] = p - ((lr / (1 - pow(beta1, step))) * P[k]!) / (Math.sqrt(P[h] / (1 - pow(beta2, step))) + eps);
      });
    }
  },

  sumSquares(views) {
    let sum = 0;
    for (const v of views) {
      const X = viewOf(v.dtype);
      forEachIndex(v.shape, [at(v)], (i) => (sum += X[i]! * X[i]!));
    }
    return sum;
  },

  blend(entries) {
    for (const { x, y, keep, take } of entries) {
      const X = viewOf(x.dtype);
      forEachIndex(x.shape, [at(x), at(y ?? x)], (i, j) => (X[i] = keep * X[i]! + (y === null ? 0 : take * X[j]!)));
    }
  },
};
