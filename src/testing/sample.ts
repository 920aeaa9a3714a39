/**
 * The description of a tensor as plain data: shape, values and memory layout. fast-check can print and shrink it, and it holds
 * no WebAssembly memory.
 */
import fc from 'fast-check';
import { tensor, type Tensor } from '../autograd/index.ts';
import { isFloat, type DType } from '../core/dtype.ts';
import { formatShape, type Shape } from '../core/shape.ts';

/** How a view reads its base: unchanged, two dims exchanged, every second element or all but one, repeated, or in NHWC order. */
export type Layout = 'plain' | 'transposed' | 'sliced' | 'expanded' | 'channelsLast';

/** A layout, and two numbers that choose its dims. They are reduced by modulo, so they fit every shape. */
export interface LayoutChoice {
  readonly layout: Layout;
  readonly a: number;
  readonly b: number;
}

/** The shape of a base, and a view of it as a function and as code. */
interface ViewLayout {
  readonly baseShape: readonly number[];
  readonly view: (base: Tensor) => Tensor;
  readonly code: string;
}

/** The parts of a TensorSample. */
export interface SampleParts {
  readonly dtype: DType;
  /** The view's shape, which a function under test gets. */
  readonly shape: Shape;
  readonly choice: LayoutChoice;
  readonly requiresGrad: boolean;
  /** Returns the values of the base, row-major. */
  readonly values: (count: number) => Float64Array;
}

/**
 * Describes one tensor. `tensor()` makes it; `toString()` returns the code that makes it.
 *
 * `base()` is a leaf with the memory. A function under test gets `view(base)` in the drawn layout: transposed, sliced, expanded,
 * channels-last, or the base itself. Gradients are thus checked in every layout.
 */
export class TensorSample {
  /** The type of its elements. */
  readonly dtype: DType;
  /** The view's shape, which a function under test gets. */
  readonly shape: Shape;
  /** The shape of the tensor of which the sample is a view. */
  readonly baseShape: Shape;
  /** The values of the base, row-major. */
  readonly values: Float64Array;
  /** Whether the base is a leaf that requires a gradient. */
  readonly requiresGrad: boolean;
  /** Returns the view of a base that a function under test gets. */
  readonly view: (base: Tensor) => Tensor;
  readonly #parts: SampleParts;
  readonly #code: string;

  constructor(parts: SampleParts) {
    const { baseShape, view, code } = viewLayout(parts.shape, parts.choice);
    this.dtype = parts.dtype;
    this.shape = [...parts.shape];
    this.baseShape = baseShape;
    this.values = parts.values(baseShape.reduce((n, size) => n * size, 1));
    this.requiresGrad = parts.requiresGrad && isFloat(parts.dtype);
    this.view = view;
    this.#parts = parts;
    this.#code = code;
  }

  /** Makes a new leaf with the values. */
  base({ requiresGrad = this.requiresGrad }: { readonly requiresGrad?: boolean } = {}): Tensor {
    return tensor(this.values, { shape: this.baseShape, dtype: this.dtype, requiresGrad });
  }

  /** Makes a new tensor in the layout that a function under test gets. */
  tensor(): Tensor {
    return this.view(this.base());
  }

  /** Returns the same sample with `fn` applied to its values. */
  map(fn: (value: number) => number): TensorSample {
    return new TensorSample({ ...this.#parts, values: () => this.values.map(fn) });
  }

  /** Returns the same sample with `requiresGrad` set. */
  withGrad(requiresGrad: boolean): TensorSample {
    return new TensorSample({ ...this.#parts, requiresGrad });
  }

  /** Returns the code that makes the tensor. */
  toString(): string {
    const values = Array.from(this.values, (x) => (this.dtype === 'bool' ? String(x !== 0) : String(x))).join(', ');
    const options = [
      `shape: ${formatShape(this.baseShape)}`,
      `dtype: '${this.dtype}'`,
      ...(this.requiresGrad ? ['requiresGrad: true'] : []),
    ];
    return `tensor([${values}], { ${options.join(', ')} })${this.#code}`;
  }

  /** fast-check prints samples with this method. */
  [fc.toStringMethod](): string {
    return this.toString();
  }
}

/** Returns the base and view for `shape` in a layout; `plain` if the shape has too few dims for it. */
function viewLayout(shape: Shape, { layout, a, b }: LayoutChoice): ViewLayout {
  const ndim = shape.length;
  const plain = { baseShape: [...shape], view: (t: Tensor) => t, code: '' };
  if (ndim === 0) return plain;
  const d = a % ndim;
  switch (layout) {
    case 'plain':
      return plain;
    case 'transposed': {
      const e = b % ndim;
      const baseShape = [...shape];
      baseShape[d] = shape[e]!;
      baseShape[e] = shape[d]!;
      return d === e ? plain : { baseShape, view: (t) => t.transpose(d, e), code: `.transpose(${d}, ${e})` };
    }
    case 'sliced': {
      const step = 1 + (b % 2);
      const baseShape = shape.map((n, i) => (i === d ? n * step + 1 : n));
      return { baseShape, view: (t) => t.slice(d, 1, null, step), code: `.slice(${d}, 1, null, ${step})` };
    }
    case 'expanded': {
      const baseShape = shape.map((n, i) => (i === d ? 1 : n));
      return { baseShape, view: (t) => t.expand(shape), code: `.expand(${formatShape(shape)})` };
    }
    case 'channelsLast': {
      if (ndim !== 4) return plain;
      const baseShape = [shape[0]!, shape[2]!, shape[3]!, shape[1]!];
      return { baseShape, view: (t) => t.permute([0, 3, 1, 2]), code: '.permute([0, 3, 1, 2])' };
    }
  }
}
