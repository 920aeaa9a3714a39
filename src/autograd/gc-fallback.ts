/**
 * The last net: a finalizer for every tape and tensor that neither a scope nor a backward will free. Finalizers do not run
 * inside a synchronous loop, so what piles up is reported once.
 */
import type { Storage } from '../kernels/memory/storage.ts';

/** A tensor's claim on its storage, apart from the tensor. */
export class StorageClaim {
  readonly storage: Storage;
  requiresGrad: boolean;

  constructor(storage: Storage, requiresGrad: boolean) {
    this.storage = storage;
    this.requiresGrad = requiresGrad;
  }
}

/** What a node keeps from being freed. Apart from the node, so that a finalizer can release it without reaching the node. */
export class NodeClaim {
  /** The storages of saved tensors. */
  saved: readonly Storage[] = [];
  /** The output's storage, where the output's handle belongs to the tape. */
  output: Storage | null = null;
  /** What the nodes of a tape hold is a ring, so that tapes join and nodes leave at once. */
  next: NodeClaim = this;
  private previous: NodeClaim = this;

  /** Makes one ring of two. */
  join(other: NodeClaim): void {
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
let registeredTensors = 0;
let registeredTapes = 0;
let warned = false;

/** Live tensors of any kind. */
export function tensorCount(): number {
  return live;
}

export function countTensor(by: 1 | -1): void {
  live += by;
}

const tensorRegistry = new FinalizationRegistry<StorageClaim>((claim) => {
  registeredTensors--;
  live--;
  if (claim.requiresGrad) claim.storage.gradRefs--;
  claim.storage.release();
});

const tapeRegistry = new FinalizationRegistry<NodeClaim>((ring) => {
  registeredTapes--;
  for (let h = ring.next; h !== ring; h = h.next) {
    if (h.output !== null) live--;
    h.output?.release();
    for (const s of h.saved) s.release();
  }
});

export function registerTensor(t: object, claim: StorageClaim): void {
  tensorRegistry.register(t, claim, claim);
  if (++registeredTensors >= MANY_TENSORS) warn(`${registeredTensors} tensors`);
}

export function unregisterTensor(claim: StorageClaim): void {
  if (tensorRegistry.unregister(claim)) registeredTensors--;
}

export function registerTape(tape: object, ring: NodeClaim): void {
  tapeRegistry.register(tape, ring, tape);
  if (++registeredTapes >= MANY_TAPES) warn(`${registeredTapes} recorded graphs`);
}

export function unregisterTape(tape: object): void {
  if (tapeRegistry.unregister(tape)) registeredTapes--;
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
