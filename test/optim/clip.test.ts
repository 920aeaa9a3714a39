import { ArgumentError, tensor, type Tensor } from 'chainrule';
import * as optim from 'chainrule/optim';
import { expect, test } from 'vitest';
import { expectClose } from '../nn/fixture.ts';

function withGrads(...grads: number[][]): Tensor[] {
  return grads.map((g) => {
    const p = tensor(g, { dtype: 'float64', requiresGrad: true });
    p.grad = tensor(g, { dtype: 'float64' });
    return p;
  });
}

test('clipGradNorm scales all gradients to a total norm, and returns the norm before', () => {
  const params = [...withGrads([3], [0, 4]), tensor([1], { requiresGrad: true })];
  expect(optim.clipGradNorm(params, 1)).toBe(5);
  // PyTorch divides by the norm plus 1e-6.
  expectClose(params[0]!.grad!, [3 / (5 + 1e-6)]);
  expectClose(params[1]!.grad!, [0, 4 / (5 + 1e-6)]);
  expect(params[2]!.grad).toBeNull();
  const small = withGrads([3, 4]);
  optim.clipGradNorm(small, 6);
  expect(small[0]!.grad!.toArray()).toEqual([3, 4]);
  expect(optim.clipGradNorm(withGrads([1, -7], [2]), 100, { normType: Infinity })).toBe(7);
  expectClose([optim.clipGradNorm(withGrads([1, -2], [2]), 100, { normType: 3 })], [17 ** (1 / 3)]);
  expect(optim.clipGradNorm([], 1)).toBe(0);
  // The powers overflow in float32.
  const large = tensor([0, 0], { requiresGrad: true });
  large.grad = tensor([3e20, 4e20]);
  for (const [normType, norm] of [
    [1, 7e20],
    [2, 5e20],
    [3, 91 ** (1 / 3) * 1e20],
    [Infinity, 4e20],
  ] as const)
    expect(optim.clipGradNorm([large], 1e30, { normType }) / norm).toBeCloseTo(1, 6);
});

test('a norm that is not finite makes the gradients so, or throws', () => {
  const params = withGrads([Number.NaN, 1]);
  expect(optim.clipGradNorm(params, 1)).toBeNaN();
  expect(params[0]!.grad!.toArray()).toEqual([Number.NaN, Number.NaN]);
  const infinite = withGrads([Infinity, 1]);
  expect(() => optim.clipGradNorm(infinite, 1, { errorIfNonfinite: true })).toThrow(
    new ArgumentError('clipGradNorm: the total norm of the gradients is Infinity'),
  );
  expect(infinite[0]!.grad!.toArray()).toEqual([Infinity, 1]);
  expect(() => optim.clipGradNorm(params, -1)).toThrow(new ArgumentError('clipGradNorm: maxNorm must be a number ≥ 0, got -1'));
  expect(() => optim.clipGradNorm(params, 1, { norm: 1 } as object)).toThrow(
    new ArgumentError("clipGradNorm: unknown option 'norm'; the options are normType, errorIfNonfinite"),
  );
});

test('clipGradValue clamps every element', () => {
  const params = withGrads([3, -0.5], [-4]);
  optim.clipGradValue(params, 1);
  expect(params.map((p) => p.grad!.toArray())).toEqual([[1, -0.5], [-1]]);
  expect(() => optim.clipGradValue(params, Number.NaN)).toThrow(new ArgumentError('clipGradValue: value must be a number ≥ 0, got NaN'));
});
