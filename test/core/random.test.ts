/** Counter-based random numbers: published test vectors, independence of order, distributions. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Random, seedKey, threefry, uniform24, uniform53 } from '../../src/core/random.ts';
import { ArgumentError, DTypeError, defaultGenerator, Generator, manualSeed, rand, randint, randn, randperm, scope } from 'chainrule';

const hex = (words: readonly number[]): string[] => words.map((w) => (w >>> 0).toString(16).padStart(8, '0'));

describe('threefry', () => {
  it('gives the known answers of Random123 for 20 rounds', () => {
    expect(hex(threefry(0, 0, 0, 0))).toEqual(['6b200159', '99ba4efe']);
    expect(hex(threefry(-1, -1, -1, -1))).toEqual(['1cb996fc', 'bb002be7']);
    expect(hex(threefry(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3))).toEqual(['c4923a9c', '483df7a0']);
  });

  it('makes uniform numbers in [0, 1) of 24 and 53 bits', () => {
    expect([uniform24(0), uniform24(-1)]).toEqual([0, 1 - 2 ** -24]);
    expect([uniform53(0, 0), uniform53(-1, -1)]).toEqual([0, 1 - 2 ** -53]);
  });
});

describe('Random', () => {
  it('takes any safe integer ≥ 0 as seed, and no other', () => {
    expect(seedKey(2 ** 53 - 1)).toEqual([-1, 2 ** 21 - 1]);
    for (const bad of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => seedKey(bad)).toThrow(new ArgumentError(`seed must be a whole number from 0 to 2^53 − 1, got ${bad}`));
    }
  });

  it('refuses a stream beyond 2³² − 1, which would repeat another', () => {
    expect(new Random(1, 2 ** 32 - 1).uniform()).not.toBe(new Random(1, 0).uniform());
    for (const stream of [2 ** 32, -1, NaN])
      expect(() => new Random(1, stream)).toThrow(
        new ArgumentError(`random: stream must be a whole number from 0 to 2^32 − 1, got ${stream}`),
      );
  });

  it('splits into streams that differ by every word', () => {
    const root = new Random(7);
    const first = [root.split(1), root.split(2), root.split(1, 2), root.split(2, 1), new Random(7, 1), new Random(8)].map((r) =>
      r.uniform(),
    );
    expect(new Set(first).size).toBe(first.length);
    root.uniform();
    expect(root.split(1).uniform()).toBe(first[0]);
  });

  it('has the mean, variance and tails of its distributions', () => {
    const r = new Random(3);
    const n = 20_000;
    const u = Array.from({ length: n }, () => r.uniform());
    const z = Array.from({ length: n }, () => r.normal());
    const mean = (v: number[]): number => v.reduce((a, b) => a + b, 0) / v.length;
    expect(mean(u)).toBeCloseTo(0.5, 2);
    expect(mean(u.map((x) => (x - 0.5) ** 2))).toBeCloseTo(1 / 12, 2);
    expect(Math.abs(mean(z))).toBeLessThan(0.03);
    expect(Math.abs(mean(z.map((x) => x * x)) - 1)).toBeLessThan(0.05);
    expect(z.filter((x) => Math.abs(x) > 1.96).length / n).toBeCloseTo(0.05, 2);
  });

  it('draws normal numbers by the formula of Box and Muller, with bits that no platform rounds otherwise', () => {
    const [r, uniforms] = [new Random(4), new Random(4)];
    const drawn = Float64Array.from({ length: 20_000 }, () => r.normal());
    for (const z of drawn) {
      const u = 1 - uniforms.uniform();
      const formula = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * uniforms.uniform());
      expect(Math.abs(z - formula)).toBeLessThan(5e-15);
    }
    expect(createHash('sha256').update(drawn).digest('hex')).toBe('bbcbc87e8fcf8bf89f86fcc34186c590945508b3b0de03e3f218d0987bcdb33d');
  });

  it('permutes: every number once, every order possible', () => {
    const orders = new Set(Array.from({ length: 200 }, (_, i) => String(new Random(i).permutation(3))));
    expect(orders.size).toBe(6);
    expect([...new Random(0).permutation(100)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe('drawn tensors', () => {
  it('are fixed by the seed and the number of draws before', () =>
    scope(() => {
      const draw = (): unknown => [rand([3]), randn([3]), randint(0, 100, [3]), randperm(4)].map((t) => t.toArray());
      manualSeed(5);
      const first = draw();
      const second = draw();
      expect(second).not.toEqual(first);
      manualSeed(5);
      expect(draw()).toEqual(first);
      const state = defaultGenerator.stateDict();
      const third = draw();
      expect(third).toEqual(second);
      defaultGenerator.loadStateDict(state);
      expect(draw()).toEqual(third);
    }));

  it('have the distribution of their names', () =>
    scope(() => {
      manualSeed(2);
      const n = 20_001;
      const mean = (v: ArrayLike<number>, f: (x: number, i: number) => number): number =>
        Array.from(v, f).reduce((a, b) => a + b, 0) / v.length;
      const z = randn([n], { dtype: 'float64' }).data();
      const moments = [1, 2, 3, 4].map((p) => mean(z, (x) => x ** p));
      [0, 1, 0, 3].forEach((want, i) => expect(Math.abs(moments[i]! - want)).toBeLessThan(0.15));
      expect(mean(z, (x) => Number(Math.abs(x) > 1.96))).toBeCloseTo(0.05, 2);
      // Two numbers of one Box–Muller pair do not correlate.
      expect(Math.abs(mean(z, (x, i) => (i % 2 === 0 && i + 1 < n ? x * z[i + 1]! : 0)))).toBeLessThan(0.03);
      const u = rand([n]).data();
      expect([mean(u, (x) => x), mean(u, (x) => (x - 0.5) ** 2)].map((v) => v.toFixed(2))).toEqual(['0.50', '0.08']);
      expect(u.every((x) => x >= 0 && x < 1)).toBe(true);
      const whole = randint(-3, 4, [7000]).data();
      for (const value of [-3, -2, -1, 0, 1, 2, 3]) expect(Math.abs(whole.filter((x) => x === value).length - 1000)).toBeLessThan(150);
    }));

  it('are floats, of one seed after the other', () => {
    expect(() => randn([2], { dtype: 'int32' as never })).toThrow(new DTypeError("randn: dtype must be float32 or float64, got 'int32'"));
    expect(() => defaultGenerator.loadStateDict(3 as never)).toThrow(
      new ArgumentError('generator: expected a state of stateDict(), got a number'),
    );
    for (const draws of [-1, 0.5, 2 ** 32 + 1])
      expect(() => defaultGenerator.loadStateDict({ seed: 1, draws })).toThrow(
        new ArgumentError(`generator: draws must be a whole number from 0 to 2^32, got ${draws}`),
      );
    const generator = new Generator(9);
    generator.loadStateDict({ seed: 3, draws: 0 });
    expect(generator.seed).toBe(3);
    generator.loadStateDict({ seed: 3, draws: 2 ** 32 });
    expect(() => rand([1], { generator })).toThrow('generator: seed 3 has no draws left after 2^32');
  });

  it('float32 and float64 normals of one seed are the same numbers', () =>
    scope(() => {
      manualSeed(1);
      const single = randn([5]).data();
      manualSeed(1);
      expect(Float32Array.from(randn([5], { dtype: 'float64' }).data())).toEqual(single);
    }));
});
