/**
 * Records what a model computes from its input: the operations that depend on it, and the constants that they take.
 */
import { isTensor, noGrad, type Tensor } from '../../autograd/index.ts';
import type { DType, ElementArray } from '../../core/dtype.ts';
import { ArgumentError, kindOf } from '../../core/errors.ts';
import { sameShape, sizeOf, type Shape } from '../../core/shape.ts';
import { trace, type TracedCall, type TracedWrite } from '../../inspect/index.ts';
import type { Module } from '../../nn/index.ts';

/** A module with one input and one output. */
export type Model = Module & { forward(x: Tensor): Tensor };

/** A tensor that depends on the input. */
export interface RecordedValue {
  readonly kind: 'value';
  /**
   * The numbers of the values that it can be, by the order in which they came up; the input is 0. Several have the same memory, shape and
   * strides, such as a tensor and its transpose where there is one sample; the recording of another number of samples tells them apart.
   */
  readonly ids: readonly number[];
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A tensor that does not depend on the input. */
export interface RecordedConstant {
  readonly kind: 'constant';
  /** The path of the parameter or buffer whose memory it is, with `.view` behind it for another shape; null for other memory. */
  readonly path: string | null;
  /** The shape with size 1 in place of dims that repeat the same elements; `data` has this shape, row-major. */
  readonly compactShape: Shape;
  readonly data: ElementArray;
  readonly shape: Shape;
  readonly dtype: DType;
}

export type RecordedTensor = RecordedValue | RecordedConstant;

/** An operation that depends on the input. */
export interface RecordedCall {
  readonly op: string;
  readonly place: string;
  /** Tensors as records; everything else as it was given. */
  readonly args: readonly unknown[];
  readonly results: readonly RecordedValue[];
}

export interface Recording {
  readonly calls: readonly RecordedCall[];
  readonly output: RecordedValue;
}

/** Returns whether an argument is a recorded tensor. */
export function isRecorded(value: unknown): value is RecordedTensor {
  const { kind } = Object(value) as Partial<RecordedTensor>;
  return kind === 'value' || kind === 'constant';
}

/** Runs the model on `input` without gradients, and records it. Throws: ArgumentError if the output is not one tensor that depends on it */
export function record(model: Model, input: Tensor): Recording {
  const recorder = new Recorder(model, input);
  return noGrad(() => {
    const output: unknown = trace(
      () => model.forward(input),
      (call) => recorder.visit(call),
      (write) => recorder.checkWrite(write),
    );
    if (!isTensor(output)) {
      const { name } = model.constructor;
      throw new ArgumentError(
        `toOnnx: forward of ${name} must return one tensor, got ${kindOf(output)}; export a module that returns one of its results`,
      );
    }
    const value = recorder.find(output);
    if (value === null) throw new ArgumentError('toOnnx: the output does not depend on the input');
    return { calls: recorder.calls, output: value };
  });
}

/** What identifies a value: its memory and how it is read. The storage object stays the same until the memory is freed, and is not reused. */
type ViewLike = Pick<Tensor, 'storage' | 'offset' | 'shape' | 'strides' | 'dtype'>;

class Recorder {
  readonly calls: RecordedCall[] = [];
  readonly #storages = new Map<object, number>();
  /** The memory of all values. */
  readonly #memory = new Set<object>();
  readonly #values = new Map<string, RecordedValue>();
  #count = 0;
  readonly #paths = new Map<object, { readonly path: string; readonly shape: Shape }>();

  constructor(model: Model, input: Tensor) {
    for (const [path, t] of [...model.namedParameters(), ...model.namedBuffers()]) this.#paths.set(t.storage, { path, shape: t.shape });
    this.#add(input);
  }

  visit({ op, place, args, results }: TracedCall): void {
    const tensors = args.filter((a): a is Tensor => isTensor(a));
    if (!tensors.some((t) => this.find(t) !== null)) return;
    const recorded = args.map((a) => (isTensor(a) ? (this.find(a) ?? this.#constant(a)) : a));
    this.calls.push({ op, place, args: recorded, results: results.map((view) => this.#add(view)) });
  }

  /** Throws for a write that the graph would lack: it has no memory, only values. The module that ran it names itself. */
  checkWrite({ op, target, operand }: TracedWrite): void {
    const dependent = (t: Tensor): boolean => this.#memory.has(t.storage);
    if (!dependent(target) && !(isTensor(operand) && dependent(operand))) return;
    throw new ArgumentError(
      `toOnnx: ${op}: in-place operations on what depends on the input have no counterpart in ONNX; ` +
        'use the form that returns a new tensor',
    );
  }

  find(view: ViewLike): RecordedValue | null {
    return this.#values.get(this.#keyOf(view)) ?? null;
  }

  #add(view: ViewLike): RecordedValue {
    const key = this.#keyOf(view);
    const ids = [...(this.#values.get(key)?.ids ?? []), this.#count++];
    const value: RecordedValue = { kind: 'value', ids, shape: view.shape, dtype: view.dtype };
    this.#values.set(key, value);
    this.#memory.add(view.storage);
    return value;
  }

  #keyOf({ storage, offset, shape, strides }: ViewLike): string {
    let n = this.#storages.get(storage);
    if (n === undefined) this.#storages.set(storage, (n = this.#storages.size));
    return `${n} ${offset} ${shape.join(',')} ${strides.join(',')}`;
  }

  #pathOf({ storage, shape }: ViewLike): string | null {
    const owner = this.#paths.get(storage);
    if (owner === undefined) return null;
    return sameShape(shape, owner.shape) ? owner.path : `${owner.path}.view`;
  }

  #constant(t: Tensor): RecordedConstant {
    const { shape, strides, dtype } = t;
    const compactShape = shape.map((size, d) => (strides[d] === 0 && size > 1 ? 1 : size));
    const data = pick(t.data(), shape, compactShape);
    return { kind: 'constant', path: this.#pathOf(t), compactShape, data, shape, dtype };
  }
}

/** Returns the elements at index 0 of the dims that `compact` has reduced to size 1. */
function pick(data: ElementArray, shape: Shape, compact: Shape): ElementArray {
  const count = sizeOf(compact);
  if (count === data.length) return data;
  const out = data.slice(0, count);
  const index = compact.map(() => 0);
  for (let i = 0; i < count; i++) {
    out[i] = data[index.reduce((at, k, d) => at * shape[d]! + k, 0)]!;
    for (let d = compact.length - 1; d >= 0 && ++index[d]! === compact[d]; d--) index[d] = 0;
  }
  return out;
}
