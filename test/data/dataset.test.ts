import { scope } from 'chainrule';
import { DataLoader } from 'chainrule/data';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { Random } from '../../src/core/random.ts';
import { type ArrayData, ArrayDataset, type BatchDataset, type ItemDataset, withTransform } from '../../src/data/dataset.ts';
import { subset } from '../../src/data/subsets.ts';

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

  test.each([
    [[0.7, -1.9], 'label 0 must be a whole number that fits int32, got 0.7'],
    [[0, NaN], 'label 1 must be a whole number that fits int32, got NaN'],
    [[0, 2 ** 40], 'label 1 must be a whole number that fits int32, got 1099511627776'],
    [[0, 2 ** 31], 'label 1 must be a whole number that fits int32, got 2147483648'],
    [Float32Array.of(1, 1.5), 'label 1 must be a whole number that fits int32, got 1.5'],
    [[0, '1'], 'label 1 must be a whole number that fits int32, got a string'],
    [[0, undefined], 'label 1 must be a whole number that fits int32, got undefined'],
  ])('refuses the labels %o', (labels, message) => {
    expect(() => new ArrayDataset(new Float32Array(2), [1], labels as number[])).toThrow(new DTypeError(`ArrayDataset: ${message}`));
  });

  test('takes labels of any whole numbers of int32, and keeps them when the list changes', () => {
    const labels = [2 ** 31 - 1, -100];
    const data = new ArrayDataset(new Float32Array(2), [1], labels);
    labels[0] = 0.5;
    expect(data.getBatch([0, 1])[1].data).toEqual(Int32Array.of(2 ** 31 - 1, -100));
  });

  test('takes the bytes of a canvas, and refuses what is neither floats nor bytes', () => {
    expect(new ArrayDataset(Uint8ClampedArray.of(255, 51), [1], [0, 1]).getBatch([0, 1])[0].data).toEqual(Float32Array.of(1, 51 / 255));
    const images = 'ArrayDataset: images must be a Float32Array, or a Uint8Array of bytes, got';
    for (const [wrong, got] of [
      [[1, 2], 'an array'],
      [new Float64Array(2), 'a Float64Array'],
      [new Uint16Array(2), 'a Uint16Array'],
      [new DataView(new ArrayBuffer(2)), 'a DataView'],
      [null, 'null'],
    ] as const)
      expect(() => new ArrayDataset(wrong as never, [1], [0, 1])).toThrow(new ArgumentError(`${images} ${got}`));
    for (const wrong of [undefined, null]) {
      expect(() => new ArrayDataset(new Float32Array(2), [1], wrong as never)).toThrow(
        new ArgumentError(`ArrayDataset: labels must be an array of whole numbers, got ${wrong}`),
      );
    }
    expect(() => new ArrayDataset(new Float32Array(2), [1], [0, 1], ...([{}] as unknown as []))).toThrow(
      new ArgumentError('ArrayDataset: there are no options, got an object'),
    );
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

  test('may be the whole or empty', () => {
    expect([subset(batches, 0).length, subset(batches, 0, 10).length, subset(batches, 3, 3).length]).toEqual([10, 10, 0]);
  });

  test('rejects invalid ranges', () => {
    expect(() => subset(batches, 3, 2)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start 3 and end 2'));
    expect(() => subset(batches, 0, 11)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start 0 and end 11'));
    expect(() => subset(batches, -1)).toThrow(new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 10, got start -1 and end 10'));
    for (const [start, end] of [
      [0.5, 7],
      [0, 7.5],
      [NaN, 7],
    ] as const) {
      expect(() => subset(batches, start, end)).toThrow(
        new ArgumentError(`subset: expected 0 ≤ start ≤ end ≤ 10, got start ${start} and end ${end}`),
      );
    }
    expect(() => subset(batches, 0, 1, ...([{}] as unknown as []))).toThrow(
      new ArgumentError('subset: there are no options, got an object'),
    );
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

  test('accepts arrays of numbers, which must fit the dtype', () => {
    const listed = (...data: number[]): ItemDataset => ({
      length: 1,
      get: () => [{ data, shape: [data.length], dtype: 'int32' } as unknown as ArrayData, { data, shape: [], dtype: 'int32' } as never],
    });
    const [first] = (withTransform(listed(3, -4), (image) => image) as ItemDataset).get(0, randomFor(0));
    expect(first).toEqual({ data: Int32Array.of(3, -4), shape: [2], dtype: 'int32' });
    const [stacked, label] = scope(() => new DataLoader(listed(7)).first().map((t) => t.data()));
    expect([stacked, label]).toEqual([Int32Array.of(7), Int32Array.of(7)]);
    expect(() => (withTransform(listed(3, 0.5), (image) => image) as ItemDataset).get(0, randomFor(0))).toThrow(
      new DTypeError('withTransform: the first item of a sample holds 0.5 at position 1, which does not fit int32'),
    );
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

describe('what a transform returns is checked', () => {
  const image: ArrayData = { data: new Float32Array(4), shape: [4], dtype: 'float32' };
  const few: ArrayData = { data: Float32Array.of(1, 2, 3), shape: [4], dtype: 'float32' };
  const byBatch: BatchDataset = { length: 2, getBatch: (indices) => [{ ...image, data: new Float32Array(8), shape: [indices.length, 4] }] };
  const one: ItemDataset = { length: 2, get: () => [image] };

  /** The errors of a batch dataset and of an item dataset, which must agree. */
  const errorsOf = (transform: unknown): unknown[] =>
    [byBatch, one].map((dataset) => {
      const changed = withTransform(dataset, transform as never);
      try {
        if (changed.getBatch) changed.getBatch([0, 1], randomFor);
        else changed.get(0, new Random(0));
      } catch (e) {
        return e;
      }
      return undefined;
    });

  test.each([
    [() => few, new ShapeError('withTransform: the transform returned 3 elements for shape [4] (4)')],
    [() => ({ ...few, shape: [2] }), new ShapeError('withTransform: the transform returned 3 elements for shape [2] (2)')],
    [
      () => undefined,
      new ArgumentError('withTransform: the image that the transform returned must be a tensor or { data, shape, dtype }, got undefined'),
    ],
    [
      () => few.data,
      new ArgumentError(
        'withTransform: the image that the transform returned must be a tensor or { data, shape, dtype }, got a Float32Array',
      ),
    ],
    [
      () => ({ ...few, data: () => few.data }),
      new ArgumentError('withTransform: the transform returned a tensor, expected { data, shape, dtype }'),
    ],
    [
      () => ({ shape: [4], dtype: 'float32' }),
      new ArgumentError('withTransform: the image that the transform returned must be a tensor or { data, shape, dtype }, got an object'),
    ],
    [
      () => ({ ...few, shape: 3 }),
      new ArgumentError('withTransform: the image that the transform returned must be a tensor or { data, shape, dtype }, got an object'),
    ],
    [
      async () => few,
      new ArgumentError('withTransform: the transform returned a Promise, which nothing waits for; wait in the get of a dataset'),
    ],
  ])('%o', (transform, error) => {
    expect(errorsOf(transform)).toEqual([error, error]);
  });

  test('images of one batch that differ in dtype', () => {
    let calls = 0;
    const changing = (x: ArrayData): ArrayData => (calls++ === 0 ? x : { data: new Int32Array(4), shape: [4], dtype: 'int32' });
    expect(errorsOf(changing)[0]).toEqual(new DTypeError('withTransform: images of one batch must agree, got float32 and int32'));
  });

  test('arguments that are no dataset and no function', () => {
    expect(() => withTransform(byBatch, undefined as never)).toThrow(
      new ArgumentError('withTransform: transform must be a function, got undefined'),
    );
    expect(() => withTransform([image] as never, (x) => x)).toThrow(
      new ArgumentError('withTransform: a dataset has length, and get or getBatch; got an array'),
    );
    expect(() => withTransform(byBatch, (x) => x, ...([{}] as unknown as []))).toThrow(
      new ArgumentError('withTransform: there are no options, got an object'),
    );
    expect(() => withTransform({ ...one, length: -1 }, (x) => x)).toThrow(
      new ArgumentError('withTransform: dataset.length must be a whole number ≥ 0, got -1'),
    );
    expect(() => subset(undefined as never, 0, 1)).toThrow(
      new ArgumentError('subset: a dataset has length, and get or getBatch; got undefined'),
    );
  });

  test('samples that are none: the first item here, anything else in the loader', () => {
    const changed = (sample: unknown): ItemDataset => withTransform({ length: 1, get: () => sample as never }, (x) => x) as ItemDataset;
    expect(() => changed([5]).get(0, randomFor(0))).toThrow(
      new ArgumentError('withTransform: the first item of a sample must be a tensor or { data, shape, dtype }, got a number'),
    );
    expect(() => new DataLoader(changed(5)).first()).toThrow(
      new ArgumentError('DataLoader: sample 0: get must return an array of items, such as [image, label], got a number'),
    );
  });
});
