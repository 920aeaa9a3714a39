// A dataset that computes with tensors before and after it waits.
import { tensor } from 'chainrule';
import { serveDataset } from 'chainrule/data';

serveDataset({
  length: 6,
  async get(index) {
    const x = tensor([index, 1]);
    const y = x.mul(2);
    await new Promise((resolve) => setTimeout(resolve, 0));
    return [{ data: Float32Array.from(x.add(y).data()), shape: [2], dtype: 'float32' }];
  },
});
