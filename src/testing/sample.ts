/**
 * A tensor to be: shape, values and memory layout as plain data, so that fast-check can print it, shrink it, and leak nothing.
 */
import fc from 'fast-check';
import { tensor, type Tensor } from '../autograd/index.ts';
import { isFloat, type DType } from '../core/dtype.ts';
import { formatShape, type Shape } from '../core/shape.ts';

/** How a view lies on its base: as it is, two dims exchanged, every second element or all but one, repeated, or in NHWC order. */
export type Layout = 'plain' | 'transposed' | 'sliced' | 'expanded' | 'channelsLast';

/** A layout, and the numbers that choose dims for it: any whole numbers, so that they fit every shape. */
export interface LayoutChoice {
  readonly layout: Layout;
  readonly a: number;
  readonly b: number;
}

/** A view on a base, as a function and as code. */
interface Laid {
  readonly base: readonly number[];
  readonly view: (base: Tensor) => Tensor;
  readonly code: string;
}

/** What a sample is made of. */
export interface SampleParts {
  readonly dtype: DType;
  /** As a function sees it. */
  readonly shape: Shape;
  readonly choice: LayoutChoice;
  readonly requiresGrad: boolean;
  /** The values of the base, row-major. */
  readonly values: (count: number) => Float64Array;
}

/**
 * A description of one tensor. `tensor()` makes it; prints as the code that makes it.
 *
 * The memory is a leaf, `base()`; what a function under test gets is `view(base)`, in the layout that was drawn: transposed,
 * sliced, expanded or channels-last, or the base itself. So gradients are checked where a layout can spoil them.
 */
export class TensorSample {
  readonly dtype: DType;
  /** As a function sees it. */
  readonly shape: Shape;
  /** Of the base. */
  readonly baseShape: Shape;
  /** Of the base, row-major. */
  readonly values: Float64Array;
  /** Whether the base is a leaf that requires a gradient. */
  readonly requiresGrad: boolean;
  /** What a function under test gets, from the base. */
  readonly view: (base: Tensor) => Tensor;
  readonly #parts: SampleParts;
  readonly #code: string;

  constructor(parts: SampleParts) {
    const { base, view, code } = lay(parts.shape, parts.choice);
    this.dtype = parts.dtype;
    this.shape = [...parts.shape];
    this.baseShape = base;
    this.values = parts.values(base.reduce((n, size) => n * size, 1));
    this.requiresGrad = parts.requiresGrad && isFloat(parts.dtype);
    this.view = view;
    this.#parts = parts;
    this.#code = code;
  }

  /** A new leaf with the values. */
  base({ requiresGrad = this.requiresGrad }: { readonly requiresGrad?: boolean } = {}): Tensor {
    return tensor(this.values, { shape: this.baseShape, dtype: this.dtype, requiresGrad });
  }

  /** A new tensor as a function under test gets it. */
  tensor(): Tensor {
    return this.view(this.base());
  }

  /** The same with other values. */
  map(fn: (value: number) => number): TensorSample {
    return new TensorSample({ ...this.#parts, values: () => this.values.map(fn) });
  }

  /** The same, requiring a gradient or not. */
  withGrad(requiresGrad: boolean): TensorSample {
    return new TensorSample({ ...this.#parts, requiresGrad });
  }

  toString(): string {
    const values = Array.from(this.values, (x) => (this.dtype === 'bool' ? String(x !== 0) : String(x))).join(', ');
    const options = [
      `shape: ${formatShape(this.baseShape)}`,
      `dtype: '${this.dtype}'`,
      ...(this.requiresGrad ? ['requiresGrad: true'] : []),
    ];
    return `tensor([${values}], { ${options.join(', ')} })${this.#code}`;
  }

  /** How fast-check prints it. */
  [fc.toStringMethod](): string {
    return this.toString();
  }
}

/** The view of `shape` in a layout; plain where the shape has too few dims for it. */
function lay(shape: Shape, { layout, a, b }: LayoutChoice): Laid {
  const ndim = shape.length;
  const plain = { base: [...shape], view: (t: Tensor) => t, code: '' };
  if (ndim === 0) return plain;
  const d = a % ndim;
  switch (layout) {
    case 'plain':
      return plain;
    case 'transposed': {
      const e = b % ndim;
      const base = shape.map((n, i) => (i === d ? shape[e]! : i === e ? shape[d]! : n));
      return d === e ? plain : { base, view: (t) => t.transpose(d, e), code: `.transpose(${d}, ${e})` };
    }
    case 'sliced': {
      const step = 1 + (b % 2);
      const base = shape.map((n, i) => (i === d ? n * step + 1 : n));
      return { base, view: (t) => t.slice(d, 1, null, step), code: `.slice(${d}, 1, null, ${step})` };
    }
    case 'expanded': {
      const base = shape.map((n, i) => (i === d ? 1 : n));
      return { base, view: (t) => t.expand(shape), code: `.expand(${formatShape(shape)})` };
    }
    case 'channelsLast': {
      if (ndim !== 4) return plain;
      const base = [shape[0]!, shape[2]!, shape[3]!, shape[1]!];
      return { base, view: (t) => t.permute([0, 3, 1, 2]), code: '.permute([0, 3, 1, 2])' };
    }
  }
}
