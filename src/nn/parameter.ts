/**
 * The tensors that a module registers: parameters, which are trained, and buffers, which are not. Both are owned by the user:
 * no scope and no backward frees them.
 */
import { Tensor, allOrNone, checkTensors, noGrad, zeros } from '../autograd/index.ts';
import { isFloat, type FloatDType } from '../core/dtype.ts';
import { DTypeError } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import type { Shape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { empty, emptyLike } from '../kernels/view.ts';

/** Options of Parameter. */
export interface ParameterOptions {
  /** False freezes the parameter. Default true. */
  readonly requiresGrad?: boolean;
}

/**
 * A trainable tensor, registered by a module that has it as a property. Stores a row-major copy of `data` without its graph.
 * Throws: DTypeError for int32 and bool
 * @example this.scale = new Parameter(ones([1]))
 */
export class Parameter extends Tensor {
  constructor(data: Tensor, options: ParameterOptions = {}) {
    const { requiresGrad } = withDefaults('Parameter', options, { requiresGrad: true });
    checkTensors('Parameter', { data });
    if (!isFloat(data.dtype))
      throw new DTypeError(`Parameter: expected float32 or float64, got ${data.dtype}; use nn.buffer for ${data.dtype}`);
    data.checkReadable();
    const copy = empty([...data.shape], data.dtype);
    kernels.copy(data, copy);
    super(copy);
    this.label = data.label;
    this.keep().requiresGrad_(requiresGrad);
  }
}

/** Options of buffer. */
export interface BufferOptions {
  /** Whether the buffer is part of the state dict. Use false for caches. Default true. */
  readonly persistent?: boolean;
}

/** The class of the tensors that `buffer` creates. */
export class BufferTensor extends Tensor {
  /** Whether the state dict includes it. */
  readonly persistent: boolean;

  /** @internal Use `buffer`. */
  constructor(data: Tensor, persistent: boolean) {
    checkTensors('buffer', { data });
    data.checkReadable();
    const copy = emptyLike(data);
    kernels.copy(data, copy);
    super(copy);
    this.label = data.label;
    this.persistent = persistent;
    this.keep();
  }
}

/**
 * Creates a tensor that belongs to a module and is not trained: running statistics, masks, caches. Copies `data` without its
 * graph. Update a buffer in place (`copy_`, `add_`, …): replacing it by a plain tensor throws.
 * @example this.mean = nn.buffer(zeros([3]))
 */
export function buffer(data: Tensor, options: BufferOptions = {}): Tensor {
  const { persistent } = withDefaults('buffer', options, { persistent: true });
  return new BufferTensor(data, persistent);
}

/** Options of every layer with parameters. */
export interface LayerOptions {
  /** The parameters' dtype. Default float32. */
  readonly dtype?: FloatDType;
}

/** Creates a parameter of `shape` that `fill` initialises. */
export function parameter(shape: Shape, dtype: FloatDType, fill: (t: Tensor) => unknown): Parameter {
  return noGrad(() =>
    allOrNone(() => {
      const created = new Parameter(zeros(shape, { dtype }));
      fill(created);
      return created;
    }),
  );
}
