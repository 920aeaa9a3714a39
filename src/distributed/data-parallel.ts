/**
 * Data-parallel training: each rank computes the gradients of its rows of a batch, and all get their mean over the whole batch.
 *
 * Letters: n = ranks, B = rows of a batch on all ranks together, S = shards.
 */
import { full, withLeafListener, type Tensor } from '../autograd/index.ts';
import { isInstance } from '../core/describe.ts';
import { ArgumentError, kindOf, shown } from '../core/errors.ts';
import { checkBoolean, checkCount, checkNumber, checkOptions, refuseSurplus, withDefaults } from '../core/options.ts';
import { Module } from '../nn/index.ts';
import type { Metric, ParallelBackwardOptions, ParallelResult, ParallelTraining } from '../train/index.ts';
import { checkAnyRows, checkSameParameters, rowsOf, signature, valueOf, type LossOf } from './batch.ts';
import { broadcastState } from './broadcast-state.ts';
import { checkGroup } from './check-group.ts';
import { advanceDraws, withDrawsOf } from './draws.ts';
import { globalMetric } from './global-metric.ts';
import { GradientBlock } from './gradient-block.ts';
import type { Group } from './group.ts';
import { gatherNumbers, sumNumbers } from './numbers.ts';
import { Reduction } from './reduction.ts';
import { ShardedGradients } from './sharded-gradients.ts';
import { SyncBatchNorm } from './sync-batch-norm.ts';

/** Options of DataParallel. */
export interface DataParallelOptions {
  readonly group: Group;
  /**
   * Gradients are summed over the ranks in buckets of at least so many bytes, each as soon as it is complete, while backward goes on. Default
   * 262,144. Has no effect on the sums.
   */
  readonly bucketBytes?: number;
  /**
   * 'same-size', the default: equal bits on every run with the same number of ranks; other numbers agree to rounding. 'across-sizes': equal bits
   * for any number of ranks that divides `shards`. Each rank then computes the gradients of shards / n parts of its rows separately, and the sums
   * begin after backward.
   */
  readonly deterministic?: 'same-size' | 'across-sizes';
  /** S, the parts of a batch for 'across-sizes': a multiple of the number of ranks. Default null: none, and 'across-sizes' needs it. */
  readonly shards?: number | null;
}

/**
 * Trains a model with the ranks of a group, as PyTorch's DistributedDataParallel does. All ranks make it for the same model, and it gives them
 * the parameters and buffers of rank 0. Then each step calls `backward` in place of `loss.backward()`, with this rank's rows.
 *
 * After `backward`, each parameter's `grad` is the gradient of the mean loss over the rows of all ranks, with the same bits on each rank. So
 * an optimizer's step, and `clipGradNorm` before it, do the same everywhere. The gradients lie in one block of memory, in which they are summed.
 *
 * Batch norm uses the statistics of a rank's own rows; `convertSyncBatchNorm` changes that. Buffers stay each rank's own until `syncBuffers`.
 * Each rank draws random numbers of its own, such as dropout's.
 * Throws: on all ranks, DisagreementError that names the rank, the path and both shapes if the models differ
 * @example
 * const parallel = new DataParallel(model, { group });
 * for (const batch of new DataLoader(data, { batchSize: 64, shuffle: true, shard: group })) {
 *   optimizer.zeroGrad();
 *   const { loss } = parallel.backward(batch, (x, y) => F.crossEntropy(model.forward(x), y));
 *   optimizer.step();
 * }
 */
export class DataParallel implements ParallelTraining {
  /** The model whose gradients it sums. */
  readonly model: Module;
  /** The processes that train together. */
  readonly group: Group;
  readonly #bucketBytes: number;
  readonly #sharded: ShardedGradients | null;
  /** Batch norm over the group sums in the middle of forward and backward, so the sums of gradients wait for the end. */
  readonly #overlaps: boolean;
  #block: GradientBlock | null = null;
  /** The gradients that the last call with `sync` has made. They are equal on all ranks. */
  #reduced: ReadonlyMap<Tensor, Tensor> = new Map();

  constructor(model: Module, options: DataParallelOptions) {
    checkOptions('DataParallel', options, ['group', 'bucketBytes', 'deterministic', 'shards']);
    const { group, bucketBytes = 2 ** 18, deterministic = 'same-size', shards = null } = options;
    if (!isInstance(model, Module)) throw new ArgumentError(`DataParallel: the model must be a module, got ${kindOf(model)}`);
    checkGroup('DataParallel', group);
    checkCount('DataParallel', 'bucketBytes', bucketBytes);
    const synced = model.namedModules().find(([, module]) => module instanceof SyncBatchNorm)?.[0];
    this.model = model;
    this.group = group;
    this.#bucketBytes = bucketBytes;
    this.#overlaps = synced === undefined;
    this.#sharded = checkDeterministic(deterministic, shards, group, synced) ? new ShardedGradients(model, group, shards!) : null;
    broadcastState(group, model);
  }

  /**
   * Computes the mean loss of this rank's rows of a batch, and adds the gradients of the mean over the rows of all ranks to `grad`. All ranks
   * must call it. The result is the same on all of them.
   *
   * With `sync: false` the gradients stay on this rank until a call with `sync`, which sums all: for steps with several batches. Gradients of
   * `loss.backward()` are this rank's own, too, and are added to those of the next call.
   * Shape: each tensor of the batch [rows, ...]; a rank may have 0 rows, but not all ranks
   * @param lossOf returns the mean loss of rows, of one element. It is called once, or with 'across-sizes' once for each shard
   */
  backward<B extends readonly Tensor[]>(
    batch: B,
    lossOf: (...batch: { -readonly [K in keyof B]: Tensor }) => Tensor,
    options: ParallelBackwardOptions = {},
  ): ParallelResult {
    refuseSurplus('backward', arguments, 3);
    const read = withDefaults('DataParallel.backward', options, { sync: true, scale: 1, stop: false });
    checkNumber('DataParallel.backward', 'scale', read.scale);
    for (const name of ['sync', 'stop'] as const) checkBoolean('DataParallel.backward', name, read[name]);
    const rows = rowsOf(batch);
    const params = this.model.parameters().filter((p) => p.requiresGrad);
    // The types hold: lossOf takes the tensors of the batch, or rows of them.
    const compute = lossOf as LossOf;
    if (this.#sharded !== null) {
      const [result, reduced] = this.#sharded.backward(batch, rows, compute, params, this.#reduced, read);
      this.#reduced = reduced;
      return result;
    }
    this.#keepReduced();
    return this.#backward(batch, rows, compute, params, read);
  }

  #backward(
    batch: readonly Tensor[],
    rows: number,
    lossOf: LossOf,
    params: readonly Tensor[],
    { sync, scale, stop }: Required<ParallelBackwardOptions>,
  ): ParallelResult {
    const { group } = this;
    const loss = group.size === 1 ? lossOf(...batch) : withDrawsOf(group.rank, () => lossOf(...batch));
    if (group.size > 1) advanceDraws();
    const value = valueOf(loss);
    const all = gatherNumbers(group, [rows, rows === 0 ? 0 : value, Number(stop), signature(params)]);
    const total = all.reduce((sum, [ofRank]) => sum + ofRank!, 0);
    checkAnyRows(total);
    checkSameParameters(
      group,
      this.model,
      all.map((ofRank) => ofRank[3]!),
    );
    const seed = full(loss.shape, (scale * rows) / total, { dtype: loss.dtype as 'float32' });
    if (!sync || group.size === 1) loss.backward(seed);
    else
      this.#reduce(
        loss,
        seed,
        params,
        all.findIndex(([ofRank]) => ofRank! > 0),
      );
    seed.dispose();
    return {
      loss: all.reduce((sum, [ofRank, mean]) => sum + ofRank! * mean!, 0) / total,
      rows: total,
      stop: all.some(([, , asks]) => asks === 1),
    };
  }

  /** Runs backward, and sums the gradients over all ranks: meanwhile, once their order is known. Rank `first` determines the order. */
  #reduce(loss: Tensor, seed: Tensor, params: readonly Tensor[], first: number): void {
    if (this.#block?.fits(params) === false) this.#dropBlock();
    const order: Tensor[] = [];
    if (this.#block !== null && this.#overlaps) {
      const reduction = new Reduction(this.group, this.#block, params);
      withLeafListener(
        params,
        (p, g) => reduction.add(p, g),
        () => loss.backward(seed),
      );
      this.#reduced = reduction.finish();
      return;
    }
    withLeafListener(
      params,
      (p) => order.push(p),
      () => loss.backward(seed),
    );
    this.#block ??= new GradientBlock(this.#agreedOrder(params, order, first), this.#bucketBytes);
    this.#reduced = new Reduction(this.group, this.#block, params).finish();
  }

  /** Returns the parameters in the order in which rank `from` has completed their gradients; those without one come last. */
  #agreedOrder(params: readonly Tensor[], order: readonly Tensor[], from: number): Tensor[] {
    const own = [...order, ...params.filter((p) => !order.includes(p)).reverse()].map((p) => params.indexOf(p));
    const bytes = this.group.broadcastBytes(new TextEncoder().encode(JSON.stringify(own)), { from });
    return (JSON.parse(new TextDecoder().decode(bytes)) as number[]).map((i) => params[i]!);
  }

  /** Gradients of the last call with `sync` that nobody has dropped are equal on all ranks: only rank 0 adds them to the next sum. */
  #keepReduced(): void {
    if (this.group.rank > 0) for (const [p, g] of this.#reduced) if (p.grad === g) p.grad = null;
    this.#reduced = new Map();
  }

  /** Returns the sum of each number over all ranks, added in rank order. All ranks must call it with equally many. */
  sum(numbers: readonly number[]): number[] {
    refuseSurplus('sum', arguments, 1);
    return sumNumbers(this.group, numbers);
  }

  /** Returns `globalMetric(group, metric)`. */
  metric(metric: Metric): Metric {
    refuseSurplus('metric', arguments, 1);
    return globalMetric(this.group, metric);
  }

  /**
   * Gives all ranks the buffers of rank 0, such as the running statistics of batch norm. All ranks must call it. `fit` does before each
   * evaluation.
   */
  syncBuffers(): void {
    refuseSurplus('syncBuffers', arguments, 0);
    if (this.group.size > 1) for (const buffer of this.model.buffers()) this.group.broadcast(buffer, { from: 0 });
  }

  /** Frees the memory of the gradients. Those that parameters still have stay until they are dropped. */
  dispose(): void {
    refuseSurplus('dispose', arguments, 0);
    this.#dropBlock();
    this.#sharded?.dispose();
  }

  #dropBlock(): void {
    this.#block?.dispose();
    this.#block = null;
  }
}

/** Returns whether gradients shall have equal bits for any number of ranks. Throws for options that exclude each other. */
function checkDeterministic(deterministic: unknown, shards: number | null, group: Group, synced: string | undefined): boolean {
  if (deterministic !== 'same-size' && deterministic !== 'across-sizes')
    throw new ArgumentError(`DataParallel: deterministic must be 'same-size' or 'across-sizes', got ${shown(deterministic)}`);
  if (deterministic === 'same-size') {
    if (shards === null) return false;
    throw new ArgumentError(`DataParallel: shards is for deterministic: 'across-sizes' alone, got ${shown(shards)}`);
  }
  if (!Number.isSafeInteger(shards) || shards! < 1 || shards! % group.size !== 0) {
    throw new ArgumentError(`DataParallel: 'across-sizes' needs shards, a multiple of the ${group.size} ranks, got ${shown(shards)}`);
  }
  if (synced === undefined) return true;
  throw new ArgumentError(
    `DataParallel: 'across-sizes' computes the shards one after the other, and ${synced === '' ? 'the model' : synced} is a SyncBatchNorm, which ` +
      "needs all rows at once; leave out convertSyncBatchNorm, or deterministic: 'across-sizes'",
  );
}
