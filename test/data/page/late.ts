import { type ArrayData, type AsyncItemDataset, serveDataset } from 'chainrule/data';

/** Samples [i], offered after the module has waited, as one does that opens files first. */
export const dataset: AsyncItemDataset<readonly [ArrayData]> = {
  length: 4,
  get: (index) => Promise.resolve([{ data: Float32Array.of(index), shape: [], dtype: 'float32' }] as const),
};
await new Promise((resolve) => setTimeout(resolve, 300));
serveDataset(dataset);
