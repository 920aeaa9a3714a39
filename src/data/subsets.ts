/**
 * Parts of a dataset as datasets of their own.
 *
 * Letters: N = samples of the dataset.
 */
import { ArgumentError, isArray, kindOf, shown } from '../core/errors.ts';
import { peek } from '../core/describe.ts';
import { checkNumber, refuseOptions, withDefaults } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { checkIndex, lengthOf, type AsyncDataset, type Dataset, type Item } from './dataset.ts';

type Items = readonly Item[];

/**
 * Returns samples `start` … `end − 1` of a dataset, or those of a list of indices, as a dataset of its own, indexed from 0.
 *
 * Throws: ArgumentError unless 0 ≤ start ≤ end ≤ N, or if an index is outside 0 … N − 1 or occurs twice
 * @param end N by default
 * @example const train = subset(data, 0, 50_000), valid = subset(data, 50_000), few = subset(data, [3, 1, 4])
 */
export function subset<T extends Items>(dataset: Dataset<T>, start: number, end?: number): Dataset<T>;
export function subset<T extends Items>(dataset: Dataset<T>, indices: ArrayLike<number>): Dataset<T>;
export function subset<T extends Items>(dataset: AsyncDataset<T>, start: number, end?: number): AsyncDataset<T>;
export function subset<T extends Items>(dataset: AsyncDataset<T>, indices: ArrayLike<number>): AsyncDataset<T>;
export function subset<T extends Items>(
  dataset: AsyncDataset<T>,
  start: number | ArrayLike<number>,
  end: number = lengthOf('subset', dataset),
): AsyncDataset<T> {
  lengthOf('subset', dataset);
  if (typeof start === 'object' && start !== null) {
    refuseOptions('subset', arguments[2]);
    return listed(dataset, start);
  }
  refuseOptions('subset', arguments[3]);
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > dataset.length) {
    throw new ArgumentError(`subset: expected 0 ≤ start ≤ end ≤ ${dataset.length}, got start ${shown(start)} and end ${shown(end)}`);
  }
  return select(
    dataset,
    end - start,
    (index) => start + index,
    (original) => original - start,
  );
}

function listed<T extends Items>(dataset: AsyncDataset<T>, list: ArrayLike<number>): AsyncDataset<T> {
  if (!Number.isSafeInteger(peek(list, 'length'))) throw new ArgumentError(`subset: expected an array of indices, got ${kindOf(list)}`);
  const positions = new Map<number, number>();
  const indices = Array.from(list, (index, i) => {
    checkIndex('subset', index, dataset.length);
    if (positions.has(index)) throw new ArgumentError(`subset: index ${index} occurs twice; draw samples repeatedly with a sampler`);
    positions.set(index, i);
    return index;
  });
  return select(
    dataset,
    indices.length,
    (index) => indices[index]!,
    (original) => positions.get(original)!,
  );
}

/** Returns the samples that `toOriginal` gives for 0 … length − 1; `toOwn` is its inverse. */
function select<T extends Items>(
  dataset: AsyncDataset<T>,
  length: number,
  toOriginal: (index: number) => number,
  toOwn: (original: number) => number,
): AsyncDataset<T> {
  const original = (index: number): number => toOriginal(checkIndex('subset', index, length));
  if (!dataset.getBatch) return { length, get: (index, random) => dataset.get(original(index), random) };
  return {
    length,
    getBatch: (indices, randomFor) => dataset.getBatch(Array.from(indices, original), (index) => randomFor(toOwn(index))),
  };
}

/** Options of randomSplit. */
export interface RandomSplitOptions {
  /** Seed of the drawing, a whole number ≥ 0. Default 0. */
  readonly seed?: number;
}

/**
 * Divides a dataset at random into parts without common samples.
 *
 * @param lengths the samples of each part, whole numbers with sum N; or their shares, numbers between 0 and 1 with sum 1. Shares are rounded
 *   down, and the samples that remain go to the first parts, one each, as in PyTorch
 * Throws: ArgumentError if the lengths do not add up
 * @example const [train, valid] = randomSplit(data, [0.9, 0.1], { seed: 1 })
 */
export function randomSplit<T extends Items>(dataset: Dataset<T>, lengths: readonly number[], options?: RandomSplitOptions): Dataset<T>[];
export function randomSplit<T extends Items>(
  dataset: AsyncDataset<T>,
  lengths: readonly number[],
  options?: RandomSplitOptions,
): AsyncDataset<T>[];
export function randomSplit<T extends Items>(
  dataset: AsyncDataset<T>,
  lengths: readonly number[],
  options: RandomSplitOptions = {},
): AsyncDataset<T>[] {
  const n = lengthOf('randomSplit', dataset);
  const { seed } = withDefaults<RandomSplitOptions>('randomSplit', options, { seed: 0 });
  checkNumber('randomSplit', 'seed', seed);
  const order = new Random(seed).permutation(n);
  let start = 0;
  return partLengths(lengths, n).map((length) => {
    const part = subset(dataset, order.subarray(start, start + length));
    start += length;
    return part;
  });
}

function partLengths(lengths: readonly number[], n: number): readonly number[] {
  if (!isArray(lengths) || lengths.some((length) => typeof length !== 'number' || !(length >= 0)))
    throw new ArgumentError(`randomSplit: lengths must be an array of numbers ≥ 0, got ${shown(lengths)}`);
  const sum = lengths.reduce((a, b) => a + b, 0);
  if (lengths.every((length) => Number.isSafeInteger(length)) && sum === n) return lengths;
  if (Math.abs(sum - 1) > 1e-6)
    throw new ArgumentError(`randomSplit: expected lengths with sum ${n}, or shares with sum 1, got [${lengths.join()}] with sum ${sum}`);
  const parts = lengths.map((share) => Math.floor(share * n));
  const rest = n - parts.reduce((a, b) => a + b, 0);
  return parts.map((length, i) => length + Math.floor((rest - i + parts.length - 1) / parts.length));
}

/** Options of kFold. */
export interface KFoldOptions {
  /** Whether the samples are assigned at random, or in their order. Default false. */
  readonly shuffle?: boolean;
  /** Seed of the assignment, a whole number ≥ 0. Default 0. */
  readonly seed?: number;
}

/** One round of cross-validation. */
export interface Fold<D> {
  /** All samples but those of `validation`. */
  readonly train: D;
  readonly validation: D;
}

/**
 * Divides a dataset into k parts for cross-validation: each sample is in the validation part of one fold, and in the training part of the
 * others. The first N mod k parts have one sample more than the others, as in scikit-learn's KFold.
 *
 * Throws: ArgumentError unless 2 ≤ k ≤ N
 * @example for (const { train, validation } of kFold(data, 5, { shuffle: true })) { … }
 */
export function kFold<T extends Items>(dataset: Dataset<T>, k: number, options?: KFoldOptions): Fold<Dataset<T>>[];
export function kFold<T extends Items>(dataset: AsyncDataset<T>, k: number, options?: KFoldOptions): Fold<AsyncDataset<T>>[];
export function kFold<T extends Items>(dataset: AsyncDataset<T>, k: number, options: KFoldOptions = {}): Fold<AsyncDataset<T>>[] {
  const n = lengthOf('kFold', dataset);
  const { shuffle, seed } = withDefaults<KFoldOptions>('kFold', options, { shuffle: false, seed: 0 });
  checkNumber('kFold', 'seed', seed);
  if (!Number.isSafeInteger(k) || k < 2 || k > n)
    throw new ArgumentError(`kFold: k must be a whole number from 2 to ${n}, got ${shown(k)}`);
  const random = new Random(seed);
  const order = shuffle ? random.permutation(n) : Int32Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: k }, (_, fold) => {
    const start = fold * Math.floor(n / k) + Math.min(fold, n % k);
    const end = start + Math.floor(n / k) + (fold < n % k ? 1 : 0);
    const isInFold = (position: number): boolean => position >= start && position < end;
    return {
      train: subset(
        dataset,
        order.filter((_, position) => !isInFold(position)),
      ),
      validation: subset(dataset, order.subarray(start, end)),
    };
  });
}
