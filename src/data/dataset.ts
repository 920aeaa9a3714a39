/**
 * Datasets: sources of samples, and functions that combine them. loader.ts makes batches of tensors from them.
 *
 * Letters: B = samples of a batch, N = samples of a dataset.
 */
import type { ArrayData } from '../core/array-data.ts';
import type { DType, ElementArray } from '../core/dtype.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
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

/** A float32 image and its int32 label. */
export type ImageAndLabel = readonly [image: ArrayData<Float32Array>, label: ArrayData<Int32Array>];

/** Returns a changed image: must draw random numbers only from `random`, and must not write to `image`. */
export type Transform = (image: ArrayData, random: Random) => ArrayData;

/** The float32 value b / 255 for every byte b. */
const BYTE_TO_UNIT = Float32Array.from({ length: 256 }, (_, b) => b / 255);

/**
 * A dataset of images and labels in typed arrays.
 *
 * Bytes (Uint8Array) stay bytes, a quarter of the memory of float32; getBatch scales them to float32 in [0, 1].
 * Shape:  getBatch returns images [B, ...imageShape] float32 and labels [B] int32
 * Throws: ShapeError if the number of elements is not labels.length times the size of an image
 */
export class ArrayDataset implements BatchDataset<ImageAndLabel> {
  readonly length: number;
  readonly imageShape: readonly number[];
  readonly #images: Float32Array | Uint8Array;
  readonly #labels: ArrayLike<number>;

  constructor(images: Float32Array | Uint8Array, imageShape: readonly number[], labels: ArrayLike<number>) {
    const size = sizeOf(imageShape, 'ArrayDataset');
    const expected = size * labels.length;
    if (images.length !== expected) {
      const shape = formatShape(imageShape);
      throw new ShapeError(`ArrayDataset: ${labels.length} labels need ${expected} elements of images ${shape}, got ${images.length}`);
    }
    this.length = labels.length;
    this.imageShape = imageShape;
    this.#images = images;
    this.#labels = labels;
  }

  getBatch(indices: ArrayLike<number>): ImageAndLabel {
    const size = sizeOf(this.imageShape);
    const images = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    for (let b = 0; b < indices.length; b++) {
      const i = checkIndex('ArrayDataset', indices[b]!, this.length);
      const image = this.#images.subarray(i * size, (i + 1) * size);
      if (image instanceof Float32Array) {
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

/** Returns `index` if it is a valid index of `length` samples; throws an ArgumentError that begins with `op` if not. */
export function checkIndex(op: string, index: number, length: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new ArgumentError(`${op}: index ${index} is out of range for ${length} samples`);
  }
  return index;
}

/**
 * Returns samples `start` … `end − 1` of a dataset as a dataset of its own, indexed from 0.
 *
 * Throws: ArgumentError unless 0 ≤ start ≤ end ≤ dataset.length
 * @example const train = subset(data, 0, 50_000), valid = subset(data, 50_000, 60_000)
 */
export function subset<T extends readonly Item[]>(dataset: Dataset<T>, start: number, end: number = dataset.length): Dataset<T> {
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > dataset.length) {
    throw new ArgumentError(`subset: expected 0 ≤ start ≤ end ≤ ${dataset.length}, got start ${start} and end ${end}`);
  }
  const length = end - start;
  const toOriginalIndex = (index: number) => start + checkIndex('subset', index, length);
  if (!dataset.getBatch) return { length, get: (index, random) => dataset.get(toOriginalIndex(index), random) };
  return {
    length,
    getBatch: (indices, randomFor) =>
      dataset.getBatch(Array.from(indices, toOriginalIndex), (originalIndex) => randomFor(originalIndex - start)),
  };
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
export function withTransform<T extends readonly Item[]>(dataset: Dataset<T>, transform: Transform): Dataset<Transformed<T>> {
  const { length } = dataset;
  const replaceFirst = ([first, ...rest]: T, change: (images: ArrayData) => ArrayData) => {
    const items: readonly Item[] = [change(toArrayData(first!)), ...rest];
    // TypeScript cannot follow a tuple of unknown length through the spread.
    return items as Transformed<T>;
  };
  if (!dataset.getBatch) {
    return {
      length,
      get: (index, random) => replaceFirst(dataset.get(index, random.split(0)), (image) => transform(image, random.split(1))),
    };
  }
  return {
    length,
    getBatch: (indices, randomFor) =>
      replaceFirst(
        dataset.getBatch(indices, (index) => randomFor(index).split(0)),
        (images) => mapImages(images, (image, b) => transform(image, randomFor(indices[b]!).split(1))),
      ),
  };
}

function toArrayData(item: Item): ArrayData {
  return typeof item.data === 'function' ? { data: item.data(), shape: item.shape, dtype: item.dtype } : (item as ArrayData);
}

/** Applies `change` to every image of a batch [B, …] and stacks the results. */
function mapImages(images: ArrayData, change: (image: ArrayData, b: number) => ArrayData): ArrayData {
  const [count = 0, ...shape] = images.shape;
  const size = sizeOf(shape);
  const changed = (b: number) => change({ data: images.data.subarray(b * size, (b + 1) * size), shape, dtype: images.dtype }, b);
  if (count === 0) return images;
  const first = changed(0);
  const data = new (first.data.constructor as new (length: number) => ElementArray)(count * first.data.length);
  data.set(first.data);
  for (let b = 1; b < count; b++) {
    const image = changed(b);
    if (!sameShape(image.shape, first.shape)) {
      throw new ShapeError(
        `withTransform: images of one batch must agree, got ${formatShape(first.shape)} and ${formatShape(image.shape)}`,
      );
    }
    data.set(image.data, b * first.data.length);
  }
  return { data, shape: [count, ...first.shape], dtype: first.dtype };
}
