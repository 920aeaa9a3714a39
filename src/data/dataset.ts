/**
 * Datasets: sources of samples, and functions that combine them. loader.ts makes batches of tensors from them.
 *
 * Letters: B = samples of a batch, N = samples of a dataset.
 */
import type { ArrayData } from '../core/array-data.ts';
import { brandedKind, foreignKind } from '../core/copies.ts';
import { peek } from '../core/describe.ts';
import { checkDType, fits, isFloat, newArray, type DType, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, isArray, kindOf, shown } from '../core/errors.ts';
import { checkFunction, refuseOptions } from '../core/options.ts';
import type { Random } from '../core/random.ts';
import { formatShape, sameShape, sizeOf } from '../core/shape.ts';

export type { ArrayData } from '../core/array-data.ts';

/** One part of a sample, such as its image or label: a typed array with its shape, or a tensor. */
export type Item = ArrayData | { readonly shape: readonly number[]; readonly dtype: DType; data(): ElementArray };

/**
 * Returns the random stream of one sample, keyed by (data seed, epoch, index).
 *
 * Every call restarts that stream, so a sample's random numbers depend on neither the order nor the size of the batch.
 */
export type RandomFor = (index: number) => Random;

/** A dataset that returns one sample at a time. */
export interface ItemDataset<T extends readonly Item[] = readonly Item[]> {
  /** The number of samples. */
  readonly length: number;
  /**
   * Returns one sample, without a batch dim; the loader stacks samples.
   * @param index 0 … length − 1 · @param random this sample's stream, keyed by (data seed, epoch, index)
   */
  get(index: number, random: Random): T;
  readonly getBatch?: never;
}

/** A dataset that returns a whole batch at once. */
export interface BatchDataset<T extends readonly Item[] = readonly Item[]> {
  /** The number of samples. */
  readonly length: number;
  /**
   * Returns the samples of `indices`, in that order; the first dim of every item is B = indices.length.
   * @param randomFor returns the random stream of a sample, given one of `indices`
   */
  getBatch(indices: ArrayLike<number>, randomFor: RandomFor): T;
}

/** A source of samples: `length`, and `get` or `getBatch`. Where both exist, `getBatch` is used. */
export type Dataset<T extends readonly Item[] = readonly Item[]> = ItemDataset<T> | BatchDataset<T>;

/** As ItemDataset, with samples that may have to be waited for. Their items are arrays, not tensors, which nothing would free. */
export interface AsyncItemDataset<T extends readonly Item[] = readonly Item[]> {
  /** The number of samples. */
  readonly length: number;
  /** As ItemDataset.get. The loader calls it for all samples of a batch at once, and for later batches too. */
  get(index: number, random: Random): T | Promise<T>;
  readonly getBatch?: never;
}

/** As BatchDataset, with batches that may have to be waited for. Their items are arrays, not tensors, which nothing would free. */
export interface AsyncBatchDataset<T extends readonly Item[] = readonly Item[]> {
  /** The number of samples. */
  readonly length: number;
  /** As BatchDataset.getBatch. The loader calls it for later batches too. */
  getBatch(indices: ArrayLike<number>, randomFor: RandomFor): T | Promise<T>;
}

/** A dataset whose `get` or `getBatch` may return a promise. A loader walks it with `for await` only. */
export type AsyncDataset<T extends readonly Item[] = readonly Item[]> = AsyncItemDataset<T> | AsyncBatchDataset<T>;

/** Whether a dataset's method returned a promise. */
export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof peek(value, 'then') === 'function';
}

/** Applies `change` to a value, or to what it is a promise of. */
export function later<T, U>(value: T | Promise<T>, change: (value: T) => U): U | Promise<U> {
  return isPromise(value) ? value.then(change) : change(value);
}

/** A float32 image and its int32 label. */
export type ImageAndLabel = readonly [image: ArrayData<Float32Array>, label: ArrayData<Int32Array>];

/** Returns a changed image: must draw random numbers only from `random`, and must not write to `image`. */
export type Transform = (image: ArrayData, random: Random) => ArrayData;

/** The float32 value b / 255 for every byte b. */
export const BYTE_TO_UNIT: Float32Array = Float32Array.from({ length: 256 }, (_, b) => b / 255);

/**
 * A dataset of images and labels in typed arrays.
 *
 * Bytes (Uint8Array) stay bytes, a quarter of the memory of float32; getBatch scales them to float32 in [0, 1].
 * Shape:  getBatch returns images [B, ...imageShape] float32 and labels [B] int32
 * Throws: ShapeError if the number of elements is not labels.length times the size of an image; DTypeError for a label that is no int32
 */
export class ArrayDataset implements BatchDataset<ImageAndLabel> {
  /** The number of samples. */
  readonly length: number;
  /** The shape of one image. */
  readonly imageShape: readonly number[];
  readonly #images: Float32Array | Uint8Array | Uint8ClampedArray;
  readonly #labels: Int32Array;

  constructor(images: Float32Array | Uint8Array | Uint8ClampedArray, imageShape: readonly number[], labels: ArrayLike<number>) {
    refuseOptions('ArrayDataset', arguments[3]);
    if (!['Float32Array', 'Uint8Array', 'Uint8ClampedArray'].includes(arrayName(images)))
      throw new ArgumentError(`ArrayDataset: images must be a Float32Array, or a Uint8Array of bytes, got ${itemKind(images)}`);
    if (typeof labels !== 'object' || foreignKind(labels) !== null || !Number.isSafeInteger(peek(labels, 'length')))
      throw new ArgumentError(`ArrayDataset: labels must be an array of whole numbers, got ${itemKind(labels)}`);
    const size = sizeOf(imageShape, 'ArrayDataset');
    const expected = size * labels.length;
    if (images.length !== expected) {
      const shape = formatShape(imageShape);
      throw new ShapeError(`ArrayDataset: ${labels.length} labels need ${expected} elements of images ${shape}, got ${images.length}`);
    }
    this.length = labels.length;
    this.imageShape = imageShape;
    this.#images = images;
    this.#labels = classes(labels);
  }

  /** A copy of the labels, as classBalancedSampler takes them. */
  get labels(): Int32Array {
    return this.#labels.slice();
  }

  getBatch(indices: ArrayLike<number>): ImageAndLabel {
    const size = sizeOf(this.imageShape);
    const images = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    for (let b = 0; b < indices.length; b++) {
      const i = checkIndex('ArrayDataset', indices[b]!, this.length);
      const image = this.#images.subarray(i * size, (i + 1) * size);
      if (image.BYTES_PER_ELEMENT > 1) {
        images.set(image, b * size);
      } else {
        for (let j = 0; j < size; j++) images[b * size + j] = BYTE_TO_UNIT[image[j]!]!;
      }
      labels[b] = this.#labels[i]!;
    }
    return [
      { data: images, shape: [indices.length, ...this.imageShape], dtype: 'float32' },
      { data: labels, shape: [indices.length], dtype: 'int32' },
    ];
  }
}

/** Returns a copy of the labels. Throws DTypeError for one that int32 would truncate or wrap. */
function classes(labels: ArrayLike<number>): Int32Array {
  const copy = new Int32Array(labels.length);
  for (let i = 0; i < labels.length; i++) {
    const label: unknown = labels[i];
    if (typeof label !== 'number' || !fits(label, 'int32'))
      throw new DTypeError(
        `ArrayDataset: label ${i} must be a whole number that fits int32, got ${typeof label === 'number' ? label : itemKind(label)}`,
      );
    copy[i] = label;
  }
  return copy;
}

/** Returns the name of a typed array's class, the same in every realm; '' for another value. */
function arrayName(value: unknown): string {
  if (!ArrayBuffer.isView(value)) return '';
  return String((value as { readonly [Symbol.toStringTag]?: unknown })[Symbol.toStringTag]);
}

/** Describes what is no item, for messages. */
export function itemKind(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `a ${arrayName(value)}`;
  return brandedKind(value) ?? kindOf(value);
}

/** Throws unless `item` has elements, a shape and a dtype: a tensor, or an ArrayData. */
export function checkItem(op: string, what: string, item: unknown): void {
  const [data, shape, dtype] = ['data', 'shape', 'dtype'].map((key) => peek(item, key));
  const hasData = typeof data === 'function' || ArrayBuffer.isView(data) || isArray(data);
  if (hasData && isArray(shape) && typeof dtype === 'string' && foreignKind(item) === null) {
    checkDType(`${op}: ${what}`, dtype as DType);
    return;
  }
  throw new ArgumentError(`${op}: ${what} must be a tensor or { data, shape, dtype }, got ${itemKind(item)}`);
}

/** Typed arrays whose elements int32 holds without a check. */
const SMALL_INTEGERS = ['Int32Array', 'Int16Array', 'Int8Array', 'Uint16Array', 'Uint8Array', 'Uint8ClampedArray'];

/** Copies the elements of an item to position `at`. Throws DTypeError for one that the dtype would truncate or wrap. */
export function copyElements(name: string, from: ArrayLike<number>, dtype: DType, to: ElementArray, at: number): void {
  const canHold = isFloat(dtype) || (dtype === 'int32' && SMALL_INTEGERS.includes(arrayName(from)));
  for (let i = 0; !canHold && i < from.length; i++)
    if (!fits(from[i]!, dtype)) throw new DTypeError(`${name} holds ${from[i]} at position ${i}, which does not fit ${dtype}`);
  to.set(from, at);
}

/** Returns the length of a dataset. Throws ArgumentError for what is no dataset. */
export function lengthOf(op: string, dataset: unknown): number {
  if (typeof peek(dataset, 'get') !== 'function' && typeof peek(dataset, 'getBatch') !== 'function')
    throw new ArgumentError(`${op}: a dataset has length, and get or getBatch; got ${itemKind(dataset)}`);
  const { length } = dataset as { readonly length: unknown };
  if (!Number.isSafeInteger(length) || (length as number) < 0)
    throw new ArgumentError(`${op}: dataset.length must be a whole number ≥ 0, got ${shown(length)}`);
  return length as number;
}

/** Returns `index` if it is a valid index of `length` samples; throws an ArgumentError that begins with `op` if not. */
export function checkIndex(op: string, index: number, length: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new ArgumentError(`${op}: index ${shown(index)} is out of range for ${length} samples`);
  }
  return index;
}

/** The type of a sample or batch after a transform of its first item. */
export type Transformed<T extends readonly Item[]> = T extends readonly [Item, ...infer Rest extends readonly Item[]]
  ? readonly [ArrayData, ...Rest]
  : readonly Item[];

/**
 * Returns a dataset that applies `transform` to each image, the first item of each sample.
 *
 * The transform's random numbers are independent of the dataset's own and of other transforms around it.
 * Throws: ShapeError if the transformed images of one batch differ in shape
 * @example withTransform(loadCifar10(dir), compose(randomCrop(32, { padding: 4 }), randomHorizontalFlip()))
 */
export function withTransform<T extends readonly Item[]>(dataset: Dataset<T>, transform: Transform): Dataset<Transformed<T>>;
export function withTransform<T extends readonly Item[]>(dataset: AsyncDataset<T>, transform: Transform): AsyncDataset<Transformed<T>>;
export function withTransform<T extends readonly Item[]>(dataset: AsyncDataset<T>, transform: Transform): AsyncDataset<Transformed<T>> {
  const length = lengthOf('withTransform', dataset);
  checkFunction('withTransform', 'transform', transform);
  refuseOptions('withTransform', arguments[2]);
  const replaceFirst = (sample: T, change: (images: ArrayData) => ArrayData) => {
    // What is no sample is the loader's to refuse, by name.
    if (!Array.isArray(sample)) return sample as unknown as Transformed<T>;
    const [first, ...rest] = sample as unknown as readonly Item[];
    checkItem('withTransform', 'the first item of a sample', first);
    const items: readonly Item[] = [change(toArrayData('withTransform: the first item of a sample', first!)), ...rest];
    // TypeScript cannot follow a tuple of unknown length through the spread.
    return items as Transformed<T>;
  };
  if (!dataset.getBatch) {
    return {
      length,
      get: (index, random) =>
        later(dataset.get(index, random.split(0)), (sample) =>
          replaceFirst(sample, (image) => checkImage(transform(image, random.split(1)))),
        ),
    };
  }
  return {
    length,
    getBatch: (indices, randomFor) =>
      later(
        dataset.getBatch(indices, (index) => randomFor(index).split(0)),
        (batch) =>
          replaceFirst(batch, (images) => mapImages(images, (image, b) => checkImage(transform(image, randomFor(indices[b]!).split(1))))),
      ),
  };
}

/** Throws unless a transform returned an image with as many elements as its shape; returns it. */
function checkImage(image: ArrayData): ArrayData {
  if (isPromise(image))
    throw new ArgumentError('withTransform: the transform returned a Promise, which nothing waits for; wait in the get of a dataset');
  checkItem('withTransform', 'the image that the transform returned', image);
  if (typeof image.data === 'function')
    throw new ArgumentError('withTransform: the transform returned a tensor, expected { data, shape, dtype }');
  const n = sizeOf(image.shape, 'withTransform');
  if (image.data.length === n) return image;
  throw new ShapeError(`withTransform: the transform returned ${image.data.length} elements for shape ${formatShape(image.shape)} (${n})`);
}

/** Returns the elements of an item with their shape. `name` begins an error. */
export function toArrayData(name: string, item: Item): ArrayData {
  const { shape, dtype } = item;
  if (typeof item.data === 'function') return { data: item.data(), shape, dtype };
  if (ArrayBuffer.isView(item.data)) return item as ArrayData;
  // Plain JavaScript may give an array of numbers, which has no subarray.
  const numbers: ArrayLike<number> = item.data;
  const data = newArray(dtype, numbers.length);
  copyElements(name, numbers, dtype, data, 0);
  return { data, shape, dtype };
}

/** Applies `change` to every image of a batch [B, …] and stacks the results. */
function mapImages(images: ArrayData, change: (image: ArrayData, b: number) => ArrayData): ArrayData {
  const [count = 0, ...shape] = images.shape;
  const size = sizeOf(shape);
  const changed = (b: number) => change({ data: images.data.subarray(b * size, (b + 1) * size), shape, dtype: images.dtype }, b);
  if (count === 0) return images;
  const first = changed(0);
  const data = newArray(first.dtype, count * first.data.length);
  const copy = (image: ArrayData, b: number): void =>
    copyElements('withTransform: the image that the transform returned', image.data, first.dtype, data, b * first.data.length);
  copy(first, 0);
  for (let b = 1; b < count; b++) {
    const image = changed(b);
    if (!sameShape(image.shape, first.shape)) {
      throw new ShapeError(
        `withTransform: images of one batch must agree, got ${formatShape(first.shape)} and ${formatShape(image.shape)}`,
      );
    }
    if (image.dtype !== first.dtype)
      throw new DTypeError(`withTransform: images of one batch must agree, got ${first.dtype} and ${image.dtype}`);
    copy(image, b);
  }
  return { data, shape: [count, ...first.shape], dtype: first.dtype };
}
