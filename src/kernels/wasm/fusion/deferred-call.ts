/**
 * Kernel calls that wait until somebody needs what they compute: the next kernel may do their work along with its own.
 */
import { withRawAddresses, type Storage, type Waiting } from '../../memory/storage.ts';
import { restride, type View } from '../../view.ts';

type Inputs = Readonly<Record<string, View>>;

/** A kernel that writes y, called on what it reads. It allocates nothing: who asks for an address may hold views of the whole memory. */
type Kernel<I> = (inputs: I, y: View) => void;

/** The call `kernel(inputs, y)`, see `defer`. */
export class Deferred<I extends Inputs> implements Waiting {
  readonly kernel: Kernel<I>;
  readonly y: View;
  /** What it reads; null when it is over, so that nothing leads from one result to all those before it. */
  inputs: I | null;

  constructor(kernel: Kernel<I>, inputs: I, y: View) {
    this.kernel = kernel;
    // Views of its own: tensors may be gone by the time it runs.
    this.inputs = Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, ownView(v)])) as I;
    this.y = ownView(y);
    for (const s of this.#reads()) s.retain();
    for (const s of [this.output, ...this.#reads()]) s.waiting = [...s.waiting, this];
  }

  get output(): Storage {
    return this.y.storage;
  }

  #reads(): Set<Storage> {
    return new Set(Object.values(this.inputs ?? {}).map((v) => v.storage));
  }

  run(): void {
    const { inputs } = this;
    if (inputs === null) return;
    reading(Object.values(inputs), () => this.kernel(inputs, this.y));
    this.drop();
  }

  drop(): void {
    const reads = this.#reads();
    this.inputs = null;
    for (const s of [this.output, ...reads]) s.waiting = s.waiting.filter((call) => call !== this);
    for (const s of reads) s.release();
  }
}

/**
 * Puts the call `kernel(inputs, y)` off until anybody asks for the address of y or of what it reads, so that whoever does finds there what
 * he would have found at once; for ever where y is freed before. Until then it holds what it reads.
 */
export function defer<I extends Inputs>(kernel: Kernel<I>, inputs: I, y: View): Deferred<I> {
  return new Deferred(kernel, inputs, y);
}

/** The call of `kernel` that y, exactly this view, waits for. */
export function deferredCall<I extends Inputs>(kernel: Kernel<I>, y: View): Deferred<I> | null {
  for (const call of y.storage.waiting) {
    if (
      call instanceof Deferred &&
      call.kernel === kernel &&
      call.output === y.storage &&
      call.y.offset === y.offset &&
      sameLayout(call.y, y)
    )
      return call;
  }
  return null;
}

/**
 * Runs a kernel that reads `inputs` and writes to what nothing waits for. What is to be written to the inputs is written first; other calls
 * that read them go on waiting, which no other way of taking an address lets them.
 */
export function reading(inputs: readonly View[], kernel: () => void): void {
  for (const { storage } of inputs) for (const call of storage.waiting) if (call.output === storage) call.run();
  withRawAddresses(kernel);
}

/** Whether two views have the same elements in the same places, if in different memory. */
export function sameLayout(a: View, b: View): boolean {
  const equal = (x: readonly number[], y: readonly number[]): boolean => x.length === y.length && x.every((n, i) => n === y[i]);
  return a.dtype === b.dtype && equal(a.shape, b.shape) && equal(a.strides, b.strides);
}

function ownView(v: View): View {
  return restride(v, v.shape, v.strides);
}
