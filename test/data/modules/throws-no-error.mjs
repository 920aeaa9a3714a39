// Offers a dataset of which sample 5 throws what is no error.
import { serveDataset } from 'chainrule/data';

serveDataset({
  length: 8,
  get(index) {
    if (index === 5) throw 'no such picture';
    return [{ data: Float32Array.of(index), shape: [], dtype: 'float32' }];
  },
});
