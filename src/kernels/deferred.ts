/**
 * Kernel calls that wait until somebody needs what they compute: the next kernel may do their work along with its own.
 */
import type { Storage, Waiting } from './memory.ts';
import { restride, type View } from './view.ts';

/** A kernel that writes y, called on what it reads. */
type Call<I> = (inputs: I, y: View) => void;

/**
 * The call `kernel(inputs, y)`, which runs when anybody asks for the address of y or of a view that it reads, so that it finds there
 * what it would have found at once; never where y is freed before. Until then it holds what it reads.
 */
export class Deferred<I extends Readonly<Record<string, View | null>>> implements Waiting {
  readonly kernel: Call<I>;
  readonly inputs: I;
  readonly y: View;
  readonly #reads: ReadonlySet<Storage>;
  #state: 'waiting' | 'running' | 'over' = 'waiting';

  private constructor(kernel: Call<I>, inputs: I, y: View) {
    this.kernel = kernel;
    // Views of its own: tensors may be gone by the time it runs.
    this.inputs = Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, v && ownView(v)])) as I;
    this.y = ownView(y);
    this.#reads = new Set(Object.values(this.inputs).flatMap((v) => (v === null ? [] : [v.storage])));
    for (const s of this.#reads) s.retain();
    for (const s of [y.storage, ...this.#reads]) s.waiting = [...s.waiting, this];
  }

  /** Defers the call. */
  static make<I extends Readonly<Record<string, View | null>>>(kernel: Call<I>, inputs: I, y: View): Deferred<I> {
    return new Deferred(kernel, inputs, y);
  }

  get output(): Storage {
    return this.y.storage;
  }

  get isWaiting(): boolean {
    return this.#state === 'waiting';
  }

  run(): void {
    if (this.#state === 'waiting') this.during(() => this.kernel(this.inputs, this.y));
    this.drop();
  }

  /** Runs `fn`, which may take the addresses of what the call reads without making it run. */
  during(fn: () => void): void {
    this.#state = 'running';
    try {
      fn();
    } finally {
      this.#state = 'waiting';
    }
  }

  drop(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'over';
    for (const s of [this.output, ...this.#reads]) s.waiting = s.waiting.filter((call) => call !== this);
    for (const s of this.#reads) s.release();
  }
}

function ownView(v: View): View {
  return restride(v, v.shape, v.strides);
}

/** The call of `kernel` that y, exactly this view, waits for. */
export function deferredCall<I extends Readonly<Record<string, View | null>>>(kernel: Call<I>, y: View): Deferred<I> | null {
  for (const call of y.storage.waiting)
    if (call instanceof Deferred && call.kernel === kernel && call.isWaiting && sameView(call.y, y)) return call;
  return null;
}

/** Whether two views have the same elements in the same places, if in different memory. */
export function sameLayout(a: View, b: View): boolean {
  const equal = (x: readonly number[], y: readonly number[]): boolean => x.length === y.length && x.every((n, i) => n === y[i]);
  return a.dtype === b.dtype && equal(a.shape, b.shape) && equal(a.strides, b.strides);
}

function sameView(a: View, b: View): boolean {
  return a.storage === b.storage && a.offset === b.offset && sameLayout(a, b);
}
