/**
 * The last net: a finalizer for every tape and tensor that neither a scope nor a backward will free. Finalizers do not run
 * inside a synchronous loop, so what piles up is reported once.
 */
import type { Storage } from '../kernels/memory/storage.ts';

/** A tensor's claim on its storage, apart from the tensor. */
export class Lease {
  readonly storage: Storage;
  requiresGrad: boolean;

  constructor(storage: Storage, requiresGrad: boolean) {
    this.storage = storage;
    this.requiresGrad = requiresGrad;
  }
}

/** What a node keeps from being freed. Apart from the node, so that a finalizer can release it without reaching the node. */
export class Holds {
  /** The storages of saved tensors. */
  saved: readonly Storage[] = [];
  /** The output's storage, where the output's handle belongs to the tape. */
  output: Storage | null = null;
  /** What the nodes of a tape hold is a ring, so that tapes join and nodes leave at once. */
  next: Holds = this;
  private previous: Holds = this;

  /** Makes one ring of two. */
  join(other: Holds): void {
    const [next, last] = [this.next, other.previous];
    this.next = other;
    other.previous = this;
    last.next = next;
    next.previous = last;
  }

  leave(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.next = this.previous = this;
  }
}

const MANY_TENSORS = 20_000;
const MANY_TAPES = 2_000;

let live = 0;
let looseTensors = 0;
let looseTapes = 0;
let warned = false;

/** Live tensors of any kind. */
export function tensorCount(): number {
  return live;
}

export function countTensor(by: 1 | -1): void {
  live += by;
}

const tensorRegistry = new FinalizationRegistry<Lease>((lease) => {
  looseTensors--;
  live--;
  if (lease.requiresGrad) lease.storage.gradRefs--;
  lease.storage.release();
});

const tapeRegistry = new FinalizationRegistry<Holds>((tape) => {
  looseTapes--;
  for (let h = tape.next; h !== tape; h = h.next) {
    if (h.output !== null) live--;
    h.output?.release();
    for (const s of h.saved) s.release();
  }
});

export function registerTensor(t: object, lease: Lease): void {
  tensorRegistry.register(t, lease, lease);
  if (++looseTensors >= MANY_TENSORS) warn(`${looseTensors} tensors`);
}

export function unregisterTensor(lease: Lease): void {
  if (tensorRegistry.unregister(lease)) looseTensors--;
}

export function registerTape(tape: object, holds: Holds): void {
  tapeRegistry.register(tape, holds, tape);
  if (++looseTapes >= MANY_TAPES) warn(`${looseTapes} recorded graphs`);
}

export function unregisterTape(tape: object): void {
  if (tapeRegistry.unregister(tape)) looseTapes--;
}

/** Calls `cleanup` when nobody can reach `target` any more; `cleanup` must not reach it either. */
export function whenCollected(target: object, cleanup: () => void): void {
  cleanups.register(target, cleanup);
}

const cleanups = new FinalizationRegistry<() => void>((cleanup) => cleanup());

function warn(what: string): void {
  if (warned) return;
  warned = true;
  console.warn(
    `chainrule: ${what} wait for the garbage collector, which cannot run inside a synchronous loop. ` +
      'Evaluate under noGrad(() => …), or loop with for (const i of scoped(n)), which free what an iteration made.',
  );
}
