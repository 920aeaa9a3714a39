/**
 * The arbitraries of chainrule/testing draw valid and varied samples that print readably.
 */
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, DTypeError, ShapeError, memory, scope, tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import {
  ALL_LAYOUTS,
  NO_TIES,
  broadcastShapes,
  broadcastTensors,
  convolutions,
  poolings,
  shapes,
  tensors,
  type Domain,
  type TensorSample,
} from 'chainrule/testing';
import * as testing from 'chainrule/testing';
import { broadcastShapes as broadcast } from '../../src/core/shape.ts';

const seed = 20261124;
const draw = <T>(arb: fc.Arbitrary<T>, numRuns = 300): T[] => fc.sample(arb, { numRuns, seed });

describe('shapes', () => {
  test('stay within their bounds, and reach them', () => {
    const drawn = draw(shapes({ minRank: 1, maxRank: 4, minSize: 0, maxSize: 5 }));
    expect(new Set(drawn.map((s) => s.length))).toEqual(new Set([1, 2, 3, 4]));
    expect(new Set(drawn.flat())).toEqual(new Set([0, 1, 2, 3, 4, 5]));
    expect(new Set(draw(shapes({ minSize: 2, maxSize: 2 })).flat())).toEqual(new Set([2]));
    expect(draw(shapes({ minRank: 5 })).every((s) => s.length === 5)).toBe(true);
  });

  test('are mostly not empty', () => {
    expect(draw(shapes()).filter((s) => s.includes(0)).length).toBeLessThan(100);
  });

  test('crossed bounds throw', () => {
    expect(() => shapes({ minRank: 3, maxRank: 2 })).toThrow(
      new ArgumentError('shapes: minRank 3 and minSize 0 must not exceed maxRank 2 and maxSize 3'),
    );
  });

  test('shrink to 1 and to few dims', () => {
    const { counterexample } = fc.check(
      fc.property(shapes({ maxRank: 4 }), (s) => s.length < 2),
      { seed },
    );
    expect(counterexample).toEqual([[1, 1]]);
  });
});

describe('broadcast shapes', () => {
  test('broadcast against each other', () => {
    const drawn = draw(broadcastShapes(3));
    for (const s of drawn) expect(() => broadcast('test', ...s)).not.toThrow();
    expect(drawn.some(([a, b]) => a!.length < b!.length)).toBe(true);
    expect(drawn.some(([a, b]) => a!.length > b!.length)).toBe(true);
    expect(drawn.some(([a, b]) => a!.length === b!.length && a!.some((n, d) => n === 1 && b![d]! > 1))).toBe(true);
    expect(drawn.some(([a, b]) => String(a) === String(b) && a!.length > 1)).toBe(true);
    expect(draw(broadcastShapes(2, { minRank: 2, minSize: 2 })).every((pair) => pair.every((s) => s.length >= 2))).toBe(true);
  });
});

describe('tensors', () => {
  const domains: Record<Domain, (values: readonly number[]) => boolean> = {
    real: (v) => v.every((x) => Math.abs(x) <= 2),
    positive: (v) => v.every((x) => x >= 0.2),
    aboveMinusOne: (v) => v.every((x) => x >= -0.8),
    nonzero: (v) => v.every((x) => Math.abs(x) >= 0.3),
    distinct: (v) => v.every((x, i) => v.every((y, j) => i === j || Math.abs(x - y) > 0.19)),
  };
  for (const [domain, holds] of Object.entries(domains)) {
    test(`${domain} values, of 3 digits at most`, () => {
      const drawn = draw(tensors({ dtype: 'float64', domain: domain as Domain, layouts: NO_TIES }));
      for (const { values } of drawn) {
        expect(holds([...values]), String(values)).toBe(true);
        for (const x of values) expect(String(x).length).toBeLessThanOrEqual(6);
      }
    });
  }

  test('other dtypes', () => {
    const ints = draw(tensors({ dtype: 'int32', min: 3, max: 5 }));
    expect(new Set(ints.flatMap((s) => [...s.values]))).toEqual(new Set([3, 4, 5]));
    expect(new Set(draw(tensors({ dtype: 'bool' })).flatMap((s) => [...s.values]))).toEqual(new Set([0, 1]));
    expect(ints.some((s) => s.requiresGrad)).toBe(false);
    expect(draw(tensors({}), 3).every((s) => s.dtype === 'float32' && s.requiresGrad)).toBe(true);
    expect(draw(tensors({ requiresGrad: false }), 3).some((s) => s.requiresGrad)).toBe(false);
  });

  for (const layout of ALL_LAYOUTS) {
    test(`layout ${layout}`, () => {
      scope(() => {
        const drawn = draw(tensors({ shape: [2, 3, 2, 2], layouts: [layout] }), 20).map((s) => s.tensor());
        for (const t of drawn) expect(t.shape).toEqual([2, 3, 2, 2]);
        const strides = drawn.map((t) => t.strides);
        if (layout === 'plain') expect(strides.every((s) => String(s) === '12,4,2,1')).toBe(true);
        if (layout === 'channelsLast') expect(strides).toContainEqual([12, 1, 6, 3]);
        if (layout === 'expanded') expect(strides.every((s) => s.includes(0))).toBe(true);
        if (layout === 'transposed') expect(new Set(strides.map(String)).size).toBeGreaterThan(3);
        if (layout === 'sliced') expect(drawn.some((t) => !t.isContiguous())).toBe(true);
      });
    });
  }

  test('print as the code that makes them', () => {
    const make = (code: string): unknown => runInNewContext(code, { tensor });
    const arbitrary = fc.oneof(tensors({ dtype: 'float64' }), tensors({ dtype: 'int32' }), tensors({ dtype: 'bool', shape: [1, 2, 2, 2] }));
    for (const sample of draw<TensorSample>(arbitrary, 100)) {
      scope(() => {
        const [made, expected] = [make(fc.stringify(sample)) as ReturnType<typeof tensor>, sample.tensor()];
        expect([made.shape, made.strides, made.dtype]).toEqual([expected.shape, expected.strides, expected.dtype]);
        expect(made.data()).toEqual(expected.data());
      });
    }
  });

  test('have variants', () => {
    const [sample] = draw(tensors({ shape: [2, 2], dtype: 'float64', layouts: ['transposed'] }), 1);
    const doubled = sample!.map((x) => 2 * x).withGrad(false);
    expect([...doubled.values]).toEqual([...sample!.values].map((x) => 2 * x));
    expect([doubled.requiresGrad, doubled.shape, sample!.requiresGrad]).toEqual([false, [2, 2], true]);
  });

  test('that broadcast', () => {
    scope(() => {
      const drawn = draw(broadcastTensors(2, { dtype: 'float64', domain: 'positive', minSize: 1 }));
      for (const [a, b] of drawn) expect(a!.tensor().mul(b!.tensor()).numel).toBeGreaterThan(0);
    });
  });

  test('allocate no memory before tensor() is called', () => {
    const before = memory();
    draw(tensors());
    expect(memory()).toEqual(before);
  });
});

describe('configurations', () => {
  test('of convolutions are valid', () => {
    const drawn = draw(convolutions());
    for (const [x, w, b, options] of drawn) {
      expect(scope(() => F.conv2d(x.tensor(), w.tensor(), b?.tensor() ?? null, options).ndim)).toBe(4);
    }
    for (const key of ['stride', 'padding', 'dilation'] as const) {
      expect(drawn.some(([, , , o]) => o[key][0] !== o[key][1])).toBe(true);
    }
    // Convolutions with fast algorithms are drawn often enough to test them.
    const usual = drawn.filter(([, w, , o]) => String([w.shape.slice(2), o.stride, o.dilation]) === '3,3,1,1,1,1');
    expect(usual.length).toBeGreaterThan(30);
    expect(drawn.some(([, w, b, o]) => o.groups === 2 && b === null && w.shape[2] === 3)).toBe(true);
  });

  test('of poolings are valid', () => {
    for (const [x, kernel, options] of draw(poolings())) {
      expect(scope(() => F.maxPool2d(x.tensor(), kernel, options).ndim)).toBe(4);
    }
    const unbatched = (x: TensorSample): boolean => x.shape.length === 3;
    expect(draw(poolings()).some(([x]) => unbatched(x)) || draw(convolutions()).some(([x]) => unbatched(x))).toBe(false);
    expect(draw(poolings({ unbatched: true })).some(([x]) => unbatched(x))).toBe(true);
    expect(draw(convolutions({ unbatched: true })).some(([x]) => unbatched(x))).toBe(true);
    const plain = draw(poolings({ dilated: false }));
    expect(plain.some(([, , o]) => String(o.dilation) !== '1,1')).toBe(false);
    for (const [x, kernel, { stride, padding, ceilMode }] of plain) {
      expect(scope(() => F.avgPool2d(x.tensor(), kernel, { stride, padding, ceilMode }).ndim)).toBe(4);
    }
  });
});

describe('options that are wrong', () => {
  const wrong = (act: () => unknown, message: string, kind: new (message: string) => Error = ArgumentError): void =>
    expect(act).toThrow(new kind(message));
  const plain = testing as unknown as Readonly<Record<string, (...args: unknown[]) => fc.Arbitrary<unknown>>>;

  test('shape is an array of sizes, or an arbitrary of them', () => {
    for (const [shape, shown] of [
      [3, '3'],
      ['2,3', "'2,3'"],
      [null, 'null'],
      [{ generate: 1 }, 'an object'],
    ] as const)
      wrong(() => plain.tensors!({ shape }), `tensors: shape must be an array of sizes, or an arbitrary of them, got ${shown}`);
    wrong(() => plain.tensors!({ shape: [2, -1] }), 'tensors: shape: every size must be a whole number ≥ 0, got shape [2,-1]', ShapeError);
    // What an arbitrary draws is checked when it is drawn.
    const drawn = plain.tensors!({ shape: fc.constant(3) });
    wrong(() => fc.sample(drawn, 1), 'tensors: shape must be an array of sizes, or an arbitrary of them, got 3');
  });

  test.each(['tensors', 'broadcastTensors', 'convolutions', 'poolings'])('%s: dtype, domain, layouts and bounds', (name) => {
    const make = (options: object) => (): unknown => (name === 'broadcastTensors' ? plain[name]!(2, options) : plain[name]!(options));
    wrong(make({ dtype: 'float16' }), `${name}: dtype must be float32, float64, int32 or bool, got 'float16'`, DTypeError);
    wrong(make({ domain: 'complex' }), `${name}: domain must be one of real, positive, nonzero, distinct, aboveMinusOne, got 'complex'`);
    wrong(make({ layouts: ['plain', 'nhwc'] }), `${name}: layouts must be an array of ${ALL_LAYOUTS.join(', ')}, got ['plain','nhwc']`);
    wrong(make({ max: 0.5 }), `${name}: max must be a whole number that fits int32, got 0.5`);
    wrong(make({ min: Number.NaN }), `${name}: min must be a whole number that fits int32, got NaN`);
    wrong(make({ min: 20 }), `${name}: min must be at most max, got 20 and 10`);
  });

  test('gradientProperty without an arbitrary', () => {
    for (const [arb, shown] of [
      [undefined, 'undefined'],
      [[2, 3], '[2,3]'],
    ] as const)
      wrong(
        () => plain.gradientProperty!((x: unknown) => x, arb),
        `gradientProperty: arb must be an arbitrary, such as tensors({ dtype: 'float64' }), got ${shown}`,
      );
  });
});
