/**
 * The training loop of one net.
 */
import { scope, type Tensor } from 'chainrule';
import { DataLoader, type Dataset, type ImageAndLabel, subset, type Transform } from 'chainrule/data';
import type * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { OneCycleLR, SGD } from 'chainrule/optim';
import { evaluate, type Evaluation } from './evaluate.ts';

export type Net = nn.Module & { forward(x: Tensor): Tensor };

export interface Recipe {
  readonly batchSize: number;
  /** Highest learning rate. */
  readonly lr: number;
  /** Order and augmentation of the training images. */
  readonly seed: number;
  readonly epochs: number;
  /** In place of whole epochs. */
  readonly maxSteps: number | null;
}

export interface TrainingData {
  readonly train: Dataset<ImageAndLabel>;
  /** Where to glance at on the way; null: nowhere. */
  readonly test: Dataset<ImageAndLabel> | null;
  readonly trainTransform: Transform;
  readonly testTransform: Transform;
}

/** Everything that changes while a net trains, beside the counts below. A checkpoint holds all of it. */
export interface Training {
  readonly model: Net;
  readonly optimizer: SGD;
  readonly scheduler: OneCycleLR;
  readonly loader: DataLoader<ImageAndLabel>;
}

/** Where the training stands. */
export interface Progress {
  /** Steps done. */
  step: number;
  /** Seconds spent on them and on making their batches; evaluation and saving left out. */
  seconds: number;
  /** The last step after which the test images were glanced at. */
  glancedAt: number;
}

export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  /** Share of the batch. */
  readonly accuracy: number;
  readonly lr: number;
}

/** What the loop tells, and whether it shall go on. */
export interface Observer {
  onStep?(report: StepReport): void;
  /** A glance at the first test images, on the way. */
  onGlance?(step: number, evaluation: Evaluation): void;
  /** After every step, when all is in order to be saved; `epochEnd` after an epoch's last step. */
  onSafePoint?(epochEnd: boolean): void;
  /** Asked after every step. */
  stopRequested?(): boolean;
}

/** Glances at the test set on the way, and images of each. */
const GLANCES = 10;
export const GLANCE_IMAGES = 2000;

export function prepare(model: Net, data: TrainingData, recipe: Recipe): Training {
  const { batchSize, seed } = recipe;
  const loader = new DataLoader(data.train, { batchSize, seed, shuffle: true, dropLast: true, transform: data.trainTransform });
  const optimizer = new SGD(model.parameters(), { lr: recipe.lr, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
  const scheduler = new OneCycleLR(optimizer, { maxLr: recipe.lr, totalSteps: totalSteps(data, recipe), cycleMomentum: false });
  return { model, optimizer, scheduler, loader };
}

export function totalSteps(data: TrainingData, { batchSize, epochs, maxSteps }: Recipe): number {
  return maxSteps ?? epochs * Math.floor(data.train.length / batchSize);
}

/**
 * Trains from where `progress` stands to the last step; returns false if it was asked to stop before.
 *
 * Throws: NotFinite at a step whose loss is NaN or infinite
 */
export async function train(
  training: Training,
  data: TrainingData,
  recipe: Recipe,
  progress: Progress,
  observer: Observer,
): Promise<boolean> {
  const { loader } = training;
  const total = totalSteps(data, recipe);
  // A run that was stopped while it glanced does so now.
  if (!(await glance(training, data, recipe, progress, observer))) return false;
  while (progress.step < total) {
    let start = performance.now();
    for await (const [x, y] of loader) {
      // Its own scope: what backward leaves readable is gone before a glance needs the memory.
      const report = scope(() => trainStep(training, x, y, progress.step + 1));
      progress.step++;
      progress.seconds += (performance.now() - start) / 1000;
      observer.onStep?.({ step: progress.step, epoch: loader.epoch, ...report });
      if (!(await glance(training, data, recipe, progress, observer))) return false;
      observer.onSafePoint?.(loader.position === loader.length || progress.step === total);
      if (observer.stopRequested?.()) return false;
      if (progress.step === total) break;
      start = performance.now();
    }
  }
  return true;
}

/** One step of SGD on one batch. */
function trainStep({ model, optimizer, scheduler }: Training, x: Tensor, y: Tensor, step: number): Omit<StepReport, 'step' | 'epoch'> {
  const lr = optimizer.paramGroups[0]!.lr;
  model.train();
  const logits = model.forward(x);
  const loss = F.crossEntropy(logits, y);
  const value = loss.item();
  // Before the update: the weights of the last step are still there.
  if (!Number.isFinite(value)) throw new NotFinite(step, `the loss is ${value}`);
  optimizer.zeroGrad();
  loss.backward();
  const right = logits.argmax(1).eq(y).sum().item();
  optimizer.step();
  scheduler.step();
  return { loss: value, accuracy: right / x.size(0), lr };
}

/** Training has led to a number that is NaN or infinite; the message says where, the line for the user is the run's to write. */
export class NotFinite extends Error {
  readonly step: number;

  constructor(step: number, message: string) {
    super(message);
    this.step = step;
  }
}

/** Looks at some of the test images where that is due; false if it was asked to stop meanwhile. */
async function glance(training: Training, data: TrainingData, recipe: Recipe, progress: Progress, observer: Observer): Promise<boolean> {
  const total = totalSteps(data, recipe);
  const every = Math.ceil(total / GLANCES);
  const { step } = progress;
  if (data.test === null || step === 0 || step === total || step % every !== 0 || progress.glancedAt === step) return true;
  const images = subset(data.test, 0, Math.min(GLANCE_IMAGES, data.test.length));
  const { stopRequested } = observer;
  const evaluation = await evaluate(training.model, images, { batchSize: recipe.batchSize, transform: data.testTransform, stopRequested });
  if (evaluation === null) return false;
  progress.glancedAt = step;
  observer.onGlance?.(step, evaluation);
  return true;
}
