/**
 * The GC fallback: a finalizer for every tape and tensor without another owner. Finalizers do not run inside a synchronous loop,
 * so a warning is printed once where many entries accumulate.
 */
import type { Storage } from '../kernels/memory/storage.ts';

/** A tensor's claim on its storage. The finalizer reads it, so it must not reference the tensor. */
export class StorageClaim {
  readonly storage: Storage;
  requiresGrad: boolean;

  constructor(storage: Storage, requiresGrad: boolean) {
    this.storage = storage;
    this.requiresGrad = requiresGrad;
  }
}

/**
 * A node's claims on storages. The finalizer of a tape releases them, so they must not reference the node.
 * The claims of a tape's nodes form a ring, so that two tapes join, and a node leaves, in constant time.
 */
export class NodeClaim {
  /** The storages of saved tensors. */
  saved: readonly Storage[] = [];
  /** The output's storage; null where the tape does not own the output's handle. */
  output: Storage | null = null;
  next: NodeClaim = this;
  private previous: NodeClaim = this;

  /** Makes one ring of two. */
  join(other: NodeClaim): void {
    const { next } = this;
    const last = other.previous;
    this.next = other;
    other.previous = this;
    last.next = next;
    next.previous = last;
  }

  /** Leaves the ring. */
  leave(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.next = this;
    this.previous = this;
  }
}

const MANY_TENSORS = 20_000;
const MANY_TAPES = 2_000;

let live = 0;
let registeredTensors = 0;
let registeredTapes = 0;
let warned = false;

/** Returns the number of live tensors of any kind. */
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
  for (let claim = ring.next; claim !== ring; claim = claim.next) {
    if (claim.output !== null) live--;
    claim.output?.release();
    for (const s of claim.saved) s.release();
  }
});

export function registerTensor(t: object, claim: StorageClaim): void {
  tensorRegistry.register(t, claim, claim);
  if (++registeredTensors >= MANY_TENSORS) warn(`${registeredTensors} tensors`);
}

export function unregisterTensor(claim: StorageClaim): void {
  if (tensorRegistry.unregister(claim)) registeredTensors--;
}

/** Registers a tape whose nodes' claims form `ring`. */
export function registerTape(tape: object, ring: NodeClaim): void {
  tapeRegistry.register(tape, ring, tape);
  if (++registeredTapes >= MANY_TAPES) warn(`${registeredTapes} recorded graphs`);
}

export function unregisterTape(tape: object): void {
  if (tapeRegistry.unregister(tape)) registeredTapes--;
}

/** Calls `cleanup` after `target` is collected; `cleanup` must not reference `target`. */
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
