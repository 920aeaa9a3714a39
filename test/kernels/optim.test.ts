import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FloatDType } from '../../src/core/dtype.ts';
import { sizeOf } from '../../src/core/shape.ts';
import type { AdamEntry, BlendEntry, SgdEntry } from '../../src/kernels/interface.ts';
import { memoryUse } from '../../src/kernels/memory/allocator.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import type { View } from '../../src/kernels/view.ts';
import { optimizerKernels as kernels } from '../../src/kernels/wasm/optimizers.ts';
import { difference, freed, LAYOUTS, numbers, raw, runs, view, type Layout } from './layouts.ts';

// Compares the optimizers' kernels with the reference implementation, for any mix of dtypes, sizes and memory orders.

const RUNS = { seed: 20261124, numRuns: runs(200) };
const TITLE = 'within 1e-6 (float32), 1e-14 (float64)';
const tolerance = { float32: 1e-6, float64: 1e-14 };

const layout = fc.constantFrom<Layout>(...LAYOUTS);
const line = fc.integer({ min: 0, max: 67 }).map((n) => [n]);
const tensor = fc.record({
  shape: fc.oneof(line, fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 4 })),
  dtype: fc.constantFrom<FloatDType>('float32', 'float64'),
  seed: fc.nat(1e6),
  layout,
  gradLayout: fc.option(layout),
  special: fc.boolean(),
});
type Tensor = typeof tensor extends fc.Arbitrary<infer T> ? T : never;

/** Makes one of a parameter's tensors, in some cases with NaN, ±∞ and ±0 in it. */
const of = (t: Tensor, i: number, how = t.layout): View => view(t.shape, t.dtype, how, numbers(sizeOf(t.shape), t.seed + i, t.special));
const grad = (t: Tensor): View => of(t, 1, t.gradLayout ?? t.layout);
const squares = (t: Tensor, i: number): View =>
  view(
    t.shape,
    t.dtype,
    t.layout,
    numbers(sizeOf(t.shape), t.seed + i, t.special).map((v) => v * v),
  );

/** Compares the whole storages that both implementations have written, including gaps between elements. */
function expectAlike(got: readonly (View | null)[], want: readonly (View | null)[], eps = tolerance): void {
  got.forEach((v, i) => {
    if (v !== null) expect(difference(raw(v), raw(want[i]!), eps[v.dtype as FloatDType])).toBeNull();
  });
}

const common = { lr: fc.constantFrom(0.1, 1e-3), weightDecay: fc.constantFrom(0, 0.1), maximize: fc.boolean() };

describe('sgd', () => {
  const options = fc.record({
    ...common,
    momentum: fc.constantFrom(0, 0.9),
    dampening: fc.constantFrom(0, 0.5),
    nesterov: fc.boolean(),
  });
  const entries = fc.array(fc.record({ tensor, first: fc.boolean(), options }), { maxLength: 5 });
  const written = (e: SgdEntry): (View | null)[] => [e.param, e.grad, e.velocity];

  test(`equals the reference ${TITLE}, also where each entry has options of its own`, () => {
    const property = fc.property(entries, (drawn) => {
      freed(() => {
        const make = (): SgdEntry[] =>
          drawn.map(({ tensor: t, first, options: o }) => {
            return { param: of(t, 0), grad: grad(t), velocity: o.momentum === 0 ? null : of(t, 2), first, options: o };
          });
        const [got, want] = [make(), make()];
        kernels.sgd(got);
        reference.sgd(want);
        expectAlike(got.flatMap(written), want.flatMap(written));
      });
    });
    fc.assert(property, RUNS);
  });
});

describe('adam', () => {
  const options = fc.record({
    ...common,
    betas: fc.constantFrom<[number, number]>([0.9, 0.999], [0, 0.5]),
    eps: fc.constantFrom(1e-8, 1e-3),
    decoupled: fc.boolean(),
  });
  const step = fc.integer({ min: 1, max: 50 });
  const entries = fc.array(fc.record({ tensor, amsgrad: fc.boolean(), step, options }), { maxLength: 5 });
  const written = (e: AdamEntry): (View | null)[] => [e.param, e.grad, e.expAvg, e.expAvgSq, e.maxExpAvgSq];

  test(`equals the reference within 1e-5 (float32), 1e-14 (float64), also where each entry has options of its own`, () => {
    const property = fc.property(entries, (drawn) => {
      freed(() => {
        const make = (): AdamEntry[] =>
          drawn.map(({ tensor: t, amsgrad, step: at, options: o }) => {
            const [expAvg, expAvgSq, maxExpAvgSq] = [of(t, 2), squares(t, 3), amsgrad ? squares(t, 4) : null];
            return { param: of(t, 0), grad: grad(t), expAvg, expAvgSq, maxExpAvgSq, step: at, options: o };
          });
        const [got, want] = [make(), make()];
        kernels.adam(got);
        reference.adam(want);
        // The reference rounds once, the kernel after every operation. Division by a small root enlarges the difference.
        expectAlike(got.flatMap(written), want.flatMap(written), { ...tolerance, float32: 1e-5 });
      });
    });
    fc.assert(property, RUNS);
  });
});

describe('sums of squares, and blending', () => {
  const number = fc.constantFrom(0, 0.5, -3, Number.NaN);
  const entries = fc.array(fc.record({ tensor, hasY: fc.boolean(), keep: number, take: number }), { maxLength: 5 });

  test(`equal the reference ${TITLE}`, () => {
    const property = fc.property(entries, (drawn) => {
      freed(() => {
        const make = (): BlendEntry[] =>
          drawn.map(({ tensor: t, hasY, ...numbers }) => ({ x: of(t, 0), y: hasY ? of(t, 1) : null, ...numbers }));
        const [got, want] = [make(), make()];
        const xs = (from: BlendEntry[]) => from.map((e) => e.x);
        expect(difference([kernels.sumSquares(xs(got))], [reference.sumSquares(xs(want))], 1e-14)).toBeNull();
        kernels.blend(got);
        reference.blend(want);
        expectAlike(xs(got), xs(want));
      });
    });
    fc.assert(property, RUNS);
  });

  test('a float32 number whose square overflows float32 counts', () => {
    freed(() => expect(kernels.sumSquares([view([5], 'float32', 'row-major', Array(5).fill(2 ** 100))])).toBe(5 * 2 ** 200));
  });
});

describe('entries of several chunks', () => {
  const sizes = [1, 16384, 40003, 5];
  const of = (n: number, seed: number): View => view([n], 'float32', 'row-major', numbers(n, seed));
  const options = { lr: 0.1, weightDecay: 1e-4, maximize: false };

  test('are updated to their ends, within 1e-6', () => {
    freed(() => {
      const sgd = { ...options, momentum: 0.9, dampening: 0, nesterov: true };
      const make = (n: number): SgdEntry => ({ param: of(n, 1), grad: of(n, 2), velocity: of(n, 3), first: false, options: sgd });
      const [got, want] = [sizes.map(make), sizes.map(make)];
      kernels.sgd(got);
      reference.sgd(want);
      expectAlike(
        got.flatMap((e) => [e.param, e.velocity]),
        want.flatMap((e) => [e.param, e.velocity]),
      );
    });
  });

  test('are summed and blended to their ends, within 1e-12', () => {
    freed(() => {
      const views = sizes.map((n) => of(n, n));
      const sum = reference.sumSquares(views);
      expect(difference([kernels.sumSquares(views)], [sum], 1e-12)).toBeNull();
      kernels.blend(views.map((x) => ({ x, y: x, keep: 0.5, take: 1.5 })));
      expect(difference([kernels.sumSquares(views)], [4 * sum], 1e-12)).toBeNull();
    });
  });
});

test('tables and partial sums are freed', () => {
  freed(() => {
    const make = (): View => view([5], 'float32', 'row-major', [1, 2, 3, 4, 5]);
    const [param, gradient, m, v] = [make(), make(), make(), make()];
    const before = memoryUse().bytes;
    const options = { lr: 1, weightDecay: 0, maximize: false };
    kernels.sgd([
      { param, grad: gradient, velocity: null, first: true, options: { ...options, momentum: 0, dampening: 0, nesterov: false } },
    ]);
    const adam = { ...options, betas: [0.9, 0.99], eps: 1e-8, decoupled: false } as const;
    kernels.adam([{ param, grad: gradient, expAvg: m, expAvgSq: v, maxExpAvgSq: null, step: 1, options: adam }]);
    kernels.sumSquares([param]);
    kernels.blend([{ x: param, y: gradient, keep: 0.5, take: 2 }]);
    expect(memoryUse().bytes).toBe(before);
  });
});
