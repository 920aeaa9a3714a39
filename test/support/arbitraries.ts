/**
 * Random cases for gradient properties: shapes, values and memory layouts, drawn through fast-check so that failures shrink.
 */
import fc from 'fast-check';
import { tensor, type Tensor } from '../../src/autograd/index.ts';
import type { Shape } from '../../src/core/shape.ts';
import type { GradcheckOptions } from '../../src/inspect/index.ts';

/** How an input's view lies on its base: the base is what gradients are checked for. */
export type Layout = 'plain' | 'transposed' | 'sliced' | 'expanded';

/** Which values an input has: `distinct` ones lie at least 0.2 apart. */
export type Domain = 'real' | 'positive' | 'nonzero' | 'distinct' | 'aboveMinusOne';

export interface Input {
  readonly shape: Shape;
  readonly values: Float64Array;
  readonly requiresGrad: boolean;
  /** What the function under test gets. */
  readonly view: (base: Tensor) => Tensor;
}

/** A function and the inputs to check it at. */
export interface Case {
  readonly fn: (...inputs: Tensor[]) => Tensor | readonly Tensor[];
  readonly inputs: readonly Input[];
  readonly options?: GradcheckOptions;
}

export interface ShapeOptions {
  readonly minRank?: number;
  readonly maxRank?: number;
  /** 0 allows empty tensors. Default 0. */
  readonly minSize?: number;
}

export interface InputOptions {
  readonly domain?: Domain;
  /** Default: all. `noTies` leaves out expanded ones, whose elements repeat. */
  readonly layouts?: readonly Layout[];
}

export const ALL_LAYOUTS: readonly Layout[] = ['plain', 'transposed', 'sliced', 'expanded'];
export const NO_TIES: readonly Layout[] = ['plain', 'transposed', 'sliced'];

/** Draws the parts of a case. */
export class Draw {
  readonly #g: fc.GeneratorValue;

  constructor(g: fc.GeneratorValue) {
    this.#g = g;
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
    return this.pick(minSize === 0 ? [2, 3, 1, 2, 3, 1, 2, 3, 2, 3, 1, 0] : [2, 3, 1]);
  }

  shape({ minRank = 0, maxRank = 3, minSize = 0 }: ShapeOptions = {}): number[] {
    return Array.from({ length: this.int(minRank, maxRank) }, () => this.size(minSize));
  }

  /** `count` shapes that broadcast against each other: leading dims missing, others 1. */
  broadcastShapes(count: number): number[][] {
    const full = this.shape();
    return Array.from({ length: count }, () => {
      const kept = full.slice(this.pick([0, 0, this.int(0, full.length)]));
      return kept.map((n) => (this.int(0, 3) === 0 ? 1 : n));
    });
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

  values(count: number, domain: Domain): Float64Array {
    switch (domain) {
      case 'real':
        return Float64Array.from(this.ints(count, -2000, 2000), (n) => n / 1000);
      case 'positive':
        return Float64Array.from(this.ints(count, 200, 3000), (n) => n / 1000);
      case 'aboveMinusOne':
        return Float64Array.from(this.ints(count, -800, 2000), (n) => n / 1000);
      case 'nonzero':
        return Float64Array.from(this.ints(count, -1700, 1700), (n) => (n + (n < 0 ? -300 : 300)) / 1000);
      case 'distinct': {
        const keys = this.ints(count, 0, 10_000);
        const order = Array.from(keys, (_, i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
        const out = new Float64Array(count);
        // The lower half of each gap of 0.3 is left free.
        order.forEach((at, rank) => {
          out[at] = (rank - count / 2) * 0.3 + (keys[at]! % 100) / 1000;
        });
        return out;
      }
    }
  }

  /** An input of `shape` in some layout. */
  input(shape: Shape, { domain = 'real', layouts = ALL_LAYOUTS }: InputOptions = {}): Input {
    const { base, view } = this.#layout(shape, layouts);
    const n = base.reduce((a, b) => a * b, 1);
    return { shape: base, values: this.values(n, domain), requiresGrad: this.int(0, 7) > 0, view };
  }

  #layout(shape: Shape, layouts: readonly Layout[]): { base: number[]; view: (base: Tensor) => Tensor } {
    const plain = { base: [...shape], view: (t: Tensor) => t };
    const ndim = shape.length;
    switch (this.pick(layouts)) {
      case 'plain':
        return plain;
      case 'transposed': {
        if (ndim < 2) return plain;
        const [a, b] = [this.int(0, ndim - 1), this.int(0, ndim - 1)];
        const base = [...shape];
        [base[a], base[b]] = [base[b]!, base[a]!];
        return { base, view: (t) => t.transpose(a, b) };
      }
      case 'sliced': {
        if (ndim === 0) return plain;
        const d = this.int(0, ndim - 1);
        const step = this.int(1, 2);
        const base = shape.map((n, i) => (i === d ? n * step + 1 : n));
        return { base, view: (t) => t.slice(d, 1, null, step) };
      }
      case 'expanded': {
        if (ndim === 0) return plain;
        const d = this.int(0, ndim - 1);
        const full = [...shape];
        return { base: full.map((n, i) => (i === d ? 1 : n)), view: (t) => t.expand(full) };
      }
    }
  }
}

/** The bases of a case as leaves, at least one of which requires a gradient. */
export function basesOf({ inputs }: Case): Tensor[] {
  const none = !inputs.some((i) => i.requiresGrad);
  return inputs.map(({ values, shape, requiresGrad }, i) =>
    tensor(values, { shape, dtype: 'float64', requiresGrad: requiresGrad || (none && i === 0) }),
  );
}

/** The case's function from its bases. */
export function functionOf({ fn, inputs }: Case): (...bases: Tensor[]) => Tensor | readonly Tensor[] {
  return (...bases) => fn(...bases.map((b, i) => inputs[i]!.view(b)));
}
