import { Random } from '../../src/core/random.ts';
import { FastRandom } from '../../src/data/fast-random.ts';
import { describe, expect, test } from 'vitest';

/** A generator with the given words as its seed. */
function seeded(...words: number[]): FastRandom {
  return new FastRandom({ integer: () => words.shift()! } as unknown as Random);
}

test('bits are those of sfc32 after twelve draws', () => {
  // From PractRand's definition, in Python's integers.
  const expected = [0x83648a50, 0xf2391ca8, 0x0c07f996, 0xd553ba54, 0x31617feb, 0xa3940406];
  const random = seeded(0x89abcdef, 0x01234567, 0xfedcba98);
  expect(expected.map(() => random.bits() >>> 0)).toEqual(expected);
  const [uniforms, integers] = [seeded(0x89abcdef, 0x01234567, 0xfedcba98), seeded(0x89abcdef, 0x01234567, 0xfedcba98)];
  expect(expected.map(() => uniforms.uniform())).toEqual(expected.map((b) => b / 2 ** 32));
  expect(expected.map(() => integers.integer(10))).toEqual(expected.map((b) => Math.floor((b / 2 ** 32) * 10)));
});

test('the seed is three words of the generator', () => {
  const random = new Random([1, 2]);
  const words = [0, 1, 2].map(() => random.integer(2 ** 32));
  expect(new FastRandom(new Random([1, 2])).bits()).toBe(seeded(...words).bits());
});

describe('quantiles of the normal distribution', () => {
  /** The table of a module that is loaded anew, as it is computed once. */
  async function freshTable(): Promise<Float32Array> {
    const path = `../../src/data/fast-random.ts?${crypto.randomUUID()}`;
    const { normalQuantiles } = (await import(path)) as typeof import('../../src/data/fast-random.ts');
    return normalQuantiles();
  }

  test('are those of another program, with mean 0 and variance 1', async () => {
    const table = await freshTable();
    // statistics.NormalDist().inv_cdf((i + 0.5) / 4096) of Python, divided by the standard deviation of all.
    const expected: Readonly<Record<number, number>> = {
      0: -3.6689173722450077,
      1: -3.3776873124273363,
      2: -3.234516452603208,
      100: -1.9682787494053378,
      1000: -0.692767150144623,
      2046: -0.0009181019809895337,
      2047: -0.00030603395545921033,
    };
    expect(table).toHaveLength(4096);
    for (const [i, x] of Object.entries(expected)) expect(table[Number(i)]! / x, i).toBeCloseTo(1, 6);
    expect(table).toEqual(table.toReversed().map((x) => -x));
    expect(table).toEqual(table.toSorted());
    expect(table.reduce((sum, x) => sum + x * x, 0) / 4096).toBeCloseTo(1, 6);
  });

  test('the table is computed once', async () => {
    const { normalQuantiles } = await import('../../src/data/fast-random.ts');
    expect(normalQuantiles()).toBe(normalQuantiles());
  });

  test('normals take two of them from each draw, times the deviation, and fill an odd length', async () => {
    const table = await freshTable();
    const [random, bits] = [seeded(1, 2, 3), seeded(1, 2, 3)];
    const out = new Float32Array(5);
    random.normals(out, 2);
    const draws = [bits.bits(), bits.bits(), bits.bits()].map((b) => b >>> 0);
    const expected = draws.flatMap((b) => [Math.floor(b / 2 ** 20), Math.floor(b / 2 ** 4) % 2 ** 12]).map((i) => 2 * table[i]!);
    expect([...out]).toEqual(expected.slice(0, 5));
  });
});
