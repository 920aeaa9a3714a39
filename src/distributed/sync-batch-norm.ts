/**
 * Batch norm with the statistics of all ranks. Letters: N = rows of this rank, C = channels, M = values of a channel on all ranks together.
 */
import { batchNorm, cat, composed, defineOp, full, isTensor, noGrad, untracked, type Grads, type Tensor } from '../autograd/index.ts';
import { isInstance } from '../core/describe.ts';
import { ArgumentError, kindOf, ShapeError } from '../core/errors.ts';
import { refuseOptions, refuseSurplus } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { emptyLike } from '../kernels/view.ts';
import { BatchNorm1d, BatchNorm2d, Module, type Parameter } from '../nn/index.ts';
import { checkChannels, countingBatches } from '../nn/norms.ts';
import { registered } from '../nn/registration.ts';
import { checkGroup } from './check-group.ts';
import type { Group } from './group.ts';

/**
 * y = Σ x over all ranks.   ∂x = Σ g over all ranks, as each rank's x is part of the y of all.
 * The functions that call it are composed: they free the handle on the sum.
 */
const sumOverRanks: (x: Tensor, group: Group) => Tensor = defineOp({
  name: 'sumOverRanks',
  forward: (k, x: Tensor, group: Group) => {
    const y = emptyLike(x);
    k.copy(x, y);
    return group.allReduce(untracked(y));
  },
  save: (_, [, group]) => ({ group }),
  backward: (g, { group }): Grads => [sumOverRanks(g, group), null],
});

interface Normalization {
  readonly group: Group;
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  readonly momentum: number;
  readonly eps: number;
}

/**
 * y = (x − μ) / √(σ² + ε) · weight + bias with μ and σ² of all ranks' rows; updates the running statistics.
 * Two sums over the ranks in forward, and two in backward.
 */
const normalize = composed((x: Tensor, { group, weight, bias, runningMean, runningVar, momentum, eps }: Normalization): Tensor => {
  const channels = x.size(1);
  const dims = [...x.shape.keys()].filter((d) => d !== 1);
  const frame = x.shape.map((size, d) => (d === 1 ? size : 1));
  const own = full([1], x.numel / channels, { dtype: x.dtype as 'float32' });
  const sums = sumOverRanks(cat([x.sum(dims), own]), group);
  const count = sums.slice(0, channels).detach().reshape([]).item();
  if (count <= 1)
    throw new ShapeError(
      `syncBatchNorm: training needs more than 1 value per channel on all ranks together, got ${count} (x ${formatShape(x.shape)})`,
    );
  const mean = sums.slice(0, 0, channels).div(count);
  const centred = x.sub(mean.reshape(frame));
  const variance = sumOverRanks(centred.square().sum(dims), group).div(count);
  const scale = variance.add(eps).rsqrt();
  const normal = centred.mul((weight === null ? scale : scale.mul(weight)).reshape(frame));
  noGrad(() => {
    runningMean?.mul_(1 - momentum).add_(mean.detach().mul(momentum));
    runningVar?.mul_(1 - momentum).add_(variance.detach().mul((momentum * count) / (count - 1)));
  });
  return bias === null ? normal : normal.add(bias.reshape(frame));
});

/**
 * Batch norm with the statistics of the rows of all ranks in training, as if one process had them all; in evaluation with the running ones, as
 * batch norm. Takes over the parameters, buffers and options of a BatchNorm1d or BatchNorm2d, so that optimizers and checkpoints of the one
 * fit the other. All ranks must call it equally often: a rank without rows calls it with 0 rows.
 *   y = (x − μ) / √(σ² + ε) · weight + bias
 * Shape:  as the norm's
 * Throws: ShapeError if x has other channels, or in training with one value per channel on all ranks together
 * @example new SyncBatchNorm(new BatchNorm2d(16), group)
 */
export class SyncBatchNorm extends Module {
  /** The norm's own scale; null without. */
  readonly weight: Parameter | null;
  /** The norm's own shift; null without. */
  readonly bias: Parameter | null;
  // PyTorch's names, as property names are the keys in the state dict.
  /** [C]; null without running statistics. */
  running_mean: Tensor | null;
  /** [C]; null without running statistics. */
  running_var: Tensor | null;
  /** The number of batches in the running statistics; null without. */
  num_batches_tracked: Tensor | null;
  /** C. */
  readonly channels: number;
  /** The weight of new statistics; null averages all batches equally. */
  readonly momentum: number | null;
  /** Added to the variance. */
  readonly eps: number;
  readonly #norm: BatchNorm1d | BatchNorm2d;
  readonly #group: Group;

  constructor(norm: BatchNorm1d | BatchNorm2d, group: Group) {
    super();
    refuseOptions('SyncBatchNorm', arguments[2]);
    checkGroup('SyncBatchNorm', group);
    if (!isBatchNorm(norm)) throw new ArgumentError(`SyncBatchNorm: expected a BatchNorm1d or BatchNorm2d, got ${kindOf(norm)}`);
    this.#norm = norm;
    this.#group = group;
    this.weight = norm.weight;
    this.bias = norm.bias;
    this.running_mean = norm.running_mean;
    this.running_var = norm.running_var;
    this.num_batches_tracked = norm.num_batches_tracked;
    this.channels = norm.channels;
    this.momentum = norm.momentum;
    this.eps = norm.eps;
    this.training = norm.training;
  }

  override optionalState(): readonly string[] {
    return this.#norm.optionalState();
  }

  override adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    return this.#norm.adopt(name, value);
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    checkChannels('syncBatchNorm', x, this.channels, isInstance(this.#norm, BatchNorm2d) ? ['[N,C,H,W]'] : ['[N,C]', '[N,C,L]']);
    const { weight, bias, eps, running_mean: runningMean, running_var: runningVar } = this;
    const options = { runningMean, runningVar, weight, bias, eps };
    if (!this.training && runningMean !== null) return batchNorm(x, options);
    return countingBatches(this, (momentum) => normalize(x, { ...options, group: this.#group, momentum }));
  }
}

function isBatchNorm(module: unknown): module is BatchNorm1d | BatchNorm2d {
  return isInstance(module, BatchNorm1d) || isInstance(module, BatchNorm2d);
}

/**
 * Puts a SyncBatchNorm with the same parameters and buffers in the place of every BatchNorm1d and BatchNorm2d in the tree. Changes the model, and
 * returns it; of a model that is a batch norm itself, it returns the new one.
 * @example const model = convertSyncBatchNorm(new ResNet(), group);
 */
export function convertSyncBatchNorm<M extends Module>(model: M, group: Group): M {
  refuseOptions('convertSyncBatchNorm', arguments[2]);
  checkGroup('convertSyncBatchNorm', group);
  if (!isInstance(model, Module)) throw new ArgumentError(`convertSyncBatchNorm: the model must be a module, got ${kindOf(model)}`);
  const replacements = new Map<Module, SyncBatchNorm>();
  const replacementOf = (norm: BatchNorm1d | BatchNorm2d): SyncBatchNorm => {
    const existing = replacements.get(norm) ?? new SyncBatchNorm(norm, group);
    replacements.set(norm, existing);
    return existing;
  };
  // A batch norm itself: TypeScript cannot know that its caller then expects a SyncBatchNorm.
  if (isBatchNorm(model)) return replacementOf(model) as Module as M;
  for (const [, module] of model.namedModules()) {
    for (const { holder, key, value } of registered(module, (v): v is Module => isInstance(v, Module))) {
      if (!isTensor(value) && isBatchNorm(value)) holder[key] = replacementOf(value);
    }
  }
  return model;
}
