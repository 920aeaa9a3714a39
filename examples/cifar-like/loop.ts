/**
 * The training loop of one net.
 */
import { scope, type Tensor } from 'chainrule';
import { DataLoader, type Dataset, type ImageAndLabel, subset, type Transform } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import { OneCycleLR, SGD } from 'chainrule/optim';
import { evaluate, type Evaluation } from './evaluate.ts';
import type { Net } from './model.ts';

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
  /** Images for the evaluations during training; null: no evaluation. */
  readonly test: Dataset<ImageAndLabel> | null;
  readonly trainTransform: Transform;
  readonly testTransform: Transform;
}

/** The objects that training changes. A checkpoint stores their states, and the Progress. */
export interface Training {
  readonly model: Net;
  readonly optimizer: SGD;
  readonly scheduler: OneCycleLR;
  readonly loader: DataLoader<ImageAndLabel>;
}

/** How far the training of a net has come. */
export interface Progress {
  /** Number of finished steps. */
  step: number;
  /** Seconds spent on steps and on making their batches, without evaluation and saving. */
  seconds: number;
  /** The step of the last interim evaluation. */
  evaluatedAt: number;
}

export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  /** Share of the batch classified correctly. */
  readonly accuracy: number;
  readonly lr: number;
}

/** Callbacks of the training loop. */
export interface Observer {
  onStep?(report: StepReport): void;
  /** Called after an evaluation on the first test images during training. */
  onInterimEvaluation?(step: number, evaluation: Evaluation): void;
  /** Called after every step, when the state is consistent and may be saved. `epochEnd`: the step was the last of its epoch. */
  onSafePoint?(epochEnd: boolean): void;
  /** Called after every step; true ends the training. */
  stopRequested?(): boolean;
}

/** The training is divided into so many parts, with an interim evaluation between two of them. */
const PARTS = 10;
/** An interim evaluation uses the first so many test images. */
export const INTERIM_IMAGES = 2000;

/** Makes the loader, the optimizer and the learning-rate schedule for `model`. */
export function prepare(model: Net, data: TrainingData, recipe: Recipe): Training {
  const { batchSize, seed } = recipe;
  const loader = new DataLoader(data.train, { batchSize, seed, shuffle: true, dropLast: true, transform: data.trainTransform });
  const optimizer = new SGD(model.parameters(), { lr: recipe.lr, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
  const scheduler = new OneCycleLR(optimizer, { maxLr: recipe.lr, totalSteps: totalSteps(data, recipe), cycleMomentum: false });
  return { model, optimizer, scheduler, loader };
}

/** Returns the number of steps of a whole training run. */
export function totalSteps(data: TrainingData, { batchSize, epochs, maxSteps }: Recipe): number {
  return maxSteps ?? epochs * Math.floor(data.train.length / batchSize);
}

/**
 * Trains from the step in `progress` to the last one; returns false if the observer stopped it.
 *
 * Throws: NotFinite if the loss of a step is NaN or infinite
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
  // If the run was stopped during an interim evaluation, that evaluation is repeated first.
  if (!(await evaluateIfDue(training, data, recipe, progress, observer))) return false;
  while (progress.step < total) {
    let start = performance.now();
    for await (const [x, y] of loader) {
      // The scope frees the step's tensors before an interim evaluation needs the memory.
      const report = scope(() => trainStep(training, x, y, progress.step + 1));
      progress.step++;
      progress.seconds += (performance.now() - start) / 1000;
      observer.onStep?.({ step: progress.step, epoch: loader.epoch, ...report });
      if (!(await evaluateIfDue(training, data, recipe, progress, observer))) return false;
      const epochEnd = loader.position === loader.length || progress.step === total;
      observer.onSafePoint?.(epochEnd);
      if (observer.stopRequested?.()) return false;
      if (progress.step === total) break;
      start = performance.now();
    }
  }
  return true;
}

/** Does one step of SGD on the batch of images x and labels y. */
function trainStep({ model, optimizer, scheduler }: Training, x: Tensor, y: Tensor, step: number): Omit<StepReport, 'step' | 'epoch'> {
  const lr = optimizer.paramGroups[0]!.lr;
  model.train();
  const logits = model.forward(x);
  const loss = F.crossEntropy(logits, y);
  const value = loss.item();
  // Checked before the update, so that the weights are still those of the last good step.
  if (!Number.isFinite(value)) throw new NotFinite(step, `the loss is ${value}`);
  optimizer.zeroGrad();
  loss.backward();
  const correct = logits.argmax(1).eq(y).sum().item();
  optimizer.step();
  scheduler.step();
  return { loss: value, accuracy: correct / x.size(0), lr };
}

/** Training produced a NaN or an infinity. The message names the number; the caller adds advice for the user. */
export class NotFinite extends Error {
  readonly step: number;

  constructor(step: number, message: string) {
    super(message);
    this.step = step;
  }
}

/** Does an interim evaluation if one is due after this step; returns false if it was stopped. */
async function evaluateIfDue(
  training: Training,
  data: TrainingData,
  recipe: Recipe,
  progress: Progress,
  observer: Observer,
): Promise<boolean> {
  const { test } = data;
  const { step } = progress;
  if (test === null || !isEvaluationDue(progress, totalSteps(data, recipe))) return true;
  const images = subset(test, 0, Math.min(INTERIM_IMAGES, test.length));
  const { stopRequested } = observer;
  const evaluation = await evaluate(training.model, images, { batchSize: recipe.batchSize, transform: data.testTransform, stopRequested });
  if (evaluation === null) return false;
  progress.evaluatedAt = step;
  observer.onInterimEvaluation?.(step, evaluation);
  return true;
}

function isEvaluationDue({ step, evaluatedAt }: Progress, total: number): boolean {
  // All test images are evaluated after the last step, so none are here.
  const isBetweenSteps = step > 0 && step < total;
  const interval = Math.ceil(total / PARTS);
  return isBetweenSteps && step % interval === 0 && evaluatedAt !== step;
}
