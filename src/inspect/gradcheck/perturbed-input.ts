/**
 * The inputs of a gradient check as movable points, and the state around them.
 *
 * Elements move one by one or all together, and are restored bitwise. Random generator and buffers are restored after every
 * evaluation, so that all evaluations start from the same state.
 */
import type { ElementArray } from '../../core/dtype.ts';
import type { Random } from '../../core/random.ts';
import { isExpanded } from '../../core/shape.ts';
import { kernels } from '../../kernels/index.ts';
import { emptyLike, restride } from '../../kernels/view.ts';
import { defaultGenerator } from '../../autograd/random.ts';
import { fromElements, untracked, type Tensor } from '../../autograd/tensor.ts';
import { unravelIndex } from '../unravel-index.ts';

/** The function under check, and its `inputs`. The function gets some as arguments and may read others through its closure. */
export interface Subject {
  readonly call: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[];
  readonly inputs: readonly Tensor[];
  /** The inputs' names in reports. */
  readonly names: readonly string[];
  readonly labels: readonly (string | null)[];
  /** How many inputs are arguments: these come first. */
  readonly argumentCount: number;
  /** Tensors that the function may write to, restored after every evaluation. */
  readonly buffers: readonly Tensor[];
}

/** One input that requires a gradient, and whose elements the check moves in place. */
export class PerturbedInput {
  /** Position among the inputs. */
  readonly index: number;
  readonly tensor: Tensor;
  readonly numel: number;
  readonly #version: number;
  /** Offsets of the elements in the storage, row-major. */
  readonly #offsets: readonly number[];
  /** The user's values. */
  readonly #original: ElementArray;
  /** The values of the current attempt. */
  #values: ElementArray;

  constructor(index: number, tensor: Tensor) {
    this.index = index;
    this.tensor = tensor;
    this.numel = tensor.numel;
    this.#version = tensor.storage.version;
    this.#original = tensor.data();
    this.#values = this.#original;
    this.#offsets = Array.from({ length: this.numel }, (_, i) =>
      unravelIndex(i, tensor.shape).reduce((offset, k, d) => offset + k * tensor.strides[d]!, tensor.offset),
    );
  }

  /** The values of the current attempt. */
  get values(): ElementArray {
    return this.#values;
  }

  #write(i: number, value: number): void {
    kernels.fill(value, restride(this.tensor, [], [], this.#offsets[i]));
    this.tensor.storage.version++;
  }

  #writeAll(values: ElementArray): void {
    values.forEach((x, i) => this.#write(i, x));
  }

  /** Runs `fn` with element i moved by h. */
  withElementMoved<T>(i: number, h: number, fn: () => T): T {
    this.#write(i, this.#values[i]! + h);
    try {
      return fn();
    } finally {
      this.#write(i, this.#values[i]!);
    }
  }

  /** Runs `fn` with every element i moved by h · direction[i]; further moves inside `fn` start from these values. */
  withAllMoved<T>(direction: ElementArray, h: number, fn: () => T): T {
    const before = this.#values;
    this.#values = before.map((x, i) => x + h * direction[i]!);
    this.#writeAll(this.#values);
    try {
      return fn();
    } finally {
      this.#values = before;
      this.#writeAll(before);
    }
  }

  /** Returns (x + h) − (x − h) for element i with value x, both rounded to the tensor's dtype; it may differ from 2h. */
  actualStep(i: number, h: number): number {
    const x = this.#values[i]!;
    return this.tensor.dtype === 'float32' ? Math.fround(x + h) - Math.fround(x - h) : x + h - (x - h);
  }

  /** Moves every element by a random amount, relative to its size, from the user's value. */
  jitter(random: Random, amount: number): void {
    this.#values = this.#original.map((x) => x + amount * (1 + Math.abs(x)) * (2 * random.uniform() - 1));
    this.#writeAll(this.#values);
  }

  /** Restores the user's values bitwise, and the version: graphs that saved the tensor stay valid. */
  restore(): void {
    this.#writeAll(this.#original);
    this.tensor.storage.version = this.#version;
  }
}

/** Returns a PerturbedInput for each input that requires a gradient: of the input, or of a copy if it cannot be moved in place. */
export function perturbedInputs(inputs: readonly Tensor[]): PerturbedInput[] {
  return inputs.flatMap((x, i) => {
    if (!x.requiresGrad) return [];
    const shared = isExpanded(x.shape, x.strides) || inputs.some((y, j) => j !== i && y.storage === x.storage);
    return [new PerturbedInput(i, x.isLeaf && !shared ? x : leafCopy(x))];
  });
}

/** Copies x into a new leaf, in x's memory order. */
function leafCopy(x: Tensor): Tensor {
  const y = emptyLike(x);
  kernels.copy(x, y);
  const t = untracked(y).requiresGrad_();
  t.label = x.label;
  return t;
}

/** Runs `fn`, then restores the default generator and the buffers, so that every evaluation starts from the same state. */
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
