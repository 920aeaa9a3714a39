/**
 * The memory of gradients: one block for each dtype, divided into buckets of parameters that are reduced together.
 */
import { owned, type Tensor } from '../autograd/index.ts';
import { ITEM_SIZE, type DType } from '../core/dtype.ts';
import { isDense, rowMajorStrides, sameShape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { empty, type View } from '../kernels/view.ts';

/** The place of one parameter's gradient. */
interface Slot {
  readonly grad: View;
  /** One element: above 0 if a rank has a gradient for the parameter. */
  readonly flag: View;
  readonly bucket: number;
}

/** What decides the place of a gradient. */
interface Form {
  readonly param: Tensor;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** Parameters of one dtype, to be reduced together. */
interface Bucket {
  readonly dtype: DType;
  readonly forms: Form[];
  elements: number;
}

/**
 * Gradients of parameters in contiguous memory. A bucket has the gradients of some parameters, one after the other, and a flag for each
 * behind them.
 */
export class GradientBlock {
  /** The memory of each bucket, a vector. The buckets of a dtype follow each other in one block. */
  readonly buckets: readonly Tensor[];
  /** The number of parameters in each bucket. */
  readonly counts: readonly number[];
  readonly #slots = new Map<Tensor, Slot>();
  readonly #forms: readonly Form[];

  /** @param params in the order in which their gradients will be complete */
  constructor(params: readonly Tensor[], bucketBytes: number) {
    this.#forms = params.map(formOf);
    const buckets = divide(this.#forms, bucketBytes);
    const blocks = new Map<DType, { readonly view: View; used: number }>();
    for (const { dtype } of buckets) {
      if (blocks.has(dtype)) continue;
      const elements = buckets.reduce((sum, bucket) => sum + (bucket.dtype === dtype ? bucket.elements : 0), 0);
      blocks.set(dtype, { view: empty([elements], dtype), used: 0 });
    }
    this.counts = buckets.map(({ forms }) => forms.length);
    this.buckets = buckets.map((bucket, i) => {
      const block = blocks.get(bucket.dtype)!;
      const memory = vector(block.view, block.used, bucket.elements);
      block.used += bucket.elements;
      this.#place(bucket.forms, memory, i);
      return owned(memory);
    });
  }

  #place(forms: readonly Form[], memory: View, bucket: number): void {
    let offset = memory.offset;
    const firstFlag = memory.offset + memory.shape[0]! - forms.length;
    forms.forEach(({ param, dtype, shape, strides }, i) => {
      const grad = { storage: memory.storage, offset, shape, strides, dtype };
      this.#slots.set(param, { grad, flag: { ...grad, offset: firstFlag + i, shape: [], strides: [] }, bucket });
      offset += param.numel;
    });
  }

  /** Bytes of all gradients and flags. */
  get bytes(): number {
    return this.buckets.reduce((sum, { numel, dtype }) => sum + numel * ITEM_SIZE[dtype], 0);
  }

  /** Whether it has places for exactly these parameters, in any order, as they are now. */
  fits(params: readonly Tensor[]): boolean {
    if (params.length !== this.#forms.length) return false;
    return params.every((p) => {
      const slot = this.#slots.get(p)?.grad;
      if (slot === undefined) return false;
      const { dtype, shape, strides } = formOf(p);
      return slot.dtype === dtype && sameShape(slot.shape, shape) && sameShape(slot.strides, strides);
    });
  }

  /** Returns the bucket of a parameter's gradient. */
  bucketOf(p: Tensor): number {
    return this.#slots.get(p)!.bucket;
  }

  /** Stores the gradient of a parameter, or adds to the stored one. */
  write(p: Tensor, g: Tensor, adds: boolean): void {
    const { grad, flag } = this.#slots.get(p)!;
    if (adds) kernels.binary('add', grad, g, grad);
    else kernels.copy(g, grad);
    kernels.fill(1, flag);
    grad.storage.version++;
  }

  /** Stores that there is no gradient: zeros, which change no sum. */
  clear(p: Tensor): void {
    const { grad, flag } = this.#slots.get(p)!;
    kernels.fill(0, grad);
    kernels.fill(0, flag);
    grad.storage.version++;
  }

  /** Returns a new handle on the gradient of a parameter, in its memory; null if its flag is 0. */
  read(p: Tensor): Tensor | null {
    const { grad, flag } = this.#slots.get(p)!;
    return isSet(flag) ? owned(grad) : null;
  }

  /** Frees the memory, once no gradient lies in it. */
  dispose(): void {
    for (const bucket of this.buckets) bucket.dispose();
  }
}

function isSet(flag: View): boolean {
  const handle = owned(flag);
  try {
    return handle.item() > 0;
  } finally {
    handle.dispose();
  }
}

function formOf(param: Tensor): Form {
  const { dtype, shape, strides } = param;
  return { param, dtype, shape, strides: isDense(shape, strides) ? strides : rowMajorStrides(shape) };
}

function vector({ storage, dtype }: View, offset: number, length: number): View {
  return { storage, offset, shape: [length], strides: [1], dtype };
}

/** Divides parameters into buckets of one dtype each, which close once they have at least so many bytes, in the order in which they close. */
function divide(forms: readonly Form[], bucketBytes: number): Bucket[] {
  const open = new Map<DType, Bucket>();
  const closed: Bucket[] = [];
  for (const form of forms) {
    const { dtype, param } = form;
    const bucket = open.get(dtype) ?? { dtype, forms: [], elements: 0 };
    bucket.forms.push(form);
    // One more for the flag.
    bucket.elements += param.numel + 1;
    if (bucket.elements * ITEM_SIZE[dtype] < bucketBytes) {
      open.set(dtype, bucket);
      continue;
    }
    open.delete(dtype);
    closed.push(bucket);
  }
  return [...closed, ...open.values()];
}
