import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import { Random } from '../../src/core/random.ts';
import type { ArrayData } from '../../src/data/dataset.ts';
import { FastRandom, normalQuantiles } from '../../src/data/fast-random.ts';
import { SHAPES, SIDES, syntheticCifar } from '../../src/data/synthetic.ts';
import { compose, randomCrop, randomHorizontalFlip } from '../../src/data/transforms.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const PIXELS = 3 * 32 * 32;
const hash = (x: Float32Array) => createHash('sha256').update(x).digest('hex');

/** Returns the mean of red − blue over the 10-px band opposite to `side` in one image [3,32,32]. */
function warmth(x: Float32Array, side: (typeof SIDES)[number]): number {
  let sum = 0;
  for (let depth = 0; depth < 10; depth++) {
    for (let i = 0; i < 32; i++) {
      const far = side === 'left' || side === 'top' ? 31 - depth : depth;
      const at = side === 'left' || side === 'right' ? i * 32 + far : far * 32 + i;
      sum += x[at]! - x[2048 + at]!;
    }
  }
  return sum / 320;
}

/** Pictures of the ten shapes, two side by side. */
const PICTURE = [
  '...###... ...###...',
  '.#######. .##...##.',
  '.#######. .#.....#.',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '.#######. .#.....#.',
  '.#######. .##...##.',
  '...###... ...###...',
  '######### #########',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '######### #.......#',
  '######### #########',
  '....#.... #.......#',
  '....#.... .#.....#.',
  '....#.... ..#...#..',
  '....#.... ...#.#...',
  '######### ....#....',
  '....#.... ...#.#...',
  '....#.... ..#...#..',
  '....#.... .#.....#.',
  '....#.... #.......#',
  '######### #.#.#.#.#',
  '......... #.#.#.#.#',
  '######### #.#.#.#.#',
  '......... #.#.#.#.#',
  '######### #.#.#.#.#',
  '......... #.#.#.#.#',
  '######### #.#.#.#.#',
  '......... #.#.#.#.#',
  '######### #.#.#.#.#',
  '#.#.#.#.# ....#....',
  '.#.#.#.#. ....#....',
  '#.#.#.#.# ...###...',
  '.#.#.#.#. ...###...',
  '#.#.#.#.# ..#####..',
  '.#.#.#.#. ..#####..',
  '#.#.#.#.# .#######.',
  '.#.#.#.#. .#######.',
  '#.#.#.#.# #########',
];

/** For each shape, the offsets of its pixels in a plane of width 32. */
const PIXELS_OF = SHAPES.map((_, s) =>
  range(81)
    .filter((i) => PICTURE[(s >> 1) * 9 + Math.floor(i / 9)]![(s & 1) * 10 + (i % 9)] === '#')
    .map((i) => Math.floor(i / 9) * 32 + (i % 9)),
);

/** Returns the most likely shape and place: over all positions at its edge, its pixels fit one colour best and background least. */
function likeliest(x: Float32Array, side: (typeof SIDES)[number]): { shape: number; corner: readonly [x: number, y: number] } {
  let best = -Infinity;
  let answer = { shape: -1, corner: [-1, -1] as readonly [x: number, y: number] };
  for (const [shape, picture] of PIXELS_OF.entries()) {
    for (let place = 0; place < 48; place++) {
      const along = place >> 1;
      const across = side === 'left' || side === 'top' ? place & 1 : 23 - (place & 1);
      const corner = side === 'left' || side === 'right' ? along * 32 + across : across * 32 + along;
      let score = 0;
      for (let c = 0; c < 3; c++) {
        const inside = picture.map((offset) => x[c * 1024 + corner + offset]!);
        const mean = inside.reduce((a, b) => a + b) / inside.length;
        // Log-likelihood of N(mean, 0.1²) against background, N(0.5, 0.16²).
        for (const v of inside) score += (v - 0.5) ** 2 / 0.0512 - (v - mean) ** 2 / 0.02 + Math.log(1.6);
      }
      if (score > best) {
        best = score;
        answer = { shape, corner: [corner % 32, Math.floor(corner / 32)] };
      }
    }
  }
  return answer;
}

describe('a sample', () => {
  test('is a pure function of seed, split and index, independent of order, batch and length', () => {
    const data = syntheticCifar({ seed: 3, length: 100 });
    const long = syntheticCifar({ seed: 3 });
    const [whole, labels] = data.getBatch(range(100));
    fc.assert(
      fc.property(fc.array(fc.nat(99), { minLength: 1, maxLength: 8 }), (indices) => {
        const [images, some] = long.getBatch(indices);
        indices.forEach((i, b) => {
          const image = whole.data.subarray(i * PIXELS, (i + 1) * PIXELS);
          expect(images.data.subarray(b * PIXELS, (b + 1) * PIXELS).every((v, j) => v === image[j])).toBe(true);
          expect(some.data[b]).toBe(labels.data[i]);
        });
      }),
    );
  });

  test('is bitwise identical to the recorded sample', () => {
    const [images, labels] = syntheticCifar({ seed: 1 }).getBatch(range(64));
    expect([...labels.data.subarray(0, 10)]).toEqual([7, 6, 8, 0, 0, 1, 4, 4, 3, 6]);
    expect(hash(images.data)).toBe('f916c01d7da416f6275ed49644303b22f25e5aed12826eff9682ef20bf85c730');
  });

  test('differs between seeds, splits and indices', () => {
    const options = [{ seed: 1 }, { seed: 2 }, { seed: 1, split: 'test' }, { seed: 2 ** 40 + 1 }] as const;
    const pixels = options.flatMap((o) => [0, 1].map((i) => [...syntheticCifar(o).getBatch([i])[0].data.subarray(0, 50)].join()));
    expect(new Set(pixels).size).toBe(8);
  });

  test('has shapes and values as documented', () => {
    const data = syntheticCifar();
    expect([data.length, syntheticCifar({ split: 'test' }).length]).toEqual([50_000, 10_000]);
    const [images, labels] = data.getBatch(range(20));
    expect([images.shape, images.dtype, labels.shape, labels.dtype]).toEqual([[20, 3, 32, 32], 'float32', [20], 'int32']);
    expect(images.data.every((v) => v >= 0 && v <= 1)).toBe(true);
    expect(data.getBatch([])[0].shape).toEqual([0, 3, 32, 32]);
  });
});

describe('the label', () => {
  const data = syntheticCifar({ seed: 5, length: 6000 });
  const samples = range(6000).map((i) => data.describe(i));

  test('is the shape, or its partner if the band is warm and the shape is below 6', () => {
    const [, labels] = data.getBatch(range(1000));
    const oracle = samples.map(({ shape, context }) => (context === 1 && shape < 6 ? shape ^ 1 : shape));
    expect([...labels.data]).toEqual(oracle.slice(0, 1000));
    expect(samples.map(({ label }) => label)).toEqual(oracle);
  });

  test('is the shape if context is none, with the same images', () => {
    const control = syntheticCifar({ seed: 5, length: 6000, context: 'none' });
    const [images, labels] = control.getBatch(range(200));
    expect([...labels.data]).toEqual(samples.slice(0, 200).map(({ shape }) => shape));
    expect(range(200).map((i) => control.describe(i).label)).toEqual([...labels.data]);
    expect(hash(images.data)).toBe(hash(data.getBatch(range(200))[0].data));
  });

  test('shapes and sides occur equally often, a third of the bands is warm, and ignoring them gives 80 %', () => {
    for (let s = 0; s < 10; s++) expect(Math.abs(samples.filter(({ shape }) => shape === s).length - 600)).toBeLessThan(100);
    for (const side of SIDES) expect(Math.abs(samples.filter((sample) => sample.side === side).length - 1500)).toBeLessThan(150);
    expect(Math.abs(samples.filter(({ context }) => context === 1).length - 2000)).toBeLessThan(160);
    expect(Math.abs(samples.filter(({ shape, label }) => shape === label).length - 4800)).toBeLessThan(140);
  });
});

describe('the image', () => {
  const data = syntheticCifar({ seed: 6, length: 400 });

  /** Returns the indices of the images whose band shows the right context. */
  const correctlyRead = (images: ArrayData<Float32Array>, side: (i: number) => (typeof SIDES)[number]) =>
    range(400).filter((i) => warmth(images.data.subarray(i * PIXELS, (i + 1) * PIXELS), side(i)) > 0 === (data.describe(i).context === 1));

  test('shows the context in the band opposite to the shape', () => {
    expect(correctlyRead(data.getBatch(range(400))[0], (i) => data.describe(i).side).length).toBeGreaterThanOrEqual(398);
  });

  test('still shows the context after horizontal flips and crops by up to 2 px', () => {
    const { data: x, shape } = data.getBatch(range(400))[0];
    const change = compose(randomCrop(32, { padding: 2 }), randomHorizontalFlip(1));
    const y = new Float32Array(x.length);
    for (let i = 0; i < 400; i++) {
      const image = { data: x.subarray(i * PIXELS, (i + 1) * PIXELS), shape: [3, 32, 32], dtype: 'float32' } as const;
      y.set(change(image, new Random(i)).data, i * PIXELS);
    }
    const mirrored = { left: 'right', right: 'left', top: 'top', bottom: 'bottom' } as const;
    expect(correctlyRead({ data: y, shape, dtype: 'float32' }, (i) => mirrored[data.describe(i).side]).length).toBeGreaterThanOrEqual(396);
  });

  // The likelihood treats background pixels as independent, so it misses some of the thinnest shapes.
  test('shows the shape at its corner: maximum likelihood over the ten pictures and all places is nearly always right', () => {
    const [images] = data.getBatch(range(200));
    const right = range(200).filter((i) => {
      const { side, shape, corner } = data.describe(i);
      const found = likeliest(images.data.subarray(i * PIXELS, (i + 1) * PIXELS), side);
      return found.shape === shape && found.corner.join() === corner.join();
    });
    expect(right.length).toBeGreaterThanOrEqual(180);
  });
});

describe('FastRandom', () => {
  test('quantiles are symmetric, increasing, of variance 1, and match the normal distribution', () => {
    const q = normalQuantiles();
    expect(q).toHaveLength(4096);
    expect(q.every((v, i) => v === -q[4095 - i]! && (i === 0 || v > q[i - 1]!))).toBe(true);
    expect(q.reduce((sum, v) => sum + v * v, 0) / 4096).toBeCloseTo(1, 6);
    // Φ⁻¹(0.75) = 0.67449, Φ⁻¹(0.975) = 1.95996, Φ⁻¹(1 − 1/8192) = 3.66830; scaling to variance 1 adds 0.1 %.
    expect((q[3071]! + q[3072]!) / 2).toBeCloseTo(0.67449, 2);
    expect(q[Math.floor(0.975 * 4096)]).toBeCloseTo(1.95996, 2);
    expect(q[4095]).toBeCloseTo(3.6683, 2);
  });

  test('normal numbers have the moments of a normal distribution, and neighbours are independent', () => {
    const x = new Float32Array(200_001);
    new FastRandom(new Random(2)).normals(x, 2);
    const moment = (k: number) => x.reduce((sum, v) => sum + (v / 2) ** k, 0) / x.length;
    expect(moment(1)).toBeCloseTo(0, 1.9);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.015);
    expect(Math.abs(moment(3))).toBeLessThan(0.04);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.12);
    for (const lag of [1, 2]) {
      let sum = 0;
      for (let i = lag; i < x.length; i++) sum += (x[i]! * x[i - lag]!) / 4;
      expect(Math.abs(sum / x.length)).toBeLessThan(0.01);
    }
  });
});

test.each([
  [{ length: 1.5 }, 'syntheticCifar: length must be a whole number ≥ 0, got 1.5'],
  [{ seed: -1 }, 'seed must be a whole number from 0 to 2^53 − 1, got -1'],
  [{ split: 'valid' as 'test' }, "syntheticCifar: split must be 'train' or 'test', got 'valid'"],
  [{ context: 'near' as 'none' }, "syntheticCifar: context must be 'distant' or 'none', got 'near'"],
])('rejects %o', (options, message) => {
  expect(() => syntheticCifar(options)).toThrow(new ArgumentError(message));
});

test('an index out of range throws', () => {
  const data = syntheticCifar({ length: 2 });
  expect(() => data.getBatch([2])).toThrow(new ArgumentError('syntheticCifar: index 2 is out of range for 2 samples'));
  expect(() => data.describe(-1)).toThrow(new ArgumentError('syntheticCifar: index -1 is out of range for 2 samples'));
});
