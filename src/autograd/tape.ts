/**
 * Nodes, tapes, and how they are consumed.
 *
 * A node stands for a tensor in the graph: a leaf, or the recorded result of an operation. Connected nodes form a tape. The tape
 * owns the outputs and saved tensors of its nodes until backward or a scope consumes them, or the tape is collected.
 */
import { InPlaceError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import type { Storage } from '../kernels/memory/storage.ts';
import { NodeClaim, registerTape, unregisterTape } from './gc-fallback.ts';
import type { Tensor } from './tensor.ts';

/** What consumed a node, or freed a tensor. */
export type FreedBy = 'backward' | 'scope' | 'iteration' | 'dispose';

/** A gradient hook: may return a gradient of the same shape, which replaces the one it received. */
export type Hook = (grad: Tensor) => Tensor | undefined | void;

/** A tensor that backward will read. Its storage is retained even if the tensor's handle is freed. */
export interface Saved {
  readonly key: string;
  readonly tensor: Tensor;
  readonly storage: Storage;
  readonly version: number;
}

/** Shared by all nodes without saved tensors, inputs or users. */
const NONE: never[] = [];

/** The part of an operation that backward and instrumentation read. op.ts declares the whole. */
export interface RecordedOp {
  readonly name: string;
  readonly broadcasts?: boolean;
  readonly backward?: (g: Tensor, saved: Readonly<Record<string, unknown>>, needs: readonly boolean[]) => readonly (Tensor | null)[];
  readonly definition?: (...args: readonly unknown[]) => Tensor | Tensor[];
}

let sequence = 0;

/** Returns the number of nodes created so far: the sequence number of the next one. */
export function nodeCount(): number {
  return sequence;
}

export class Node {
  /** Creation order. An operation is newer than its inputs, so descending order is a topological order. */
  readonly seq: number = sequence++;
  /** Null for a leaf. */
  readonly op: RecordedOp | null;
  /** The nodes of the op's arguments, by position; null where no gradient is required. */
  inputs: readonly (Node | null)[];
  /** The op's arguments if constants are among them, which instruments name; otherwise empty. Their memory is not retained. */
  args: readonly unknown[];
  /** The values that the op saved for backward. */
  saved: Readonly<Record<string, unknown>> | null = null;
  /** The tensors among `saved`. */
  savedTensors: readonly Saved[] = NONE;
  /** Operations that took this node's output. Leaves have none, as they would connect all tapes. */
  users: Node[] = NONE;
  readonly claim: NodeClaim = new NodeClaim();
  output: Tensor;
  hooks: Hook[] | null = null;
  /** Receives the gradient of a leaf once a backward has completed it; see withLeafListener. */
  listener: ((g: Tensor) => void) | null = null;
  retainsGrad = false;
  /** Its visit while a walk is planned. */
  visit: Visit | null = null;
  /** What consumed it. Set when a consuming backward starts, so that no other walk can visit it meanwhile. */
  consumedBy: FreedBy | null = null;
  /** Whether it has dropped its saved tensors and inputs. */
  dropped = false;
  #tape: Tape | null = null;

  constructor(op: RecordedOp | null, inputs: readonly (Node | null)[], output: Tensor, args: readonly unknown[] = NONE) {
    this.op = op;
    this.inputs = inputs;
    this.args = args;
    this.output = output;
  }

  get name(): string {
    return this.op?.name ?? 'leaf';
  }

  get tape(): Tape | null {
    if (this.#tape === null) return null;
    this.#tape = this.#tape.root();
    return this.#tape;
  }

  /** Joins the tapes of the inputs and becomes a user of each input. */
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

  /** Whether a node that backward can still walk has taken its output. */
  get isUsed(): boolean {
    return this.users.some((u) => u.consumedBy === null);
  }

  private addUser(user: Node): void {
    const { users } = this;
    const n = users.length;
    // A node that a long loop uses would accumulate consumed users. They are dropped at every power of two.
    if (n >= 16 && (n & (n - 1)) === 0) this.users = users.filter((u) => u.consumedBy === null);
    if (n === 0) this.users = [user];
    else if (users[n - 1] !== user) this.users.push(user);
  }

  /** Retains the tensors among the values of `saved` for backward. */
  save(saved: Readonly<Record<string, unknown>>, isTensor: (v: unknown) => v is Tensor): void {
    const tensors: Saved[] = [];
    const storages: Storage[] = [];
    for (const key in saved) {
      const tensor = saved[key];
      if (!isTensor(tensor)) continue;
      const { storage } = tensor;
      storage.retain();
      tensors.push({ key, tensor, storage, version: storage.version });
      storages.push(storage);
    }
    this.saved = saved;
    this.savedTensors = tensors;
    this.claim.saved = storages;
  }

  /** Throws InPlaceError if a saved tensor was written to since. */
  checkVersions(): void {
    for (const { key, tensor, storage, version } of this.savedTensors) {
      if (storage.version === version) continue;
      throw new InPlaceError(
        `backward: ${this.name} saved a tensor ${formatShape(tensor.shape)} ('${key}') that was changed in place afterwards ` +
          `(it was at version ${version}, now ${storage.version}). Change it after backward, or use a copy: x.clone()`,
      );
    }
  }

  /** Releases what was saved for backward. */
  dropSaved(): void {
    this.saved = null;
    this.savedTensors = NONE;
    const { saved } = this.claim;
    this.claim.saved = NONE;
    for (const s of saved) s.release();
  }

  /** Marks the node consumed and releases everything except its output's handle. */
  consume(by: FreedBy): void {
    this.consumedBy ??= by;
    this.dropped = true;
    this.dropSaved();
    this.inputs = NONE;
    this.args = NONE;
    this.users = NONE;
    if (this.claim.output === null) this.leaveTape();
  }

  /** Leaves the tape. */
  leaveTape(): void {
    this.claim.leave();
    this.tape?.unregisterIfEmpty();
    this.#tape = null;
  }
}

/** A node of a walk, with its accumulated gradient. */
export class Visit {
  readonly node: Node;
  /** The visits of its inputs by argument position; null where no gradient flows. */
  inputs: readonly (Visit | null)[] = [];
  /** Whether the walk needs its gradient: it is a requested node or depends on one. */
  wanted = true;
  /** The gradient accumulated so far. */
  grad: Tensor | null = null;

  constructor(node: Node) {
    this.node = node;
  }

  /** Whether gradients flow from here to an input. */
  get hasInputs(): boolean {
    for (const input of this.inputs) if (input !== null) return true;
    return false;
  }
}

/** A connected set of recorded nodes, joined by union-find. */
export class Tape {
  #parent: Tape | null = null;
  /** The tape's own entry in the ring of its nodes' claims. It claims nothing. */
  readonly ring: NodeClaim = new NodeClaim();
  /** Whether the GC fallback frees it. Tapes recorded inside a scope do not need that. */
  #registered = false;

  /** Returns the tape that this one was joined to, and shortens the path to it. */
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

  /** Registers the tape with the GC fallback. */
  registerForGc(): void {
    if (this.#registered) return;
    this.#registered = true;
    registerTape(this, this.ring);
  }

  /** Removes the tape from the GC fallback if no node is left on it. */
  unregisterIfEmpty(): void {
    if (!this.#registered || this.ring.next !== this.ring) return;
    this.#registered = false;
    unregisterTape(this);
  }

  /** Joins two tapes; returns the one that is left. */
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

/** Outputs of consumed nodes. They stay readable until the next recorded operation frees them. */
let expiring: Tensor[] = [];

/** Consumes one node. Its output, unless owned, becomes an expiring tensor. A 0-d output that is no view is freed at once, as it retains its value. */
function retire(node: Node, by: FreedBy): void {
  node.consume(by);
  const t = node.output;
  if (t.isReleased || t.isOwned) return;
  if (node.retainsGrad) {
    // Its `grad` may be read later, so it becomes a tensor without a tape.
    t.leaveTape();
  } else if (t.ndim === 0 && !t.isScalarView) {
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
    if (node.op === null || node.dropped) continue;
    for (const user of node.users) stack.push(user);
    retire(node, by);
  }
}

/** Consumes `node`, a root, and those of its ancestors that no other live node uses and the user does not own. */
export function discard(node: Node, by: FreedBy): void {
  const stack = [node];
  for (let n = stack.pop(); n !== undefined; n = stack.pop()) {
    if (n.op === null || n.consumedBy !== null || n.isUsed) continue;
    if (n !== node && n.output.isOwned && !n.output.isReleased) continue;
    for (const input of n.inputs) if (input !== null) stack.push(input);
    retire(n, by);
  }
}

/** Frees the expiring tensors. */
export function freeExpiring(): void {
  if (expiring.length === 0) return;
  const batch = expiring;
  expiring = [];
  for (const t of batch) if (t.isExpiring && !t.isOwned) t.free('backward');
}
