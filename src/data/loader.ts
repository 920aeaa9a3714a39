/**
 * The data loader: yields a dataset's samples as batches of tensors, in seeded order, one epoch a loop.
 *
 * Letters: B = samples of a batch, N = samples of the dataset.
 */
import { allOrNone, isTensor, scopedAsyncIterator, scopedIterator, tensor, type Tensor, type Unscoped } from '../autograd/index.ts';
import { peek } from '../core/describe.ts';
import { newArray, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, ScopeError, ShapeError, StateDictError, isArray, shown } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { formatShape, sizeOf } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import {
  checkItem,
  copyElements,
  itemKind,
  lengthOf,
  type Dataset,
  type Item,
  type RandomFor,
  type Transform,
  withTransform,
} from './dataset.ts';

/** One batch: a tensor for each item of a sample, with first dim B. */
export type Batch<T extends readonly Item[]> = { -readonly [K in keyof T]: Tensor };

/** `| readonly []` makes TypeScript infer a tuple from `get: () => [image, label]`. */
type Items = readonly Item[] | readonly [];

/** Options of DataLoader. */
export interface DataLoaderOptions {
  /** B, a whole number ≥ 1; 1 by default. The last batch of an epoch may be smaller. */
  readonly batchSize?: number;
  /** Draws a new random order every epoch, a pure function of (seed, epoch). False by default: the order is 0 … N − 1. */
  readonly shuffle?: boolean;
  /** Drops a last batch that is not full; false by default. */
  readonly dropLast?: boolean;
  /** Seed of the order and of augmentation, independent of the default generator; 0 by default. */
  readonly seed?: number;
  /** Changes the first item of every sample, as withTransform does. Default null: none. */
  readonly transform?: Transform | null;
}

/** The position of a loader, and the options it depends on. */
export interface DataLoaderState {
  /** The epoch of the current or next batch, from 0. */
  readonly epoch: number;
  /** Number of batches of that epoch already yielded. */
  readonly position: number;
  readonly seed: number;
  /** N. */
  readonly samples: number;
  /** B. */
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
}

/** Random streams split from the seed: one for the order of an epoch, one for the random numbers of its samples. */
const ORDER = 0;
const SAMPLES = 1;

/**
 * Iterates over a dataset in batches: each `for` or `for await` loop is one epoch, each iteration a scope that frees its tensors.
 *
 * `for await` yields to the event loop between batches, at most every 50 ms; use it where the body of the loop awaits. The random
 * numbers of a sample depend only on (seed, epoch, index), so augmentation depends on neither order nor batch size.
 *
 * A batch counts as done once it is yielded. A loop that ends normally advances to the next epoch. After `break` or `throw`,
 * `stateDict()` returns the position; the next loop starts a new epoch, unless `loadStateDict` was called: then it resumes there.
 * Only one loop can be active: a second one takes over the loader, and the first throws a ScopeError at its next batch.
 * Shape:  items [...S] of samples → tensors [B, ...S]; the items of a batch dataset keep their shape; dtypes are the items'
 * Throws: ArgumentError on options out of range, or if dropLast leaves no batch at all
 * @example for (const [x, y] of new DataLoader(syntheticCifar(), { batchSize: 64, shuffle: true })) { … }
 */
export class DataLoader<T extends Items> implements Stateful, Unscoped<Batch<T>>, Iterable<Batch<T>>, AsyncIterable<Batch<T>> {
  /** Number of batches in an epoch. */
  readonly length: number;
  /** B; the last batch of an epoch may be smaller. */
  readonly batchSize: number;
  readonly #dataset: Dataset;
  readonly #samples: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  #seed: number;
  #epoch = 0;
  #position = 0;
  /** True once a loop has started the current epoch; loadStateDict resets it. If true, the next loop starts another epoch. */
  #epochStarted = false;
  /** Identifies the loop that may advance the position. */
  #activeLoop: object | null = null;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions = {}) {
    const defaults = { batchSize: 1, shuffle: false, dropLast: false, seed: 0, transform: null };
    const { batchSize, shuffle, dropLast, seed, transform } = withDefaults('DataLoader', options, defaults);
    const n = lengthOf('DataLoader', dataset);
    requireWholeNumber('batchSize', batchSize, 1);
    requireWholeNumber('seed', seed, 0);
    if (dropLast && n > 0 && batchSize > n) {
      throw new ArgumentError(
        `DataLoader: batchSize ${batchSize} is above the dataset's ${n} samples, and dropLast leaves no batch at all. ` +
          'Use a smaller batchSize, or dropLast: false',
      );
    }
    this.#dataset = transform === null ? dataset : withTransform(dataset, transform);
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

  /** Number of batches of this epoch already yielded. */
  get position(): number {
    return this.#position;
  }

  [Symbol.iterator](): IterableIterator<Batch<T>> {
    return scopedIterator(this.unscoped());
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Batch<T>> {
    return scopedAsyncIterator(this.unscoped());
  }

  /** Returns the same loop without iteration scopes: batches, and all tensors made in the loop, belong to the enclosing scope. */
  unscoped(): Iterable<Batch<T>> {
    return { [Symbol.iterator]: () => this.#batches() };
  }

  /**
   * Returns the first batch of the current epoch, owned by the enclosing scope, without moving the loader's position.
   * Throws: ArgumentError if the dataset is empty
   */
  first(): Batch<T> {
    if (this.length === 0) throw new ArgumentError('DataLoader.first: the dataset is empty');
    return this.#makeBatch(this.#order(), 0);
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
   * Restores a saved position: the next loop yields the remaining batches, in the same order, with the same augmentation.
   * Also restores the seed. An active loop throws a ScopeError at its next batch.
   * Throws: StateDictError, and changes nothing, if the state's sample count or batch options differ from this loader's
   */
  loadStateDict(state: DataLoaderState): void {
    const mine = this.stateDict();
    for (const key of ['samples', 'batchSize', 'shuffle', 'dropLast'] as const) {
      if (state[key] === mine[key]) continue;
      throw new StateDictError(
        `DataLoader.loadStateDict: ${key}: the state has ${shown(state[key])}, the loader ${mine[key]}; make the loader as the saved one was`,
      );
    }
    const maxima = { epoch: Number.MAX_SAFE_INTEGER, position: this.length, seed: Number.MAX_SAFE_INTEGER };
    for (const key of ['epoch', 'position', 'seed'] as const) {
      const value = state[key];
      const max = maxima[key];
      if (Number.isSafeInteger(value) && value >= 0 && value <= max) continue;
      throw new StateDictError(`DataLoader.loadStateDict: ${key}: expected a whole number from 0 to ${max}, got ${shown(value)}`);
    }
    this.#seed = state.seed;
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#epochStarted = false;
    this.#activeLoop = null;
  }

  *#batches(): Generator<Batch<T>, void> {
    if (this.#epochStarted) this.#nextEpoch();
    if (!Number.isSafeInteger(this.#epoch))
      throw new ArgumentError(
        `DataLoader: there is no epoch after 2^53 − 1: its order and augmentation would repeat. Make a loader with another seed`,
      );
    this.#epochStarted = true;
    const loop = {};
    this.#activeLoop = loop;
    const order = this.#order();
    while (this.#position < this.length) {
      const batch = this.#makeBatch(order, this.#position);
      this.#position++;
      yield batch;
      if (this.#activeLoop !== loop) {
        throw new ScopeError(
          'DataLoader: this loop has lost its place: another loop over the same loader began, or loadStateDict was called, inside it. ' +
            'Make a loader for each loop, and leave the loop before loadStateDict',
        );
      }
    }
    this.#nextEpoch();
    this.#epochStarted = false;
  }

  #nextEpoch(): void {
    this.#epoch++;
    this.#position = 0;
  }

  /** Returns the order of the current epoch's samples. */
  #order(): Int32Array {
    if (this.#shuffle) return new Random(this.#seed).split(ORDER, this.#epoch).permutation(this.#samples);
    return Int32Array.from({ length: this.#samples }, (_, i) => i);
  }

  /** Makes batch number `position` of the current epoch. */
  #makeBatch(order: Int32Array, position: number): Batch<T> {
    const indices = order.subarray(position * this.batchSize, (position + 1) * this.batchSize);
    const streams = new Random(this.#seed).split(SAMPLES, this.#epoch);
    const items = makeItems(this.#dataset, indices, (index) => streams.split(index));
    // The dataset's type lists its items, but TypeScript cannot follow a tuple of unknown length through map.
    return allOrNone(() => items.map(toTensor)) as Batch<T>;
  }
}

function requireWholeNumber(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError(`DataLoader: ${name} must be a whole number ≥ ${least}, got ${shown(value)}`);
}

/** Returns a tensor unchanged; copies anything else into a new tensor. */
function toTensor(item: Item): Tensor {
  return isTensor(item) ? item : tensor(elements(item), { shape: item.shape, dtype: item.dtype });
}

function elements(item: Item): ElementArray {
  return typeof item.data === 'function' ? item.data() : item.data;
}

function makeItems(dataset: Dataset, indices: Int32Array, randomFor: RandomFor): readonly Item[] {
  if (!dataset.getBatch) {
    const samples = Array.from(indices, (index) => checkSample('get', `sample ${index}`, dataset.get(index, randomFor(index))));
    return stack(samples, indices);
  }
  const items = checkSample('getBatch', 'the batch', dataset.getBatch(indices, randomFor));
  for (const [i, { shape }] of items.entries()) {
    if (shape[0] === indices.length) continue;
    throw new ShapeError(
      `DataLoader: getBatch was asked for ${indices.length} samples; the first dim of item ${i} ${formatShape(shape)} must say so`,
    );
  }
  return items;
}

/** Throws unless a dataset's `method` returned an array of items; returns it. */
function checkSample(method: string, what: string, sample: unknown): readonly Item[] {
  if (isArray(sample)) {
    sample.forEach((item, k) => checkItem('DataLoader', `item ${k} of ${what}`, item));
    return sample as readonly Item[];
  }
  const isPromise = typeof peek(sample, 'then') === 'function';
  const got = isPromise ? 'a Promise; the loader does not wait: read the data before the loop' : itemKind(sample);
  throw new ArgumentError(`DataLoader: ${method} must return an array of items, such as [image, label], got ${got}`);
}

/** Stacks the samples item by item along a new first dim. */
function stack(samples: readonly (readonly Item[])[], indices: Int32Array): Item[] {
  const first = samples[0]!;
  const stacked = first.map(({ shape, dtype }) => ({
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
      const { data } = stacked[k]!;
      const size = data.length / samples.length;
      const values = elements(item);
      if (values.length !== size) {
        throw new ShapeError(
          `DataLoader: item ${k} of sample ${indices[b]} has ${values.length} elements, its shape ${formatShape(item.shape)} ${size}`,
        );
      }
      copyElements(`DataLoader: item ${k} of sample ${indices[b]}`, values, item.dtype, data, b * size);
    });
  });
  return stacked;
}

/** `(float32 [3,32,32], int32 [])` */
function describe(sample: readonly Item[]): string {
  return `(${sample.map(({ dtype, shape }) => `${dtype} ${formatShape(shape)}`).join(', ')})`;
}
