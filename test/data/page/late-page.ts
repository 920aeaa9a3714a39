/** What the test of late modules calls in its page. */
import { type ArrayData, type AsyncItemDataset, DataLoader } from 'chainrule/data';

// The page's own copy: the module of the workers waits.
const dataset: AsyncItemDataset<readonly [ArrayData]> = { length: 4, get: () => Promise.reject(new Error('not in a worker')) };

Object.assign(globalThis, {
  late: async () => {
    const workers = { count: 2, module: () => new Worker(new URL('./late.js', import.meta.url), { type: 'module' }) };
    const seen: number[] = [];
    for await (const [x] of new DataLoader(dataset, { batchSize: 2, workers })) seen.push(...x.data());
    return seen;
  },
});
