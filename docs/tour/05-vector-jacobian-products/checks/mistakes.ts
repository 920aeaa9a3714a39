import { type Tensor, eye, ones, stack } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import { jacobianOf } from '../solutions/jacobian.ts';
import { matmulBackward } from '../solutions/matmul.ts';

const t = (x: Tensor): Tensor => x.transpose(0, 1);

const diagonal = (y: Tensor): Tensor => eye(y.numel, y.numel, { dtype: 'float64' }).mul(y);

const matmul = (
  title: string,
  change: Partial<Record<'da' | 'db', (g: Tensor, a: Tensor, b: Tensor) => Tensor>>,
  says: RegExp,
): Mistake => ({
  exercise: 1,
  title,
  module: {
    matmulBackward: (g: Tensor, a: Tensor, b: Tensor) => {
      const [da, db] = matmulBackward(g, a, b);
      return [change.da?.(g, a, b) ?? da, change.db?.(g, a, b) ?? db];
    },
  },
  says,
});

const softmax = (title: string, softmaxBackward: (g: Tensor, y: Tensor) => Tensor, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { softmaxBackward },
  says,
});

const jacobian = (title: string, wrong: (vjp: (g: Tensor) => Tensor, m: number) => Tensor, says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: { jacobianOf: wrong },
  says,
});

export const mistakes: readonly Mistake[] = [
  matmul('b is not transposed', { da: (g, _a, b) => g.matmul(b) }, /b must be transposed/),
  matmul('a is not transposed', { db: (g, a) => a.matmul(g) }, /a must be transposed/),
  matmul('the factors are exchanged', { da: (g, _a, b) => t(b).matmul(g) }, /g comes first/),
  matmul('the result is transposed', { da: (g, _a, b) => b.matmul(t(g)) }, /product is transposed/),
  matmul('elementwise', { da: (g, _a, b) => g.mul(b) }, /no elementwise product/),
  softmax('the diagonal alone', (g, y) => g.mul(y).mul(y.neg().add(1)), /diagonal of J alone/),
  softmax('no factor y', (g, y) => g.sub(g.mul(y).sum()), /factor y is missing/),
  softmax('an unweighted sum', (g, y) => y.mul(g.sub(g.sum())), /weighted with y/),
  softmax('a matrix', (g, y) => g.matmul(diagonal(y).sub(y.outer(y))), /Make no matrix/),
  jacobian('columns instead of rows', (vjp, m) => t(jacobianOf(vjp, m)), /transposed Jacobian/),
  jacobian('one product with ones', (vjp, m) => vjp(ones([m], { dtype: 'float64' })), /sum of the rows/),
  jacobian('ones in each row', (vjp, m) => stack(Array.from({ length: m }, () => vjp(ones([m], { dtype: 'float64' })))), /1 at one place/),
];
