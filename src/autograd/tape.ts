/**
 * Nodes, tapes, and what it means to consume them.
 *
 * A node is the autograd identity of a tensor: a leaf, or the recorded result of an operation. Nodes that are connected form
 * a tape. The tape owns the values its nodes hold (outputs and saved tensors) until backward or a scope consumes them, or
 * nobody can reach the tape any more.
 */
import { InPlaceError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import type { Storage } from '../kernels/memory/storage.ts';
import { NodeClaim, registerTape, unregisterTape } from './gc-fallback.ts';
import type { Tensor } from './tensor.ts';

/** Who consumed a node, or freed a tensor. */
export type FreedBy = 'backward' | 'scope' | 'iteration' | 'dispose';

/** A gradient hook: may return a gradient of the same shape that takes the place of the one it got. */
export type Hook = (grad: Tensor) => Tensor | undefined | void;

/** A tensor that backward will read: its storage is held, whatever becomes of the tensor's handle. */
export interface Saved {
  readonly key: string;
  readonly tensor: Tensor;
  readonly storage: Storage;
  readonly version: number;
}

/** Of nodes that have none: spent ones, and most others. */
const NONE: never[] = [];

/** What a node keeps of its operation: its name, and what backward needs of it. The whole of an operation is in op.ts. */
export interface RecordedOp {
  readonly name: string;
  readonly broadcasts?: boolean;
  readonly backward?: (g: Tensor, saved: Readonly<Record<string, unknown>>, needs: readonly boolean[]) => readonly (Tensor | null)[];
  readonly definition?: (...args: readonly unknown[]) => Tensor | Tensor[];
}

let sequence = 0;

/** How many nodes there have been: the sequence number of the next one. */
export function nodeCount(): number {
  return sequence;
}

export class Node {
  /** Creation order: an operation is newer than its inputs. */
  readonly seq: number = sequence++;
  /** Null for a leaf. */
  readonly op: RecordedOp | null;
  /** The nodes of the op's tensor inputs; null where no gradient is wanted. */
  inputs: readonly (Node | null)[];
  /** What the op saved. */
  saved: Readonly<Record<string, unknown>> | null = null;
  /** The tensors among it. */
  savedTensors: readonly Saved[] = NONE;
  /** Operations that took this node's output. Leaves keep none: they would tie all tapes together. */
  users: Node[] = NONE;
  readonly claim: NodeClaim = new NodeClaim();
  output: Tensor;
  hooks: Hook[] | null = null;
  retainsGrad = false;
  /** Its place in the walk that is being planned. */
  visit: Visit | null = null;
  /** Who made it unusable: set when a backward that consumes starts, so that nothing else can walk it meanwhile. */
  consumedBy: FreedBy | null = null;
  /** Whether it has given up what it held. */
  released = false;
  #tape: Tape | null = null;

  constructor(op: RecordedOp | null, inputs: readonly (Node | null)[], output: Tensor) {
    this.op = op;
    this.inputs = inputs;
    this.output = output;
  }

  get name(): string {
    return this.op?.name ?? 'leaf';
  }

  get tape(): Tape | null {
    return this.#tape === null ? null : (this.#tape = this.#tape.root());
  }

  /** Joins the tapes of the inputs and becomes a user of each. */
  record(): void {
    let tape: Tape | null = null;
    for (const input of this.inputs) {
      const t = input?.tape;
      if (t == null) continue;
      tape = tape === null ? t : Tape.join(tape, t);
      input!.addUser(this);
    }
    this.#tape = tape ?? new Tape();
    this.#tape.ring.join(this.claim);
  }

  private addUser(user: Node): void {
    const { users } = this;
    const n = users.length;
    // A node that is kept and used in a long loop would collect consumed users: drop them at every power of two.
    if (n >= 16 && (n & (n - 1)) === 0) this.users = users.filter((u) => u.consumedBy === null);
    if (n === 0) this.users = [user];
    else if (users[n - 1] !== user) this.users.push(user);
  }

  /** Keeps the tensors among the values of `saved` for backward. */
  save(saved: Readonly<Record<string, unknown>>, isTensor: (v: unknown) => v is Tensor): void {
    const kept: Saved[] = [];
    for (const key in saved) {
      const tensor = saved[key];
      if (!isTensor(tensor)) continue;
      const { storage } = tensor;
      storage.retain();
      kept.push({ key, tensor, storage, version: storage.version });
    }
    this.saved = saved;
    this.savedTensors = kept;
    this.claim.saved = kept.map((s) => s.storage);
  }

  /** Throws if a saved tensor was written to since. */
  checkVersions(): void {
    for (const { key, tensor, storage, version } of this.savedTensors) {
      if (storage.version === version) continue;
      throw new InPlaceError(
        `backward: ${this.name} saved a tensor ${formatShape(tensor.shape)} ('${key}') that was changed in place afterwards ` +
          `(it was at version ${version}, now ${storage.version}). Change it after backward, or use a copy: x.clone()`,
      );
    }
  }

  /** Gives up what was saved for backward. */
  dropSaved(): void {
    this.saved = null;
    this.savedTensors = NONE;
    const { saved } = this.claim;
    this.claim.saved = NONE;
    for (const s of saved) s.release();
  }

  /** Marks the node consumed and gives up all but its output's handle. */
  consume(by: FreedBy): void {
    this.consumedBy ??= by;
    this.released = true;
    this.dropSaved();
    this.inputs = NONE;
    this.users = NONE;
    if (this.claim.output === null) this.leaveTape();
  }

  leaveTape(): void {
    this.claim.leave();
    this.tape?.unregisterIfEmpty();
    this.#tape = null;
  }
}

/** A node on the way of a walk. */
export class Visit {
  readonly node: Node;
  /** Those of its inputs that gradients flow to. */
  inputs: readonly (Visit | null)[] = [];
  /** Whether gradients are wanted for it or for what lies behind it. */
  wanted = true;
  /** What has arrived so far. */
  grad: Tensor | null = null;

  constructor(node: Node) {
    this.node = node;
  }

  get hasInputs(): boolean {
    return this.inputs.some((input) => input !== null);
  }
}

/** A connected set of recorded nodes: union-find over what they hold. */
export class Tape {
  #parent: Tape | null = null;
  /** A place in the ring of what the nodes hold that holds nothing itself. */
  readonly ring: NodeClaim = new NodeClaim();
  /** Whether a finalizer frees it when nobody can reach it any more; tapes made inside a scope need none. */
  #registered = false;

  root(): Tape {
    let root: Tape = this;
    while (root.#parent !== null) root = root.#parent;
    for (let t: Tape = this; t !== root; ) {
      const next: Tape = t.#parent!;
      t.#parent = root;
      t = next;
    }
    return root;
  }

  registerForGc(): void {
    if (this.#registered) return;
    this.#registered = true;
    registerTape(this, this.ring);
  }

  unregisterIfEmpty(): void {
    if (!this.#registered || this.ring.next !== this.ring) return;
    this.#registered = false;
    unregisterTape(this);
  }

  static join(a: Tape, b: Tape): Tape {
    if (a === b) return a;
    a.ring.join(b.ring);
    b.ring.leave();
    b.#parent = a;
    if (b.#registered) a.registerForGc();
    b.unregisterIfEmpty();
    return a;
  }
}

/** Outputs of consumed nodes, readable until the next recorded operation. */
let expiring: Tensor[] = [];

/** Consumes one node. Its output, unless owned, stays readable in the bin; a 0-d one becomes a plain number and frees its memory. */
function retire(node: Node, by: FreedBy): void {
  node.consume(by);
  const t = node.output;
  if (t.isReleased || t.isOwned) return;
  if (node.retainsGrad) {
    // Its grad is there to be read: from now on it is a tensor like any other.
    t.leaveTape();
  } else if (t.ndim === 0) {
    t.free(by);
  } else {
    t.isExpiring = true;
    expiring.push(t);
  }
}

/** Consumes `nodes` and everything downstream of them. */
export function consume(nodes: Iterable<Node>, by: FreedBy): void {
  const stack = [...nodes];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.op === null || node.released) continue;
    for (const user of node.users) stack.push(user);
    retire(node, by);
  }
}

/** Consumes `node`, a root, and those of its ancestors that lead nowhere else and that nobody owns. */
export function discard(node: Node, by: FreedBy): void {
  const stack = [node];
  for (let n = stack.pop(); n !== undefined; n = stack.pop()) {
    if (n.op === null || n.consumedBy !== null || n.users.some((u) => u.consumedBy === null)) continue;
    if (n !== node && n.output.isOwned && !n.output.isReleased) continue;
    for (const input of n.inputs) if (input !== null) stack.push(input);
    retire(n, by);
  }
}

/** Frees what the last backward left readable. */
export function freeExpiring(): void {
  if (expiring.length === 0) return;
  const batch = expiring;
  expiring = [];
  for (const t of batch) if (t.isExpiring && !t.isOwned) t.free('backward');
}
