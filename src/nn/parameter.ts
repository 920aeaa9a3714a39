/**
 * The tensors a module registers: parameters, which train, and buffers, which do not. Both are born owned: no scope or
 * backward frees them.
 */
import { Tensor, checkTensors, noGrad, zeros } from '../autograd/index.ts';
import { isFloat, type FloatDType } from '../core/dtype.ts';
import { DTypeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { empty, emptyLike } from '../kernels/view.ts';

/** Options of Parameter. */
export interface ParameterOptions {
  /** False freezes the parameter. Default true. */
  readonly requiresGrad?: boolean;
}

/**
 * A trainable tensor; a module registers it by having it as a property. Takes a row-major copy of `data`, without history.
 * Throws: DTypeError for int32 and bool
 * @example this.scale = new Parameter(ones([1]))
 */
export class Parameter extends Tensor {
  constructor(data: Tensor, { requiresGrad = true }: ParameterOptions = {}) {
    checkTensors('Parameter', { data });
    if (!isFloat(data.dtype))
      throw new DTypeError(`Parameter: expected float32 or float64, got ${data.dtype}; use nn.buffer for ${data.dtype}`);
    data.checkReadable();
    const v = empty([...data.shape], data.dtype);
    kernels.copy(data, v);
    super(v);
    this.label = data.label;
    this.keep().requiresGrad_(requiresGrad);
  }
}

/** Options of buffer. */
export interface BufferOptions {
  /** Whether it is part of the state dict. False for caches. Default true. */
  readonly persistent?: boolean;
}

/** What `buffer` makes. */
export class BufferTensor extends Tensor {
  readonly persistent: boolean;

  /** @internal Use `buffer`. */
  constructor(data: Tensor, persistent: boolean) {
    checkTensors('buffer', { data });
    data.checkReadable();
    const v = emptyLike(data);
    kernels.copy(data, v);
    super(v);
    this.label = data.label;
    this.persistent = persistent;
    this.keep();
  }
}

/**
 * A tensor that belongs to a module and is not trained: running statistics, masks, caches. Takes a copy of `data`, without
 * history. Update it in place (`copy_`, `add_`, …): putting a plain tensor in its place throws.
 * @example this.mean = nn.buffer(zeros([3]))
 */
export function buffer(data: Tensor, { persistent = true }: BufferOptions = {}): Tensor {
  return new BufferTensor(data, persistent);
}

/** What every layer with parameters takes. */
export interface LayerOptions {
  /** The parameters' dtype. Default float32. */
  readonly dtype?: FloatDType;
}

/** A new parameter of `shape`, filled by `fill`. */
export function parameter(shape: Shape, dtype: FloatDType, fill: (t: Tensor) => unknown): Parameter {
  return noGrad(() => {
    const p = new Parameter(zeros(shape, { dtype }));
    fill(p);
    return p;
  });
}
