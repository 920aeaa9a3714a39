import { ArgumentError, memory, StateDictError, tensor } from 'chainrule';
import {
  type ArrayData,
  classBalancedSampler,
  DataLoader,
  type Dataset,
  Random,
  type Sampler,
  weightedSampler,
  withTransform,
} from 'chainrule/data';
import { describe, expect, test } from 'vitest';

const draws = (sampler: Sampler, seed: number): number[] => Array.from(sampler.draw(new Random(seed)));
const counts = (drawn: readonly number[], n: number): number[] =>
  Array.from({ length: n }, (_, i) => drawn.filter((index) => index === i).length);

/** Four standard deviations of a count: a fixed seed, so the test either holds for ever or never. */
const near = (count: number, n: number, p: number): boolean => Math.abs(count - n * p) <= 4 * Math.sqrt(n * p * (1 - p)) + 1e-9;

describe('weightedSampler', () => {
  test('draws in proportion to the weights, and never a weight of 0', () => {
    const weights = [0, 1, 3, 0, 6, 0];
    const drawn = counts(draws(weightedSampler(weights, { length: 20_000 }), 1), 6);
    weights.forEach((weight, i) => expect(near(drawn[i]!, 20_000, weight / 10)).toBe(true));
    expect([drawn[0], drawn[3], drawn[5]]).toEqual([0, 0, 0]);
    expect(weightedSampler(weights).length).toBe(6);
  });

  test('without replacement draws each sample at most once, the heavy ones first', () => {
    const sampler = weightedSampler([1, 2, 0, 7], { length: 3, replacement: false });
    const first = [0, 0, 0, 0];
    for (let seed = 0; seed < 2000; seed++) {
      const drawn = draws(sampler, seed);
      expect([...drawn].sort((a, b) => a - b)).toEqual([0, 1, 3]);
      first[drawn[0]!]!++;
    }
    [0.1, 0.2, 0, 0.7].forEach((p, i) => expect(near(first[i]!, 2000, p)).toBe(true));
  });

  test.each([0, 1 - 2 ** -53])('never draws a weight of 0, even if the random numbers are %d', (u) => {
    const random = Object.assign(new Random(1), { uniform: () => u });
    const weights = [0, 0.1, 0, 0.2, 0];
    for (const replacement of [true, false]) {
      const drawn = Array.from(weightedSampler(weights, { length: 2, replacement }).draw(random));
      expect(drawn.map((i) => weights[i]! > 0)).toEqual([true, true]);
    }
  });

  test('refuses weights and lengths it cannot draw from', () => {
    const fails = (weights: unknown, options: object, message: string): void =>
      expect(() => weightedSampler(weights as never, options)).toThrow(new ArgumentError(`weightedSampler: ${message}`));
    fails([1, -1], {}, 'weight 1 must be a number ≥ 0, got -1');
    fails([Number.NaN], {}, 'weight 0 must be a number ≥ 0, got NaN');
    fails([0, 0], {}, 'no weight is above 0');
    fails([], {}, 'there are no weights');
    expect(() => classBalancedSampler([])).toThrow(new ArgumentError('classBalancedSampler: there are no labels'));
    fails(['1'], {}, 'weights must be an array of numbers, element 0 is a string');
    fails(3, {}, 'weights must be an array of numbers, got a number');
    fails('11', {}, 'weights must be an array of numbers, got a string');
    fails([1, 0], { length: 2, replacement: false }, 'length is 2, and without replacement only 1 samples of weight above 0 can be drawn');
    fails([1], { length: 0 }, 'length must be a whole number ≥ 1, got 0');
    fails([1], { lenght: 3 }, "unknown option 'lenght'; the options are length, replacement");
    fails([1], { replacement: 1 }, 'replacement must be true or false, got 1');
  });
});

test('classBalancedSampler draws each class equally often', () => {
  const labels = Int32Array.from({ length: 100 }, (_, i) => (i < 90 ? 0 : i < 98 ? 5 : -2));
  const sampler = classBalancedSampler(labels, { length: 9000 });
  const drawn = draws(sampler, 2);
  for (const label of [0, 5, -2]) expect(near(drawn.filter((i) => labels[i] === label).length, 9000, 1 / 3)).toBe(true);
  expect(classBalancedSampler(labels).length).toBe(100);
});

test('classBalancedSampler without replacement draws each sample at most once', () => {
  const sampler = classBalancedSampler([4, 4, 4, 9], { replacement: false });
  for (let seed = 0; seed < 5; seed++) expect(draws(sampler, seed).sort((a, b) => a - b)).toEqual([0, 1, 2, 3]);
});

test('classBalancedSampler refuses what are no labels and no options', () => {
  const fails = (labels: unknown, options: object, message: string): void =>
    expect(() => classBalancedSampler(labels as never, options)).toThrow(new ArgumentError(`classBalancedSampler: ${message}`));
  fails([1, '2'], {}, 'labels must be an array of numbers, element 1 is a string');
  fails(undefined, {}, 'labels must be an array of numbers, got undefined');
  fails([1], { lenght: 3 }, "unknown option 'lenght'; the options are length, replacement");
});

/** Samples [i, a random number], one at a time and in batches. */
const numbers = (byBatch: boolean): Dataset<readonly [ArrayData]> => {
  const row = (index: number, random: Random): number[] => [index, random.uniform()];
  const item = (values: number[], ...shape: number[]): readonly [ArrayData] => [
    { data: Float64Array.from(values), shape, dtype: 'float64' },
  ];
  if (!byBatch) return { length: 5, get: (index, random) => item(row(index, random), 2) };
  return {
    length: 5,
    getBatch: (indices, randomFor) => item(Array.from(indices, (index) => row(index, randomFor(index))).flat(), indices.length, 2),
  };
};
const rows = (loader: DataLoader<readonly [ArrayData]>): number[][] => Array.from(loader, ([x]) => x.toArray() as number[][]).flat();

describe('a loader with a sampler', () => {
  const sampler = weightedSampler([1, 1, 1, 5, 0], { length: 40 });

  test('draws another order each epoch, and resumes in the middle of one', () => {
    const make = (seed: number) => new DataLoader(numbers(false), { batchSize: 7, seed, sampler });
    const loader = make(3);
    expect(loader.length).toBe(6);
    const epochs = [rows(loader), rows(loader)];
    expect(epochs[0]!.map(([i]) => i)).not.toEqual(epochs[1]!.map(([i]) => i));
    for (const _ of make(3)) break;
    const first = make(3);
    for (const _ of first) if (first.position === 2) break;
    const resumed = make(99);
    resumed.loadStateDict(first.stateDict());
    expect(rows(resumed)).toEqual(epochs[0]!.slice(14));
    expect(rows(resumed)).toEqual(epochs[1]);
    const other = new DataLoader(numbers(false), { batchSize: 7, sampler: { ...sampler, length: 41 } });
    expect(() => other.loadStateDict(first.stateDict())).toThrow(StateDictError);
  });

  test('gives a sample that is drawn again random numbers of its own, whatever the batches', () => {
    const transform = (x: ArrayData, random: Random): ArrayData => ({
      ...x,
      data: Float64Array.of(...x.data, random.uniform()),
      shape: [3],
    });
    const run = (batchSize: number, byBatch: boolean) =>
      rows(new DataLoader(withTransform(numbers(byBatch), transform) as Dataset<readonly [ArrayData]>, { batchSize, sampler, seed: 1 }));
    const expected = run(1, false);
    for (const batchSize of [1, 6, 40]) for (const byBatch of [false, true]) expect(run(batchSize, byBatch)).toEqual(expected);
    for (const column of [1, 2]) expect(new Set(expected.map((row) => row[column])).size).toBe(40);
    // The first time, a sample has the numbers that it has without a sampler.
    const plain = rows(new DataLoader(numbers(false), { seed: 1 }));
    const drawn = rows(new DataLoader(numbers(false), { seed: 1, sampler }));
    for (const index of [0, 1, 2, 3]) expect(drawn.find(([i]) => i === index)).toEqual(plain[index]);
  });

  test('gives a sample the random numbers of seed, epoch and index, which later versions give too', () => {
    const loader = new DataLoader(numbers(false), { seed: 1 });
    expect([rows(loader)[3], rows(loader)[3]]).toEqual([
      [3, 0.5855698906346877],
      [3, 0.9021021848185348],
    ]);
    const thrice = { length: 3, draw: () => [3, 3, 3] };
    expect(rows(new DataLoader(numbers(true), { seed: 1, sampler: thrice }))).toEqual([
      [3, 0.5855698906346877],
      [3, 0.2106660281646191],
      [3, 0.7194964659356285],
    ]);
  });

  test('waits for asynchronous batches in which samples occur again', async () => {
    const data = numbers(true) as { getBatch: (...args: unknown[]) => readonly [ArrayData] };
    const late = { length: 5, getBatch: async (...args: unknown[]) => data.getBatch(...args) };
    const seen: number[][] = [];
    for await (const [x] of new DataLoader(late, { batchSize: 8, sampler, seed: 1 })) seen.push(...(x.toArray() as number[][]));
    expect(seen).toEqual(rows(new DataLoader(numbers(false), { sampler, seed: 1 })));
  });

  test('takes arrays of numbers and tensors of a getBatch too', () => {
    const listed = {
      length: 5,
      getBatch: (indices: ArrayLike<number>) => [{ data: Array.from(indices), shape: [indices.length], dtype: 'int32' }],
    };
    const tensors = { length: 5, getBatch: (indices: ArrayLike<number>) => [tensor(Array.from(indices), { dtype: 'int32' })] };
    const run = (data: unknown): unknown[] =>
      Array.from(new DataLoader(data as Dataset<readonly [ArrayData]>, { batchSize: 8, sampler }), ([x]) => x.toArray());
    const before = memory().tensors;
    expect(run(tensors)).toEqual(run(listed));
    expect(run(listed).flat()).toEqual(rows(new DataLoader(numbers(false), { sampler })).map(([i]) => i));
    expect(memory().tensors).toBeLessThanOrEqual(before);
  });

  test('refuses what is no sampler, and one that does not keep its word', () => {
    const make = (options: object) => () => [...new DataLoader(numbers(false), options)];
    expect(make({ sampler: [1, 2] })).toThrow(
      new ArgumentError('DataLoader: sampler must have a length, a whole number ≥ 0, and draw, got an array'),
    );
    expect(make({ sampler, shuffle: true })).toThrow(new ArgumentError('DataLoader: the sampler draws the order; leave out shuffle'));
    expect(make({ sampler: { length: 2, draw: () => [1] } })).toThrow(
      new ArgumentError('DataLoader: the sampler drew 1 samples, its length is 2'),
    );
    expect(make({ sampler: { length: 1, draw: () => [5] } })).toThrow(
      new ArgumentError('DataLoader: the sampler drew index 5, the dataset has 5 samples'),
    );
    for (const index of [-1, 0.5, Number.NaN])
      expect(make({ sampler: { length: 1, draw: () => [index] } })).toThrow(
        new ArgumentError(`DataLoader: the sampler drew index ${index}, the dataset has 5 samples`),
      );
    expect(make({ sampler: { length: -1, draw: () => [] } })).toThrow(/must have a length, a whole number ≥ 0, and draw/);
    expect(make({ sampler: { length: 0, draw: () => [] } })()).toEqual([]);
    expect(make({ sampler: { length: 3, draw: () => [0, 1, 2] }, batchSize: 4, dropLast: true })).toThrow(
      new ArgumentError(
        "DataLoader: batchSize 4 is above the sampler's 3 samples, and dropLast leaves no batch at all. Use a smaller batchSize, or dropLast: false",
      ),
    );
  });
});
