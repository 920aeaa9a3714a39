/**
 * The loader: a dataset's samples in batches of tensors, in seeded order, epoch after epoch.
 *
 * Letters: B = samples of a batch, N = samples of the dataset.
 */
import { isTensor, scopedAsyncIterator, scopedIterator, tensor, type Tensor, type Unscoped } from '../autograd/index.ts';
import { newArray, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, ScopeError, ShapeError, StateDictError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { formatShape, sizeOf } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { type Dataset, type Item, type RandomFor, type Transform, withTransform } from './dataset.ts';

/** What a loader hands out: a tensor for each item of a sample, with a first dim B. */
export type Batch<T extends readonly Item[]> = { -readonly [K in keyof T]: Tensor };

/** `| readonly []` makes TypeScript infer a tuple from `get: () => [image, label]`. */
type Items = readonly Item[] | readonly [];

/** How a DataLoader makes batches. */
export interface DataLoaderOptions {
  /** B, a whole number ≥ 1; 1 by default. The last batch of an epoch may be smaller. */
  readonly batchSize?: number;
  /** A new random order every epoch, a pure function of (seed, epoch); false by default: 0 … N − 1. */
  readonly shuffle?: boolean;
  /** Leaves out a last batch that is not full; false by default. */
  readonly dropLast?: boolean;
  /** Of order and augmentation, apart from the default generator's; 0 by default. */
  readonly seed?: number;
  /** Changes the first item of every sample, as withTransform does. */
  readonly transform?: Transform;
}

/** Where a loader stands, and what that position is counted in. */
export interface DataLoaderState {
  /** The epoch of the current or next batch, from 0. */
  readonly epoch: number;
  /** Batches of that epoch that have been handed out. */
  readonly position: number;
  readonly seed: number;
  /** N. */
  readonly samples: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
}

/** Streams of the seed: the order of an epoch, and its samples' own random numbers. */
const ORDER = 0;
const SAMPLES = 1;

/**
 * Loops over a dataset in batches: `for` or `for await`, one epoch each; an iteration is a scope, which frees what was made in it.
 *
 * `for await` gives the event loop a turn between batches, at most every 50 ms. The random numbers of a sample depend on (seed,
 * epoch, index) alone, so augmentation changes with neither order nor batch size.
 *
 * A batch handed out counts as done. A loop that runs to its end moves to the next epoch; after `break` or `throw`, `stateDict()`
 * tells the place, and the next loop begins a new epoch unless `loadStateDict` came between: then it goes on from there.
 * One loop at a time: a second one takes the loader over, and the first throws a ScopeError when it asks for its next batch.
 * Shape:  items [...S] of samples → tensors [B, ...S], a batch dataset's own as they are; dtypes are the items'
 * Throws: ArgumentError on options out of range, or where dropLast leaves no batch at all
 * @example for (const [x, y] of new DataLoader(syntheticCifar(), { batchSize: 64, shuffle: true })) { … }
 */
export class DataLoader<T extends Items> implements Stateful, Unscoped<Batch<T>>, Iterable<Batch<T>>, AsyncIterable<Batch<T>> {
  /** Batches of an epoch. */
  readonly length: number;
  readonly batchSize: number;
  readonly #dataset: Dataset;
  readonly #samples: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  #seed: number;
  #epoch = 0;
  #position = 0;
  /** Whether the current epoch has been begun and not restored since, so that the next loop begins another. */
  #begun = false;
  /** The loop that the position belongs to. */
  #loop: object | null = null;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions = {}) {
    checkOptions('DataLoader', options, ['batchSize', 'shuffle', 'dropLast', 'seed', 'transform']);
    const { batchSize = 1, shuffle = false, dropLast = false, seed = 0, transform } = options;
    const n = dataset.length;
    natural('dataset.length', n, 0);
    natural('batchSize', batchSize, 1);
    natural('seed', seed, 0);
    if (dropLast && n > 0 && batchSize > n) {
      throw new ArgumentError(
        `DataLoader: batchSize ${batchSize} is above the dataset's ${n} samples, and dropLast leaves no batch at all. ` +
          'Use a smaller batchSize, or dropLast: false',
      );
    }
    this.#dataset = transform === undefined ? dataset : withTransform(dataset, transform);
    this.#samples = n;
    this.#shuffle = shuffle;
    this.#dropLast = dropLast;
    this.#seed = seed;
    this.batchSize = batchSize;
    this.length = dropLast ? Math.floor(n / batchSize) : Math.ceil(n / batchSize);
  }

  /** The epoch of the current or next batch, from 0. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Batches of this epoch that have been handed out. */
  get position(): number {
    return this.#position;
  }

  [Symbol.iterator](): IterableIterator<Batch<T>> {
    return scopedIterator(this.unscoped());
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Batch<T>> {
    return scopedAsyncIterator(this.unscoped());
  }

  /** The same loop without scopes: batches belong to the scope around, and what an iteration makes is not freed by it. */
  unscoped(): Iterable<Batch<T>> {
    return { [Symbol.iterator]: () => this.#walk() };
  }

  /**
   * The first batch of the current epoch, for the scope around; the loader's position stays.
   * Throws: ArgumentError if the dataset is empty
   */
  first(): Batch<T> {
    if (this.length === 0) throw new ArgumentError('DataLoader.first: the dataset is empty');
    return this.#batch(this.#order(), 0);
  }

  stateDict(): DataLoaderState {
    return {
      epoch: this.#epoch,
      position: this.#position,
      seed: this.#seed,
      samples: this.#samples,
      batchSize: this.batchSize,
      shuffle: this.#shuffle,
      dropLast: this.#dropLast,
    };
  }

  /**
   * Goes to a saved place: the next loop hands out the batches that were left, in the same order, with the same augmentation.
   * Takes the seed over; a loop that is running ends with a ScopeError.
   * Throws: StateDictError, and changes nothing, where the state counts other batches than this loader's
   */
  loadStateDict(state: DataLoaderState): void {
    const mine = this.stateDict();
    for (const key of ['samples', 'batchSize', 'shuffle', 'dropLast'] as const) {
      if (state[key] === mine[key]) continue;
      throw new StateDictError(
        `DataLoader.loadStateDict: ${key}: the state has ${state[key]}, the loader ${mine[key]}; make the loader as the saved one was`,
      );
    }
    for (const [key, most] of [
      ['epoch', Number.MAX_SAFE_INTEGER],
      ['position', this.length],
      ['seed', Number.MAX_SAFE_INTEGER],
    ] as const) {
      if (Number.isSafeInteger(state[key]) && state[key] >= 0 && state[key] <= most) continue;
      throw new StateDictError(`DataLoader.loadStateDict: ${key}: expected a whole number from 0 to ${most}, got ${state[key]}`);
    }
    this.#seed = state.seed;
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#begun = false;
    this.#loop = null;
  }

  *#walk(): Generator<Batch<T>, void> {
    if (this.#begun) this.#nextEpoch();
    this.#begun = true;
    const loop = {};
    this.#loop = loop;
    const order = this.#order();
    while (this.#position < this.length) {
      const batch = this.#batch(order, this.#position);
      this.#position++;
      yield batch;
      if (this.#loop !== loop) {
        throw new ScopeError(
          'DataLoader: this loop has lost its place: another loop over the same loader began, or loadStateDict was called, inside it. ' +
            'Make a loader for each loop, and leave the loop before loadStateDict',
        );
      }
    }
    this.#nextEpoch();
    this.#begun = false;
  }

  #nextEpoch(): void {
    this.#epoch++;
    this.#position = 0;
  }

  /** The epoch's order of samples. */
  #order(): Int32Array {
    if (this.#shuffle) return new Random(this.#seed).split(ORDER, this.#epoch).permutation(this.#samples);
    return Int32Array.from({ length: this.#samples }, (_, i) => i);
  }

  #batch(order: Int32Array, position: number): Batch<T> {
    const indices = order.subarray(position * this.batchSize, (position + 1) * this.batchSize);
    const streams = new Random(this.#seed).split(SAMPLES, this.#epoch);
    const items = batchOf(this.#dataset, indices, (index) => streams.split(index));
    // The dataset's type says what its items are; TypeScript cannot follow a tuple of unknown length through map.
    return items.map(toTensor) as Batch<T>;
  }
}

function natural(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError(`DataLoader: ${name} must be a whole number ≥ ${least}, got ${value}`);
}

/** A tensor as it is, anything else copied into one. */
function toTensor(item: Item): Tensor {
  return isTensor(item) ? item : tensor(elements(item), { shape: item.shape, dtype: item.dtype });
}

function elements(item: Item): ElementArray {
  return typeof item.data === 'function' ? item.data() : item.data;
}

function batchOf(dataset: Dataset, indices: Int32Array, randomFor: RandomFor): readonly Item[] {
  if (!dataset.getBatch) {
    const samples = Array.from(indices, (index) => dataset.get(index, randomFor(index)));
    return stack(samples, indices);
  }
  const items = dataset.getBatch(indices, randomFor);
  for (const [i, { shape }] of items.entries()) {
    if (shape[0] === indices.length) continue;
    throw new ShapeError(
      `DataLoader: getBatch was asked for ${indices.length} samples; the first dim of item ${i} ${formatShape(shape)} must say so`,
    );
  }
  return items;
}

/** Item k of every sample, stacked along a new first dim, for every k. */
function stack(samples: readonly (readonly Item[])[], indices: Int32Array): Item[] {
  const first = samples[0]!;
  const out = first.map(({ shape, dtype }) => ({
    data: newArray(dtype, sizeOf([samples.length, ...shape], 'DataLoader')),
    shape: [samples.length, ...shape],
    dtype,
  }));
  const expected = describe(first);
  samples.forEach((sample, b) => {
    const got = describe(sample);
    if (got !== expected) {
      throw new ShapeError(
        `DataLoader: samples of one batch must agree: sample ${indices[0]} is ${expected}, sample ${indices[b]} is ${got}`,
      );
    }
    sample.forEach((item, k) => {
      const { data } = out[k]!;
      const size = data.length / samples.length;
      const x = elements(item);
      if (x.length !== size) {
        throw new ShapeError(
          `DataLoader: item ${k} of sample ${indices[b]} has ${x.length} elements, its shape ${formatShape(item.shape)} ${size}`,
        );
      }
      data.set(x, b * size);
    });
  });
  return out;
}

/** `(float32 [3,32,32], int32 [])` */
function describe(sample: readonly Item[]): string {
  return `(${sample.map(({ dtype, shape }) => `${dtype} ${formatShape(shape)}`).join(', ')})`;
}
