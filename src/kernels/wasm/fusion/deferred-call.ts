/**
 * Kernel calls that are deferred until their output is read, so that the next kernel can be fused with them.
 *
 * Pending calls are independent of each other. When a call is deferred, no pending call writes its inputs, and none reads or writes its
 * output; later accesses to these materialize it. So pending calls may run in any order.
 */
import { CheckedMemoryError } from '../../../core/errors.ts';
import { isMemoryChecked } from '../../memory/checked-memory.ts';
import type { PendingCall, Storage } from '../../memory/storage.ts';
import { memoryViews } from '../../memory/wasm-memory.ts';
import { materialize, restride, type View } from '../../view.ts';

type Inputs = Readonly<Record<string, View>>;

/** A kernel that reads `inputs` and writes y. It allocates nothing, as its caller may hold views of the whole memory. */
type Kernel<I> = (inputs: I, y: View) => void;

/** A call `kernel(inputs, y)`; see `deferCall`. */
export class DeferredCall<I extends Inputs> implements PendingCall {
  readonly kernel: Kernel<I>;
  readonly y: View;
  /** The views that it reads; null once it has run or been dropped, so that an output does not retain earlier ones. */
  inputs: I | null;
  /** A checksum of its inputs' memory, to detect a write that did not materialize the call. */
  #checksum = 0;

  constructor(kernel: Kernel<I>, inputs: I, y: View) {
    this.kernel = kernel;
    // Copies of the views, as the tensors may be released before the call runs.
    this.inputs = Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, copyOfView(v)])) as I;
    this.y = copyOfView(y);
  }

  get output(): Storage {
    return this.y.storage;
  }

  /** Makes the call pending. */
  defer(): void {
    const inputs = this.inputs!;
    for (const s of storagesOf(inputs)) s.retain();
    this.#attach(inputs);
    if (isMemoryChecked) this.#checksum = checksumOf(inputs);
  }

  run(): void {
    const { inputs } = this;
    if (inputs === null) return;
    // This precedes the kernel, whose launch materializes the same storages.
    this.#detach(inputs);
    if (isMemoryChecked && checksumOf(inputs) !== this.#checksum)
      throw new CheckedMemoryError(`${this.output.op}: an input of its deferred call was written to without materialize`);
    try {
      this.kernel(inputs, this.y);
    } catch (error) {
      // A worker has failed. The next access runs the call again.
      this.#attach(inputs);
      throw error;
    }
    this.#finish(inputs);
  }

  drop(): void {
    const { inputs } = this;
    if (inputs === null) return;
    this.#detach(inputs);
    this.#finish(inputs);
  }

  #attach(inputs: I): void {
    for (const s of [this.output, ...storagesOf(inputs)]) s.pendingCalls = [...s.pendingCalls, this];
  }

  #detach(inputs: I): void {
    for (const s of [this.output, ...storagesOf(inputs)]) s.pendingCalls = s.pendingCalls.filter((call) => call !== this);
  }

  #finish(inputs: I): void {
    this.inputs = null;
    for (const s of storagesOf(inputs)) s.release();
  }
}

/**
 * Defers the call `kernel(inputs, y)` until y is read or written, or an input is written. The result is bitwise identical to that of an
 * immediate call. If y is freed first, the call is dropped. Until then the call retains its inputs.
 *
 * Deferring never shortens the life of an input. An input without references that no running operation owns would be freed when the call
 * releases it, so the call then runs at once.
 */
export function deferCall<I extends Inputs>(kernel: Kernel<I>, inputs: I, y: View): void {
  for (const v of Object.values(inputs)) materialize(v, 'read');
  materialize(y, 'write');
  const canRetain = Object.values(inputs).every(({ storage }) => storage.refs > 0 || storage.isTemporary);
  if (canRetain) new DeferredCall(kernel, inputs, y).defer();
  else kernel(inputs, y);
}

/** Returns the pending call of `kernel` that writes exactly this view y, or null. */
export function pendingCallOf<I extends Inputs>(kernel: Kernel<I>, y: View): DeferredCall<I> | null {
  for (const call of y.storage.pendingCalls) {
    if (!(call instanceof DeferredCall) || call.kernel !== kernel) continue;
    if (call.output === y.storage && call.y.offset === y.offset && hasSameLayout(call.y, y)) return call;
  }
  return null;
}

/** Returns whether two views have the same dtype, shape and strides. */
export function hasSameLayout(a: View, b: View): boolean {
  const equal = (x: readonly number[], y: readonly number[]): boolean => x.length === y.length && x.every((n, i) => n === y[i]);
  return a.dtype === b.dtype && equal(a.shape, b.shape) && equal(a.strides, b.strides);
}

function storagesOf(inputs: Inputs): Set<Storage> {
  return new Set(Object.values(inputs).map((v) => v.storage));
}

/** Returns a checksum of all words of the inputs' storages. */
function checksumOf(inputs: Inputs): number {
  const { u32 } = memoryViews();
  let sum = 0;
  for (const { ptr, bytes } of storagesOf(inputs)) {
    for (let i = ptr / 4; i < Math.ceil((ptr + bytes) / 4); i++) sum = (Math.imul(sum, 31) + u32[i]!) | 0;
  }
  return sum;
}

function copyOfView(v: View): View {
  return restride(v, v.shape, v.strides);
}
