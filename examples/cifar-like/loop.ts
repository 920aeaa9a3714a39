/**
 * The training of one net: a run of `fit` with the recipe of this example.
 */
import type { Tensor } from 'chainrule';
import { type Batch, DataLoader, type Dataset, type ImageAndLabel, type Shard, subset, type Transform } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import { OneCycleLR, SGD } from 'chainrule/optim';
import { Accuracy, type Fit, fit, type ParallelTraining } from 'chainrule/train';
import { Answers } from './answers.ts';
import { makeModel, type Net } from './model.ts';
import type { Settings } from './options.ts';

/** Hyperparameters of a training run. */
export interface Recipe {
  readonly batchSize: number;
  /** Highest learning rate. */
  readonly lr: number;
  /** Determines the order and the augmentation of the training images. */
  readonly seed: number;
  readonly epochs: number;
  /** Number of steps in place of `epochs`; null: whole epochs. */
  readonly maxSteps: number | null;
}

export interface TrainingData {
  readonly train: Dataset<ImageAndLabel>;
  readonly test: Dataset<ImageAndLabel>;
  readonly trainTransform: Transform;
  readonly testTransform: Transform;
}

export interface TrainingOptions {
  /** The training is divided into so many parts, with an interim evaluation between two of them. Default 1. */
  readonly parts?: number;
  /** Pauses the run. Default null. */
  readonly signal?: AbortSignal | null;
  /** Trains with the ranks of a group, of which this one is `shard`. Default null: alone. */
  readonly ranks?: { readonly shard: Shard; readonly parallel: ParallelTraining } | null;
}

/** The training of a net. */
export interface Training {
  readonly run: Fit;
  /** The answers of the last evaluation. */
  readonly answers: Answers;
}

/** An interim evaluation uses the first so many test images. */
export const INTERIM_IMAGES = 2000;

/** Makes the run that trains `model` and tests it: on the first test images between two parts, on all of them after the last step. */
export function prepare(model: Net, data: TrainingData, recipe: Recipe, options: TrainingOptions = {}): Training {
  const { parts = 1, signal = null, ranks = null } = options;
  const { batchSize, seed, lr } = recipe;
  const shard = ranks?.shard ?? null;
  const maxSteps = totalSteps(data, recipe);
  const loader = new DataLoader(data.train, { batchSize, seed, shuffle: true, dropLast: true, transform: data.trainTransform, shard });
  const optimizer = new SGD(model.parameters(), { lr, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
  const scheduler = new OneCycleLR(optimizer, { maxLr: lr, totalSteps: maxSteps, cycleMomentum: false });
  const answers = new Answers();
  const tests = (): AsyncIterator<Batch<ImageAndLabel>> => {
    const images = run.step === maxSteps ? data.test : subset(data.test, 0, Math.min(INTERIM_IMAGES, data.test.length));
    return new DataLoader(images, { batchSize, transform: data.testTransform, shard })[Symbol.asyncIterator]();
  };
  const run: Fit = fit(model, {
    loader,
    optimizer,
    scheduler,
    loss: F.crossEntropy,
    maxSteps,
    metrics: { accuracy: new Accuracy() },
    evaluation: {
      loader: { [Symbol.asyncIterator]: tests },
      loss: (logits: Tensor, labels: Tensor) => F.crossEntropy(logits, labels, { reduction: 'sum' }),
      reduction: 'sum',
      metrics: { accuracy: answers },
      every: Math.ceil(maxSteps / parts),
    },
    signal,
    parallel: ranks?.parallel ?? null,
  });
  return { run, answers };
}

/** Throws what the settings make net, optimizer or schedule throw, before a folder is made. */
export function checkTrainable(settings: Settings, data: TrainingData & { readonly shape: readonly number[] }): void {
  const { run } = prepare(makeModel(settings, true, data.shape[0]!), data, settings);
  run.model.dispose();
  run.optimizer.dispose();
}

/** Returns the number of steps of a whole training run. */
export function totalSteps(data: Pick<TrainingData, 'train'>, { batchSize, epochs, maxSteps }: Recipe): number {
  return maxSteps ?? epochs * Math.floor(data.train.length / batchSize);
}
