/**
 * The point at which a gradient check evaluates: inputs whose elements move one by one, and come back to the bit.
 */
import type { ElementArray } from '../core/dtype.ts';
import type { Random } from '../core/random.ts';
import { isExpanded, unravelIndex } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { emptyLike, restride } from '../kernels/view.ts';
import { loose, type Tensor } from '../autograd/tensor.ts';

/** One input that requires a gradient, whose elements can be moved one by one. */
export class Point {
  readonly input: number;
  readonly tensor: Tensor;
  readonly numel: number;
  readonly #version: number;
  /** Where element i lies in the storage. */
  readonly #cells: readonly number[];
  /** The given values, and those of the current attempt. */
  readonly #given: ElementArray;
  #values: ElementArray;

  constructor(input: number, tensor: Tensor) {
    this.input = input;
    this.tensor = tensor;
    this.numel = tensor.numel;
    this.#version = tensor.storage.version;
    this.#given = tensor.data();
    this.#values = this.#given;
    this.#cells = Array.from({ length: this.numel }, (_, i) =>
      unravelIndex(i, tensor.shape).reduce((at, k, d) => at + k * tensor.strides[d]!, tensor.offset),
    );
  }

  #write(i: number, value: number): void {
    kernels.fill(value, restride(this.tensor, [], [], this.#cells[i]));
    this.tensor.storage.version++;
  }

  /** Runs `fn` with element i moved by h. */
  at<T>(i: number, h: number, fn: () => T): T {
    this.#write(i, this.#values[i]! + h);
    try {
      return fn();
    } finally {
      this.#write(i, this.#values[i]!);
    }
  }

  /** The distance between x + h and x − h as rounded. */
  span(i: number, h: number): number {
    const x = this.#values[i]!;
    return x + h - (x - h);
  }

  jitter(random: Random, amount: number): void {
    this.#values = this.#given.map((x) => x + amount * (1 + Math.abs(x)) * (2 * random.uniform() - 1));
    this.#values.forEach((x, i) => this.#write(i, x));
  }

  /** The given values, to the bit: graphs that have saved them stay valid. */
  restore(): void {
    this.#given.forEach((x, i) => this.#write(i, x));
    this.tensor.storage.version = this.#version;
  }
}

/** A point for each input that requires a gradient: the input itself, or a copy where it cannot be moved in place. */
export function pointsOf(inputs: readonly Tensor[]): Point[] {
  return inputs.flatMap((x, i) => {
    if (!x.requiresGrad) return [];
    const shared = isExpanded(x.shape, x.strides) || inputs.some((y, j) => j !== i && y.storage === x.storage);
    return [new Point(i, x.isLeaf && !shared ? x : leafCopy(x))];
  });
}

/** A leaf with x's values, in x's memory order. */
function leafCopy(x: Tensor): Tensor {
  const y = emptyLike(x);
  kernels.copy(x, y);
  const t = loose(y).requiresGrad_();
  t.label = x.label;
  return t;
}
