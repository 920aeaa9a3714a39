import { readFileSync } from 'node:fs';
import { ArgumentError, DTypeError, ShapeError } from 'chainrule';
import { type ArrayData, DataLoader, Random, type Transform, transforms, withTransform } from 'chainrule/data';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

// Transforms of images: values against PyTorch and Python's colorsys, and what holds for every image and seed.

interface Fixtures {
  readonly resized: readonly [shape: number[], size: number[], values: number[]][];
  readonly rotated: readonly [shape: number[], degrees: number, values: number[]][];
  readonly turned: readonly [rgb: number[], turns: number, values: number[]][];
}
const fixtures = JSON.parse(readFileSync(new URL('../fixtures/transforms.json', import.meta.url), 'utf8')) as Fixtures;

const wave = (...shape: number[]): ArrayData => ({
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => 0.5 + 0.5 * Math.sin(0.7 * i + 1)),
  shape,
  dtype: 'float32',
});
const constant = (value: number, ...shape: number[]): ArrayData => ({ ...wave(...shape), data: wave(...shape).data.map(() => value) });
const random = (seed = 3): Random => new Random(seed);
const close = (x: ArrayData, expected: readonly number[], tolerance = 2e-6): void => {
  expect(x.data).toHaveLength(expected.length);
  x.data.forEach((value: number, i: number) => expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(tolerance));
};

/** A shape [C,H,W]. */
const shapes = fc.tuple(fc.constantFrom(1, 3), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }));
const seeds = fc.nat(1000);

describe('resize', () => {
  test.each(fixtures.resized)('of %j to %j is PyTorch’s with antialias, to 2e-6', (shape, size, values) => {
    const y = transforms.resize(size)(wave(...shape), random());
    expect(y.shape).toEqual([shape[0], ...size]);
    close(y, values);
  });

  test('keeps a constant image, and the image itself at its own size', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), (shape, h, w) => {
        close(transforms.resize([h, w])(constant(0.75, ...shape), random()), new Array(shape[0] * h * w).fill(0.75), 1e-6);
      }),
      { seed: 1 },
    );
    const x = wave(3, 4, 5);
    expect(transforms.resize([4, 5])(x, random())).toBe(x);
  });

  test.each([
    [[1, 6, 9], 4, [1, 4, 6]],
    [[1, 9, 6], 4, [1, 6, 4]],
    [[3, 5, 7], 3, [3, 3, 4]],
    [[1, 5, 5], 8, [1, 8, 8]],
    [[1, 1, 100], 2, [1, 2, 200]],
  ])('of %j with the shorter side %i gives %j, as torchvision', (shape, size, expected) => {
    expect(transforms.resize(size)(wave(...shape), random()).shape).toEqual(expected);
  });
});

test('resize reads no pixel outside of an output’s triangle', () => {
  const x: ArrayData = { data: Float32Array.of(1, 1, 1, 1, 1, Infinity), shape: [1, 1, 6], dtype: 'float32' };
  expect(Array.from(transforms.resize([1, 3])(x, random()).data)).toEqual([1, 1, Infinity]);
  expect(Array.from(transforms.resize([1, 3])({ ...x, data: x.data.toReversed() }, random()).data)).toEqual([Infinity, 1, 1]);
});

describe('centerCrop', () => {
  test('is the middle; where it cannot be, it begins as torchvision’s does', () => {
    const rows = (h: number, size: number): number[] => {
      const x: ArrayData = { data: Float32Array.from({ length: h }, (_, i) => i), shape: [1, h, 1], dtype: 'float32' };
      return Array.from(transforms.centerCrop([size, 1])(x, random()).data);
    };
    expect(rows(6, 2)).toEqual([2, 3]);
    // Python's round: 0.5 to 0, 1.5 to 2, 2.5 to 2.
    expect([rows(3, 2), rows(5, 2), rows(7, 2), rows(5, 3), rows(3, 3)]).toEqual([
      [0, 1],
      [2, 3],
      [2, 3],
      [1, 2, 3],
      [0, 1, 2],
    ]);
    const x: ArrayData = { data: Float32Array.from({ length: 10 }, (_, i) => i), shape: [1, 2, 5], dtype: 'float32' };
    expect(Array.from(transforms.centerCrop([2, 3])(x, random()).data)).toEqual([1, 2, 3, 6, 7, 8]);
    for (const shape of [
      [1, 3, 5],
      [1, 5, 3],
    ])
      expect(() => transforms.centerCrop(4)(wave(...shape), random())).toThrow(
        new ShapeError(`centerCrop: image [${shape.join()}] is smaller than the crop [4,4]; resize it first`),
      );
  });
});

describe('randomResizedCrop', () => {
  test('is a window of the image within the ranges, resized', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        // Values that tell the place: the window is the image of x and y, and resizing keeps a linear image's range.
        const [h, w] = [20, 30];
        const x: ArrayData = {
          data: Float32Array.from({ length: 2 * h * w }, (_, i) => (i < h * w ? i % w : Math.floor((i - h * w) / w))),
          shape: [2, h, w],
          dtype: 'float32',
        };
        const y = transforms.randomResizedCrop(8, { scale: [0.25, 0.5], ratio: [0.8, 1.25] })(x, random(seed)).data;
        // The distance of two neighbours in the middle is the window's side / 8.
        const width = (y[3 * 8 + 5]! - y[3 * 8 + 4]!) * 8;
        const height = (y[64 + 5 * 8 + 3]! - y[64 + 4 * 8 + 3]!) * 8;
        expect((width * height) / (h * w)).toBeGreaterThan(0.22);
        expect((width * height) / (h * w)).toBeLessThan(0.55);
        expect(width / height).toBeGreaterThan(0.72);
        expect(width / height).toBeLessThan(1.4);
        for (const v of y) expect(v >= 0 && v < w).toBe(true);
      }),
      { seed: 2, numRuns: 50 },
    );
  });

  test('takes the largest window in the middle where none fits', () => {
    const x: ArrayData = { data: Float32Array.from({ length: 40 }, (_, i) => i), shape: [1, 1, 40], dtype: 'float32' };
    const wide = transforms.randomResizedCrop([1, 2], { scale: [1, 1], ratio: [2, 2] })(x, random());
    expect(Array.from(wide.data)).toEqual([19, 20]);
    const tall = { ...x, shape: [1, 40, 1] };
    const narrow = transforms.randomResizedCrop([2, 1], { scale: [1, 1], ratio: [0.5, 0.5] })(tall, random());
    expect(Array.from(narrow.data)).toEqual([19, 20]);
  });

  /** The window of an image whose channels are x and y, as [left, top, width, height]. */
  const windowOf = (options: object, seed: number, h = 24, w = 24): number[] => {
    const x: ArrayData = {
      data: Float32Array.from({ length: 2 * h * w }, (_, i) => (i < h * w ? i % w : Math.floor((i - h * w) / w))),
      shape: [2, h, w],
      dtype: 'float32',
    };
    const { data } = transforms.randomResizedCrop(8, options)(x, random(seed));
    const [width, height] = [(data[3 * 8 + 5]! - data[3 * 8 + 4]!) * 8, (data[64 + 5 * 8 + 3]! - data[64 + 4 * 8 + 3]!) * 8];
    const center = (from: number): number => (data[from + 3 * 8 + 3]! + data[from + 4 * 8 + 4]!) / 2 + 0.5;
    return [center(0) - width / 2, center(64) - height / 2, width, height].map((v) => Math.round(v * 100) / 100);
  };

  test('has windows wider than high and the reverse, by default from 3:4 to 4:3', () => {
    const ratios = Array.from({ length: 60 }, (_, seed) => {
      const [, , width, height] = windowOf({ scale: [0.3, 0.5] }, seed) as [number, number, number, number];
      return width / height;
    });
    expect(Math.min(...ratios)).toBeLessThan(0.85);
    expect(Math.min(...ratios)).toBeGreaterThan(0.69);
    expect(Math.max(...ratios)).toBeGreaterThan(1.18);
    expect(Math.max(...ratios)).toBeLessThan(1.45);
  });

  test('a window as wide, or as high, as the image has any place along the other side', () => {
    const places = (ratio: number): number[][] =>
      Array.from({ length: 20 }, (_, seed) => windowOf({ scale: [0.5, 0.5], ratio: [ratio, ratio] }, seed, 8, 8));
    // 0.5 · 8² pixels of 2:1 are 8×4, in five places.
    for (const [ratio, across, along] of [
      [2, 0, 1],
      [0.5, 1, 0],
    ] as const) {
      expect(new Set(places(ratio).map((window) => window[across]))).toEqual(new Set([0]));
      expect(new Set(places(ratio).map((window) => window[along]))).toEqual(new Set([0, 1, 2, 3, 4]));
    }
  });

  test.each([0.01, 100])('takes no window without pixels: ratio %d of a small area', (ratio) => {
    const y = transforms.randomResizedCrop(2, { scale: [1 / 400, 1 / 400], ratio: [ratio, ratio] })(constant(0.5, 1, 20, 20), random());
    expect(Array.from(y.data)).toEqual([0.5, 0.5, 0.5, 0.5]);
  });

  test('with the whole image and its own ratio is resize', () => {
    const x = wave(3, 12, 12);
    const whole = transforms.randomResizedCrop(5, { scale: [1, 1], ratio: [1, 1] });
    expect(whole(x, random())).toEqual(transforms.resize([5, 5])(x, random()));
  });
});

describe('rotate', () => {
  test.each(fixtures.rotated)('of %j by %d° is PyTorch’s grid_sample, to 2e-6', (shape, degrees, values) => {
    close(transforms.rotate(degrees)(wave(...shape), random()), values);
  });

  test('by 90° moves the right column to the top row; fill is outside', () => {
    const x: ArrayData = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 2, 2], dtype: 'float32' };
    close(transforms.rotate(90)(x, random()), [2, 4, 1, 3]);
    expect(transforms.rotate(45, { fill: 7 })(constant(0, 1, 9, 9), random()).data[0]).toBeCloseTo(7, 5);
    close(transforms.rotate(33, { fill: 0.5 })(constant(0.5, 2, 5, 6), random()), new Array(60).fill(0.5));
  });

  test('randomRotation draws the angle from the range', () => {
    const x = wave(1, 5, 5);
    expect(transforms.randomRotation([90, 90])(x, random())).toEqual(transforms.rotate(90)(x, random()));
    expect(transforms.randomRotation(0)(x, random())).toEqual(transforms.rotate(0)(x, random()));
    const expected = transforms.rotate(-20 + 40 * random(8).uniform())(x, random());
    expect(transforms.randomRotation(20)(x, random(8))).toEqual(expected);
  });
});

describe('colorJitter', () => {
  test.each(fixtures.turned)('turns the hue of %j by %d as colorsys does, to 1e-6', (rgb, turns, values) => {
    const x: ArrayData = { data: Float32Array.from(rgb), shape: [3, 1, 1], dtype: 'float32' };
    close(transforms.colorJitter({ hue: [turns, turns] })(x, random()), values, 1e-6);
  });

  test('turns the hue of each pixel by itself; a third of a turn moves red to green, green to blue, blue to red', () => {
    const [r, g, b] = [0, 1, 2].map((c) => Array.from({ length: 12 }, (_, i) => (((i + 1) * (c + 2) * 7) % 19) / 20)) as [
      number[],
      number[],
      number[],
    ];
    const x: ArrayData = { data: Float32Array.from([...r, ...g, ...b]), shape: [3, 4, 3], dtype: 'float32' };
    close(transforms.colorJitter({ hue: [1 / 3, 1 / 3] })(x, random()), [...b, ...r, ...g], 1e-6);
    close(transforms.colorJitter({ hue: [-1 / 3, -1 / 3] })(x, random()), [...g, ...b, ...r], 1e-6);
  });

  test('an amount v is a factor from 1 − v, at least 0, to 1 + v, and a turn from −v to v', () => {
    const range = (options: object, rgb: readonly number[], channel: number): [least: number, most: number] => {
      const x: ArrayData = { data: Float32Array.from(rgb), shape: [3, 1, 1], dtype: 'float32' };
      const values = Array.from({ length: 200 }, (_, seed) => transforms.colorJitter(options)(x, random(seed)).data[channel]!);
      return [Math.min(...values), Math.max(...values)];
    };
    const within = ([least, most]: [number, number], a: number, b: number): void => {
      expect(least >= a - 1e-6 && most <= b + 1e-6).toBe(true);
      expect(least - a < (b - a) / 20 && b - most < (b - a) / 20).toBe(true);
    };
    within(range({ brightness: 0.5 }, [0.5, 0.5, 0.5], 0), 0.25, 0.75);
    within(range({ brightness: 2 }, [0.25, 0.25, 0.25], 0), 0, 0.75);
    within(range({ brightness: [1, 2] }, [0.25, 0.25, 0.25], 0), 0.25, 0.5);
    within(range({ brightness: [0.5, 1] }, [0.5, 0.5, 0.5], 0), 0.25, 0.5);
    // Red turns to yellow, or to magenta.
    within(range({ hue: 0.125 }, [1, 0, 0], 1), 0, 0.75);
    within(range({ hue: 0.125 }, [1, 0, 0], 2), 0, 0.75);
    within(range({ hue: [0, 0.125] }, [1, 0, 0], 1), 0, 0.75);
    within(range({ hue: [-0.125, 0] }, [1, 0, 0], 2), 0, 0.75);
  });

  test('without options leaves values outside [0, 1], too; else it clamps them', () => {
    const x: ArrayData = { data: Float32Array.of(-1, 2, 0.5), shape: [3, 1, 1], dtype: 'float32' };
    const neutral = { brightness: [1, 1], contrast: 0, saturation: [1, 1], hue: [0, 0] };
    for (const options of [{}, neutral]) expect(transforms.colorJitter(options)(x, random()).data).toEqual(x.data);
    expect(Array.from(transforms.colorJitter({ brightness: [1.5, 1.5] })(x, random()).data)).toEqual([0, 1, 0.75]);
  });

  test('brightness, contrast and saturation are torchvision’s blends', () => {
    const x = wave(3, 3, 4);
    const grey = Array.from({ length: 12 }, (_, i) => 0.2989 * x.data[i]! + 0.587 * x.data[12 + i]! + 0.114 * x.data[24 + i]!);
    const mean = grey.reduce((a, b) => a + b, 0) / 12;
    const blend = (f: number, other: (i: number) => number): number[] =>
      Array.from(x.data, (v: number, i) => Math.min(1, Math.max(0, f * v + (1 - f) * other(i))));
    const run = (options: object): ArrayData => transforms.colorJitter(options)(x, random());
    for (const f of [0, 0.5, 1.7]) {
      close(
        run({ brightness: [f, f] }),
        blend(f, () => 0),
        1e-6,
      );
      close(
        run({ contrast: [f, f] }),
        blend(f, () => mean),
        1e-6,
      );
      close(
        run({ saturation: [f, f] }),
        blend(f, (i) => grey[i % 12]!),
        1e-6,
      );
    }
  });

  test('stays in [0, 1], does nothing without options, and needs 1 or 3 channels', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        const x = wave(...shape);
        const jitter = transforms.colorJitter({ brightness: 0.8, contrast: 0.8, saturation: 0.8, hue: 0.5 });
        const y = jitter(x, random(seed));
        for (const v of y.data) expect(v >= 0 && v <= 1).toBe(true);
        expect(jitter(x, random(seed))).toEqual(y);
        expect(transforms.colorJitter()(x, random(seed)).data).toEqual(x.data);
      }),
      { seed: 3 },
    );
    const grey = wave(1, 2, 2);
    expect(transforms.colorJitter({ saturation: [0, 0], hue: 0.5 })(grey, random()).data).toEqual(grey.data);
    expect(() => transforms.colorJitter()(wave(2, 1, 1), random())).toThrow(
      new ShapeError('colorJitter: expected an image of 1 or 3 channels, got [2,1,1]'),
    );
  });
});

describe('randomErasing', () => {
  test('erases one rectangle, the same in each channel, of an area in the range', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const x = constant(1, 2, 20, 24);
        const y = transforms.randomErasing({ p: 1, scale: [0.1, 0.2] })(x, random(seed)).data;
        const [first, second] = [y.subarray(0, 480), y.subarray(480)];
        expect(second).toEqual(first);
        const places = Array.from(first.keys()).filter((i) => first[i] === 0);
        const rows = places.map((i) => Math.floor(i / 24));
        const columns = places.map((i) => i % 24);
        const area = (Math.max(...rows) - Math.min(...rows) + 1) * (Math.max(...columns) - Math.min(...columns) + 1);
        expect(places).toHaveLength(area);
        expect(area / 480).toBeGreaterThan(0.07);
        expect(area / 480).toBeLessThan(0.24);
        expect(x.data).not.toContain(0);
      }),
      { seed: 4, numRuns: 60 },
    );
  });

  test('with probability p, by a value or by normal numbers; never the whole image', () => {
    const x = constant(1, 1, 10, 10);
    let changed = 0;
    for (let seed = 0; seed < 400; seed++) if (transforms.randomErasing({ p: 0.25 })(x, random(seed)) !== x) changed++;
    // Four standard deviations around 100.
    expect(Math.abs(changed - 100)).toBeLessThan(35);
    const y = transforms.randomErasing({ p: 1, value: 'normal' })(x, random()).data;
    expect(new Set(y).size).toBeGreaterThan(2);
    expect(transforms.randomErasing({ p: 1, value: 0.5 })(x, random()).data).toContain(0.5);
    expect(transforms.randomErasing({ p: 0 })(x, random())).toBe(x);
    expect(transforms.randomErasing({ p: 1, scale: [1, 1], ratio: [1, 1] })(x, random())).toBe(x);
    // As in torchvision, none that is as high, or as wide, as the image: 10×5 and 5×10 pixels.
    for (const ratio of [2, 0.5]) expect(transforms.randomErasing({ p: 1, scale: [0.5, 0.5], ratio: [ratio, ratio] })(x, random())).toBe(x);
  });

  test('erases any place of the image', () => {
    const cutout = transforms.randomErasing({ p: 1, scale: [4 / 9, 4 / 9], ratio: [1, 1] });
    const places = Array.from({ length: 40 }, (_, seed) => cutout(constant(1, 1, 3, 3), random(seed)).data.indexOf(0));
    expect(new Set(places)).toEqual(new Set([0, 1, 3, 4]));
  });
});

describe('refuses by name', () => {
  const t = transforms as unknown as Record<string, (...args: unknown[]) => Transform>;
  const fails = (name: string, args: unknown[], message: string): void =>
    expect(() => t[name]!(...args)(wave(3, 4, 4), random())).toThrow(new ArgumentError(`${name}: ${message}`));

  test('options that are out of range', () => {
    fails('randomResizedCrop', [4, { scale: [0, 1] }], 'scale must be a pair [a, b] with 0 < a ≤ b ≤ 1, got [0,1]');
    fails('randomResizedCrop', [4, { scale: [0.5, 2] }], 'scale must be a pair [a, b] with 0 < a ≤ b ≤ 1, got [0.5,2]');
    fails('randomResizedCrop', [4, { ratio: 1 }], 'ratio must be a pair [a, b] with 0 < a ≤ b, got 1');
    fails('rotate', [Number.NaN], 'degrees must be a number, got NaN');
    fails('rotate', [5, { fill: '1' }], "fill must be a number, got '1'");
    fails('randomRotation', [5, { fill: '1' }], "fill must be a number, got '1'");
    fails('randomRotation', [-1], 'degrees must be a number ≥ 0 or a pair, got -1');
    fails('randomRotation', [null], 'degrees must be a pair [a, b] with a ≤ b, got null');
    fails('randomRotation', [[-1e308, 1e308]], 'degrees must be a pair [a, b] with a ≤ b, got [-1e+308,1e+308]');
    fails('colorJitter', [{ hue: 0.6 }], 'hue must be a number from 0 to 0.5 or a pair, got 0.6');
    fails('colorJitter', [{ hue: [0, 0.6] }], 'hue must be a pair [a, b] with -0.5 ≤ a ≤ b ≤ 0.5, got [0,0.6]');
    fails('colorJitter', [{ contrast: -1 }], 'contrast must be a number ≥ 0 or a pair, got -1');
    fails('colorJitter', [{ brightness: [2, 1] }], 'brightness must be a pair [a, b] with 0 ≤ a ≤ b, got [2,1]');
    for (const p of [2, -0.1, '0.5'])
      fails('randomErasing', [{ p }], `p must be between 0 and 1, got ${typeof p === 'string' ? `'${p}'` : p}`);
    fails('randomErasing', [{ scale: 0.3 }], 'scale must be a pair [a, b] with 0 < a ≤ b ≤ 1, got 0.3');
    for (const [ratio, shown] of [
      [[1, 2, 3], '[1,2,3]'],
      [['1', '2'], "['1','2']"],
      [['1', 2], "['1',2]"],
      [[1, '2'], "[1,'2']"],
    ])
      fails('randomErasing', [{ ratio }], `ratio must be a pair [a, b] with 0 < a ≤ b, got ${shown as string}`);
    fails('randomErasing', [{ value: 'random' }], "value must be a number or 'normal', got 'random'");
  });

  test.each([
    ['resize', [2]],
    ['resize', [[2, 2]]],
    ['centerCrop', [2]],
    ['randomResizedCrop', [2]],
    ['rotate', [5]],
    ['randomRotation', [5]],
    ['colorJitter', []],
    ['randomErasing', [{ p: 0 }]],
  ])('%s %j: what is no float32 image [C,H,W], and misspelt options', (name, args) => {
    const run = (image: ArrayData) => () => t[name]!(...args)(image, random());
    expect(run(wave(2, 2))).toThrow(new ShapeError(`${name}: expected an image [C,H,W], got [2,2]`));
    expect(run({ data: new Float64Array(4), shape: [1, 2, 2], dtype: 'float64' })).toThrow(
      new DTypeError(`${name}: expected a float32 image, got float64`),
    );
    const options = args.filter((arg) => typeof arg !== 'object' || Array.isArray(arg));
    expect(() => t[name]!(...options, { sise: 3 })).toThrow(new RegExp(`^${name}: (unknown option 'sise'|there are no options)`));
  });

  test.each(['resize', 'centerCrop', 'randomResizedCrop'])('%s: a size that is none', (name) => {
    fails(name, [0], 'size must be a whole number ≥ 1 or a pair of them, got 0');
  });

  test.each([
    ['resize', 2, [1, 0, 3]],
    ['resize', 2, [1, 3, 0]],
    ['resize', [2, 2], [1, 3, 0]],
  ] as const)('%s to %j: an image [%j] without pixels', (_, size, shape) => {
    expect(() => transforms.resize(size)(wave(...shape), random())).toThrow(
      new ShapeError(`resize: image [${shape.join()}] has no pixels`),
    );
  });
});

test('a loader gives each image the same bits in any batch', () => {
  const all = transforms.compose(
    transforms.randomResizedCrop(6),
    transforms.randomRotation(20),
    transforms.colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
    transforms.randomErasing(),
  );
  const data = withTransform({ length: 5, get: () => [wave(3, 9, 8)] }, all);
  const run = (batchSize: number): number[] =>
    Array.from(new DataLoader(data, { batchSize, seed: 2 }), ([x]) => Array.from(x!.data())).flat();
  const one = run(1);
  expect(run(2)).toEqual(one);
  expect(run(5)).toEqual(one);
  expect(new Set(one.slice(0, 108)).size).toBeGreaterThan(50);
});
