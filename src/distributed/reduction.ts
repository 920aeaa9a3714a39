/**
 * One reduction of the gradients of all ranks, in buckets, while backward goes on.
 */
import type { Tensor } from '../autograd/index.ts';
import type { GradientBlock } from './gradient-block.ts';
import type { Group, Pending } from './group.ts';

/**
 * Collects the gradients of this rank in a block, and starts to sum a bucket over all ranks once it is complete.
 *
 * Buckets are started in their order on all ranks, also where gradients become ready in another: ranks must start the same sums in the same
 * order.
 */
export class Reduction {
  readonly #group: Group;
  readonly #block: GradientBlock;
  readonly #params: readonly Tensor[];
  /** Gradients that each bucket lacks. */
  readonly #missing: number[];
  readonly #pending: Pending[] = [];
  /** Parameters whose place has a gradient of an earlier backward, or this one's too. */
  readonly #carried = new Set<Tensor>();
  readonly #written = new Set<Tensor>();

  /** Moves the gradients that the parameters have to the block: they are part of the sum. */
  constructor(group: Group, block: GradientBlock, params: readonly Tensor[]) {
    this.#group = group;
    this.#block = block;
    this.#params = params;
    this.#missing = [...block.counts];
    for (const p of params) {
      if (p.grad === null) continue;
      block.write(p, p.grad, false);
      this.#carried.add(p);
      p.grad = null;
    }
  }

  /** Adds the gradient of a parameter, which is complete. */
  add(p: Tensor, g: Tensor): void {
    this.#block.write(p, g, this.#carried.has(p));
    this.#settle(p);
    // Transfers do not progress by themselves.
    this.#group.poll();
  }

  #settle(p: Tensor): void {
    this.#written.add(p);
    this.#missing[this.#block.bucketOf(p)]!--;
    const { buckets } = this.#block;
    while (this.#pending.length < buckets.length && this.#missing[this.#pending.length] === 0)
      this.#pending.push(this.#group.startAllReduce(buckets[this.#pending.length]!));
  }

  /**
   * Waits for the sums, and makes them the gradients of the parameters. A parameter without a gradient on any rank has none afterwards.
   * Returns the gradients.
   */
  finish(): Map<Tensor, Tensor> {
    for (const p of this.#params) {
      if (this.#written.has(p)) continue;
      if (!this.#carried.has(p)) this.#block.clear(p);
      this.#settle(p);
    }
    for (const pending of this.#pending) pending.wait();
    const grads = new Map<Tensor, Tensor>();
    for (const p of this.#params) {
      const g = this.#block.read(p);
      p.adoptGrad(g);
      if (g !== null) grads.set(p, g);
    }
    return grads;
  }
}
