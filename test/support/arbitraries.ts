/**
 * Cases for the table's lines, drawn step by step: later parts depend on earlier ones. The pieces are those of chainrule/testing.
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
  /** Default: all. */
  readonly layouts?: readonly Layout[];
}

/** Draws the parts of a case. */
export class Draw {
  readonly #g: fc.GeneratorValue;

  constructor(g: fc.GeneratorValue) {
    this.#g = g;
  }

  /** From any arbitrary, given the function that makes it. */
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

  /** 1, 2 or 3; now and then `minSize` if that is 0. */
  size(minSize = 0): number {
    return this.shape({ minRank: 1, maxRank: 1, minSize })[0]!;
  }

  shape(options: ShapeOptions = {}): number[] {
    return this.#g(shapes, options);
  }

  /** `count` shapes that broadcast against each other: leading dims missing, others 1. */
  broadcastShapes(count: number): number[][] {
    return this.#g(broadcastShapes, count);
  }

  /** Dims to reduce: one (perhaps negative), several, or undefined for all. */
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

  /** An input of `shape` in some layout. */
  input(shape: Shape, options: InputOptions = {}): TensorSample {
    return this.wanting(this.#g(tensors, { ...options, shape, dtype: 'float64' }));
  }

  /** The sample; one in eight requires no gradient. */
  wanting(sample: TensorSample): TensorSample {
    return this.int(0, 7) > 0 ? sample : sample.withGrad(false);
  }
}
