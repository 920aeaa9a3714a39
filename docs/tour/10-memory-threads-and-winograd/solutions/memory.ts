import { type Tensor, noGrad } from 'chainrule';

/** Returns the mean loss. Each iteration frees what it made. */
export function meanLoss(lossOf: (batch: Tensor) => Tensor, batches: readonly Tensor[]): number {
  let sum = 0;
  for (const batch of batches) sum += noGrad(() => lossOf(batch).item());
  return sum / batches.length;
}
