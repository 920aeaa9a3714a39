import { ArgumentError, ShapeError, allclose, equal, memory, ones, tensor, zeros } from 'chainrule';
import { expect, test } from 'vitest';

const of = (...values: number[]): ReturnType<typeof tensor> => tensor(values, { dtype: 'float64' });

test('allclose: |a − b| ≤ atol + rtol·|b|, as PyTorch’s', () => {
  expect(allclose(of(1, 2), of(1 + 9e-6, 2))).toBe(true);
  expect(allclose(of(1, 2), of(1 + 2e-5, 2))).toBe(false);
  expect(allclose(of(0), of(1e-8))).toBe(true);
  expect(allclose(of(0), of(2e-8))).toBe(false);
  // Relative to b.
  expect(allclose(of(9), of(10), { rtol: 0.1, atol: 0 })).toBe(true);
  expect(allclose(of(10), of(9), { rtol: 0.1, atol: 0 })).toBe(false);
  expect(allclose(of(Infinity, -Infinity), of(Infinity, -Infinity))).toBe(true);
  expect(allclose(of(Infinity), of(-Infinity))).toBe(false);
  expect(allclose(of(1), of(Infinity))).toBe(false);
  expect(allclose(of(NaN), of(NaN))).toBe(false);
  expect(allclose(of(NaN, 1), of(NaN, 1), { equalNan: true })).toBe(true);
  expect(allclose(of(NaN), of(1), { equalNan: true })).toBe(false);
  expect(allclose(ones([2, 3]), tensor(1, { dtype: 'int32' }))).toBe(true);
  expect(allclose(zeros([0]), zeros([0]))).toBe(true);
  expect(allclose(tensor([true, false]), tensor([1, 0]))).toBe(true);
});

test('equal: shape and every element', () => {
  expect(equal(of(1, 2), of(1, 2))).toBe(true);
  expect(equal(of(1, 2), of(1, 3))).toBe(false);
  expect(equal(ones([2]), ones([2, 1]))).toBe(false);
  expect(equal(ones([2]), ones([]))).toBe(false);
  expect(equal(tensor([1, 2], { dtype: 'int32' }), of(1, 2))).toBe(true);
  expect(equal(of(NaN), of(NaN))).toBe(false);
  expect(equal(zeros([0, 2]), zeros([0, 2]))).toBe(true);
});

test('frees all memory, records nothing, and names bad arguments', () => {
  const [a, b] = [ones([3], { requiresGrad: true }), ones([3])];
  const before = memory().tensors;
  allclose(a, b);
  equal(a, b);
  expect(memory().tensors).toBe(before);
  a.sum().backward();
  expect(() => allclose(a, 3 as never)).toThrow(/^allclose: b /);
  expect(() => equal(null as never, b)).toThrow(/^equal: a /);
  expect(() => allclose(a, b, { tol: 1 } as never)).toThrow(
    new ArgumentError("allclose: unknown option 'tol'; the options are rtol, atol, equalNan"),
  );
  expect(() => allclose(a, b, { rtol: -1 })).toThrow(new ArgumentError('allclose: rtol must be a number ≥ 0, got -1'));
  expect(() => allclose(a, ones([2]))).toThrow(ShapeError);
});
