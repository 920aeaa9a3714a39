/**
 * Numbers of all ranks.
 */
import { noGrad, tensor } from '../autograd/index.ts';
import type { Group } from './group.ts';

/** Returns the numbers of each rank, in rank order. All ranks must give equally many. */
export function gatherNumbers(group: Group, numbers: readonly number[]): number[][] {
  if (group.size === 1) return [[...numbers]];
  const all = noGrad(() => group.allGather(tensor(Float64Array.from(numbers), { dtype: 'float64' })).data());
  return Array.from({ length: group.size }, (_, rank) => Array.from(all.subarray(rank * numbers.length, (rank + 1) * numbers.length)));
}

/** Returns the sum of each number over all ranks, added in rank order. All ranks must give equally many. */
export function sumNumbers(group: Group, numbers: readonly number[]): number[] {
  const all = gatherNumbers(group, numbers);
  return numbers.map((_, i) => all.reduce((sum, ofRank) => sum + ofRank[i]!, 0));
}
