/**
 * Values and gradients far from 1: tails, overflow, underflow, cancellation, NaN and infinities. float32 results are compared with
 * float64's, and these with exact ones.
 */
import {
  arange,
  DTypeError,
  equal,
  type FloatDType,
  grad,
  linspace,
  noGrad,
  ones,
  rand,
  scope,
  setConvAlgorithm,
  ShapeError,
  tensor,
  type Tensor,
  zeros,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

type Fn = (x: Tensor) => Tensor;

const EXTREME = [0, -0, NaN, ...[Infinity, 3e38, 2e38, 1e20, 90, 40, 20, 18, 15, 5, 1e-5, 1e-20, 1e-40].flatMap((v) => [v, -v])].map(
  Math.fround,
);

/** Targets t of x's shape and dtype. */
const all = (x: Tensor, t: number): Tensor => zeros(x.shape, { dtype: x.dtype }).add(t);

const lossOf =
  (loss: (x: Tensor, t: Tensor, o: { reduction: 'none' }) => Tensor, t: number): Fn =>
  (x) =>
    loss(x, all(x, t), { reduction: 'none' });

/** Functions whose value and gradient are exact in float32 wherever they are representable. */
const FUNCTIONS: Readonly<Record<string, Fn>> = {
  abs: (x) => x.abs(),
  square: (x) => x.square(),
  exp: (x) => x.exp(),
  expm1: (x) => x.expm1(),
  log: (x) => x.log(),
  log1p: (x) => x.log1p(),
  sqrt: (x) => x.sqrt(),
  reciprocal: (x) => x.reciprocal(),
  rsqrt: (x) => x.rsqrt(),
  logSigmoid: (x) => F.logSigmoid(x),
  softplus: (x) => F.softplus(x),
  elu: (x) => F.elu(x),
  'elu, alpha 3': (x) => F.elu(x, 3),
  leakyRelu: (x) => F.leakyRelu(x),
  hardsigmoid: (x) => F.hardsigmoid(x),
  clamp: (x) => x.clamp(-1, 1),
  '2 / x': (x) => tensor(2, { dtype: x.dtype as FloatDType }).div(x),
  ...Object.fromEntries([0, 1, 2, 3, -1].map((p) => [`pow(${p})`, (x: Tensor) => x.pow(p)])),
  ...Object.fromEntries(
    [0, 0.3, 1].flatMap((t) => [
      [`binaryCrossEntropyWithLogits, target ${t}`, lossOf(F.binaryCrossEntropyWithLogits, t)],
      [`mseLoss, target ${t}`, lossOf(F.mseLoss, t)],
      [`l1Loss, target ${t}`, lossOf(F.l1Loss, t)],
      [`smoothL1Loss, target ${t}`, lossOf(F.smoothL1Loss, t)],
      [`smoothL1Loss, beta 3, target ${t}`, (x: Tensor) => F.smoothL1Loss(x, all(x, t), { reduction: 'none', beta: 3 })],
    ]),
  ),
};

function valueAndGrad(fn: Fn, dtype: FloatDType, values: readonly number[] = EXTREME): [value: number[], gradient: number[]] {
  const x = tensor([...values], { dtype, requiresGrad: true });
  const y = fn(x);
  y.sum().backward();
  return [[...y.data()], [...x.grad!.data()]];
}

describe('float32 agrees with float64 to 1e-5, below 1e-37 absolutely', () => {
  test.each(Object.entries(FUNCTIONS))('%s', (_, fn) => {
    const single = valueAndGrad(fn, 'float32');
    const double = valueAndGrad(fn, 'float64');
    const wrong = [0, 1].flatMap((part) =>
      EXTREME.flatMap((x, i) => {
        const got = single[part]![i]!;
        const want = Math.fround(double[part]![i]!);
        const close = Object.is(got, want) || got === want || Math.abs(got - want) <= 1e-5 * Math.abs(want) + 1e-37;
        return close ? [] : [{ part: ['value', 'gradient'][part], x, got, want }];
      }),
    );
    expect(wrong).toEqual([]);
  });
});

describe('exact values in both dtypes, relative error 1e-6', () => {
  const close = (got: readonly number[], want: readonly number[]): void =>
    got.forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThanOrEqual(1e-6 * Math.abs(want[i]!)));

  test.each(['float32', 'float64'] as const)('%s', (dtype) => {
    const xs = [-15, -18, -20, -40, -60];
    const tail = xs.map((x) => Math.log1p(Math.exp(x)));
    const slope = xs.map((x) => 1 / (1 + Math.exp(-x)));
    const negated = xs.map((x) => -x);
    const bce =
      (t: number, options: F.BinaryCrossEntropyWithLogitsOptions = {}): Fn =>
      (x) =>
        F.binaryCrossEntropyWithLogits(x, all(x, t), { ...options, reduction: 'none' });
    for (const [fn, values, want, gradient] of [
      [bce(0), xs, tail, slope],
      [bce(1), negated, tail, slope.map((s) => -s)],
      [bce(1, { posWeight: tensor(3, { dtype }) }), negated, tail.map((y) => 3 * y), slope.map((s) => -3 * s)],
      // −t p ln σ(x) − (1 − t) ln σ(−x) with t = ¼ and p = 2
      [
        bce(0.25, { posWeight: tensor(2, { dtype }) }),
        xs,
        xs.map((x, i) => 0.5 * (tail[i]! - x) + 0.75 * tail[i]!),
        slope.map((s) => 0.75 * s - 0.5 * (1 - s)),
      ],
      [(x) => F.elu(x), xs, xs.map(Math.expm1), xs.map(Math.exp)],
      [(x) => F.elu(x, 2), xs, xs.map((x) => 2 * Math.expm1(x)), xs.map((x) => 2 * Math.exp(x))],
      [(x) => x.expm1(), xs, xs.map(Math.expm1), xs.map(Math.exp)],
    ] as [Fn, number[], number[], number[]][]) {
      const [value, slopes] = valueAndGrad(fn, dtype, values);
      close(value, want);
      close(slopes, gradient);
    }
  });
});

test('binaryCrossEntropyWithLogits: gradients of targets and weights, and integer targets', () => {
  const double = { dtype: 'float64', requiresGrad: true } as const;
  const [x, t, p] = [tensor([-2, 3], double), tensor([0.25, 1], double), tensor([2, 3], double)];
  F.binaryCrossEntropyWithLogits(x, t, { posWeight: p, reduction: 'sum' }).backward();
  const [near, far] = [(v: number) => Math.log1p(Math.exp(-v)), (v: number) => Math.log1p(Math.exp(v))];
  const close = (got: Tensor | null, want: number[]): void => [...got!.data()].forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 12));
  close(t.grad, [2 * near(-2) - far(-2), 3 * near(3) - far(3)]);
  close(p.grad, [0.25 * near(-2), near(3)]);
  const loss = F.binaryCrossEntropyWithLogits(x.detach(), tensor([0, 1], { dtype: 'int32' }), { reduction: 'none' });
  close(loss, [far(-2), near(3)]);
});

describe('sums of squares in float64', () => {
  test.each([
    [[1e20, 2e20], 7.0710678e19, [-Math.SQRT1_2, Math.SQRT1_2]],
    [[1e-23, 2e-23, 3e-23], 1e-23, [-0.5, 0, 0.5]],
    [[3e38, 3e38, 2.4e38], 3.4641016e37, [0.28867513, 0.28867513, -0.57735026]],
  ])('float32 std of %j', (values, want, gradient) => {
    const [[y], dx] = valueAndGrad((x) => x.std(), 'float32', values.map(Math.fround));
    expect(Math.abs(y! / want - 1)).toBeLessThan(1e-6);
    dx.forEach((d, i) => expect(Math.abs(d - gradient[i]!)).toBeLessThan(1e-6));
  });

  test('var overflows only where its value does, and its gradient where that does', () => {
    expect(valueAndGrad((x) => x.var(), 'float32', [1e18, 3e18].map(Math.fround))[0][0]! / 2e36).toBeCloseTo(1, 6);
    const [[y], dx] = valueAndGrad((x) => x.var(), 'float32', [1e20, 2e20].map(Math.fround));
    expect([y, ...dx.map((d) => d / 1e20)].map((v) => Number(v!.toPrecision(6)))).toEqual([Infinity, -1, 1]);
    expect(tensor([1, 2]).var(0, { correction: 3 }).item()).toBe(Infinity);
    expect(tensor([1, 1]).var(0, { correction: 2 }).item()).toBeNaN();
  });

  test.each([
    [[3e30, 4e30], 5e30],
    [[3e-30, 4e-30], 5e-30],
    [[0, 0], 0],
  ])('float32 norm of %j', (values, want) => {
    const [[y], dx] = valueAndGrad((x) => x.norm(), 'float32', values.map(Math.fround));
    expect(Math.abs(y! - want)).toBeLessThanOrEqual(1e-6 * want);
    dx.forEach((d, i) => expect(Math.abs(d - (want === 0 ? 0 : values[i]! / want))).toBeLessThan(1e-6));
  });
});

describe('norm of any power', () => {
  test.each([
    [3, [1e-150, 1e150], 1e150],
    [-3, [1e-150, 1e150], 1e-150],
    [0.5, [1e-150, 4e-150], 9e-150],
    [1, [1e-150, 1e150], 1e150],
    // A negative power of 0 is infinite, and so is the sum, whose root is 0.
    [-1, [0, 2], 0],
    [3, [0, 0], 0],
  ])('neither overflows nor underflows: p = %d of %j', (p, values, want) => {
    scope(() => {
      const y = tensor(values, { dtype: 'float64' }).norm(p).item();
      expect(Math.abs(y - want)).toBeLessThanOrEqual(1e-14 * want);
    });
  });

  test('of no elements is 0, unless the power is negative', () => {
    scope(() => {
      for (const p of [0.5, 1, 2, 3]) {
        expect(zeros([2, 0]).norm(p, 1).toArray()).toEqual([0, 0]);
        expect(zeros([2, 0]).norm(p, 1, { keepdim: true }).shape).toEqual([2, 1]);
      }
      expect(() => zeros([2, 0]).norm(-1, 1)).toThrow(new ShapeError('amin: nothing to choose from along dims [1] of x [2,0]'));
    });
  });
});

test('smoothL1Loss: ±1 beyond the parabola, however far, and any beta', () => {
  const far = [1.8e38, -3e38, Infinity, -Infinity].map(Math.fround);
  for (const beta of [0, 1e-50, 1e-40, 1, 1e20]) {
    const [, dx] = valueAndGrad((x) => F.smoothL1Loss(x, zeros([4]), { beta, reduction: 'sum' }), 'float32', far);
    expect(dx).toEqual([1, -1, 1, -1]);
  }
  const tiny = Math.fround(3e-41);
  const [[y], [d]] = valueAndGrad((x) => F.smoothL1Loss(x, zeros([1]), { beta: 1e-40, reduction: 'sum' }), 'float32', [tiny]);
  expect([Math.abs(y! / 4.5e-42 - 1) < 1e-2, Math.abs(d! - 0.3) < 1e-3]).toEqual([true, true]);
  expect(valueAndGrad((x) => F.smoothL1Loss(x, zeros([1]), { beta: Infinity }), 'float32', [5])).toEqual([[0], [0]]);
});

describe('pow: the gradient at exponent 0 is 0', () => {
  const bases = [NaN, 1e-40, -1e-40, 0, -0, Infinity, 2].map(Math.fround);
  test.each([
    ['a number', (x: Tensor) => x.pow(0)],
    ['a tensor', (x: Tensor) => x.pow(zeros(x.shape))],
    ['a 0-d tensor', (x: Tensor) => x.pow(tensor(0))],
    ['some of a tensor', (x: Tensor) => x.pow(tensor([0, 0, 0, 0, 0, 0, 0]))],
  ])('%s, first and second derivative', (_, fn) => {
    const x = tensor(bases, { requiresGrad: true });
    const dx = grad(fn(x).sum(), x, { createGraph: true });
    expect([...dx.data()].map(Math.abs)).toEqual(bases.map(() => 0));
    const ddx = grad(dx.sum(), x, { allowUnused: true });
    if (ddx !== null) expect([...ddx.data()].map(Math.abs)).toEqual(bases.map(() => 0));
  });

  test('second derivative of pow(1) is 0, third of pow(2), and mixed ones stay', () => {
    const x = tensor(bases, { requiresGrad: true });
    const dx = grad(x.pow(1).sum(), x, { createGraph: true });
    expect([...dx.data()]).toEqual(bases.map(() => 1));
    expect([...grad(dx.sum(), x).data()].map(Math.abs)).toEqual(bases.map(() => 0));
    // ∂²(aᵇ)/∂a∂b at b = 0 is 1 / a.
    const [a, b] = [tensor([4, 0.5], { requiresGrad: true }), tensor([0, 0], { requiresGrad: true })];
    const da = grad(a.pow(b).sum(), a, { createGraph: true });
    expect([...grad(da.sum(), b).data()]).toEqual([0.25, 2]);
  });
});

test('the gradient of a quotient overflows only where it must', () => {
  const b = tensor([1e10], { requiresGrad: true });
  tensor([1e30]).div(b).mul(1e10).sum().backward();
  expect(b.grad!.item() / -1e20).toBeCloseTo(1, 6);
});

describe('batch norm without eps: a constant channel is its bias', () => {
  test.each(['float32', 'float64'] as const)('%s', (dtype) => {
    for (const [weight, bias] of [
      [null, null],
      [tensor([2, 3], { dtype }), tensor([5, 7], { dtype })],
    ] as const) {
      const x = tensor(
        [
          [1, 4],
          [3, 4],
          [5, 4],
        ],
        { dtype, requiresGrad: true },
      );
      const y = F.batchNorm(x, { training: true, eps: 0, weight, bias });
      expect([...y.select(1, 1).data()]).toEqual([0, 1, 2].map(() => (bias === null ? 0 : 7)));
      const dx = grad(y.mul(y).sum(), x, { createGraph: true });
      expect([...dx.select(1, 1).data()].map(Math.abs)).toEqual([0, 0, 0]);
      expect([...grad(dx.mul(dx).sum(), x).select(1, 1).data()].map(Math.abs)).toEqual([0, 0, 0]);
      expect([...dx.data(), ...y.data()].every(Number.isFinite)).toBe(true);
    }
  });
});

test('linspace and arange across the whole range', () => {
  const options = { dtype: 'float64' } as const;
  expect([...linspace(-1e308, 1e308, 3, options).data()]).toEqual([-1e308, 0, 1e308]);
  expect([...linspace(1.7e308, -1.7e308, 5, options).data()]).toEqual([1.7e308, 0.85e308, 0, -0.85e308, -1.7e308]);
  const ramp = linspace(0, 1e308, 1000, options).data();
  expect(ramp.every((v, i) => i === 0 || (v > ramp[i - 1]! && Math.abs(v / ((i / 999) * 1e308) - 1) < 1e-12))).toBe(true);
  expect([...arange(-1e308, 1e308, 1e308, options).data()]).toEqual([-1e308, 0]);
});

test('equal compares across dtypes exactly', () => {
  const int = (v: number): Tensor => tensor([v], { dtype: 'int32' });
  expect(equal(int(16777217), tensor([16777216]))).toBe(false);
  expect(equal(int(16777216), tensor([16777216]))).toBe(true);
  expect(equal(tensor([0.1]), tensor([0.1], { dtype: 'float64' }))).toBe(false);
  expect(equal(tensor([true]), int(1))).toBe(true);
});

describe('integers', () => {
  test('losses of int32 are computed exactly and rounded to float32', () => {
    const int = (...v: number[]): Tensor => tensor(v, { dtype: 'int32' });
    const sum = { reduction: 'sum' } as const;
    expect(F.mseLoss(int(100000, 3), int(0, 1), sum).item()).toBe(Math.fround(1e10 + 4));
    expect(F.l1Loss(int(2000000000), int(-2000000000), sum).item()).toBe(4e9);
    expect(F.l1Loss(int(16777217), int(16777216), sum).item()).toBe(1);
    expect(F.smoothL1Loss(int(2000000000, 1), int(-2000000000, 1)).item()).toBe(2e9);
    expect([...F.mseLoss(int(50000), int(0), { reduction: 'none' }).data()]).toEqual([2.5e9]);
    expect(F.mseLoss(tensor([true]), tensor([false])).item()).toBe(1);
  });

  // The reference kernels sum one element after another: 13 million take long.
  test.skipIf(process.env.CHAINRULE_KERNELS === 'reference')('a sum of many large numbers of both signs is exact', () => {
    // Sums of a half pass 2⁵³ and come back.
    const n = 6_550_000;
    const values = new Int32Array(2 * n + 1);
    for (let i = 0; i < n; i++) {
      values[i] = 2 ** 31 - 1 - ((i * 7919) % 1009);
      values[2 * n - i] = -values[i]!;
    }
    values[n] = 1200;
    const x = tensor(values);
    expect(x.sum().item()).toBe(1200);
    expect(() => x.slice(0, 0, n).sum()).toThrow(DTypeError);
    x.dispose();
  });

  test('a product with a factor 0 is 0, however large the others', () => {
    const large = new Array<number>(70).fill(2 ** 31 - 1);
    expect(
      tensor([...large, 0], { dtype: 'int32' })
        .prod()
        .item(),
    ).toBe(0);
    expect(() => tensor(large, { dtype: 'int32' }).prod()).toThrow('does not fit int32');
  });
});

describe('convolutions of no channels or no images', () => {
  const sizes = fc.record({
    n: fc.nat(2),
    c: fc.constant(0),
    o: fc.integer({ min: 1, max: 9 }),
    h: fc.integer({ min: 3, max: 6 }),
    groups: fc.constant(1),
  });
  const drawn = fc.oneof(
    sizes,
    sizes.map((s) => ({ ...s, n: 0, c: 2 })),
    sizes.map((s) => ({ ...s, o: 2 * s.o, groups: 2 })),
  );
  const options = fc.record({
    stride: fc.integer({ min: 1, max: 2 }),
    padding: fc.nat(2),
    dtype: fc.constantFrom('float32' as const, 'float64' as const),
  });

  test('conv2d and convTranspose2d are the bias, and so are their gradients 0', () => {
    fc.assert(
      fc.property(drawn, options, ({ n, c, o, h, groups }, { dtype, ...geometry }) => {
        const given = { dtype, requiresGrad: true } as const;
        const x = rand([n, c, h, h], given);
        const w = rand([o, c / groups, 3, 3], given);
        const b = rand([o], given);
        const y = F.conv2d(x, w, b, { ...geometry, groups });
        expect(equal(y, b.reshape([-1, 1, 1]).expand(y.shape))).toBe(true);
        y.square().sum().backward();
        expect([x.grad!.shape, w.grad!.shape]).toEqual([x.shape, w.shape]);
        expect([...x.grad!.data(), ...w.grad!.data()].every((v) => v === 0)).toBe(true);
        // Its adjoint has o channels in and none out.
        const g = rand(y.shape, given);
        const back = F.convTranspose2d(g, w, null, { ...geometry, groups });
        back.sum().backward();
        expect([...g.grad!.data()].every((v) => v === 0)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe.skipIf(process.env.CHAINRULE_KERNELS === 'reference')('Winograd beside a pixel of 10⁸', () => {
  const spike = (): Tensor => {
    const x = ones([1, 8, 12, 12]);
    noGrad(() => x.select(1, 0).select(1, 5).select(1, 5).fill_(1e8));
    return x;
  };
  /** Output channel 0 at the places whose 3×3 inputs do not hold the pixel. */
  const unread = (y: Tensor): number[] =>
    [...y.select(1, 0).data()].filter((_, i) => Math.abs(Math.floor(i / 10) - 4) > 1 || Math.abs((i % 10) - 4) > 1);

  test('outputs that do not read it are within the documented bound, and exact when direct', () => {
    const w = ones([8, 8, 3, 3]);
    const bound = 13 * 2 ** -24 * 1e8 * 9;
    const values = unread(F.conv2d(spike(), w));
    expect(values.filter((v) => v !== 72).length).toBeGreaterThan(0);
    for (const v of values) expect(Math.abs(v - 72)).toBeLessThan(bound);
    setConvAlgorithm('direct');
    try {
      expect(new Set(unread(F.conv2d(spike(), w)))).toEqual(new Set([72]));
    } finally {
      setConvAlgorithm('auto');
    }
  });
});

test('ECA’s default kernel size is that of eq. 12', () => {
  const sizes = [8, 64, 100, 256, 1024, 2048].map((channels) => new nn.ECA(channels).conv.weight.numel);
  expect(sizes).toEqual([3, 3, 3, 5, 5, 7]);
  expect(new nn.ECA(64, { gamma: 1, beta: 0 }).conv.weight.numel).toBe(7);
});

test('each registration of a hook is removed by itself', () => {
  const p = ones([1], { requiresGrad: true });
  const double = (g: Tensor): Tensor => g.mul(2);
  const removals = [p.registerHook(double), p.registerHook(double), p.registerHook(double)];
  const gradient = (): number => {
    p.grad = null;
    p.sum().backward();
    return p.grad!.item();
  };
  expect(gradient()).toBe(8);
  removals[1]!();
  expect(gradient()).toBe(4);
  removals[1]!();
  expect(gradient()).toBe(4);
  removals[0]!();
  removals[2]!();
  expect(gradient()).toBe(1);
});
