/**
 * Nodes, tapes, and what it means to consume them.
 *
 * A node is the autograd identity of a tensor: a leaf, or the recorded result of an operation. Nodes that are connected form
 * a tape. The tape owns the values its nodes hold (outputs and saved tensors) until backward or a scope consumes them, or
 * nobody can reach the tape any more.
 */
import { InPlaceError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import type { Storage } from '../kernels/memory.ts';
import { registerTape, unregisterTape } from './finalize.ts';
import type { AnyOp } from './op.ts';
import type { Tensor } from './tensor.ts';

/** Who consumed a node, or freed a tensor. */
export type FreedBy = 'backward' | 'scope' | 'iteration' | 'dispose';

/** A gradient hook: may return a gradient of the same shape that takes the place of the one it got. */
export type Hook = (grad: Tensor) => Tensor | undefined | void;

/** What a node keeps from being freed. Apart from the node, so that a finalizer can release it without reaching the node. */
export class Holds {
  readonly storages: Storage[] = [];
  /** Whether the output's handle belongs to the tape; it then counts as one storage above. */
  handle = false;
}

/** A tensor that backward will read: the storage is held, whatever becomes of the tensor's handle. */
export class Saved {
  readonly tensor: Tensor;
  readonly storage: Storage;
  readonly version: number;

  constructor(tensor: Tensor) {
    this.tensor = tensor;
    this.storage = tensor.storage;
    this.version = this.storage.version;
  }
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
  readonly op: AnyOp | null;
  /** The nodes of the op's tensor inputs; null where no gradient is wanted. */
  inputs: readonly (Node | null)[];
  /** What the op saved, tensors as Saved. */
  saved: Readonly<Record<string, unknown>> | null = null;
  /** Operations that took this node's output. Leaves keep none: they would tie all tapes together. */
  users: Node[] = [];
  readonly holds: Holds = new Holds();
  output: Tensor;
  hooks: Hook[] | null = null;
  retainsGrad = false;
  /** Who made it unusable: set when a backward that consumes starts, so that nothing else can walk it meanwhile. */
  consumedBy: FreedBy | null = null;
  /** Whether it has given up what it held. */
  spent = false;
  #tape: Tape | null = null;

  constructor(op: AnyOp | null, inputs: readonly (Node | null)[], output: Tensor) {
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
    tape ??= new Tape();
    this.#tape = tape;
    tape.holds.add(this.holds);
  }

  private addUser(user: Node): void {
    const users = this.users;
    // A node that is kept and used in a long loop would collect consumed users: drop them at every power of two.
    if (users.length >= 16 && (users.length & (users.length - 1)) === 0) this.users = users.filter((u) => u.consumedBy === null);
    if (this.users.at(-1) !== user) this.users.push(user);
  }

  /** Keeps the tensors among the values of `saved` for backward. */
  save(saved: Readonly<Record<string, unknown>>, isTensor: (v: unknown) => v is Tensor): void {
    const packed: Record<string, unknown> = {};
    for (const key in saved) {
      const value = saved[key];
      if (isTensor(value)) {
        const s = new Saved(value);
        s.storage.retain();
        this.holds.storages.push(s.storage);
        packed[key] = s;
      } else {
        packed[key] = value;
      }
    }
    this.saved = packed;
  }

  /** Throws if a saved tensor was written to since. */
  checkVersions(): void {
    for (const key in this.saved) {
      const s = this.saved[key];
      if (s instanceof Saved && s.storage.version !== s.version) {
        throw new InPlaceError(
          `backward: ${this.name} saved a tensor ${formatShape(s.tensor.shape)} ('${key}') that was changed in place afterwards ` +
            `(it was at version ${s.version}, now ${s.storage.version}). Change it after backward, or use a copy: x.clone()`,
        );
      }
    }
  }

  /** Gives up what was saved for backward. */
  dropSaved(): void {
    if (this.saved === null) return;
    for (const key in this.saved) {
      const s = this.saved[key];
      if (s instanceof Saved) this.drop(s.storage);
    }
    this.saved = null;
  }

  /** Releases one hold on a storage. */
  private drop(storage: Storage): void {
    const i = this.holds.storages.indexOf(storage);
    if (i < 0) return;
    this.holds.storages.splice(i, 1);
    storage.release();
  }

  /** The tape becomes the owner of the output's handle. */
  holdHandle(storage: Storage): void {
    this.holds.storages.push(storage);
    this.holds.handle = true;
  }

  /** The output's handle belongs to somebody else from now on; its reference goes with it. */
  yieldHandle(storage: Storage): void {
    if (!this.holds.handle) return;
    this.holds.handle = false;
    const i = this.holds.storages.indexOf(storage);
    if (i >= 0) this.holds.storages.splice(i, 1);
  }

  /** Marks the node consumed and gives up all but its output's handle. */
  consume(by: FreedBy): void {
    this.consumedBy ??= by;
    this.spent = true;
    this.dropSaved();
    this.inputs = [];
    this.users = [];
    if (!this.holds.handle) this.leaveTape();
  }

  leaveTape(): void {
    this.tape?.remove(this.holds);
    this.#tape = null;
  }
}

/** A connected set of recorded nodes: union-find over what they hold. */
export class Tape {
  #parent: Tape | null = null;
  holds: Set<Holds> = new Set();
  /** Whether a finalizer frees it when nobody can reach it any more; tapes made inside a scope need none. */
  #watched = false;

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

  watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    registerTape(this, this.holds);
  }

  remove(h: Holds): void {
    this.holds.delete(h);
    if (this.holds.size > 0 || !this.#watched) return;
    this.#watched = false;
    unregisterTape(this);
  }

  static join(a: Tape, b: Tape): Tape {
    if (a === b) return a;
    const [big, small] = a.holds.size >= b.holds.size ? [a, b] : [b, a];
    for (const h of small.holds) big.holds.add(h);
    small.#parent = big;
    if (small.#watched) {
      small.#watched = false;
      unregisterTape(small);
      big.watch();
    }
    small.holds = new Set();
    return big;
  }
}

/** Outputs of consumed nodes, readable until the next recorded operation. */
let bin: Tensor[] = [];

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
    t.binned = true;
    bin.push(t);
  }
}

/** Consumes `nodes` and everything downstream of them. */
export function consume(nodes: Iterable<Node>, by: FreedBy): void {
  const stack = [...nodes];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.op === null || node.spent) continue;
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
export function emptyBin(): void {
  if (bin.length === 0) return;
  const full = bin;
  bin = [];
  for (const t of full) if (t.binned && !t.isOwned) t.free('backward');
}
