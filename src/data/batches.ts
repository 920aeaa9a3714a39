/**
 * Makes the items of one batch from a dataset. The loader does it, and so do its workers: hence the same bits.
 *
 * Letters: B = samples of a batch.
 */
import type { ArrayData } from '../core/array-data.ts';
import { newArray, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, isArray, prependMessage, ShapeError } from '../core/errors.ts';
import { Random } from '../core/random.ts';
import { formatShape, sizeOf } from '../core/shape.ts';
import {
  checkItem,
  copyElements,
  isPromise,
  itemKind,
  toArrayData,
  type AsyncBatchDataset,
  type AsyncDataset,
  type AsyncItemDataset,
} from './dataset.ts';
import type { Item, RandomFor } from './dataset.ts';

/** The stream of a seed from which the random numbers of samples are split. */
const SAMPLES = 1;

/** The samples of one batch. */
export interface Draw {
  readonly seed: number;
  readonly epoch: number;
  readonly indices: Int32Array;
  /** For each sample, how often the epoch has drawn it before; null if none occurs twice. */
  readonly repeats: Int32Array | null;
}

/** Makes the items of one batch. Returns a promise where the dataset does. */
export function makeItems(dataset: AsyncDataset, draw: Draw): readonly Item[] | Promise<readonly Item[]> {
  const streams = new Random(draw.seed).split(SAMPLES, draw.epoch);
  const streamOf = (index: number, repeat: number): Random => (repeat === 0 ? streams.split(index) : streams.split(index, repeat));
  if (!dataset.getBatch) return getSamples(dataset, draw, streamOf);
  const { indices, repeats } = draw;
  if (repeats === null || !repeats.some((repeat) => repeat > 0)) return getBatch(dataset, indices, (index) => streamOf(index, 0));
  return getRepeated(dataset, indices, repeats, streamOf);
}

type StreamOf = (index: number, repeat: number) => Random;

// — single samples —

function getSamples(dataset: AsyncItemDataset, { indices, repeats }: Draw, streamOf: StreamOf): Item[] | Promise<Item[]> {
  const samples: unknown[] = [];
  let waits = false;
  try {
    indices.forEach((index, b) => {
      const sample: unknown = named(`sample ${index}`, () => dataset.get(index, streamOf(index, repeats?.[b] ?? 0)));
      if (isPromise(sample)) waits = true;
      else checkSample('get', `sample ${index}`, sample);
      samples.push(sample);
    });
  } catch (error) {
    abandon(samples);
    throw error;
  }
  // Each sample was checked.
  return waits ? awaitSamples(samples, indices) : stack(samples as (readonly Item[])[], indices);
}

async function awaitSamples(samples: readonly unknown[], indices: Int32Array): Promise<Item[]> {
  // All are waited for, so that of several failures the first in the batch's order is reported, not the first in time.
  const outcomes = await Promise.allSettled(samples);
  const arrays = outcomes.map((outcome, b) => {
    const what = `sample ${indices[b]}`;
    if (outcome.status === 'rejected') throw withName(what, outcome.reason);
    return checkArrays('get', what, outcome.value);
  });
  return stack(arrays, indices);
}

/** Marks promises as handled that a batch with an error does not wait for. */
function abandon(values: readonly unknown[]): void {
  // The error of the batch is reported instead of theirs.
  for (const value of values) if (isPromise(value)) value.catch(() => {});
}

// — whole batches —

function getBatch(dataset: AsyncBatchDataset, indices: Int32Array, randomFor: RandomFor): readonly Item[] | Promise<readonly Item[]> {
  const what = `samples ${listed(indices)}`;
  const batch = named(what, () => dataset.getBatch(indices, randomFor));
  if (!isPromise(batch)) return checkBatch(indices, checkSample('getBatch', what, batch));
  return batch.then(
    (items) => checkBatch(indices, checkArrays('getBatch', what, items)),
    (error: unknown) => {
      throw withName(what, error);
    },
  );
}

function checkBatch(indices: Int32Array, items: readonly Item[]): readonly Item[] {
  for (const [i, { shape }] of items.entries()) {
    if (shape[0] === indices.length) continue;
    throw new ShapeError(
      `DataLoader: getBatch was asked for ${indices.length} samples; the first dim of item ${i} ${formatShape(shape)} must say so`,
    );
  }
  return items;
}

/** Makes a batch in which samples occur again, in parts of which each has an index once: RandomFor has one stream for an index. */
function getRepeated(
  dataset: AsyncBatchDataset,
  indices: Int32Array,
  repeats: Int32Array,
  streamOf: StreamOf,
): readonly Item[] | Promise<readonly Item[]> {
  const places: number[][] = [];
  const seen = new Map<number, number>();
  indices.forEach((index, b) => {
    const count = seen.get(index) ?? 0;
    seen.set(index, count + 1);
    (places[count] ??= []).push(b);
  });
  const parts: (readonly Item[] | Promise<readonly Item[]>)[] = [];
  try {
    for (const part of places) {
      const repeatOf = new Map(part.map((b) => [indices[b]!, repeats[b]!]));
      const own = Int32Array.from(part, (b) => indices[b]!);
      parts.push(getBatch(dataset, own, (index) => streamOf(index, repeatOf.get(index) ?? 0)));
    }
  } catch (error) {
    abandon(parts);
    throw error;
  }
  if (parts.length === 1) return parts[0]!;
  const join = (batches: readonly (readonly Item[])[]): Item[] => {
    const rows: (readonly Item[])[] = [];
    batches.forEach((items, p) => {
      const arrays = items.map((item, k) => toArrayData(`DataLoader: item ${k} of the batch`, item));
      places[p]!.forEach((b, row) => {
        rows[b] = arrays.map((array) => rowOf(array, row));
      });
    });
    return stack(rows, indices);
  };
  if (!parts.some(isPromise)) return join(parts as (readonly Item[])[]);
  return Promise.all(parts.map(async (part) => part)).then(join);
}

/** Returns one sample's part of an item [B, …]. */
function rowOf({ data, shape: [, ...shape], dtype }: ArrayData, row: number): ArrayData {
  const size = sizeOf(shape);
  return { data: data.subarray(row * size, (row + 1) * size), shape, dtype };
}

// — checks —

/** Throws unless a dataset's `method` returned an array of items; returns it. */
function checkSample(method: string, what: string, sample: unknown): readonly Item[] {
  if (isArray(sample)) {
    sample.forEach((item, k) => checkItem('DataLoader', `item ${k} of ${what}`, item));
    return sample as readonly Item[];
  }
  throw new ArgumentError(`DataLoader: ${what}: ${method} must return an array of items, such as [image, label], got ${itemKind(sample)}`);
}

/** The same for a promise's value, whose items must be arrays. */
function checkArrays(method: string, what: string, sample: unknown): readonly Item[] {
  const items = checkSample(method, what, sample);
  const tensor = items.findIndex((item) => typeof item.data === 'function');
  if (tensor < 0) return items;
  throw new ArgumentError(
    `DataLoader: item ${tensor} of ${what} is a tensor, and nothing would free it: an asynchronous ${method} must return { data, shape, dtype }`,
  );
}

/** Runs a dataset's method. An error names the samples. */
function named<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw withName(what, error);
  }
}

function withName(what: string, error: unknown): unknown {
  if (error instanceof Error) prependMessage(error, `DataLoader: ${what}: `);
  return error;
}

/** Lists the first of the indices. */
export function listed(indices: Int32Array): string {
  const most = 8;
  return indices.length > most ? `${indices.subarray(0, most).join(', ')}, … (${indices.length})` : indices.join(', ');
}

// — stacking —

/** Returns the elements of an item in row-major order. */
export function elements(item: Item): ElementArray {
  return typeof item.data === 'function' ? item.data() : item.data;
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
