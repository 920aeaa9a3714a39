import type { Result } from '../table.ts';

/** How often class `row` was taken for class `column`. */
export function confusionOf({ labels, predictions }: Result, classes: number): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < labels.length; i++) counts[Number(labels[i])]![Number(predictions[i])]!++;
  return counts;
}
