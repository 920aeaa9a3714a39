import { type ArrayData, type AsyncItemDataset, serveDataset } from 'chainrule/data';

/** Samples [i, a random number], half of them late. */
export const numbers: AsyncItemDataset<readonly [ArrayData]> = {
  length: 10,
  async get(index, random) {
    if (index % 2 === 0) await new Promise((resolve) => setTimeout(resolve, index % 3));
    return [{ data: Float32Array.of(index, random.uniform()), shape: [2], dtype: 'float32' }];
  },
};
serveDataset(numbers);
