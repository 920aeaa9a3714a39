/**
 * The point at which a gradient check evaluates: inputs whose elements move one by one or all together, and come back to the
 * bit; and the state around them, which every evaluation finds as the first did.
 */
import type { ElementArray } from '../../core/dtype.ts';
import type { Random } from '../../core/random.ts';
import { isExpanded } from '../../core/shape.ts';
import { kernels } from '../../kernels/index.ts';
import { emptyLike, restride } from '../../kernels/view.ts';
import { defaultGenerator } from '../../autograd/random.ts';
import { fromElements, loose, type Tensor } from '../../autograd/tensor.ts';
import { unravelIndex } from '../unravel-index.ts';

/** What is checked: a function of `inputs`, some of which it may reach by closure instead of by its arguments. */
export interface Subject {
  readonly call: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[];
  readonly inputs: readonly Tensor[];
  /** How reports call an input. */
  readonly names: readonly string[];
  readonly labels: readonly (string | null)[];
  /** How many of the inputs come by argument: the first ones. */
  readonly given: number;
  /** Tensors that the function may write to; every evaluation finds them as they were. */
  readonly buffers: readonly Tensor[];
}

/** One input that requires a gradient, whose elements can be moved. */
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

  /** The values of the current attempt. */
  get values(): ElementArray {
    return this.#values;
  }

  #write(i: number, value: number): void {
    kernels.fill(value, restride(this.tensor, [], [], this.#cells[i]));
    this.tensor.storage.version++;
  }

  #set(values: ElementArray): void {
    values.forEach((x, i) => this.#write(i, x));
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

  /** Runs `fn` with every element i moved by h · direction[i]; what moves in `fn` starts from there. */
  along<T>(direction: ElementArray, h: number, fn: () => T): T {
    const before = this.#values;
    this.#values = before.map((x, i) => x + h * direction[i]!);
    this.#set(this.#values);
    try {
      return fn();
    } finally {
      this.#values = before;
      this.#set(before);
    }
  }

  /** The distance between x + h and x − h as rounded. */
  span(i: number, h: number): number {
    const x = this.#values[i]!;
    return x + h - (x - h);
  }

  jitter(random: Random, amount: number): void {
    this.#values = this.#given.map((x) => x + amount * (1 + Math.abs(x)) * (2 * random.uniform() - 1));
    this.#set(this.#values);
  }

  /** The given values, to the bit: graphs that have saved them stay valid. */
  restore(): void {
    this.#set(this.#given);
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

/** Runs `fn` and puts the default generator and the buffers back: every evaluation starts from the same state. */
export function withSameState<T>(buffers: readonly Tensor[], fn: () => T): T {
  const random = defaultGenerator.stateDict();
  const before = buffers.map((b) => ({ version: b.storage.version, values: b.data() }));
  try {
    return fn();
  } finally {
    defaultGenerator.loadStateDict(random);
    buffers.forEach((b, i) => {
      const { version, values } = before[i]!;
      if (b.storage.version === version) return;
      const copy = fromElements(values, b.shape, b.dtype);
      kernels.copy(copy, b);
      copy.dispose();
      b.storage.version = version;
    });
  }
}
