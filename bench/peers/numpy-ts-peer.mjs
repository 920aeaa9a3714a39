// numpy-ts: products of matrices, on one thread. It has neither convolutions nor gradients.
import { answer, load, operand, request, samples, versionOf } from './peer.mjs';

const np = load('numpy-ts');

function matmul({ m, k, n }) {
  const matrix = (rows, columns, salt) => np.array(Array.from(operand(rows * columns, salt)), 'float32').reshape(rows, columns);
  const a = matrix(m, k, 1);
  const b = matrix(k, n, 2);
  const run = () => np.matmul(a, b);
  return [{ how: 'wasm, one thread', run, free: (y) => y.dispose?.(), values: () => [samples(run().data)] }];
}

await answer(versionOf('numpy-ts'), request.op === 'matmul' ? matmul(request) : null);
