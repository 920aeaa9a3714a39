/**
 * What `fit` and `evaluate` need to train one model with the ranks of a group.
 */
import type { Tensor } from '../autograd/index.ts';
import { peek } from '../core/describe.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import type { Metric } from './metrics.ts';

/** Options of ParallelTraining.backward. */
export interface ParallelBackwardOptions {
  /** Whether the gradients are complete with this call, and are summed over all ranks. False if further batches belong to the same step. Default true. */
  readonly sync?: boolean;
  /** A factor of the gradients. Default 1. */
  readonly scale?: number;
  /** Whether this rank asks all ranks to stop. Default false. */
  readonly stop?: boolean;
}

/** What a backward over all ranks returns, with the same numbers on each. */
export interface ParallelResult {
  /** The mean loss over the rows of all ranks. */
  readonly loss: number;
  /** The rows of all ranks together. */
  readonly rows: number;
  /** Whether a rank has asked to stop. */
  readonly stop: boolean;
}

/** Trains one model with several processes. `DataParallel` of chainrule/distributed is one. */
export interface ParallelTraining {
  /**
   * Computes the mean loss of this rank's rows of a batch with `lossOf`, and the gradients of the mean over the rows of all ranks. Adds these,
   * times `scale`, to the `grad` of the parameters.
   */
  backward(
    batch: readonly Tensor[],
    lossOf: (input: Tensor, target: Tensor) => Tensor,
    options: Required<ParallelBackwardOptions>,
  ): ParallelResult;
  /** Returns the sum of each number over all ranks. */
  sum(numbers: readonly number[]): number[];
  /** Returns a metric of the rows of all ranks, which updates `metric` when its value is computed. */
  metric(metric: Metric): Metric;
  /** Gives all ranks the buffers of rank 0, such as the running statistics of batch norm. */
  syncBuffers(): void;
}

/** Throws unless `parallel` is one, null or undefined. */
export function checkParallel(op: string, parallel: unknown): void {
  if (parallel == null) return;
  const has = (method: keyof ParallelTraining): boolean => typeof peek(parallel, method) === 'function';
  if ((['backward', 'sum', 'metric', 'syncBuffers'] as const).every(has)) return;
  throw new ArgumentError(`${op}: parallel must be a DataParallel of chainrule/distributed, got ${kindOf(parallel)}`);
}

/** Returns metrics, or with `parallel` those of all ranks, by name. */
export function metricsOf(
  metrics: Readonly<Record<string, Metric>>,
  parallel: ParallelTraining | null | undefined,
): (readonly [name: string, metric: Metric])[] {
  return Object.entries(metrics).map(([name, metric]) => [name, parallel?.metric(metric) ?? metric]);
}
