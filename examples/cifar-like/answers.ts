/**
 * What a net answers about images.
 */
import type { Tensor } from 'chainrule';
import type { Metric } from 'chainrule/train';

/**
 * Keeps the predicted and the true class of each image, in the order of the images. Its value is the accuracy.
 * Shape:  logits [N,C], labels [N]
 */
export class Answers implements Metric {
  readonly predictions: number[] = [];
  readonly labels: number[] = [];

  update(logits: Tensor, labels: Tensor): void {
    for (const prediction of logits.argmax(1).data()) this.predictions.push(prediction);
    for (const label of labels.data()) this.labels.push(label);
  }

  compute(): number {
    return this.predictions.filter((p, i) => p === this.labels[i]).length / this.labels.length;
  }

  reset(): void {
    this.predictions.length = 0;
    this.labels.length = 0;
  }
}
