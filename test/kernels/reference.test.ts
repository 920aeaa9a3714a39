import { describe, expect, test } from 'vitest';
import type { DType } from '../../src/core/dtype.ts';
import { threefry, uniform24, uniform53 } from '../../src/core/random.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import type {
  AdamStepOptions,
  AvgPoolParams,
  BinaryOp,
  PoolParams,
  ReduceOp,
  SgdStepOptions,
  UnaryOp,
} from '../../src/kernels/interface.ts';
import { erf } from '../../src/kernels/reference/erf.ts';
import { reference as k } from '../../src/kernels/reference/index.ts';
import { restride, type View } from '../../src/kernels/view.ts';
import { difference, LAYOUTS, numbers, read, view } from './layouts.ts';

// All other tests compare with the reference implementation. These compare the reference with numbers derived by hand.

const f64 = (shape: Shape, ...values: number[]) => view(shape, 'float64', 'row-major', values);
const i32 = (shape: Shape, ...values: number[]) => view(shape, 'int32', 'row-major', values);
const bool = (shape: Shape, ...values: number[]) => view(shape, 'bool', 'row-major', values);
const range = (n: number, start = 0) => Array.from({ length: n }, (_, i) => start + i);

/** Returns what `run` writes into a new view. */
function out(shape: Shape, run: (y: View) => void, dtype: DType = 'float64'): number[] {
  const y = view(shape, dtype);
  run(y);
  return read(y);
}

describe('elementwise', () => {
  const one = (op: UnaryOp, ...values: number[]) => out([values.length], (y) => k.unary(op, f64([values.length], ...values), y));
  const two = (op: BinaryOp, a: number[], b: number[], dtype: DType = 'float64') =>
    out([a.length], (y) => k.binary(op, view([a.length], dtype, 'row-major', a), view([a.length], dtype, 'row-major', b), y), dtype);

  test('fill writes a number in every dtype', () => {
    for (const [dtype, want] of [
      ['float64', 2.5],
      ['float32', 2.5],
      ['int32', 2],
      ['bool', 1],
    ] as const) {
      expect(out([2], (y) => k.fill(2.5, y), dtype)).toEqual([want, want]);
    }
  });

  test('copy truncates and saturates to int32, and writes true to bool for all but 0', () => {
    const x = f64([7], 1.9, -1.9, NaN, Infinity, -Infinity, 3e9, -0);
    expect(out([7], (y) => k.copy(x, y), 'int32')).toEqual([1, -1, 0, 2147483647, -2147483648, 2147483647, 0]);
    expect(out([7], (y) => k.copy(x, y), 'bool')).toEqual([1, 1, 1, 1, 1, 1, 0]);
    expect(out([2], (y) => k.copy(bool([2], 0, 1), y), 'float32')).toEqual([0, 1]);
  });

  test('copy reads any strides', () => {
    const x = restride(f64([2, 3], 1, 2, 3, 4, 5, 6), [3, 2], [1, 3]);
    expect(out([3, 2], (y) => k.copy(x, y))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(out([2, 2], (y) => k.copy(restride(f64([2], 7, 8), [2, 2], [0, 1]), y))).toEqual([7, 8, 7, 8]);
    expect(out([], (y) => k.copy(f64([], 5), y))).toEqual([5]);
    expect(out([0, 3], (y) => k.copy(f64([0, 3]), y))).toEqual([]);
  });

  test('unary operations', () => {
    expect(one('neg', 1, -0)).toEqual([-1, 0]);
    expect(one('abs', -2, 3)).toEqual([2, 3]);
    expect(one('sign', -2, 0, 5, NaN)).toEqual([-1, 0, 1, NaN]);
    expect(one('square', -3)).toEqual([9]);
    expect(one('reciprocal', 4, 0)).toEqual([0.25, Infinity]);
    expect(one('sqrt', 9, -1)).toEqual([3, NaN]);
    expect(one('exp', 0, 1, -Infinity)).toEqual([1, Math.E, 0]);
    expect(one('expm1', 1e-10)).toEqual([1.00000000005e-10]);
    expect(one('log', 1, 0)).toEqual([0, -Infinity]);
    expect(difference(one('log1p', 1e-10), [9.9999999995e-11], 0, 1e-15)).toBeNull();
    expect(difference(one('sin', Math.PI / 6), [0.5], 1e-15)).toBeNull();
    expect(difference(one('cos', Math.PI / 3), [0.5], 1e-15)).toBeNull();
    expect(difference(one('tanh', 0.5), [0.46211715726000975], 1e-15)).toBeNull();
    expect(one('sigmoid', 0, 1000, -1000)).toEqual([0.5, 1, 0]);
    expect(one('relu', -1, 2, NaN)).toEqual([0, 2, NaN]);
    expect(one('floor', -1.5, 1.5)).toEqual([-2, 1]);
    expect(one('ceil', -1.5, 1.5)).toEqual([-1, 2]);
    expect(one('round', 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, 2.6)).toEqual([0, 2, 2, -0, -2, -2, 0, 3]);
  });

  test('erf has a relative error below 5e-16', () => {
    // Values of erf in C.
    const table = [
      [1e-10, 1.1283791670955126e-10],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [1.9, 0.9927904292352575],
      [2, 0.9953222650189527],
      [2.5, 0.999593047982555],
      [3, 0.9999779095030014],
      [5, 0.9999999999984626],
      [7, 1],
    ] as const;
    for (const [x, y] of table) {
      expect(Math.abs(erf(x) / y - 1)).toBeLessThan(5e-16);
      expect(erf(-x)).toBe(-erf(x));
    }
    expect([erf(0), erf(-0), erf(Infinity), erf(-Infinity), erf(NaN)]).toEqual([0, -0, 1, -1, NaN]);
  });

  test('binary operations', () => {
    expect(two('add', [1, 2], [3, 4])).toEqual([4, 6]);
    expect(two('sub', [1, 2], [3, 5])).toEqual([-2, -3]);
    expect(two('mul', [2, 3], [4, 5])).toEqual([8, 15]);
    expect(two('div', [1, 1, 0], [4, 0, 0])).toEqual([0.25, Infinity, NaN]);
    expect(two('pow', [2, 1, -1, -8], [10, NaN, Infinity, 1 / 3])).toEqual([1024, 1, 1, NaN]);
    expect(two('maximum', [1, NaN, 3], [2, 0, NaN])).toEqual([2, NaN, NaN]);
    expect(two('minimum', [1, NaN, 3], [2, 0, NaN])).toEqual([1, NaN, NaN]);
    expect(two('reluGrad', [5, 6, 7, 8], [2, 0, -1, NaN])).toEqual([5, 0, 0, 8]);
    expect(two('sigmoidGrad', [2], [0.25])).toEqual([0.375]);
    expect(two('tanhGrad', [2], [0.5])).toEqual([1.5]);
  });

  test('int32 arithmetic wraps', () => {
    expect(two('add', [2147483647], [1], 'int32')).toEqual([-2147483648]);
    expect(two('mul', [123456789], [987654321], 'int32')).toEqual([-67153019]);
    expect(out([1], (y) => k.unary('square', i32([1], 123456789), y), 'int32')).toEqual([-1757895751]);
    expect(out([2], (y) => k.unary('neg', i32([2], 5, -2147483648), y), 'int32')).toEqual([-5, -2147483648]);
  });

  test('float32 results are rounded', () => {
    expect(two('add', [16777216], [1], 'float32')).toEqual([16777216]);
  });

  test('comparisons with NaN are false, except ne', () => {
    const a = f64([4], 1, 2, 2, NaN);
    const b = f64([4], 2, 2, 1, NaN);
    const table = { eq: [0, 1, 0, 0], ne: [1, 0, 1, 1], lt: [1, 0, 0, 0], le: [1, 1, 0, 0], gt: [0, 0, 1, 0], ge: [0, 1, 1, 0] } as const;
    for (const op of ['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const) {
      expect(out([4], (y) => k.compare(op, a, b, y), 'bool')).toEqual(table[op]);
    }
  });

  test('where selects by the condition', () => {
    expect(out([3], (y) => k.where(bool([3], 1, 0, 1), f64([3], 1, 2, 3), f64([3], 4, NaN, 6), y))).toEqual([1, NaN, 3]);
  });

  test('uniform is Threefry at (i, stream), 24 or 53 bits', () => {
    const words = range(3).map((i) => threefry(1, 2, i, 9));
    expect(out([3], (y) => k.uniform([1, 2], 9, y), 'float32')).toEqual(words.map(([a]) => uniform24(a)));
    expect(out([3], (y) => k.uniform([1, 2], 9, y))).toEqual(words.map(([a, b]) => uniform53(a, b)));
  });
});

describe('reductions', () => {
  const x = () => f64([2, 3], 1, 5, 3, 4, 2, 6);
  const reduce = (op: ReduceOp, v: View, shape: Shape, dtype: DType = 'float64') => out(shape, (y) => k.reduce(op, v, y), dtype);

  test('along one dim, all dims, none', () => {
    expect(reduce('sum', x(), [1, 3])).toEqual([5, 7, 9]);
    expect(reduce('sum', x(), [2, 1])).toEqual([9, 12]);
    expect(reduce('prod', x(), [1, 1])).toEqual([720]);
    expect(reduce('amax', x(), [2, 1])).toEqual([5, 6]);
    expect(reduce('amin', x(), [1, 3])).toEqual([1, 2, 3]);
    expect(reduce('sum', x(), [2, 3])).toEqual([1, 5, 3, 4, 2, 6]);
  });

  test('sum and product of no elements are 0 and 1', () => {
    expect(reduce('sum', f64([2, 0]), [2, 1])).toEqual([0, 0]);
    expect(reduce('prod', f64([0]), [1])).toEqual([1]);
  });

  test('amax and amin propagate NaN', () => {
    expect(reduce('amax', f64([3], 1, NaN, 3), [1])).toEqual([NaN]);
    expect(reduce('amin', f64([3], 1, NaN, 3), [1])).toEqual([NaN]);
  });

  test('int32 sums and products wrap', () => {
    expect(reduce('sum', i32([2], 2147483647, 2), [1], 'int32')).toEqual([-2147483647]);
    expect(reduce('prod', i32([2], 123456789, 987654321), [1], 'int32')).toEqual([-67153019]);
  });

  test('argmax and argmin return the first of equals, and the first NaN', () => {
    const v = f64([3, 4], 1, 9, 9, 0, 5, NaN, 7, NaN, -Infinity, -Infinity, Infinity, 2);
    expect(out([3, 1], (y) => k.argReduce('argmax', v, 1, y), 'int32')).toEqual([1, 1, 2]);
    expect(out([3, 1], (y) => k.argReduce('argmin', v, 1, y), 'int32')).toEqual([3, 1, 0]);
    expect(out([1, 4], (y) => k.argReduce('argmax', v, 0, y), 'int32')).toEqual([1, 1, 2, 1]);
    expect(out([], (y) => k.argReduce('argmax', f64([], 3), 0, y), 'int32')).toEqual([0]);
  });

  test('cumsum along either dim', () => {
    expect(out([2, 3], (y) => k.cumsum(x(), 1, y))).toEqual([1, 6, 9, 4, 6, 12]);
    expect(out([2, 3], (y) => k.cumsum(x(), 0, y))).toEqual([1, 5, 3, 5, 7, 9]);
    expect(out([0], (y) => k.cumsum(f64([0]), 0, y))).toEqual([]);
  });

  test('gather along either dim', () => {
    expect(out([2, 2], (y) => k.gather(x(), 1, i32([2, 2], 2, 0, 1, 1), y))).toEqual([3, 1, 2, 2]);
    expect(out([1, 3], (y) => k.gather(x(), 0, i32([1, 3], 1, 0, 1), y))).toEqual([4, 5, 6]);
  });

  test('scatterAdd adds up values of repeated indices', () => {
    const y = f64([2, 3], 10, 20, 30, 40, 50, 60);
    k.scatterAdd(f64([2, 3], 1, 2, 3, 4, 5, 6), 1, i32([2, 3], 0, 0, 2, 1, 1, 1), y);
    expect(read(y)).toEqual([13, 20, 33, 40, 65, 60]);
  });
});

describe('products', () => {
  test('matmul, transposed operand, batch broadcast, K = 0', () => {
    const a = f64([2, 3], 1, 2, 3, 4, 5, 6);
    const b = f64([3, 2], 1, 0, 2, 1, 0, 3);
    expect(out([2, 2], (y) => k.matmul(a, b, y))).toEqual([5, 11, 14, 23]);
    expect(out([2, 2], (y) => k.matmul(a, restride(a, [3, 2], [1, 3]), y))).toEqual([14, 32, 32, 77]);
    const batch = f64([2, 1, 2], 1, 1, 2, 0);
    const shared = restride(f64([2, 1], 3, 4), [2, 2, 1], [0, 1, 1]);
    expect(out([2, 1, 1], (y) => k.matmul(batch, shared, y))).toEqual([7, 6]);
    expect(out([2, 2], (y) => k.matmul(f64([2, 0]), f64([0, 2]), y))).toEqual([0, 0, 0, 0]);
  });

  const plain = { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 } as const;

  test('conv2d: valid, padded, strided, dilated, grouped', () => {
    const x = f64([1, 1, 3, 3], ...range(9, 1));
    const w = f64([1, 1, 2, 2], 1, 2, 3, 4);
    expect(out([1, 1, 2, 2], (y) => k.conv2d(x, w, y, plain))).toEqual([37, 47, 67, 77]);
    expect(out([1, 1, 2, 2], (y) => k.conv2d(x, w, y, { ...plain, stride: [2, 2], padding: [1, 1] }))).toEqual([4, 18, 36, 77]);
    expect(out([1, 1, 1, 1], (y) => k.conv2d(x, w, y, { ...plain, dilation: [2, 2] }))).toEqual([1 + 6 + 21 + 36]);
    const [pair, factors] = [f64([1, 2, 1, 1], 5, 7), f64([4, 1, 1, 1], 1, 2, 3, 4)];
    expect(out([1, 4, 1, 1], (y) => k.conv2d(pair, factors, y, { ...plain, groups: 2 }))).toEqual([5, 10, 21, 28]);
  });

  test('conv2d gradients on small examples', () => {
    const g = f64([1, 1, 2, 2], 1, 0, 0, 10);
    const w = f64([1, 1, 2, 2], 1, 2, 3, 4);
    expect(out([1, 1, 3, 3], (dx) => k.conv2dGradX(g, w, dx, plain))).toEqual([1, 2, 0, 3, 14, 20, 0, 30, 40]);
    const x = f64([1, 1, 3, 3], ...range(9, 1));
    expect(out([1, 1, 2, 2], (dw) => k.conv2dGradW(g, x, dw, plain))).toEqual([51, 62, 84, 95]);
  });

  test('the gradients are adjoint to conv2d, within 1e-12', () => {
    const p = { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2 } as const;
    const [xs, ws, ys] = [
      [2, 4, 6, 5],
      [6, 2, 3, 2],
      [2, 6, 3, 7],
    ];
    const [x, w, g] = [xs!, ws!, ys!].map((s, i) => view(s, 'float64', LAYOUTS[i]!, numbers(sizeOf(s), i)));
    const dot = (a: number[], b: number[]) => a.reduce((s, v, i) => s + v * b[i]!, 0);
    const want = dot(
      read(g!),
      out(ys!, (y) => k.conv2d(x!, w!, y, p)),
    );
    expect(
      dot(
        read(x!),
        out(xs!, (dx) => k.conv2dGradX(g!, w!, dx, p)),
      ),
    ).toBeCloseTo(want, 12);
    expect(
      dot(
        read(w!),
        out(ws!, (dw) => k.conv2dGradW(g!, x!, dw, p)),
      ),
    ).toBeCloseTo(want, 12);
  });
});

describe('pooling', () => {
  const max = (x: View, shape: Shape, p: Pick<PoolParams, 'kernel'> & Partial<PoolParams>) => {
    const y = view(shape, 'float64');
    const index = view(shape, 'int32');
    k.maxPool2d(x, y, index, { stride: [1, 1], padding: [0, 0], dilation: [1, 1], ...p });
    return { y: read(y), index: read(index) };
  };

  test('maxPool2d: windows, the first of equals, NaN, −∞ and padding', () => {
    const ties = f64([1, 1, 2, 4], 1, 9, 3, 3, 9, 2, 3, 3);
    expect(max(ties, [1, 1, 1, 2], { kernel: [2, 2], stride: [2, 2] })).toEqual({ y: [9, 3], index: [1, 2] });
    expect(max(f64([1, 1, 1, 4], 5, NaN, NaN, 7), [1, 1, 1, 3], { kernel: [1, 2] })).toEqual({ y: [NaN, NaN, NaN], index: [1, 2, 2] });
    const low = f64([1, 1, 1, 2], -Infinity, -Infinity);
    expect(max(low, [1, 1, 1, 2], { kernel: [1, 3], padding: [0, 1] })).toEqual({ y: [-Infinity, -Infinity], index: [0, 0] });
    expect(max(f64([1, 1, 2, 2], -1, -2, -3, -4), [1, 1, 3, 3], { kernel: [2, 2], padding: [1, 1] })).toEqual({
      y: [-1, -1, -2, -1, -1, -2, -3, -3, -4],
      index: [0, 0, 1, 0, 0, 1, 2, 2, 3],
    });
  });

  test('maxPool2d: dilation, and a window entirely in the padding', () => {
    const apart = { kernel: [1, 2], dilation: [1, 2] } as const;
    expect(max(f64([1, 1, 1, 5], 1, 2, 3, 4, 5), [1, 1, 1, 3], apart)).toEqual({ y: [3, 4, 5], index: [2, 3, 4] });
    const outside = { kernel: [1, 2], padding: [0, 1], dilation: [1, 3] } as const;
    expect(max(f64([1, 1, 1, 2], 1, 2), [1, 1, 1, 1], outside)).toEqual({ y: [-Infinity], index: [0] });
  });

  test('maxPool2dGrad adds the gradients of windows that share their maximum, and ignores a window entirely in the padding', () => {
    const grad = (x: Shape, g: View, index: number[], p: Partial<PoolParams>): number[] => {
      const params: PoolParams = { kernel: [1, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], ...p };
      return out(x, (dx) => k.maxPool2dGrad(g, view(g.shape, 'int32', 'row-major', index), dx, params));
    };
    expect(grad([1, 1, 1, 4], f64([1, 1, 1, 3], 3, 6, 8), [1, 2, 2], {})).toEqual([0, 3, 14, 0]);
    expect(grad([1, 1, 1, 2], f64([1, 1, 1, 1], 5), [0], { padding: [0, 1], dilation: [1, 3] })).toEqual([0, 0]);
  });

  const avg: AvgPoolParams = { kernel: [1, 3], stride: [1, 2], padding: [0, 1], dilation: [1, 1], countIncludePad: true, divisor: null };

  test('avgPool2d: the divisor with padding and ceil mode', () => {
    const x = f64([1, 1, 1, 4], 3, 6, 9, 12);
    // Windows (pad 3 6) (6 9 12) (12 pad ·): in ceil mode the last one extends beyond the padding, so its divisor is 2.
    expect(out([1, 1, 1, 3], (y) => k.avgPool2d(x, y, avg))).toEqual([3, 9, 6]);
    expect(out([1, 1, 1, 3], (y) => k.avgPool2d(x, y, { ...avg, countIncludePad: false }))).toEqual([4.5, 9, 12]);
    expect(out([1, 1, 1, 3], (y) => k.avgPool2d(x, y, { ...avg, divisor: 9 }))).toEqual([1, 3, 12 / 9]);
    const square = f64([1, 1, 2, 2], 1, 2, 3, 6);
    expect(out([1, 1, 1, 1], (y) => k.avgPool2d(square, y, { ...avg, kernel: [2, 2], padding: [0, 0] }))).toEqual([3]);
  });

  test('avgPool2dGrad spreads g / divisor', () => {
    const g = f64([1, 1, 1, 3], 3, 6, 8);
    expect(out([1, 1, 1, 4], (dx) => k.avgPool2dGrad(g, dx, avg))).toEqual([1, 3, 2, 6]);
    expect(out([1, 1, 1, 4], (dx) => k.avgPool2dGrad(g, dx, { ...avg, countIncludePad: false }))).toEqual([1.5, 3.5, 2, 10]);
    const bare: AvgPoolParams = { ...avg, kernel: [1, 2], padding: [0, 0] };
    expect(out([1, 1, 1, 3], (dx) => k.avgPool2dGrad(f64([1, 1, 1, 1], 4), dx, bare))).toEqual([2, 2, 0]);
  });

  test('adaptiveAvgPool2d: windows overlap if the sizes do not divide', () => {
    // The windows of 5 → 3 are 0…1, 1…3, 3…4.
    const x = f64([1, 1, 1, 5], 1, 3, 5, 7, 9);
    expect(out([1, 1, 1, 3], (y) => k.adaptiveAvgPool2d(x, y))).toEqual([2, 5, 8]);
    expect(out([1, 1, 1, 5], (dx) => k.adaptiveAvgPool2dGrad(f64([1, 1, 1, 3], 2, 3, 4), dx))).toEqual([1, 2, 1, 3, 2]);
    expect(out([1, 2, 1, 1], (y) => k.adaptiveAvgPool2d(f64([1, 2, 2, 2], 1, 2, 3, 6, 0, 0, 0, 4), y))).toEqual([3, 1]);
    // The windows of 2 → 3 are 0, 0…1, 1.
    expect(out([1, 1, 3, 1], (y) => k.adaptiveAvgPool2d(f64([1, 1, 2, 1], 2, 6), y))).toEqual([2, 4, 6]);
  });
});

describe('sgd', () => {
  const step = (p: Partial<SgdStepOptions>, first: boolean, momentum = true) => {
    const [param, grad, velocity] = [f64([1], 10), f64([1], 2), f64([1], 3)];
    const options = { lr: 0.5, momentum: momentum ? 0.5 : 0, dampening: 0, nesterov: false, weightDecay: 0, maximize: false, ...p };
    k.sgd([{ param, grad, velocity: momentum ? velocity : null, first, options }]);
    return [read(param)[0], read(velocity)[0]];
  };

  test('plain, weight decay, momentum, dampening, Nesterov', () => {
    expect(step({}, true, false)).toEqual([9, 3]);
    expect(step({ weightDecay: 0.1 }, true, false)).toEqual([8.5, 3]);
    expect(step({}, true)).toEqual([9, 2]);
    expect(step({}, false)).toEqual([10 - 0.5 * 3.5, 3.5]);
    expect(step({ dampening: 0.5 }, false)).toEqual([10 - 0.5 * 2.5, 2.5]);
    expect(step({ dampening: 0.5 }, true)).toEqual([9, 2]);
    expect(step({ nesterov: true }, false)).toEqual([10 - 0.5 * (2 + 0.5 * 3.5), 3.5]);
    // g = −2 + 0.1 · 10
    expect(step({ maximize: true, weightDecay: 0.1 }, true)).toEqual([10.5, -1]);
  });
});

describe('adam', () => {
  /** m = 0.25·2 + 0.75·g, v = 0.5·8 + 0.5·g², at step 2: m / (1 − 1/16), v / (1 − 1/4). */
  const step = (p: Partial<AdamStepOptions>, largest?: number) => {
    const of = (x: number): View => f64([1], x);
    const [param, expAvg, expAvgSq, maxExpAvgSq] = [of(10), of(2), of(8), largest === undefined ? null : of(largest)];
    const options = { lr: 15 / 16, betas: [0.25, 0.5], eps: 1, weightDecay: 0, decoupled: false, maximize: false, ...p } as const;
    k.adam([{ param, grad: of(2), expAvg, expAvgSq, maxExpAvgSq, step: 2, options }]);
    return [param, expAvg, expAvgSq, maxExpAvgSq].flatMap((v) => (v === null ? [] : read(v)));
  };
  const after = (p: number, m: number, top: number): number => p - m / (Math.sqrt(top / 0.75) + 1);

  test('plain, both kinds of weight decay, amsgrad, maximize', () => {
    const close = (got: number[], want: number[]) => expect(difference(got, want, 1e-15)).toBeNull();
    close(step({}), [after(10, 2, 6), 2, 6]);
    // g = 2 + 0.2 · 10
    close(step({ weightDecay: 0.2 }), [after(10, 3.5, 12), 3.5, 12]);
    close(step({ weightDecay: 0.2, decoupled: true }), [after(10 - (15 / 16) * 2, 2, 6), 2, 6]);
    close(step({}, 27), [after(10, 2, 27), 2, 6, 27]);
    close(step({}, 3), [after(10, 2, 6), 2, 6, 6]);
    close(step({ maximize: true }), [after(10, -1, 6), -1, 6]);
  });
});

test('sumSquares and blend', () => {
  const views = [f64([2], 1, 2), f64([0]), f64([], 3)] as const;
  expect(k.sumSquares(views)).toBe(14);
  k.blend(views.map((x) => ({ x, y: null, keep: -2, take: 5 })));
  expect(views.map((v) => read(v))).toEqual([[-2, -4], [], [-6]]);
  k.blend([
    { x: views[0], y: f64([2], 10, 20), keep: 0.5, take: 2 },
    { x: views[2], y: views[2], keep: 0, take: 3 },
  ]);
  expect(views.map((v) => read(v))).toEqual([[19, 38], [], [-18]]);
});
