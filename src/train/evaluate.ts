/**
 * Evaluates a model on all batches of a loader.
 */
import { isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { isInstance, peek } from '../core/describe.ts';
import { ArgumentError, kindOf, ShapeError, isArray } from '../core/errors.ts';
import { checkFunction, checkOptions } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { Module } from '../nn/index.ts';
import { checkMetrics, type Metric } from './metrics.ts';

/** A batch: the model's input, and the target that the loss compares its output with. */
export type TrainingBatch = readonly Tensor[];

/** A module with one input. */
export type Model = Module & { forward(x: Tensor): Tensor };

/** Returns the mean loss of a batch, of one element, from the model's output and the target, as `F.crossEntropy` does. */
export type LossFunction = (output: Tensor, target: Tensor) => Tensor;

/** Options of evaluate. */
export interface EvaluateOptions {
  /** Yields the batches, such as a DataLoader. */
  readonly loader: AsyncIterable<TrainingBatch>;
  readonly loss: LossFunction;
  /** Metrics by name; each is reset first. Default: none. */
  readonly metrics?: Readonly<Record<string, Metric>>;
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
 * it throws.
 *
 * Throws: ArgumentError if the loader yields no batch
 * @example const { loss, metrics } = await evaluate(model, { loader: testLoader, loss: F.crossEntropy, metrics: { accuracy: new Accuracy() } })
 */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<Evaluation> {
  checkModel('evaluate', model);
  checkOptions('evaluate', options, ['loader', 'loss', 'metrics']);
  const { loader, loss, metrics = {} } = options;
  checkLoader('evaluate', 'loader', loader);
  checkFunction('evaluate', 'loss', loss);
  checkMetrics('evaluate', metrics);
  const all = Object.values(metrics);
  for (const metric of all) metric.reset();
  const modes = model.namedModules().map(([, module]) => [module, module.training] as const);
  let sum = 0;
  let samples = 0;
  model.eval();
  try {
    for await (const batch of loader) {
      const { count, input, target } = readBatch('evaluate', batch);
      noGrad(() => {
        const output = model.forward(input);
        sum += count * loss(output, target).item();
        for (const metric of all) metric.update(output, target);
      });
      samples += count;
    }
  } finally {
    for (const [module, mode] of modes) module.training = mode;
  }
  if (samples === 0) throw new ArgumentError('evaluate: the loader has no batch');
  return { loss: sum / samples, metrics: Object.fromEntries(Object.entries(metrics).map(([name, m]) => [name, m.compute()])), samples };
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

/** Takes a batch apart. Throws: ArgumentError unless it is an array of an input and a target, ShapeError if the input has no samples' dim */
export function readBatch(op: string, batch: TrainingBatch): { readonly count: number; readonly input: Tensor; readonly target: Tensor } {
  const [input, target, ...others] = isArray(batch) ? batch : [];
  if (!isTensor(input) || !isTensor(target) || others.length > 0) {
    throw new ArgumentError(`${op}: a batch must be an array of two tensors, the input and the target, got ${kindOf(batch)}`);
  }
  const count = input.shape[0];
  if (count === undefined)
    throw new ShapeError(`${op}: the first dim of a batch's input counts its samples, got shape ${formatShape(input.shape)}`);
  return { count, input, target };
}
