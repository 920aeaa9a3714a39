import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, ShapeError } from '../../src/core/errors.ts';
import { Random } from '../../src/core/random.ts';
import { type ArrayData, ArrayDataset, type BatchDataset, type ItemDataset, subset, withTransform } from '../../src/data/dataset.ts';

const randomFor = (index: number) => new Random(5).split(index);

/** A batch dataset of [index, first random number]. */
const batches: BatchDataset<readonly [ArrayData, ArrayData]> = {
  length: 10,
  getBatch: (indices, random) => [
    { data: Float32Array.from(indices, (i) => random(i).uniform()), shape: [indices.length, 1], dtype: 'float32' },
    { data: Int32Array.from(indices), shape: [indices.length], dtype: 'int32' },
  ],
};

/** The same dataset, one sample at a time. */
const items: ItemDataset<readonly [ArrayData, ArrayData]> = {
  length: 10,
  get: (index, random) => [
    { data: Float32Array.of(random.uniform()), shape: [1], dtype: 'float32' },
    { data: Int32Array.of(index), shape: [], dtype: 'int32' },
  ],
};

const noisy = (image: ArrayData, random: Random): ArrayData => ({ ...image, data: image.data.map((v) => v + random.uniform()) });

describe('ArrayDataset', () => {
  test('gathers rows of floats', () => {
    const data = new ArrayDataset(Float32Array.of(1, 2, 3, 4, 5, 6), [1, 2], [7, 8, 9]);
    expect(data.getBatch([2, 0])).toEqual([
      { data: Float32Array.of(5, 6, 1, 2), shape: [2, 1, 2], dtype: 'float32' },
      { data: Int32Array.of(9, 7), shape: [2], dtype: 'int32' },
    ]);
    expect(data.getBatch([])[0].shape).toEqual([0, 1, 2]);
  });

  test('turns bytes into float32 in [0, 1]', () => {
    const data = new ArrayDataset(
      Uint8Array.from({ length: 256 }, (_, b) => b),
      [1],
      new Uint8Array(256),
    );
    expect(data.getBatch(Array.from({ length: 256 }, (_, b) => b))[0].data).toEqual(Float32Array.from({ length: 256 }, (_, b) => b / 255));
  });

  test('rejects sizes and indices that do not fit', () => {
    expect(() => new ArrayDataset(new Float32Array(7), [1, 2], [0, 1, 2])).toThrow(
      new ShapeError('ArrayDataset: 3 labels need 6 elements of images [1,2], got 7'),
    );
    const data = new ArrayDataset(new Float32Array(4), [2], [0, 1]);
    for (const index of [2, -1, 0.5, NaN]) {
      expect(() => data.getBatch([0, index])).toThrow(new ArgumentError(`ArrayDataset: index ${index} is out of range for 2 samples`));
    }
  });
});

describe('subset', () => {
  test('begins at 0 and keys random numbers by its own index', () => {
    const part = subset(batches, 3, 7) as BatchDataset<readonly [ArrayData, ArrayData]>;
    expect(part.length).toBe(4);
    const [drawn, index] = part.getBatch([0, 3], randomFor);
    expect(index.data).toEqual(Int32Array.of(3, 6));
    expect(drawn.data).toEqual(Float32Array.of(randomFor(0).uniform(), randomFor(3).uniform()));
    const item = subset(items, 3) as ItemDataset<readonly [ArrayData, ArrayData]>;
    expect(item.length).toBe(7);
    expect(item.get(1, randomFor(1))).toEqual(items.get(4, randomFor(1)));
  });

  test('rejects invalid ranges', () => {
    expect(() => subset(batches, 3, 2)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start 3 and end 2'));
    expect(() => subset(batches, 0, 11)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start 0 and end 11'));
    expect(() => subset(batches, -1)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start -1 and end 10'));
    const part = subset(batches, 3, 7) as BatchDataset;
    expect(() => part.getBatch([4], randomFor)).toThrow(new ArgumentError('subset: index 4 is out of range for 4 samples'));
  });
});

describe('withTransform', () => {
  const twice = withTransform(withTransform(batches, noisy), noisy) as BatchDataset<readonly [ArrayData, ArrayData]>;

  test('depends on neither order nor batch size', () => {
    const alone = (index: number) => twice.getBatch([index], randomFor)[0].data[0]!;
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 12 }), (indices) => {
        const [images, labels] = twice.getBatch(indices, randomFor);
        expect(images.data).toEqual(Float32Array.from(indices, alone));
        expect(labels.data).toEqual(Int32Array.from(indices));
      }),
    );
  });

  test('gives equal results for a dataset that returns one sample at a time', () => {
    const single = withTransform(withTransform(items, noisy), noisy) as ItemDataset<readonly [ArrayData, ArrayData]>;
    for (let i = 0; i < 10; i++) expect(single.get(i, randomFor(i))[0].data).toEqual(twice.getBatch([i], randomFor)[0].data);
  });

  test('stacked transforms and the dataset itself draw different numbers', () => {
    const drawn: number[] = [];
    const watch = (image: ArrayData, random: Random) => {
      drawn.push(random.uniform());
      return image;
    };
    const data = withTransform(withTransform(batches, watch), watch) as BatchDataset<readonly [ArrayData, ArrayData]>;
    drawn.push(data.getBatch([1], randomFor)[0].data[0]!);
    expect(new Set(drawn).size).toBe(3);
  });

  test('accepts tensors, whose data is a method', () => {
    const tensors = { length: 1, get: () => [{ data: () => Float32Array.of(2), shape: [1], dtype: 'float32' }] as const };
    const data = withTransform(tensors, (image) => ({ ...image, data: image.data.map((v) => v + 1) })) as ItemDataset;
    expect(data.get(0, randomFor(0))).toEqual([{ data: Float32Array.of(3), shape: [1], dtype: 'float32' }]);
  });

  test('a transform may change the shape, but for all images alike', () => {
    const grow = (size: (v: number) => number) => (image: ArrayData) => {
      const n = size(image.data[0]!);
      return { data: new Float32Array(n), shape: [n], dtype: 'float32' } as const;
    };
    const data = new ArrayDataset(Float32Array.of(1, 2), [1], [0, 0]);
    const [images] = (
      withTransform(
        data,
        grow(() => 3),
      ) as BatchDataset<readonly [ArrayData, ArrayData]>
    ).getBatch([0, 1], randomFor);
    expect(images.shape).toEqual([2, 3]);
    expect(() =>
      (
        withTransform(
          data,
          grow((v) => v),
        ) as BatchDataset
      ).getBatch([0, 1], randomFor),
    ).toThrow(new ShapeError('withTransform: images of one batch must agree, got [1] and [2]'));
  });
});
