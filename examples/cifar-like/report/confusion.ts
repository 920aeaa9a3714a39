import type { Result } from '../table.ts';

/** Returns the confusion matrix: how often an image of class `row` was classified as `column`. */
export function confusionOf({ labels, predictions }: Result, classes: number): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < labels.length; i++) {
    const row = counts[Number(labels[i])]!;
    row[Number(predictions[i])]!++;
  }
  return counts;
}
