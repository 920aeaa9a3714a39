/** The part of each batch that a rank's loader yields: together the ranks see what one process sees. */
import { ArgumentError, ShapeError, type Tensor, tensor } from 'chainrule';
import {
  type ArrayData,
  type BatchDataset,
  DataLoader,
  type DataLoaderOptions,
  type Dataset,
  transforms,
  weightedSampler,
} from 'chainrule/data';
import { describe, expect, test } from 'vitest';
import { rowsOfRank } from '../../src/data/sharding.ts';

type Row = readonly [ArrayData, ArrayData];

/** Samples [index, a random number] and a label, one at a time. */
const single = (length: number): Dataset<Row> => ({
  length,
  get: (index, random) => [
    { data: Float32Array.of(index, random.uniform()), shape: [2], dtype: 'float32' },
    { data: Int32Array.of(index % 3), shape: [], dtype: 'int32' },
  ],
});

/** The same in batches. */
const batched = (length: number): BatchDataset<Row> => ({
  length,
  getBatch: (indices, random) => [
    {
      data: Float32Array.from({ length: 2 * indices.length }, (_, j) => (j % 2 ? random(indices[j >> 1]!).uniform() : indices[j >> 1]!)),
      shape: [indices.length, 2],
      dtype: 'float32',
    },
    { data: Int32Array.from(indices, (i) => i % 3), shape: [indices.length], dtype: 'int32' },
  ],
});

const EPOCHS = 3;

type Rows = readonly unknown[];

/** Returns the rows of each batch of several epochs. */
function batchesOf(data: Dataset<Row>, options: DataLoaderOptions): Rows[] {
  const loader = new DataLoader(data, options);
  const read = (t: Tensor): Rows => t.toArray() as unknown as Rows;
  return Array.from({ length: EPOCHS }, () => Array.from(loader, ([x, y]) => read(x).map((row, i) => [row, read(y)[i]]))).flat();
}

/** Joins the parts of all ranks, batch by batch. */
const joined = (data: Dataset<Row>, options: DataLoaderOptions, size: number): Rows[] => {
  const parts = Array.from({ length: size }, (_, rank) => batchesOf(data, { ...options, shard: { rank, size } }));
  return parts[0]!.map((_, k) => parts.flatMap((part) => part[k]!));
};

const cases: readonly (readonly [string, DataLoaderOptions])[] = [
  ['in order', { batchSize: 6 }],
  ['shuffled', { batchSize: 6, shuffle: true, seed: 4 }],
  ['a batch that does not divide', { batchSize: 7, shuffle: true }],
  ['without the last batch', { batchSize: 6, shuffle: true, dropLast: true }],
  [
    'with a sampler that repeats samples',
    { batchSize: 6, sampler: weightedSampler([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], { length: 20 }) },
  ],
  ['with mixup', { batchSize: 6, shuffle: true, batchTransform: transforms.mixup(3) }],
];

describe('shard', () => {
  test.each(cases)('%s: the ranks together yield the batches of one process, in every epoch', (_, options) => {
    for (const data of [single(14), batched(14)]) {
      const whole = batchesOf(data, options);
      for (const size of [1, 2, 3, 5]) expect(joined(data, options, size)).toEqual(whole);
    }
  });

  test('a rank whose part of the last batch is empty yields tensors with 0 rows', () => {
    for (const data of [single(5), batched(5)]) {
      const loader = new DataLoader(data, { batchSize: 4, shard: { rank: 0, size: 2 } });
      expect(Array.from(loader, ([x, y]) => [x.shape, y.shape, y.dtype])).toEqual([
        [[2, 2], [2], 'int32'],
        [[0, 2], [0], 'int32'],
      ]);
    }
  });

  test('length, position and state are those of all ranks: a state fits another number of ranks', () => {
    const options = { batchSize: 6, shuffle: true };
    const ofTwo = new DataLoader(batched(14), { ...options, shard: { rank: 1, size: 2 } });
    expect(ofTwo.length).toBe(3);
    for (const _ of ofTwo) break;
    expect(ofTwo.position).toBe(1);
    const rest = (size: number): Rows[] => {
      const parts = Array.from({ length: size }, (_, rank) => {
        const loader = new DataLoader(batched(14), { ...options, shard: { rank, size } });
        loader.loadStateDict(ofTwo.stateDict());
        return Array.from(loader, ([x]) => x.toArray() as unknown as Rows);
      });
      return parts[0]!.map((_, k) => parts.flatMap((part) => part[k]!));
    };
    expect(rest(3)).toEqual(rest(1));
    expect(rest(1)).toHaveLength(2);
  });

  test('the first batch is the rank’s part of it', () => {
    const loader = new DataLoader(batched(14), { batchSize: 6, shard: { rank: 2, size: 3 } });
    expect((loader.first()[0].toArray() as number[][]).map(([i]) => i)).toEqual([4, 5]);
  });

  test('throws for what is no shard, and for a batch smaller than the group', () => {
    const make = (shard: unknown, batchSize = 4) => new DataLoader(batched(8), { batchSize, shard } as DataLoaderOptions);
    const expected = 'DataLoader: shard must have a rank from 0 to size − 1 and a size, as a group has, got ';
    expect(() => make({ rank: 2, size: 2 })).toThrow(new ArgumentError(`${expected}rank 2 and size 2`));
    expect(() => make({ rank: 0 })).toThrow(new ArgumentError(`${expected}rank 0 and size undefined`));
    expect(() => make(3)).toThrow(new ArgumentError(`${expected}a number`));
    expect(() => make({ rank: 0, size: 5 })).toThrow(
      new ArgumentError(
        "DataLoader: batchSize 4 is below the shard's 5 ranks, and a rank would have no sample in any step. batchSize counts the samples of all ranks together",
      ),
    );
    const scalar = new DataLoader(batched(8), {
      batchSize: 4,
      batchTransform: (items) => [...items, { data: Float32Array.of(1), shape: [], dtype: 'float32' }],
      shard: { rank: 0, size: 2 },
    });
    expect(() => scalar.first()).toThrow(
      new ShapeError('DataLoader: with shard, every item of a batch must have a row for each sample: item 0 has shape [4,2], item 2 []'),
    );
  });

  test('tensors of a dataset are divided too', () => {
    const whole = tensor([[1], [2], [3]]);
    const data = { length: 3, getBatch: (indices: Int32Array) => [tensor(Array.from(indices, (i) => [i + 1]))] as const };
    const loader = new DataLoader(data, { batchSize: 3, shard: { rank: 1, size: 2 } });
    expect(loader.first()[0].toArray()).toEqual([[2], [3]]);
    whole.dispose();
  });
});

describe('rowsOfRank', () => {
  test('divides all rows into contiguous parts that differ by one at most; halves of a rank’s part are parts of twice as many ranks', () => {
    for (let rows = 0; rows <= 20; rows++) {
      for (const size of [1, 2, 3, 4, 7]) {
        const parts = Array.from({ length: size }, (_, rank) => rowsOfRank(rows, { rank, size }));
        expect(parts.map(({ start }) => start)).toEqual([0, ...parts.slice(0, -1).map(({ end }) => end)]);
        expect(parts.at(-1)!.end).toBe(rows);
        const sizes = parts.map(({ start, end }) => end - start);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(rowsOfRank(rows, { rank: 2 * (size - 1), size: 2 * size }).start).toBe(parts[size - 1]!.start);
      }
    }
  });
});
