/**
 * The data loader: yields a dataset's samples as batches of tensors, in seeded order, one epoch a loop.
 *
 * Letters: B = samples of a batch, N = samples of the dataset.
 */
import { allOrNone, isTensor, scopedAsyncIterator, scopedIterator, tensor, Wait, type Tensor, type Unscoped } from '../autograd/index.ts';
import { ArgumentError, ScopeError, StateDictError, isArray, shown } from '../core/errors.ts';
import { checkFunction, refuseSurplus, withDefaults } from '../core/options.ts';
import { Random } from '../core/random.ts';
import type { Stateful } from '../core/stateful.ts';
import { elements, makeItems, type Draw } from './batches.ts';
import { checkItem, isPromise, itemKind, lengthOf, toArrayData, withTransform } from './dataset.ts';
import type { AsyncDataset, Item, Transform } from './dataset.ts';
import type { BatchTransform } from './mixing.ts';
import { Prefetch, type Made } from './prefetch.ts';
import { checkSampler, drawOrder, type Order, type Sampler } from './samplers.ts';
import { checkShard, rowsOfRank, takeRows, type Shard } from './sharding.ts';
import { checkWorkers, DatasetWorkers, type WorkerOptions } from './workers.ts';

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
  /** Draws the samples of an epoch instead of `shuffle`, a pure function of (seed, epoch). Null by default. */
  readonly sampler?: Sampler | null;
  /** Drops a last batch that is not full; false by default. */
  readonly dropLast?: boolean;
  /** Seed of the order and of augmentation, independent of the default generator; 0 by default. */
  readonly seed?: number;
  /** Changes the first item of every sample, as withTransform does. Default null: none. */
  readonly transform?: Transform | null;
  /** Changes whole batches, such as mixup, with random numbers keyed by (seed, epoch, number of the batch). Null by default. */
  readonly batchTransform?: BatchTransform | null;
  /**
   * Batches that are made ahead while the body of a `for await` loop runs, a whole number ≥ 0: by workers, or by a dataset whose `get` is
   * asynchronous. 2 by default, or 2 for each worker. Other datasets make a batch when the loop takes it.
   */
  readonly prefetch?: number | null;
  /** Threads that make the batches, in a `for await` loop only. Null by default: none. */
  readonly workers?: WorkerOptions | null;
  /**
   * Yields only the rows of one rank of a group, a contiguous part of each batch: `shard: group`. `batchSize`, `length` and the state are those
   * of all ranks together, so that n ranks see what one process with the same options sees, and a saved state fits any number of ranks. The
   * parts differ by one row at most. A rank's part of the last batch may be empty: its tensors have 0 rows. With `batchTransform`, which mixes
   * rows, each rank makes the whole batch and yields its part. Null by default: all rows.
   */
  readonly shard?: Shard | null;
}

/** The position of a loader, and the options it depends on. */
export interface DataLoaderState {
  /** The epoch of the current or next batch, from 0. */
  readonly epoch: number;
  /** Number of batches of that epoch already yielded. */
  readonly position: number;
  readonly seed: number;
  /** Samples of an epoch: N, or the sampler's length. */
  readonly samples: number;
  /** B. */
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
}

const DEFAULTS: Required<DataLoaderOptions> = {
  batchSize: 1,
  shuffle: false,
  sampler: null,
  dropLast: false,
  seed: 0,
  transform: null,
  batchTransform: null,
  prefetch: null,
  workers: null,
  shard: null,
};

/** The streams of the seed from which the order of an epoch and the numbers of batchTransform are split. batches.ts has those of samples. */
const ORDER = 0;
const BATCHES = 2;

/**
 * Iterates over a dataset in batches: each `for` or `for await` loop is one epoch, each iteration a scope that frees its tensors.
 *
 * `for await` yields to the event loop between batches, at most every 50 ms; use it where the body of the loop awaits. The random
 * numbers of a sample depend only on (seed, epoch, index), so augmentation depends on neither order nor batch size.
 *
 * Where the dataset's `get` or `getBatch` returns promises, only `for await` waits for them, and later batches are prepared meanwhile.
 * `workers` prepares them in threads. Both yield the batches, and the bits, of a plain loop. Leaving the loop ends the workers.
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
  readonly #dataset: AsyncDataset;
  /** N. */
  readonly #size: number;
  /** Samples of an epoch. */
  readonly #samples: number;
  readonly #shuffle: boolean;
  readonly #sampler: Sampler | null;
  readonly #dropLast: boolean;
  readonly #batchTransform: BatchTransform | null;
  readonly #prefetch: number;
  readonly #workers: WorkerOptions | null;
  readonly #shard: Shard | null;
  #seed: number;
  #epoch = 0;
  #position = 0;
  /** True once a loop has started the current epoch; loadStateDict resets it. If true, the next loop starts another epoch. */
  #epochStarted = false;
  /** Identifies the loop that may advance the position. */
  #activeLoop: object | null = null;

  constructor(dataset: AsyncDataset<T>, options: DataLoaderOptions = {}) {
    const read = withDefaults('DataLoader', options, DEFAULTS);
    const { batchSize, shuffle, sampler, dropLast, seed, transform, batchTransform, prefetch, workers, shard } = read;
    const size = lengthOf('DataLoader', dataset);
    const n = samplesOf(read, size);
    this.#prefetch = prefetch ?? 2 * (workers?.count ?? 1);
    this.#workers = workers;
    this.#shard = shard && { rank: shard.rank, size: shard.size };
    this.#batchTransform = batchTransform;
    this.#dataset = transform === null ? dataset : withTransform(dataset, transform);
    this.#size = size;
    this.#samples = n;
    this.#shuffle = shuffle;
    this.#sampler = sampler;
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
    return scopedAsyncIterator({ [Symbol.iterator]: () => this.#batches(true) });
  }

  /** Returns the same loop without iteration scopes: batches, and all tensors made in the loop, belong to the enclosing scope. */
  unscoped(): Iterable<Batch<T>> {
    refuseSurplus('unscoped', arguments, 0);
    return { [Symbol.iterator]: () => this.#syncBatches() };
  }

  /**
   * Returns the first batch of the current epoch, owned by the enclosing scope, without moving the loader's position.
   * Throws: ArgumentError if the dataset is empty, or its `get` asynchronous
   */
  first(): Batch<T> {
    refuseSurplus('first', arguments, 0);
    if (this.length === 0) throw new ArgumentError('DataLoader.first: the dataset is empty');
    return this.#toBatch(now(makeItems(this.#dataset, this.#draw(this.#order(), 0))), 0);
  }

  stateDict(): DataLoaderState {
    refuseSurplus('stateDict', arguments, 0);
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
    refuseSurplus('loadStateDict', arguments, 1);
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

  /** The batches of a loop that does not wait. */
  *#syncBatches(): Generator<Batch<T>, void> {
    if (this.#workers !== null)
      throw new ArgumentError('DataLoader: with workers, a loop must wait for its batches; write for await (const batch of loader)');
    // Without leave to wait there is no Wait.
    yield* this.#batches(false) as Generator<Batch<T>, void>;
  }

  *#batches(waits: boolean): Generator<Batch<T> | Wait, void> {
    const order = this.#startEpoch();
    const loop = {};
    this.#activeLoop = loop;
    const workers = this.#workers === null ? null : new DatasetWorkers(this.#workers, this.#size);
    const make = (position: number): Made => {
      const draw = this.#draw(order, position);
      if (workers !== null) return workers.make(draw);
      const made = makeItems(this.#dataset, draw);
      return waits ? made : now(made);
    };
    try {
      const batches = new Prefetch(make, this.length, waits ? this.#prefetch : 0);
      while (this.#position < this.length) {
        const position = this.#position;
        const items = batches.take(position);
        if (items === null) {
          yield new Wait(batches.settled(position));
          this.#requirePlace(loop);
        }
        const batch = this.#toBatch(items ?? batches.outcome(position), position);
        this.#position++;
        yield batch;
        this.#requirePlace(loop);
      }
    } finally {
      workers?.end();
    }
    this.#nextEpoch();
    this.#epochStarted = false;
  }

  /** Starts an epoch, or goes on with a restored one; returns its order. */
  #startEpoch(): Order {
    if (this.#epochStarted) this.#nextEpoch();
    if (!Number.isSafeInteger(this.#epoch))
      throw new ArgumentError(
        `DataLoader: there is no epoch after 2^53 − 1: its order and augmentation would repeat. Make a loader with another seed`,
      );
    this.#epochStarted = true;
    return this.#order();
  }

  /** Makes the tensors of batch number `position` of the current epoch. */
  #toBatch(items: readonly Item[], position: number): Batch<T> {
    const changed = this.#batchTransform === null ? items : this.#transformed(this.#batchTransform, items, position);
    const own = this.#ownRows(changed, position);
    // The dataset's type lists its items, but TypeScript cannot follow a tuple of unknown length through map.
    return allOrNone(() => own.map(toTensor)) as Batch<T>;
  }

  #transformed(change: BatchTransform, items: readonly Item[], position: number): readonly Item[] {
    const arrays = items.map((item, k) => toArrayData(`DataLoader: item ${k} of the batch`, item));
    const changed = change(arrays, new Random(this.#seed).split(BATCHES, this.#epoch, position));
    if (!isArray(changed)) throw new ArgumentError(`DataLoader: batchTransform must return an array of items, got ${itemKind(changed)}`);
    changed.forEach((item, k) => checkItem('DataLoader', `item ${k} of batchTransform`, item));
    return changed;
  }

  /** Returns the rows of this rank, where `items` has others too. */
  #ownRows(items: readonly Item[], position: number): readonly Item[] {
    if (this.#shard === null) return items;
    if (this.#batchTransform !== null) {
      const { start, end } = rowsOfRank(items[0]?.shape[0] ?? 0, this.#shard);
      return takeRows(items, start, end);
    }
    const { start, end } = this.#part(position);
    // Of an empty part, a sample was made for the shapes of the items.
    return start === end ? takeRows(items, 0, 0) : items;
  }

  /** Returns the place of this rank's part of batch number `position` among the samples of the epoch. */
  #part(position: number): { readonly start: number; readonly end: number } {
    const first = position * this.batchSize;
    const rows = Math.min(this.batchSize, this.#samples - first);
    if (this.#shard === null) return { start: first, end: first + rows };
    const { start, end } = rowsOfRank(rows, this.#shard);
    return { start: first + start, end: first + end };
  }

  #requirePlace(loop: object): void {
    if (this.#activeLoop === loop) return;
    throw new ScopeError(
      'DataLoader: this loop has lost its place: another loop over the same loader began, or loadStateDict was called, inside it. ' +
        'Make a loader for each loop, and leave the loop before loadStateDict',
    );
  }

  #nextEpoch(): void {
    this.#epoch++;
    this.#position = 0;
  }

  /** Returns the samples of the current epoch, in order. */
  #order(): Order {
    const random = new Random(this.#seed).split(ORDER, this.#epoch);
    if (this.#sampler !== null) return drawOrder(this.#sampler, random, this.#size);
    if (this.#shuffle) return { indices: random.permutation(this.#samples), repeats: null };
    return { indices: Int32Array.from({ length: this.#samples }, (_, i) => i), repeats: null };
  }

  /** Returns the samples of batch number `position` of the current epoch that this rank must make. */
  #draw({ indices, repeats }: Order, position: number): Draw {
    const part = this.#part(position);
    const isWhole = this.#shard === null || this.#batchTransform !== null;
    const start = isWhole || part.start === part.end ? position * this.batchSize : part.start;
    const end = isWhole ? start + this.batchSize : Math.max(part.end, start + 1);
    return {
      seed: this.#seed,
      epoch: this.#epoch,
      indices: indices.subarray(start, end),
      repeats: repeats?.subarray(start, end) ?? null,
    };
  }
}

/** Returns the items; throws if there is only a promise of them. */
function now(made: Made): readonly Item[] {
  if (!isPromise(made)) return made;
  // The error below tells that nothing waits for it.
  made.catch(() => {});
  throw new ArgumentError(
    'DataLoader: the dataset returned a Promise, which only an asynchronous loop waits for; write for await (const batch of loader)',
  );
}

/** Checks the options of a loader over a dataset of `size` samples; returns the number of samples of an epoch. */
function samplesOf(options: Required<DataLoaderOptions>, size: number): number {
  const { batchSize, shuffle, sampler, dropLast, seed, transform, batchTransform, prefetch, workers, shard } = options;
  if (sampler !== null) checkSampler(sampler, shuffle);
  const n = sampler?.length ?? size;
  requireWholeNumber('batchSize', batchSize, 1);
  requireWholeNumber('seed', seed, 0);
  if (dropLast && n > 0 && batchSize > n) {
    throw new ArgumentError(
      `DataLoader: batchSize ${batchSize} is above the ${sampler === null ? 'dataset' : 'sampler'}'s ${n} samples, and dropLast leaves no ` +
        'batch at all. Use a smaller batchSize, or dropLast: false',
    );
  }
  if (prefetch !== null) requireWholeNumber('prefetch', prefetch, 0);
  if (batchTransform !== null) checkFunction('DataLoader', 'batchTransform', batchTransform);
  if (workers !== null) checkWorkers(workers, transform !== null);
  if (shard !== null) checkShard(shard, batchSize);
  return n;
}

function requireWholeNumber(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError(`DataLoader: ${name} must be a whole number ≥ ${least}, got ${shown(value)}`);
}

/** Returns a tensor unchanged; copies anything else into a new tensor. */
function toTensor(item: Item): Tensor {
  return isTensor(item) ? item : tensor(elements(item), { shape: item.shape, dtype: item.dtype });
}
