/**
 * The images of a run: synthetic ones, or MNIST from files.
 */
import { scope, type Tensor } from 'chainrule';
import {
  type ArrayDataset,
  DataLoader,
  type Dataset,
  type ImageAndLabel,
  parseIdx,
  parseMnist,
  SHAPES,
  subset,
  type SyntheticSample,
  syntheticCifar,
  type Transform,
  transforms,
} from 'chainrule/data';
import { TEST_IMAGES, type TrainSettings } from './settings.ts';

/** Images of one batch of an evaluation. */
const BATCH = 128;

export interface Task {
  readonly train: Dataset<ImageAndLabel>;
  readonly transform: Transform;
  /** The first test images. */
  readonly test: TestImages;
  readonly classes: readonly string[];
}

/** Test images, as bytes for pictures and as tensors for the nets. */
export interface TestImages {
  /** [N,C,H,W], 0 … 255. */
  readonly pixels: Uint8Array;
  /** Of one image: [C,H,W]. */
  readonly shape: readonly [number, number, number];
  readonly labels: Int32Array;
  /** The choices behind each synthetic image; null: the images have none. */
  readonly samples: readonly SyntheticSample[] | null;
  /** Normalized images and labels. They are owned: call `disposeTask`. */
  readonly batches: readonly (readonly [x: Tensor, labels: Tensor])[];
}

/** A file that the visitor gave, unpacked. */
export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Files that make no data set. The message says what to do. */
export class FilesError extends Error {}

/** Returns the synthetic images. */
export function syntheticTask({ context }: Pick<TrainSettings, 'context'>): Task {
  const test = syntheticCifar({ split: 'test', context });
  const transform = transforms.normalize(0.5, 0.25);
  const samples = Array.from({ length: TEST_IMAGES }, (_, i) => test.describe(i));
  return { train: syntheticCifar({ context }), transform, test: testImages(test, transform, samples), classes: SHAPES };
}

/**
 * Returns the images of MNIST's IDX files. Files with `t10k` or `test` in their names hold the test images. Without such files, the last
 * sixth of the training images serves as test images.
 *
 * Throws: FilesError if a file of images or labels is missing; FileError for a damaged file
 */
export function mnistTask(files: readonly NamedBytes[]): Task {
  const isTest = ({ name }: NamedBytes): boolean => /t10k|test/i.test(name);
  const all = pairOf(
    files.filter((f) => !isTest(f)),
    'training',
  );
  const given = files.filter(isTest);
  const split = all.length - Math.min(10_000, Math.max(1, Math.floor(all.length / 6)));
  const train = given.length > 0 ? all : subset(all, 0, split);
  const test = given.length > 0 ? pairOf(given, 'test') : subset(all, split);
  const transform = transforms.normalize(0.1307, 0.3081);
  return { train, transform, test: testImages(test, transform, null), classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'] };
}

/** Returns the images and labels of two files, which are told apart by their number of dims. */
function pairOf(files: readonly NamedBytes[], split: 'training' | 'test'): ArrayDataset {
  const dims = files.map(({ name, bytes }) => parseIdx(bytes, name).shape.length);
  const images = files[dims.indexOf(3)];
  const labels = files[dims.indexOf(1)];
  if (images !== undefined && labels !== undefined) {
    return parseMnist(images.bytes, labels.bytes, { images: images.name, labels: labels.name });
  }
  const got = files.length === 0 ? 'none' : files.map((f) => f.name).join(', ');
  const prefix = split === 'training' ? 'train' : 't10k';
  throw new FilesError(
    `Expected the ${split} images and their labels, got ${got}. Add ${prefix}-images-idx3-ubyte and ${prefix}-labels-idx1-ubyte, plain or as .gz.`,
  );
}

function testImages(dataset: Dataset<ImageAndLabel>, transform: Transform, samples: TestImages['samples']): TestImages {
  const images = subset(dataset, 0, Math.min(TEST_IMAGES, dataset.length));
  const stored = scope(() => {
    const [raw, labels] = new DataLoader(images, { batchSize: images.length }).first();
    const [, C, H, W] = raw.shape as [number, number, number, number];
    const shape: readonly [number, number, number] = [C, H, W];
    return { pixels: bytesOf(raw.data()), labels: Int32Array.from(labels.data()), shape };
  });
  const batches: (readonly [Tensor, Tensor])[] = [];
  for (const [x, y] of new DataLoader(images, { batchSize: BATCH, transform })) batches.push([x.keep(), y.keep()]);
  return { ...stored, samples, batches };
}

/** Returns 0 … 1 as 0 … 255. */
function bytesOf(values: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.round(255 * values[i]!);
  return bytes;
}

/** Returns test image `index` as a batch of one, owned by the current scope. */
export function oneImage({ test }: Task, index: number): Tensor {
  const [x] = test.batches[Math.floor(index / BATCH)]!;
  return x.slice(0, index % BATCH, (index % BATCH) + 1);
}

/** Frees the test images. */
export function disposeTask({ test }: Task): void {
  for (const tensors of test.batches) for (const t of tensors) t.dispose();
}
