import { type Tensor, grad, noGrad } from 'chainrule';

/** Makes a step on each loss in turn: forward, gradient, update. */
export function twoSteps(w: Tensor, lossA: (w: Tensor) => Tensor, lossB: (w: Tensor) => Tensor, rate: number): void {
  for (const lossOf of [lossA, lossB]) {
    const dw = grad(lossOf(w), w);
    noGrad(() => w.add_(dw.mul(-rate)));
  }
}
