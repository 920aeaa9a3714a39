// The samples of killed.mjs, which the threads of its loader make: augmented points of three classes.
import { Random, serveDataset } from 'chainrule/data';

export const dataset = {
  length: 40,
  async get(index, random) {
    const place = new Random(7).split(index);
    if (index % 3 === 0) await new Promise((resolve) => setTimeout(resolve, index % 4));
    const [x, y] = [4 * place.uniform() - 2, 4 * place.uniform() - 2];
    const label = Number(x + y > 0) + Number(x > 1);
    return [
      { data: Float32Array.of(x + 0.1 * random.uniform(), y + 0.1 * random.uniform()), shape: [2], dtype: 'float32' },
      { data: Int32Array.of(label), shape: [], dtype: 'int32' },
    ];
  },
};
serveDataset(dataset);
