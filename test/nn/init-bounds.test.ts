/** Random initial values lie between their bounds, after rounding too, and have the right distribution in every interval. */
import { ArgumentError, Generator, manualSeed, rand, zeros, type FloatDType, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { below, roundDown, roundUp } from '../../src/core/dtype.ts';

const extremes = (t: Tensor): [number, number] => {
  const values = [...t.data()];
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
};

test('roundUp, roundDown and below find the elements next to a number', () => {
  const number = fc.oneof(
    fc.double({ noNaN: true }),
    fc.float({ noNaN: true }),
    fc.constantFrom(0, -0, 1, 0.1, -0.7, 1e39, -1e39, 2 ** -149),
  );
  fc.assert(
    fc.property(number, (x) => {
      for (const dtype of ['float32', 'float64'] as const) {
        const isElement = (v: number): boolean => dtype === 'float64' || Math.fround(v) === v;
        const [up, down, less] = [roundUp(x, dtype), roundDown(x, dtype), below(x, dtype)];
        expect([up, down].every(isElement) && up >= x && down <= x).toBe(true);
        if (x > -Infinity) expect(isElement(less) && less < x).toBe(true);
        // Nothing lies between: half-way numbers round to one of both.
        if (up === x) expect(down).toBe(x);
        if (Math.abs(x) < 1e38 && isElement(x))
          expect([x, less]).toContain(dtype === 'float64' ? x / 2 + less / 2 : Math.fround((x + less) / 2));
      }
    }),
  );
});

describe.each(['float32', 'float64'] as const)('%s', (dtype: FloatDType) => {
  test('uniform_ draws in [low, high), though few numbers lie between', () => {
    const intervals: [low: number, high: number][] = [
      [1, 1 + 2 ** -22],
      [0.1, 0.1 + 2 ** -24],
      [0.7, 0.7000001],
      [-1, -1 + 2 ** -23],
      [16777215, 16777217],
      [-0.3, -0.2999999],
    ];
    for (const [low, high] of intervals) {
      manualSeed(1);
      const [least, most] = extremes(nn.init.uniform_(zeros([4000], { dtype }), low, high));
      expect([least >= low, most < high]).toEqual([true, true]);
    }
    // As wide as in kaimingUniform_, where one draw in 2²⁵ rounds to the bound.
    const w = nn.init.uniform_(zeros([1 << 12], { dtype }), -1, 1);
    const [least, most] = extremes(w);
    expect([least >= -1, most < 1]).toEqual([true, true]);
    expect(nn.init.uniform_(zeros([3], { dtype }), 2, 2).toArray()).toEqual([2, 2, 2]);
  });

  test('uniform_ between the largest numbers is finite and spread', () => {
    const bound = dtype === 'float64' ? 1e308 : 3e38;
    manualSeed(2);
    const values = nn.init.uniform_(zeros([1000], { dtype }), -bound, bound).data();
    expect(values.every((v) => Math.abs(v) <= bound)).toBe(true);
    const inUpperQuarter = values.filter((v) => v > bound / 2).length;
    expect([inUpperQuarter > 190, inUpperQuarter < 310]).toEqual([true, true]);
  });

  test('truncNormal_ stays between bounds that are no elements of the dtype', () => {
    for (const [a, b] of [
      [0.1, 0.3],
      [-0.7, 0.7],
      [2.3, 2.3000005],
      [-5, -4.9],
    ] as const) {
      manualSeed(3);
      const [least, most] = extremes(nn.init.truncNormal_(zeros([3000], { dtype }), 0, 1, a, b));
      expect([least >= a, most <= b]).toEqual([true, true]);
    }
  });
});

test('normal_ refuses parameters that are not finite, and nothing is drawn for an empty tensor', () => {
  const t = zeros([2]);
  expect(() => nn.init.normal_(t, 0, Infinity)).toThrow(new ArgumentError('normal_: mean and std must be finite, got 0 and Infinity'));
  expect(() => nn.init.normal_(t, NaN)).toThrow(new ArgumentError('normal_: mean and std must be finite, got NaN and 1'));
  expect(t.toArray()).toEqual([0, 0]);
  // The fan is 0, and the bound infinite.
  expect(nn.init.kaimingUniform_(zeros([3, 0])).shape).toEqual([3, 0]);
  expect(nn.init.kaimingNormal_(zeros([3, 0])).shape).toEqual([3, 0]);
});

test('uniform_ refuses bounds that the dtype cannot hold', () => {
  const t = zeros([2]);
  expect(() => nn.init.uniform_(t, -Infinity, 1)).toThrow(
    new ArgumentError('uniform_: low and high must be finite in float32, got -Infinity and 1'),
  );
  expect(() => nn.init.uniform_(t, 1e39, 2e39)).toThrow(
    new ArgumentError('uniform_: low and high must be finite in float32, got 1e+39 and 2e+39'),
  );
  expect(t.toArray()).toEqual([0, 0]);
});

describe('truncNormal_ draws from every interval directly', () => {
  // Mean and deviation by numerical integration of the density.
  test.each([
    [2, 4, 2.3706331597004184, 0.33103340258118874],
    [2.5, 6, 2.822744267748938, 0.29828181950485494],
    [8, 9, 8.121188992996423, 0.1189476472286975],
    [30, 31, 30.03325966749487, 0.033223057388833306],
    [0, 1, 0.45986222928731835, 0.282226548798558],
    [-0.1, 0.1, 0, 0.057696542414749453],
    [0.5, 0.7, 0.5980031434066821, 0.05767583114517875],
  ])('[%f, %f]', (a, b, mean, deviation) => {
    const n = 20_000;
    for (const [mu, sigma, sign] of [
      [0, 1, 1],
      [3, 0.5, -1],
    ] as const) {
      manualSeed(4);
      const bounds = [mu + sign * sigma * a, mu + sign * sigma * b].sort((p, q) => p - q) as [number, number];
      const t = nn.init.truncNormal_(zeros([n], { dtype: 'float64' }), mu, sigma, ...bounds);
      const [least, most] = extremes(t);
      expect([least >= bounds[0], most <= bounds[1]]).toEqual([true, true]);
      expect(Math.abs(t.mean().item() - mu - sign * sigma * mean)).toBeLessThan((5 * sigma * deviation) / Math.sqrt(n));
      expect(Math.abs(t.std().item() / (sigma * deviation) - 1)).toBeLessThan(5 / Math.sqrt(n));
    }
  });

  test('edges: a bound infinitely many deviations away, std 0, one point, and errors', () => {
    const t = zeros([2], { dtype: 'float64' });
    expect(nn.init.truncNormal_(t, 0, 1e-320, 1, 2).toArray()).toEqual([1, 1]);
    expect(nn.init.truncNormal_(t, 0, 1, -1e9, -1e8).toArray()).toEqual([-1e8, -1e8]);
    expect(nn.init.truncNormal_(t, 1, 0, 0, 2).toArray()).toEqual([1, 1]);
    expect(nn.init.truncNormal_(t, 0, 1, 5, 5).toArray()).toEqual([5, 5]);
    expect(Math.min(...(nn.init.truncNormal_(t, 0, 1, 40, Infinity).toArray() as number[]))).toBeGreaterThanOrEqual(40);
    const cases: [args: [number, number, number, number], message: string][] = [
      [[0, 1, 2, 1], 'truncNormal_: a must be at most b, got 2 and 1'],
      [[0, -1, 0, 1], 'truncNormal_: std must be ≥ 0 and mean finite, got std -1 and mean 0'],
      [[NaN, 1, 0, 1], 'truncNormal_: std must be ≥ 0 and mean finite, got std 1 and mean NaN'],
      [[5, 0, 0, 1], 'truncNormal_: with std 0 the mean must lie from 0 to 1, got 5'],
    ];
    for (const [args, message] of cases) expect(() => nn.init.truncNormal_(t, ...args)).toThrow(new ArgumentError(message));
  });

  test('a seed gives the same numbers again', () => {
    const draw = (): number[] => [...nn.init.truncNormal_(zeros([5]), 0, 1, 2, 4, { generator: new Generator(7) }).data()];
    expect(draw()).toEqual(draw());
    expect(new Set(draw()).size).toBe(5);
  });
});

describe('random numbers never repeat in silence', () => {
  test('a generator throws after 2³² draws', () => {
    const generator = new Generator(5);
    const first = rand([3], { generator }).toArray();
    generator.loadStateDict({ seed: 5, draws: 2 ** 32 - 1 });
    expect(rand([3], { generator }).toArray()).not.toEqual(first);
    expect(generator.stateDict().draws).toBe(2 ** 32);
    const error = new ArgumentError('generator: seed 5 has no draws left after 2^32; call manualSeed with another seed');
    for (let i = 0; i < 2; i++) expect(() => rand([3], { generator })).toThrow(error);
    generator.loadStateDict(generator.stateDict());
    expect(() => nn.init.truncNormal_(zeros([2]), 0, 1, 2, 3, { generator })).toThrow(error);
    expect(() => generator.loadStateDict({ seed: 5, draws: 2 ** 32 + 1 })).toThrow(
      new ArgumentError('generator: draws must be a whole number from 0 to 2^32, got 4294967297'),
    );
    expect(rand([3], { generator: generator.manualSeed(5) }).toArray()).toEqual(first);
  });
});
