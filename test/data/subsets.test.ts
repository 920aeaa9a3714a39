import { ArgumentError, DTypeError, memory, ShapeError, tensor } from 'chainrule';
import {
  type ArrayData,
  ArrayDataset,
  type AsyncDataset,
  DataLoader,
  type Dataset,
  kFold,
  randomSplit,
  subset,
  TensorDataset,
} from 'chainrule/data';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** A dataset whose sample i is [i, a random number]. */
const numbers = (length: number): Dataset<readonly [ArrayData]> => ({
  length,
  get: (index, random) => [{ data: Float64Array.of(index, random.uniform()), shape: [2], dtype: 'float64' }],
});
const batched = (length: number): Dataset<readonly [ArrayData]> => ({
  length,
  getBatch: (indices, randomFor) => [
    {
      data: Float64Array.from(Array.from(indices, (index) => [index, randomFor(index).uniform()]).flat()),
      shape: [indices.length, 2],
      dtype: 'float64',
    },
  ],
});
const pairs = (dataset: Dataset<readonly [ArrayData]>): number[][] =>
  Array.from(new DataLoader(dataset, { batchSize: 3 }), ([x]) => x.toArray() as number[][]).flat();
const indices = (dataset: Dataset<readonly [ArrayData]>): number[] => pairs(dataset).map(([i]) => i!);
const sorted = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe('subset by indices', () => {
  test('has the samples in that order, with the random numbers of its own indices', () => {
    const list = fc.uniqueArray(fc.nat(9), { maxLength: 10 });
    fc.assert(
      fc.property(list, (chosen) => {
        for (const make of [numbers, batched]) {
          const part = pairs(subset(make(10), chosen));
          expect(part.map(([i]) => i)).toEqual(chosen);
          expect(part.map(([, u]) => u)).toEqual(pairs(make(chosen.length)).map(([, u]) => u));
          expect(pairs(subset(make(10), Int32Array.from(chosen)))).toEqual(part);
        }
      }),
      { seed: 3 },
    );
    expect(indices(subset(subset(numbers(10), [8, 6, 4, 2]), [3, 1]))).toEqual([2, 6]);
  });

  test('refuses indices that are wrong or occur twice', () => {
    const data = numbers(3);
    expect(() => subset(data, [0, 3])).toThrow(new ArgumentError('subset: index 3 is out of range for 3 samples'));
    expect(() => subset(data, [1, 0, 1])).toThrow(
      new ArgumentError('subset: index 1 occurs twice; draw samples repeatedly with a sampler'),
    );
    expect(() => subset(data, new Set([1]) as never)).toThrow(new ArgumentError('subset: expected an array of indices, got an object'));
  });
});

describe('randomSplit', () => {
  test('gives each sample to one part', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }), fc.nat(99), (lengths, seed) => {
        const n = lengths.reduce((a, b) => a + b, 0);
        const parts = randomSplit(numbers(n), lengths, { seed });
        expect(parts.map((part) => part.length)).toEqual(lengths);
        expect(sorted(parts.flatMap(indices))).toEqual(range(n));
      }),
      { seed: 4 },
    );
    const split = (seed?: number): number[][] => randomSplit(numbers(20), [12, 8], seed === undefined ? {} : { seed }).map(indices);
    expect(split(1)).toEqual(split(1));
    expect(split(0)).toEqual(split());
    expect(split(2)).not.toEqual(split(1));
  });

  test.each([
    [10, [0.75, 0.25], [8, 2]],
    [17, [0.33, 0.33, 0.34], [6, 6, 5]],
    [3, [0.5, 0.5], [2, 1]],
    [10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]],
    [11, [1 / 3, 1 / 3, 1 / 3], [4, 4, 3]],
    [0, [1], [0]],
    [1, [1], [1]],
  ])('of %i samples by shares %j has %j, as in PyTorch', (n, shares, expected) => {
    expect(randomSplit(numbers(n), shares).map((part) => part.length)).toEqual(expected);
  });

  test('refuses lengths that do not add up', () => {
    const fails = (lengths: unknown, message: string): void =>
      expect(() => randomSplit(numbers(10), lengths as never)).toThrow(new ArgumentError(`randomSplit: ${message}`));
    fails([5, 4], 'expected lengths with sum 10, or shares with sum 1, got [5,4] with sum 9');
    fails([0.5, 0.4], 'expected lengths with sum 10, or shares with sum 1, got [0.5,0.4] with sum 0.9');
    fails([-1, 11], 'lengths must be an array of numbers ≥ 0, got [-1,11]');
    fails([4, 4.5, 1.5], 'expected lengths with sum 10, or shares with sum 1, got [4,4.5,1.5] with sum 10');
    fails(5, 'lengths must be an array of numbers ≥ 0, got 5');
    fails(['10'], "lengths must be an array of numbers ≥ 0, got ['10']");
  });
});

test('each function refuses by its name what is no dataset, no option and no seed', () => {
  const functions: Readonly<Record<string, (data: never, options?: object) => unknown>> = {
    subset: (data) => subset(data, 0),
    randomSplit: (data, options) => randomSplit(data, [3], options),
    kFold: (data, options) => kFold(data, 3, options),
  };
  for (const [name, run] of Object.entries(functions)) {
    expect(() => run(3 as never)).toThrow(new ArgumentError(`${name}: a dataset has length, and get or getBatch; got a number`));
    if (name === 'subset') continue;
    const fails = (options: object, message: string): void =>
      expect(() => run(numbers(3) as never, options)).toThrow(new ArgumentError(`${name}: ${message}`));
    fails({ sead: 1 }, `unknown option 'sead'; the options are ${name === 'kFold' ? 'shuffle, ' : ''}seed`);
    fails({ seed: '1' }, "seed must be a number, got '1'");
  }
  for (const options of [{ shuffle: true }, true]) expect(() => (subset as Function)(numbers(3), [0], options)).toThrow(/^subset: /);
  expect(() => subset(numbers(3), null as never)).toThrow(
    new ArgumentError('subset: expected 0 ≤ start ≤ end ≤ 3, got start null and end 3'),
  );
});

describe('kFold', () => {
  test('validates each sample once, and trains on the others', () => {
    const cases = fc.integer({ min: 2, max: 12 }).chain((n) => fc.tuple(fc.constant(n), fc.integer({ min: 2, max: n })));
    fc.assert(
      fc.property(cases, fc.boolean(), ([n, k], shuffle) => {
        const folds = kFold(numbers(n), k, { shuffle, seed: 3 });
        expect(folds).toHaveLength(k);
        expect(sorted(folds.flatMap(({ validation }) => indices(validation)))).toEqual(range(n));
        for (const { train, validation } of folds) expect(sorted([...indices(train), ...indices(validation)])).toEqual(range(n));
        const lengths = folds.map(({ validation }) => validation.length);
        expect(lengths).toEqual(range(k).map((fold) => Math.floor(n / k) + (fold < n % k ? 1 : 0)));
      }),
      { seed: 6 },
    );
    // scikit-learn's KFold(3) on 7 samples.
    expect(kFold(numbers(7), 3).map(({ validation }) => indices(validation))).toEqual([
      [0, 1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  test('refuses a k outside 2 … N', () => {
    for (const k of [1, 4, 2.5])
      expect(() => kFold(numbers(3), k)).toThrow(new ArgumentError(`kFold: k must be a whole number from 2 to 3, got ${k}`));
  });

  test('takes asynchronous datasets too, as do subset and randomSplit', async () => {
    const late: AsyncDataset = { length: 4, get: async (index, random) => (numbers(4) as { get: Function }).get(index, random) };
    const [fold] = kFold(late, 2);
    const [part] = randomSplit(subset(fold!.train, [1, 0]), [2]);
    const seen: number[] = [];
    for await (const [x] of new DataLoader(part!)) seen.push(x!.data()[0]!);
    expect(sorted(seen)).toEqual([2, 3]);
  });
});

describe('TensorDataset', () => {
  test('gives the rows of its columns, of any dtype', () => {
    const inputs = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const targets = tensor([0.5, 1.5, 2.5], { dtype: 'float64' });
    const flags: ArrayData = { data: Uint8Array.of(1, 0, 1), shape: [3], dtype: 'bool' };
    const data = new TensorDataset(inputs.transpose(0, 1).transpose(0, 1), targets, flags);
    inputs.dispose();
    targets.dispose();
    flags.data[0] = 0;
    const before = memory().tensors;
    for (const [x, y, f] of new DataLoader(data, { batchSize: 3 })) {
      expect([x.toArray(), y.toArray(), f.toArray()]).toEqual([
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        [0.5, 1.5, 2.5],
        [1, 0, 1],
      ]);
      expect([x.dtype, y.dtype, f.dtype]).toEqual(['float32', 'float64', 'bool']);
    }
    expect(memory().tensors).toBeLessThanOrEqual(before);
    expect(data.getBatch([2, 0])[0]).toEqual({ data: Float32Array.of(5, 6, 1, 2), shape: [2, 2], dtype: 'float32' });
    expect(data.length).toBe(3);
  });

  test('of a strided tensor has its rows', () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]).transpose(0, 1);
    expect(new TensorDataset(x).getBatch([0, 2])[0]!.data).toEqual(Float32Array.of(1, 4, 3, 6));
  });

  test('refuses columns that do not fit', () => {
    expect(() => new TensorDataset()).toThrow(new ArgumentError('TensorDataset: there are no columns'));
    expect(() => new TensorDataset(tensor([1, 2]), tensor([1]))).toThrow(
      new ShapeError('TensorDataset: columns must have the same first dim: column 0 is [2], column 1 [1]'),
    );
    expect(() => new TensorDataset(tensor(1))).toThrow(
      new ShapeError('TensorDataset: column 0 must have a row for each sample, got a shape of []'),
    );
    expect(() => new TensorDataset({ data: new Float32Array(3), shape: [2, 2], dtype: 'float32' })).toThrow(
      new ShapeError('TensorDataset: column 0 has 3 elements, its shape [2,2] 4'),
    );
    expect(() => new TensorDataset(Float32Array.of(1) as never)).toThrow(
      new ArgumentError('TensorDataset: column 0 must be a tensor or { data, shape, dtype }, got a Float32Array'),
    );
    const column: ArrayData = { data: Int32Array.of(1), shape: [1], dtype: 'int32' };
    expect(() => new TensorDataset({ ...column, data: [0.5] as never })).toThrow(
      new DTypeError('TensorDataset: column 0 holds 0.5 at position 0, which does not fit int32'),
    );
    expect(() => new TensorDataset({ ...column, shape: [-1] })).toThrow(/^TensorDataset: /);
    for (const [options, kind] of [
      [{ batchSize: 3 }, 'an object'],
      [true, 'a boolean'],
      [{}, 'an object'],
    ] as const)
      expect(() => new TensorDataset(column, options as never)).toThrow(
        new ArgumentError(`TensorDataset: there are no options, got ${kind}`),
      );
    expect(() => new TensorDataset(tensor([1])).getBatch([1])).toThrow(
      new ArgumentError('TensorDataset: index 1 is out of range for 1 samples'),
    );
  });
});

test('ArrayDataset gives a copy of its labels', () => {
  const data = new ArrayDataset(new Float32Array(3), [1], [2, 0, 1]);
  expect(data.labels).toEqual(Int32Array.of(2, 0, 1));
  data.labels[0] = 9;
  expect(data.labels[0]).toBe(2);
});
