/**
 * A stack of scopes. Each scope owns the tensors that are created while it is on top.
 */
import { nodeCount, type FreedBy, type Node } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** A list of tensors that are freed together. */
export class Scope {
  readonly kind: FreedBy;
  tensors: Tensor[] = [];
  closed = false;
  /** Nodes with this sequence number and above were made after the scope was opened. */
  readonly firstNode: number = nodeCount();
  #compactAt = 256;

  constructor(kind: FreedBy) {
    this.kind = kind;
  }

  /** Becomes the owner of `t`; returns `t`. */
  adopt(t: Tensor): Tensor {
    // In a long scope around many backwards most entries are freed tensors. They are dropped whenever the list has doubled.
    if (this.tensors.length >= this.#compactAt) {
      this.tensors = this.tensors.filter((x) => x.scope === this && (!x.isReleased || x.hasUndroppedNode));
      this.#compactAt = Math.max(256, this.tensors.length * 2);
    }
    t.scope = this;
    this.tensors.push(t);
    return t;
  }
}

const stack: Scope[] = [];

/** Returns the scope on top, which owns new tensors; null if there is none. */
export function currentScope(): Scope | null {
  return stack.length === 0 ? null : stack[stack.length - 1]!;
}

export function openScope(kind: FreedBy): Scope {
  const s = new Scope(kind);
  stack.push(s);
  return s;
}

/**
 * Closes a scope at any place of the stack. Frees its tensors, except owned ones and `results` with the graph recorded inside.
 * Those are transferred to `into`, by default the enclosing scope.
 */
export function closeScope(s: Scope, results: readonly (Tensor | null)[], into?: Scope): void {
  if (s.closed) return;
  const around = leaveStack(s);
  const outer = into ?? around;
  for (const r of results) if (r !== null) transferResult(r, s, outer);
  for (const t of s.tensors) {
    if (t.scope !== s) continue;
    t.scope = null;
    if (t.isOwned) continue;
    if (t.hasUndroppedNode) t.node!.consume(s.kind);
    t.free(s.kind);
  }
  s.tensors = [];
}

/** Closes the scopes that loops have left open above `s`, and `s`. */
export function closeScopeAndAbove(s: Scope, results: readonly Tensor[]): void {
  for (let top = currentScope(); top !== null && top !== s && stack.includes(s); top = currentScope()) closeScope(top, results);
  closeScope(s, results);
}

/** Removes a scope from the stack and frees nothing: its tensors are transferred to the enclosing scope or the GC fallback. */
export function dissolveScope(s: Scope): void {
  if (s.closed) return;
  const outer = leaveStack(s);
  for (const t of s.tensors) if (t.scope === s) transferTensor(t, outer);
  s.tensors = [];
}

/** Removes a scope from any place of the stack; returns the enclosing one. */
function leaveStack(s: Scope): Scope | null {
  s.closed = true;
  const at = stack.lastIndexOf(s);
  if (at === stack.length - 1) stack.pop();
  else if (at >= 0) stack.splice(at, 1);
  return stack[at - 1] ?? null;
}

/** Transfers a result, and the graph that was recorded inside the scope, to the outer scope. */
function transferResult(result: Tensor, s: Scope, outer: Scope | null): void {
  if (result.scope === s) transferTensor(result, outer);
  if (result.node === null) return;
  const seen = new Set<Node>();
  const nodes: (Node | null)[] = [result.node];
  for (let n = nodes.pop(); n !== undefined; n = nodes.pop()) {
    if (n === null || n.seq < s.firstNode || seen.has(n)) continue;
    seen.add(n);
    if (n.output.scope === s) transferTensor(n.output, outer);
    nodes.push(...n.inputs);
  }
}

/** Transfers one tensor to the outer scope, or to its tape or the GC fallback if there is none. */
function transferTensor(t: Tensor, outer: Scope | null): void {
  t.isExpiring = false;
  if (outer !== null) outer.adopt(t);
  else t.leaveScopes();
}
