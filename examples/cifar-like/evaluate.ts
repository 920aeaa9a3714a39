/**
 * A net on images it has not been trained on.
 */
import { noGrad } from 'chainrule';
import { DataLoader, type Dataset, type ImageAndLabel, type Transform } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import type { Net } from './loop.ts';

export interface Evaluation {
  /** Mean cross entropy. */
  readonly loss: number;
  /** Share of the images. */
  readonly accuracy: number;
  /** The class the net chose for each image, in the dataset's order. */
  readonly predictions: readonly number[];
  readonly labels: readonly number[];
}

/** Looks at every image of `dataset`; null if `stopRequested` says so on the way. Leaves the net in evaluation mode. */
export async function evaluate(
  model: Net,
  dataset: Dataset<ImageAndLabel>,
  {
    batchSize,
    transform,
    stopRequested = () => false,
  }: { batchSize: number; transform: Transform; stopRequested?: (() => boolean) | undefined },
): Promise<Evaluation | null> {
  const predictions: number[] = [];
  const labels: number[] = [];
  let loss = 0;
  model.eval();
  for await (const [x, y] of new DataLoader(dataset, { batchSize, transform })) {
    if (stopRequested()) return null;
    noGrad(() => {
      const logits = model.forward(x);
      loss += F.crossEntropy(logits, y, { reduction: 'sum' }).item();
      predictions.push(...logits.argmax(1).data());
      labels.push(...y.data());
    });
  }
  const right = predictions.filter((p, i) => p === labels[i]).length;
  return { loss: loss / labels.length, accuracy: right / labels.length, predictions, labels };
}
