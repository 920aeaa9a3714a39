/**
 * Evaluates a model on all batches of a loader.
 */
import { isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { isInstance, peek } from '../core/describe.ts';
import { ArgumentError, kindOf, ShapeError, shown, isArray } from '../core/errors.ts';
import { checkFunction, checkOptions } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { Module } from '../nn/index.ts';
import { checkMetrics, type Metric, valuesOf } from './metrics.ts';
import { checkParallel, metricsOf, type ParallelTraining } from './parallel.ts';

/** A batch: the model's input, and the target that the loss compares its output with. */
export type TrainingBatch = readonly Tensor[];

/** A module with one input. */
export type Model = Module & { forward(x: Tensor): Tensor };

/** Returns the loss of a batch, of one element, from the model's output and the target, as `F.crossEntropy` does. */
export type LossFunction = (output: Tensor, target: Tensor) => Tensor;

/** An AbortSignal, without the types of a browser or of Node. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
}

/** Options of evaluate. */
export interface EvaluateOptions {
  /** Yields the batches, such as a DataLoader. */
  readonly loader: AsyncIterable<TrainingBatch>;
  readonly loss: LossFunction;
  /** Whether `loss` returns the mean or the sum over a batch's samples. Default 'mean'. */
  readonly reduction?: 'mean' | 'sum';
  /** Metrics by name; each is reset first. Default: none. */
  readonly metrics?: Readonly<Record<string, Metric>>;
  /** Ends the evaluation before the next batch when it is aborted. Default null. */
  readonly signal?: AbortSignalLike | null;
  /** Evaluates the batches of all ranks, each of which yields its rows; the result is the same on all ranks. Default null. */
  readonly parallel?: ParallelTraining | null;
}

/** The result of an evaluation. */
export interface Evaluation {
  /** The mean loss over all samples. */
  readonly loss: number;
  /** The values of the metrics. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly samples: number;
}

/**
 * Evaluates the model on all batches of the loader: in evaluation mode, without gradients. Then restores the mode of each module, also if
 * it throws. Of evaluations that run at once, the last one restores it.
 *
 * Throws: ArgumentError if the loader yields no batch, the signal's reason if that is aborted
 * @example const { loss, metrics } = await evaluate(model, { loader: testLoader, loss: F.crossEntropy, metrics: { accuracy: new Accuracy() } })
 */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<Evaluation> {
  checkModel('evaluate', model);
  checkOptions('evaluate', options, ['loader', 'loss', 'reduction', 'metrics', 'signal', 'parallel']);
  const { loader, loss, reduction = 'mean', metrics = {}, signal, parallel } = options;
  checkLoader('evaluate', 'loader', loader);
  checkFunction('evaluate', 'loss', loss);
  checkReduction('evaluate', reduction);
  checkMetrics('evaluate', metrics);
  checkSignal('evaluate', signal);
  checkParallel('evaluate', parallel);
  const all = metricsOf(metrics, parallel);
  for (const [, metric] of all) metric.reset();
  parallel?.syncBuffers();
  let sum = 0;
  let samples = 0;
  const restoreModes = holdInEvaluation(model);
  try {
    for await (const batch of loader) {
      signal?.throwIfAborted();
      const { count, input, target } = readBatch('evaluate', batch);
      noGrad(() => {
        const output = model.forward(input);
        // The mean of no rows, which a rank may have, is no number.
        if (count > 0) sum += (reduction === 'sum' ? 1 : count) * checkLoss('evaluate', loss(output, target)).item();
        for (const [, metric] of all) metric.update(output, target);
      });
      samples += count;
    }
  } finally {
    restoreModes();
  }
  if (parallel != null) [sum, samples] = parallel.sum([sum, samples]) as [number, number];
  if (samples === 0) throw new ArgumentError('evaluate: the loader has no batch');
  return { loss: sum / samples, metrics: valuesOf(all), samples };
}

/** Returns what a loss function has returned. Throws unless that is a tensor of one element. */
export function checkLoss(op: string, loss: Tensor): Tensor {
  if (isTensor(loss) && loss.numel === 1) return loss;
  throw new ShapeError(`${op}: the loss must be a tensor of one element, got ${isTensor(loss) ? formatShape(loss.shape) : kindOf(loss)}`);
}

/** The modules of evaluations that are running: how many, and the mode before the first. */
const held = new WeakMap<Module, { readonly mode: boolean; evaluations: number }>();

/** Whether an evaluation of the module is running. */
export function isEvaluated(module: Module): boolean {
  return held.has(module);
}

/**
 * Switches the modules of `model` to evaluation. Returns a function that restores the mode of each, unless another evaluation has it: between
 * two batches other code runs, and may evaluate the same modules.
 */
function holdInEvaluation(model: Module): () => void {
  const modules = model.namedModules().map(([, module]) => module);
  for (const module of modules) {
    const before = held.get(module) ?? { mode: module.training, evaluations: 0 };
    before.evaluations++;
    held.set(module, before);
  }
  model.eval();
  return () => {
    for (const module of modules) {
      const before = held.get(module)!;
      if (--before.evaluations > 0) continue;
      held.delete(module);
      module.training = before.mode;
    }
  };
}

/** Throws unless `model` is a module with a forward. */
export function checkModel(op: string, model: unknown): void {
  if (isInstance(model, Module) && typeof peek(model, 'forward') === 'function') return;
  throw new ArgumentError(`${op}: the model must be a module with a forward, got ${kindOf(model)}`);
}

/** Throws unless `loader` can be looped over with `for await`. */
export function checkLoader(op: string, name: string, loader: unknown): void {
  if (typeof peek(loader, Symbol.asyncIterator) !== 'function')
    throw new ArgumentError(`${op}: ${name} must be a DataLoader or another async iterable, got ${kindOf(loader)}`);
}

/** Throws unless `reduction` is one of a loss of one element. */
export function checkReduction(op: string, reduction: unknown): void {
  if (reduction !== 'mean' && reduction !== 'sum')
    throw new ArgumentError(`${op}: reduction must be 'mean' or 'sum', got ${shown(reduction)}`);
}

/** Throws unless `signal` is an AbortSignal, null or undefined. */
export function checkSignal(op: string, signal: unknown): void {
  if (signal == null || (typeof peek(signal, 'aborted') === 'boolean' && typeof peek(signal, 'throwIfAborted') === 'function')) return;
  throw new ArgumentError(`${op}: signal must be an AbortSignal, got ${kindOf(signal)}`);
}

/** Describes a batch, and the items of an array: `an array of a tensor and a number`. */
function kindsOf(batch: unknown): string {
  if (!isArray(batch) || batch.length === 0) return kindOf(batch);
  return `an array of ${batch.length > 3 ? `${batch.length} items` : batch.map(kindOf).join(' and ')}`;
}

/** Takes a batch apart. Throws: ArgumentError unless it is an array of an input and a target, ShapeError if the input has no samples' dim */
export function readBatch(op: string, batch: TrainingBatch): { readonly count: number; readonly input: Tensor; readonly target: Tensor } {
  const [input, target, ...others] = isArray(batch) ? batch : [];
  if (!isTensor(input) || !isTensor(target) || others.length > 0) {
    throw new ArgumentError(`${op}: a batch must be an array of two tensors, the input and the target, got ${kindsOf(batch)}`);
  }
  const count = input.shape[0];
  if (count === undefined)
    throw new ShapeError(`${op}: the first dim of a batch's input counts its samples, got shape ${formatShape(input.shape)}`);
  return { count, input, target };
}
