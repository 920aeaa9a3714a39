import { type Value, backward, mul, power, sub, value } from './engine.ts';

/** (w·x − y)², the loss of one point. */
export function lossOf(w: Value, x: number, y: number): Value {
  return power(sub(mul(w, value(x)), value(y)), 2);
}

/** Returns w after `steps` steps of gradient descent. */
export function fit(xs: readonly number[], ys: readonly number[], steps: number, rate: number): number {
  const w = value(0);
  for (let step = 0; step < steps; step++) {
    w.grad = 0;
    for (const [i, x] of xs.entries()) backward(lossOf(w, x, ys[i]!));
    w.data -= rate * w.grad;
  }
  return w.data;
}
