import { type NestedArray, type Tensor, memory, tensor } from 'chainrule';
import { type Exercise, exercise, expect, expectTensor } from '../../support/exercise.ts';
import { bytesInUse } from '../../support/memory.ts';
import type * as Jacobian from '../exercises/jacobian.ts';
import type * as Matmul from '../exercises/matmul.ts';
import type * as Softmax from '../exercises/softmax.ts';

const float64 = (values: NestedArray): Tensor => tensor(values, { dtype: 'float64' });

function checkMatmul({ matmulBackward }: typeof Matmul): void {
  // Square matrices first: with them a wrong product has the right shape, and its numbers can be explained.
  const g = float64([
    [1, 0],
    [2, 1],
  ]);
  const a = float64([
    [1, 2],
    [3, 4],
  ]);
  const b = float64([
    [5, 6],
    [7, 8],
  ]);
  const t = (x: Tensor): Tensor => x.transpose(0, 1);
  const result: unknown = matmulBackward(g, a, b);
  expect(Array.isArray(result) && result.length === 2, 'matmulBackward must return the gradients of a and of b as an array');
  const [da, db] = result as [unknown, unknown];
  expectTensor('a, b and g [2,2]: the gradient of a', da, g.matmul(t(b)), {
    'b must be transposed: a[i,k] is multiplied by row k of b': g.matmul(b),
    'The product is transposed': b.matmul(t(g)),
    'The factors are exchanged: g comes first': t(b).matmul(g),
    'A matrix product is no elementwise product': g.mul(b),
  });
  expectTensor('a, b and g [2,2]: the gradient of b', db, t(a).matmul(g), {
    'a must be transposed: b[k,j] is multiplied by column k of a': a.matmul(g),
    'The factors are exchanged: a comes first': g.matmul(t(a)),
  });
  const [dr, dc] = matmulBackward(
    float64([[1, 2, 3]]),
    float64([[1, 2]]),
    float64([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  );
  expectTensor('a [1,2], b [2,3]: the gradient of a', dr, float64([[14, 32]]));
  expectTensor(
    'a [1,2], b [2,3]: the gradient of b',
    dc,
    float64([
      [1, 2, 3],
      [2, 4, 6],
    ]),
  );
}

function checkSoftmax({ softmaxBackward }: typeof Softmax): void {
  const y = float64([0.25, 0.5, 0.25]);
  const g = float64([1, 0, 4]);
  expectTensor('y = [0.25, 0.5, 0.25], g = [1, 0, 4]: softmaxBackward(g, y)', softmaxBackward(g, y), float64([-0.0625, -0.625, 0.6875]), {
    'This is the diagonal of J alone. Each input changes every output, as all of them share a sum': g.mul(y).mul(y.neg().add(1)),
    'The factor y is missing': g.sub(1.25),
    'The sum of g must be weighted with y: Σ g·y': y.mul(g.sub(g.sum())),
    'The sum is missing': g.mul(y),
  });
  const even = softmaxBackward(float64([3, 3, 3]), y);
  expectTensor('g = [3, 3, 3] changes nothing, as the outputs always add up to 1', even, float64([0, 0, 0]));
  const n = 1000;
  const long = float64(Array.from({ length: n }, () => 1 / n));
  const before = bytesInUse();
  softmaxBackward(long, long);
  const peak = memory().peakBytes - before;
  expect(peak < 20 * n * 8, `g and y [${n}]: ${peak} bytes are used at once; a matrix [${n},${n}] takes ${n * n * 8}. Make no matrix`);
}

function checkJacobian({ jacobianOf }: typeof Jacobian): void {
  const J = float64([
    [1, 0, 2],
    [0, 3, 1],
  ]);
  let calls = 0;
  const vjp = (g: Tensor): Tensor => {
    calls++;
    return g.matmul(J);
  };
  expectTensor('J = [[1,0,2],[0,3,1]]: jacobianOf(vjp, 2)', jacobianOf(vjp, 2), J, {
    'This is the transposed Jacobian. gᵀJ gives a row': J.transpose(0, 1),
    'This is the sum of the rows: use one g for each row': J.sum(0),
    'The last row is missing': float64([[1, 0, 2]]),
    'g must be 1 at one place and 0 elsewhere': float64([
      [1, 3, 3],
      [1, 3, 3],
    ]),
  });
  expect(calls === 2, `vjp was called ${calls} times for m = 2 outputs; one call for each output suffices`);
  expectTensor(
    'J = [[7]]: jacobianOf(vjp, 1)',
    jacobianOf((g) => g.mul(7), 1),
    float64([[7]]),
  );
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Matmul>({
    title: 'A matrix product',
    file: 'matmul',
    functions: ['matmulBackward'],
    hint: 'Write y[i,j] = Σₖ a[i,k] b[k,j], and add up g[i,j]·∂y[i,j]/∂a[i,k]. Then look at the shapes.',
    check: checkMatmul,
  }),
  exercise<typeof Softmax>({
    title: 'Softmax',
    file: 'softmax',
    functions: ['softmaxBackward'],
    hint: 'Multiply gᵀ by J = diag(y) − y yᵀ on paper. What remains is one sum and elementwise operations.',
    check: checkSoftmax,
  }),
  exercise<typeof Jacobian>({
    title: 'A Jacobian, row by row',
    file: 'jacobian',
    functions: ['jacobianOf'],
    hint: 'With g = [1, 0, …] gᵀJ is the first row of J. eye(m) has such rows, and stack joins tensors.',
    check: checkJacobian,
  }),
];
