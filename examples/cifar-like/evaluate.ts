/**
 * Evaluation of a net on test images.
 */
import { noGrad } from 'chainrule';
import { DataLoader, type Dataset, type ImageAndLabel, type Transform } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import type { Net } from './model.ts';

export interface Evaluation {
  /** Mean cross entropy. */
  readonly loss: number;
  /** Share of images classified correctly. */
  readonly accuracy: number;
  /** Predicted class of each image, in the dataset's order. */
  readonly predictions: readonly number[];
  readonly labels: readonly number[];
}

export interface EvaluateOptions {
  readonly batchSize: number;
  readonly transform: Transform;
  /** Checked before every batch; true ends the evaluation. */
  readonly stopRequested?: (() => boolean) | undefined;
}

/** Evaluates the net on every image of `dataset`; returns null if it was stopped. Leaves the net in evaluation mode. */
export async function evaluate(
  model: Net,
  dataset: Dataset<ImageAndLabel>,
  { batchSize, transform, stopRequested = () => false }: EvaluateOptions,
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
      for (const prediction of logits.argmax(1).data()) predictions.push(prediction);
      for (const label of y.data()) labels.push(label);
    });
  }
  const correct = predictions.filter((p, i) => p === labels[i]).length;
  return { loss: loss / labels.length, accuracy: correct / labels.length, predictions, labels };
}
