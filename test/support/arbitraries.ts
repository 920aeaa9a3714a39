/**
 * Draws the cases of the gradient table step by step, as later parts depend on earlier ones. The arbitraries are those of
 * chainrule/testing.
 */
import fc from 'fast-check';
import type { Tensor } from '../../src/autograd/index.ts';
import type { Shape } from '../../src/core/shape.ts';
import type { GradcheckOptions } from '../../src/inspect/index.ts';
import {
  broadcastShapes,
  shapes,
  tensors,
  type Domain,
  type Layout,
  type ShapeOptions,
  type TensorSample,
} from '../../src/testing/index.ts';

export { NO_TIES, type Domain, type TensorSample } from '../../src/testing/index.ts';

/** A function and the inputs to check it at. */
export interface Case {
  readonly fn: (...inputs: Tensor[]) => Tensor | readonly Tensor[];
  readonly inputs: readonly TensorSample[];
  readonly options?: GradcheckOptions;
}

export interface InputOptions {
  readonly domain?: Domain;
  /** Default: all layouts. */
  readonly layouts?: readonly Layout[];
}

/** Draws the parts of a case. */
export class Draw {
  readonly #g: fc.GeneratorValue;

  constructor(g: fc.GeneratorValue) {
    this.#g = g;
  }

  /** Draws a value from the arbitrary that `make` returns. */
  from<T, A extends unknown[]>(make: (...args: A) => fc.Arbitrary<T>, ...args: A): T {
    return this.#g(make, ...args);
  }

  int(min: number, max: number): number {
    return this.#g(fc.integer, { min, max });
  }

  bool(): boolean {
    return this.int(0, 1) === 1;
  }

  pick<T>(options: readonly T[]): T {
    return options[this.int(0, options.length - 1)]!;
  }

  /** Draws the size of a dim: 1, 2 or 3, and sometimes 0 if `minSize` is 0. */
  size(minSize = 0): number {
    return this.shape({ minRank: 1, maxRank: 1, minSize })[0]!;
  }

  shape(options: ShapeOptions = {}): number[] {
    return this.#g(shapes, options);
  }

  /** Draws `count` shapes that broadcast against each other: some lack leading dims, some have dims of size 1. */
  broadcastShapes(count: number): number[][] {
    return this.#g(broadcastShapes, count);
  }

  /** Draws dims to reduce: one (possibly negative), several, or undefined for all. */
  dims(ndim: number): number | number[] | undefined {
    if (ndim === 0) return this.pick([undefined, 0, -1]);
    const which = this.int(0, 2);
    if (which === 0) return undefined;
    if (which === 1) return this.int(-ndim, ndim - 1);
    return Array.from({ length: ndim }, (_, d) => d).filter(() => this.bool());
  }

  ints(count: number, min: number, max: number): number[] {
    return this.#g(fc.array, fc.integer({ min, max }), { minLength: count, maxLength: count });
  }

  /** Draws an input of `shape` in some layout. One in eight requires no gradient. */
  input(shape: Shape, options: InputOptions = {}): TensorSample {
    return this.maybeConstant(this.#g(tensors, { ...options, shape, dtype: 'float64' }));
  }

  /** Returns the sample, in one case of eight without a gradient. */
  maybeConstant(sample: TensorSample): TensorSample {
    return this.int(0, 7) > 0 ? sample : sample.withGrad(false);
  }
}
