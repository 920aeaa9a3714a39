/**
 * Reference matrix product. Sums are float64, rounded once.
 */
import type { Kernels } from '../interface.ts';
import { viewOf } from '../memory/wasm-memory.ts';
import { at, fixedStrides, forEachIndex } from './strided.ts';

export const matrixProducts: Pick<Kernels, 'matmul'> = {
  /** y[.., m, n] = Σₖ a[.., m, k] · b[.., k, n] */
  matmul(a, b, y) {
    const A = viewOf(a.dtype);
    const B = viewOf(b.dtype);
    const Y = viewOf(y.dtype);
    const last = y.shape.length - 1;
    const K = a.shape[last]!;
    const da = a.strides[last]!;
    const db = b.strides[last - 1]!;
    const rows = fixedStrides(a, (d) => d === last);
    const columns = fixedStrides(b, (d) => d === last - 1);
    forEachIndex(y.shape, [at(a, rows), at(b, columns), at(y)], (i, j, o) => {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += A[i + k * da]! * B[j + k * db]!;
      Y[o] = sum;
    });
  },
};
