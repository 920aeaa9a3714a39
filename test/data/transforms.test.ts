import { scope, tensor } from 'chainrule';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { Random } from '../../src/core/random.ts';
import { ArrayDataset, type ArrayData } from '../../src/data/dataset.ts';
import { compose, normalize, randomCrop, randomHorizontalFlip } from '../../src/data/transforms.ts';

const image = (...shape: number[]): ArrayData => ({
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
  shape,
  dtype: 'float32',
});
const random = () => new Random(3);

describe('normalize', () => {
  test.each([
    [0.1307, 0.3081],
    [0.5, 0.5],
    [0.485, 0.229],
  ])('gives the 256 grey levels the bits of float32 arithmetic, mean %d and std %d', (mean, std) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, b) => b);
    const [levels] = new ArrayDataset(bytes, [1, 16, 16], [0]).getBatch([0]);
    const y = normalize(mean, std)({ ...levels, shape: [1, 16, 16] }, random());
    expect(y.shape).toEqual([1, 16, 16]);
    expect(y.dtype).toBe('float32');
    // The engine's own float32 operations, which are PyTorch's: (x − mean) / std, rounded after each.
    const expected = scope(() => tensor(levels.data).sub(mean).div(std).data());
    expect(y.data).toEqual(expected);
    expect(y.data[0]).toBe(Math.fround(Math.fround(-Math.fround(mean)) / Math.fround(std)));
  });

  test('works per channel or with one number for all', () => {
    const x = image(2, 1, 2);
    expect(normalize([1, 3], [2, 0.5])(x, random()).data).toEqual(Float32Array.of(0, 0.5, 0, 2));
    expect(normalize(1, 2)(x, random())).toEqual({ data: Float32Array.of(0, 0.5, 1, 1.5), shape: [2, 1, 2], dtype: 'float32' });
  });

  test('rounds as float32 does after each step', () => {
    const x: ArrayData = { data: Float32Array.of(0.3), shape: [1, 1, 1], dtype: 'float32' };
    const expected = Math.fround(Math.fround(Math.fround(0.3) - Math.fround(0.4914)) / Math.fround(0.247));
    expect(normalize([0.4914], [0.247])(x, random()).data[0]).toBe(expected);
  });

  test('rejects invalid arguments and images', () => {
    expect(() => normalize(0, [1, 0])).toThrow(new ArgumentError('normalize: std must be above 0, got 0'));
    expect(() => normalize([1, 2], 1)(image(3, 1, 1), random())).toThrow(
      new ShapeError('normalize: image [3,1,1] has 3 channels, mean has 2 numbers'),
    );
    expect(() => normalize(1, [1, 2])(image(3, 1, 1), random())).toThrow(
      new ShapeError('normalize: image [3,1,1] has 3 channels, std has 2 numbers'),
    );
    expect(() => normalize(0, 1, ...([{}] as unknown as []))).toThrow(new ArgumentError('normalize: there are no options, got an object'));
    expect(() => normalize(0, 1)(image(3, 1), random())).toThrow(new ShapeError('normalize: expected an image [C,H,W], got [3,1]'));
    expect(() => normalize(0, 1)({ data: new Int32Array(1), shape: [1, 1, 1], dtype: 'int32' }, random())).toThrow(
      new DTypeError('normalize: expected a float32 image, got int32'),
    );
  });
});

describe('randomCrop', () => {
  test('is a window of the padded image, and every position occurs', () => {
    const [height, width, padding, fill] = [4, 5, 2, -1];
    const x = image(2, height, width);
    const padded = (c: number, y: number, w: number) =>
      y < 0 || y >= height || w < 0 || w >= width ? fill : x.data[(c * height + y) * width + w]!;
    const windows = new Map<string, string>();
    for (let top = -padding; top <= height + padding - 3; top++) {
      for (let left = -padding; left <= width + padding - 6; left++) {
        const pixels = Array.from({ length: 2 * 3 * 6 }, (_, i) =>
          padded(Math.floor(i / 18), top + (Math.floor(i / 6) % 3), left + (i % 6)),
        );
        windows.set(pixels.join(), `${top},${left}`);
      }
    }
    const crop = randomCrop([3, 6], { padding, fill });
    const seen = new Set<string | undefined>();
    for (let seed = 0; seed < 500; seed++) {
      const y = crop(x, new Random(seed));
      expect(y.shape).toEqual([2, 3, 6]);
      seen.add(windows.get([...y.data].join()));
    }
    expect(seen).toEqual(new Set(windows.values()));
  });

  test('crops with far more padding than image', () => {
    const crop = randomCrop(1, { padding: 3 });
    const seen = new Set<number>();
    for (let seed = 0; seed < 300; seed++) seen.add(crop(image(1, 1, 1), new Random(seed)).data[0]!);
    expect(seen).toEqual(new Set([0, 1]));
  });

  test('a crop larger than the image has the image in its middle, and the fill around it', () => {
    const crop = randomCrop(5, { padding: 1, fill: 7 });
    const x = image(1, 3, 3);
    const around = (fill: number): Float32Array =>
      Float32Array.from([Array(6).fill(fill), 1, 2, 3, fill, fill, 4, 5, 6, fill, fill, 7, 8, 9, Array(6).fill(fill)].flat());
    for (let seed = 0; seed < 20; seed++) {
      expect(crop(x, new Random(seed))).toEqual({ data: around(7), shape: [1, 5, 5], dtype: 'float32' });
      expect(randomCrop(5, { padding: 1 })(x, new Random(seed)).data).toEqual(around(0));
    }
  });

  test('a pair pads above and below by the first number, left and right by the second', () => {
    const same = (seed: number): unknown => randomCrop(4, { padding: [1, 1] })(image(1, 4, 4), new Random(seed));
    for (let seed = 0; seed < 20; seed++) expect(same(seed)).toEqual(randomCrop(4, { padding: 1 })(image(1, 4, 4), new Random(seed)));
    const y = randomCrop([3, 6], { padding: [0, 2] })(image(1, 3, 2), random());
    expect(y.data).toEqual(Float32Array.of(0, 0, 1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0));
    expect(() => randomCrop(7, { padding: [0, 2] })(image(1, 3, 3), random())).toThrow(
      new ShapeError('randomCrop: image [1,3,3] with padding [0,2] is smaller than the crop [7,7]'),
    );
  });

  test('without padding and at full size it changes nothing', () => {
    expect(randomCrop(4)(image(3, 4, 4), random())).toEqual(image(3, 4, 4));
  });

  test('rejects invalid arguments and images', () => {
    expect(() => randomCrop(0)).toThrow(new ArgumentError('randomCrop: size must be a whole number ≥ 1 or a pair of them, got 0'));
    expect(() => randomCrop(4, { padding: -1 })).toThrow(
      new ArgumentError('randomCrop: padding must be a whole number ≥ 0 or a pair of them, got -1'),
    );
    expect(() => randomCrop(7, { padding: 1 })(image(1, 4, 8), random())).toThrow(
      new ShapeError('randomCrop: image [1,4,8] with padding 1 is smaller than the crop [7,7]'),
    );
    expect(() => randomCrop([2, 7], { padding: 1 })(image(1, 4, 4), random())).toThrow(
      new ShapeError('randomCrop: image [1,4,4] with padding 1 is smaller than the crop [2,7]'),
    );
    expect(() => randomCrop(2)(image(4, 4), random())).toThrow(new ShapeError('randomCrop: expected an image [C,H,W], got [4,4]'));
    expect(() => randomCrop(2, { fill: 'x' as never })).toThrow(new ArgumentError("randomCrop: fill must be a number, got 'x'"));
  });
});

describe('randomHorizontalFlip', () => {
  test('mirrors each row', () => {
    expect(randomHorizontalFlip(1)(image(1, 2, 3), random()).data).toEqual(Float32Array.of(3, 2, 1, 6, 5, 4));
    expect(randomHorizontalFlip(0)(image(1, 2, 3), random())).toEqual(image(1, 2, 3));
  });

  test('mirrors half of the images by default', () => {
    const flip = randomHorizontalFlip();
    let flips = 0;
    for (let seed = 0; seed < 1000; seed++) flips += flip(image(1, 1, 2), new Random(seed)).data[0] === 2 ? 1 : 0;
    expect(Math.abs(flips - 500)).toBeLessThan(60);
  });

  test('rejects invalid arguments and images', () => {
    for (const p of [2, -0.1, NaN]) {
      expect(() => randomHorizontalFlip(p)).toThrow(new ArgumentError(`randomHorizontalFlip: p must be between 0 and 1, got ${p}`));
    }
    expect(() => randomHorizontalFlip('x' as never)).toThrow(new ArgumentError("randomHorizontalFlip: p must be a number, got 'x'"));
    expect(() => randomHorizontalFlip(0.5, ...([{}] as unknown as []))).toThrow(
      new ArgumentError('randomHorizontalFlip: there are no options, got an object'),
    );
    expect(() => randomHorizontalFlip(1)(image(4, 4), random())).toThrow(
      new ShapeError('randomHorizontalFlip: expected an image [C,H,W], got [4,4]'),
    );
  });
});

test('compose refuses what is no function', () => {
  expect(() => compose(normalize(0, 1), 5 as never)).toThrow(new ArgumentError('compose: transform 1 must be a function, got a number'));
});

test('compose applies transforms in order, does not write to its input, and repeats with the same random numbers', () => {
  const both = compose(randomCrop(4, { padding: 1 }), randomHorizontalFlip(), normalize(0.5, 0.25));
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const x = image(3, 4, 4);
      const y = both(x, new Random(seed));
      expect(x).toEqual(image(3, 4, 4));
      expect(both(x, new Random(seed))).toEqual(y);
      const stream = new Random(seed);
      const steps = [randomCrop(4, { padding: 1 }), randomHorizontalFlip(), normalize(0.5, 0.25)];
      expect(steps.reduce((z, step) => step(z, stream), x)).toEqual(y);
    }),
  );
  expect(compose()(image(1, 1, 1), random())).toEqual(image(1, 1, 1));
});
