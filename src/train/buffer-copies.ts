/**
 * Copies of a model's buffers, such as the running statistics of batch norm, from which a step that fails restores them.
 */
import { noGrad, type Tensor } from '../autograd/index.ts';
import type { Module } from '../nn/index.ts';

export class BufferCopies {
  readonly #model: Module;
  #pairs: readonly (readonly [buffer: Tensor, copy: Tensor])[] = [];

  constructor(model: Module) {
    this.#model = model;
  }

  /** Copies the buffers. Takes no memory unless they are others than those of the last call. */
  save(): void {
    const buffers = this.#model.buffers();
    const pairs = this.#pairs;
    const isSame = buffers.length === pairs.length && pairs.every(([b, copy], i) => b === buffers[i] && b.dtype === copy.dtype);
    if (!isSame) return this.#replace(buffers);
    noGrad(() => pairs.forEach(([buffer, copy]) => copy.copy_(buffer)));
  }

  /** Gives the buffers the values of the last save(). Takes no memory. */
  restore(): void {
    noGrad(() => this.#pairs.forEach(([buffer, copy]) => buffer.copy_(copy)));
  }

  /** Frees the copies. */
  dispose(): void {
    for (const [, copy] of this.#pairs) copy.dispose();
    this.#pairs = [];
  }

  #replace(buffers: readonly Tensor[]): void {
    this.dispose();
    // Kept only when all exist: if memory runs out on the way, the scope frees those already made.
    const copies = noGrad(() => buffers.map((buffer) => buffer.clone())).map((copy) => copy.keep());
    this.#pairs = buffers.map((buffer, i) => [buffer, copies[i]!]);
  }
}
