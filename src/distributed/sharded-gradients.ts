/**
 * Gradients with equal bits for any number of ranks: each batch is divided into S shards, whose gradients are computed separately and added in
 * the order of their numbers.
 *
 * Letters: n = ranks, B = rows of a batch on all ranks together, S = shards, S/n of them on each rank.
 */
import { full, noGrad, scope, slice, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { rowsOfRank } from '../data/sharding.ts';
import { cloneStateDict, disposeStateDict, type Module } from '../nn/index.ts';
import type { ParallelBackwardOptions, ParallelResult } from '../train/index.ts';
import { checkAnyRows, checkSameParameters, signature, valueOf, type LossOf } from './batch.ts';
import { advanceDraws, withDrawsOf } from './draws.ts';
import { GradientBlock } from './gradient-block.ts';
import type { Group } from './group.ts';
import { gatherNumbers } from './numbers.ts';

/** A shard of this rank: the gradients that it has collected since the last sum. */
interface Collected {
  readonly block: GradientBlock;
  readonly written: Set<Tensor>;
}

/** The part of the work of one call that all shards share. */
interface Work {
  readonly batch: readonly Tensor[];
  readonly lossOf: LossOf;
  readonly params: readonly Tensor[];
  readonly scale: number;
  /** B. */
  readonly total: number;
  /** The first row of this rank. */
  readonly start: number;
}

export class ShardedGradients {
  readonly #model: Module;
  readonly #group: Group;
  /** S. */
  readonly #count: number;
  #shards: readonly Collected[] = [];
  #sum: GradientBlock | null = null;
  /** Gradients of an earlier call, to which the next sum is added. They are equal on all ranks. */
  readonly #earlier = new Map<Tensor, Tensor>();

  constructor(model: Module, group: Group, shards: number) {
    this.#model = model;
    this.#group = group;
    this.#count = shards;
  }

  /**
   * As DataParallel.backward. Returns the result, and the gradients of the parameters if they were summed.
   * @param reduced the gradients of the last call that summed them
   */
  backward(
    batch: readonly Tensor[],
    own: number,
    lossOf: LossOf,
    params: readonly Tensor[],
    reduced: ReadonlyMap<Tensor, Tensor>,
    { sync, scale, stop }: Required<ParallelBackwardOptions>,
  ): [ParallelResult, grads: ReadonlyMap<Tensor, Tensor>] {
    const group = this.#group;
    const all = gatherNumbers(group, [own, Number(stop), signature(params)]);
    const rows = all.map(([ofRank]) => ofRank!);
    const total = rows.reduce((sum, ofRank) => sum + ofRank, 0);
    checkAnyRows(total);
    checkSameParameters(
      group,
      this.#model,
      all.map((ofRank) => ofRank[2]!),
    );
    checkParts(rows, total);
    this.#prepare(params, reduced);
    const work = { batch, lossOf, params, scale, total, start: rowsOfRank(total, group).start };
    const losses = this.#runShards(work);
    advanceDraws();
    const sums = gatherNumbers(group, losses).flat();
    const loss = sums.reduce((sum, value) => sum + value, 0) / total;
    const grads = sync ? this.#finish(params) : new Map<Tensor, Tensor>();
    return [{ loss, rows: total, stop: all.some(([, asks]) => asks === 1) }, grads];
  }

  /** Makes the blocks, and sets the gradients of the parameters aside. */
  #prepare(params: readonly Tensor[], reduced: ReadonlyMap<Tensor, Tensor>): void {
    const isCollecting = this.#shards.some(({ written }) => written.size > 0);
    if (this.#sum?.fits(params) !== true) {
      if (isCollecting) {
        throw new ArgumentError(
          'DataParallel.backward: parameters were frozen or unfrozen between two batches of one step; do it after a call with sync',
        );
      }
      this.dispose();
      const make = (): GradientBlock => new GradientBlock(params, Number.POSITIVE_INFINITY);
      this.#sum = make();
      this.#shards = Array.from({ length: this.#count / this.#group.size }, () => ({ block: make(), written: new Set<Tensor>() }));
    }
    for (const p of params) {
      if (p.grad === null) continue;
      if (p.grad !== reduced.get(p)) {
        throw new ArgumentError(
          "DataParallel.backward: a parameter has a gradient of loss.backward(), which 'across-sizes' cannot divide into shards; " +
            'call backward(batch, lossOf, { sync: false }) instead, or optimizer.zeroGrad() before',
        );
      }
      const { grad } = p;
      this.#earlier.set(
        p,
        noGrad(() => grad.clone().keep()),
      );
      p.grad = null;
    }
  }

  /** Computes the gradients of this rank's shards. Returns their rows times their mean losses. */
  #runShards(work: Work): number[] {
    const group = this.#group;
    const buffers = Object.fromEntries(this.#model.namedBuffers());
    const before = cloneStateDict(buffers);
    let kept: Readonly<Record<string, Tensor>> = before;
    try {
      const losses = this.#shards.map((collected, i) => {
        const shard = group.rank * this.#shards.length + i;
        restore(buffers, before);
        const loss = scope(() => this.#runShard(shard, collected, work));
        if (shard === 0) kept = cloneStateDict(buffers);
        return loss;
      });
      restore(buffers, kept);
      if (group.size > 1) for (const buffer of Object.values(buffers)) group.broadcast(buffer, { from: 0 });
      return losses;
    } finally {
      disposeStateDict(before);
      if (kept !== before) disposeStateDict(kept);
    }
  }

  #runShard(shard: number, { block, written }: Collected, work: Work): number {
    const { batch, lossOf, params, scale, total } = work;
    const { start, end } = rowsOfRank(total, { rank: shard, size: this.#count });
    const rows = end - start;
    if (rows === 0) return 0;
    const part = batch.map((t) => slice(t, 0, start - work.start, end - work.start));
    const loss = withDrawsOf(shard, () => lossOf(...part));
    const value = valueOf(loss);
    loss.backward(full(loss.shape, (scale * rows) / total, { dtype: loss.dtype as 'float32' }));
    for (const p of params) {
      if (p.grad === null) continue;
      block.write(p, p.grad, written.has(p));
      written.add(p);
      p.grad = null;
    }
    return rows * value;
  }

  /** Adds the gradients of all shards of all ranks, and makes the sums the gradients of the parameters. */
  #finish(params: readonly Tensor[]): Map<Tensor, Tensor> {
    const sum = this.#sum!;
    for (const { block, written } of this.#shards) {
      for (const p of params) if (!written.has(p)) block.clear(p);
      written.clear();
    }
    sum.buckets.forEach((bucket, b) =>
      this.#group.reduceShards(
        this.#shards.map(({ block }) => block.buckets[b]!),
        bucket,
      ),
    );
    const grads = new Map<Tensor, Tensor>();
    for (const p of params) {
      const earlier = this.#earlier.get(p);
      if (earlier !== undefined) sum.write(p, earlier, true);
      earlier?.dispose();
      const g = sum.read(p);
      p.adoptGrad(g);
      if (g !== null) grads.set(p, g);
    }
    this.#earlier.clear();
    return grads;
  }

  /** Frees the memory. */
  dispose(): void {
    this.#sum?.dispose();
    this.#sum = null;
    for (const { block } of this.#shards) block.dispose();
    this.#shards = [];
    for (const earlier of this.#earlier.values()) earlier.dispose();
    this.#earlier.clear();
  }
}

/** Throws, on all ranks, unless each has its contiguous part of the rows. */
function checkParts(rows: readonly number[], total: number): void {
  for (const [rank, own] of rows.entries()) {
    const { start, end } = rowsOfRank(total, { rank, size: rows.length });
    if (own === end - start) continue;
    throw new ArgumentError(
      `DataParallel.backward: 'across-sizes' divides the ${total} rows of a batch into equal parts: rank ${rank} must have ${end - start}, got ${own}; ` +
        'let DataLoader divide them with { shard: group }',
    );
  }
}

function restore(buffers: Readonly<Record<string, Tensor>>, values: Readonly<Record<string, Tensor>>): void {
  noGrad(() => {
    for (const [path, buffer] of Object.entries(buffers)) buffer.copy_(values[path]!);
  });
}
