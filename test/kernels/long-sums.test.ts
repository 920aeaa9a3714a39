/**
 * Float32 sums of a million terms. Equal terms are the worst case: every addition to one accumulator rounds in the same direction, which gives
 * errors of 1 %. Random terms would hide that.
 */
import { full, grad, noGrad, scope, tensor, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';

const V = Math.fround(0.1);
const SIDE = 1000;
const N = SIDE * SIDE;

/** The gradient of a convolution of C channels with respect to its 1×1 or 3×3 weights, all x and output gradients being V. */
function gradientOfWeights(n: number, C: number, O: number, side: number, k: number, options: F.Conv2dOptions): Tensor {
  const x = full([n, C, side, side], V);
  const w = full([O, C / (options.groups ?? 1), k, k], 1, { requiresGrad: true });
  const y = F.conv2d(x, w, null, options);
  return grad(y, w, { gradOutputs: full(y.shape, V) });
}

/** The value of a sum of `terms` terms, how many they are, the value of one, and the largest relative error. */
type Case = readonly [name: string, sum: () => Tensor, terms: number, term: number, bound: number];

const CASES: readonly Case[] = [
  ['sum', () => full([N], V).sum(), N, V, 1e-6],
  ['sum of columns', () => full([N, 2], V).sum(0), N, V, 1e-6],
  ['mean', () => full([N], V).mean(), 1, V, 1e-6],
  ['cumsum', () => full([N], V).cumsum(0).slice(0, -1), N, V, 1e-6],
  ['square of the norm', () => full([N], V).norm().square(), N, V * V, 1e-6],
  ['average of an image', () => F.globalAvgPool2d(full([1, 3, SIDE, SIDE], V)), 1, V, 2e-5],
  ['[1,K] · [K,1]', () => full([1, N], V).matmul(full([N, 1], V)), N, V * V, 2e-6],
  ['[3,K] · [K]', () => full([3, N], V).mv(full([N], V)), N, V * V, 2e-6],
  ['[1,K] · [K,5] by rows', () => full([1, N], V).matmul(full([5, N], V).transpose(0, 1)), N, V * V, 2e-6],
  ['dot', () => full([N + 1], V).dot(full([N + 1], V)), N + 1, V * V, 2e-6],
  ['[2,K] · [K,2]', () => full([2, N], V).matmul(full([N, 2], V)), N, V * V, 3e-5],
  ['weight gradient, 3 to 4 channels', () => gradientOfWeights(1, 3, 4, SIDE, 1, {}), N, V * V, 3e-5],
  ['weight gradient, 2 groups', () => gradientOfWeights(1, 2, 4, SIDE, 1, { groups: 2 }), N, V * V, 3e-5],
  ...[1, 3, 7, 16].map((C): Case => {
    const of = (): Tensor => gradientOfWeights(1, C, C, SIDE, 1, { groups: C });
    return [`depthwise weight gradient, ${C} channels`, of, N, V * V, 2e-6];
  }),
  ['depthwise weight gradient, 40 images', () => gradientOfWeights(40, 4, 4, 150, 1, { groups: 4 }), 40 * 150 ** 2, V * V, 2e-6],
  [
    'depthwise weight gradient, 3×3 taps at stride 2',
    () => gradientOfWeights(1, 4, 4, 2 * SIDE + 1, 3, { groups: 4, stride: 2 }),
    N,
    V * V,
    2e-6,
  ],
];

// The reference kernels sum in float64, and take long.
describe.skipIf(process.env.CHAINRULE_KERNELS === 'reference')('the error does not grow with the length', () => {
  test.each(CASES)('%s', (_, sum, terms, term, bound) => {
    const values = scope(() => [...sum().data()]);
    for (const v of values) expect(Math.abs(v / (terms * term) - 1)).toBeLessThan(bound);
  });

  test('short sums keep the order of one block', () => {
    const x = tensor(Array.from({ length: 400 }, (_, i) => Math.sin(i) * 10 ** (i % 7)));
    const lanes = [0, 0, 0, 0];
    const values = x.data();
    values.forEach((v, i) => (lanes[i % 4] = Math.fround(lanes[i % 4]! + Math.fround(v * v))));
    const halves = [Math.fround(lanes[0]! + lanes[1]!), Math.fround(lanes[2]! + lanes[3]!)];
    expect(noGrad(() => x.dot(x).item())).toBe(Math.fround(halves[0]! + halves[1]!));
  });
});
