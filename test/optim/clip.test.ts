import { ArgumentError, InPlaceError, tensor, type Tensor } from 'chainrule';
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

test('both take one tensor and any iterable, and pass over gradients without elements', () => {
  const [one] = withGrads([3, 4]) as [Tensor];
  expect(optim.clipGradNorm(one, 1)).toBe(5);
  expectClose(one.grad!, [3 / (5 + 1e-6), 4 / (5 + 1e-6)]);
  optim.clipGradValue(one, 0.25);
  expect(one.grad!.toArray()).toEqual([0.25, 0.25]);
  const params = [...withGrads([-2, 1]), ...withGrads([])];
  expect([1, 2, Infinity].map((normType) => optim.clipGradNorm(new Set(params), 9, { normType }))).toEqual([3, Math.sqrt(5), 2]);
});

test('both refuse by name what is no parameter and no option', () => {
  for (const [name, clip] of Object.entries({ clipGradNorm: optim.clipGradNorm, clipGradValue: optim.clipGradValue })) {
    for (const [params, i, got] of [
      [3, 0, 'a number'],
      [[...withGrads([1]), null], 1, 'null'],
    ] as const)
      expect(() => clip(params as never, 1)).toThrow(new ArgumentError(`${name}: parameter ${i} must be a tensor, got ${got}`));
    expect(() => (clip as Function)(withGrads([1]), 1, true)).toThrow(new RegExp(`^${name}: .*options`));
  }
  for (const normType of [0, -1, Number.NaN])
    expect(() => optim.clipGradNorm(withGrads([1]), 1, { normType })).toThrow(
      new ArgumentError(`clipGradNorm: normType must be > 0, got ${normType}`),
    );
  expect(() => optim.clipGradNorm(withGrads([1]), 1, { normType: '2' as never })).toThrow(
    new ArgumentError("clipGradNorm: normType must be a number, got '2'"),
  );
});

test.each([
  ['clipGradNorm', optim.clipGradNorm],
  ['clipGradValue', optim.clipGradValue],
])('%s: a graph that has saved a gradient before it was clipped throws', (_, clip) => {
  const params = withGrads([3, 4]);
  const x = tensor([1, 2], { dtype: 'float64', requiresGrad: true });
  const y = x.mul(params[0]!.grad!).sum();
  clip(params, 1);
  expect(() => y.backward()).toThrow(InPlaceError);
});
