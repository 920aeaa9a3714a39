/**
 * A stack of scopes. Each scope owns the tensors that are created while it is on top.
 *
 * The scope of an iteration may be open across `await`, while code runs that has nothing to do with the loop. Such code must never
 * lose a tensor to it. So the stack holds only scopes that belong to the synchronous code that runs now.
 */
import { peek } from '../core/describe.ts';
import { taskValue, type TaskValue } from '../platform/task-value.ts';
import { nodeCount, type FreedBy, type Node } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Whether nothing is left to free: neither the tensor's memory nor what its node has saved. */
function isGone(t: Tensor): boolean {
  return t.isReleased && !t.hasUndroppedNode;
}

/** A list of tensors that are freed together. */
export class Scope {
  readonly kind: FreedBy;
  tensors: Tensor[] = [];
  closed = false;
  /** The scope below it on the stack; null for the lowest, and for a scope that is not on the stack. */
  below: Scope | null = null;
  /** Whether it has given up its tensors, as its loop waits in an asynchronous function. */
  gaveUp = false;
  /** Nodes with this sequence number and above were made after the scope was opened. */
  readonly firstNode: number = nodeCount();
  #compactAt = 256;

  constructor(kind: FreedBy) {
    this.kind = kind;
  }

  close(): void {
    this.closed = true;
  }

  /** Becomes the owner of `t`; returns `t`. */
  adopt(t: Tensor): Tensor {
    // In a long scope around many backwards most entries are freed tensors. They are dropped whenever the list has doubled.
    if (this.tensors.length >= this.#compactAt) {
      this.tensors = this.tensors.filter((x) => x.scope === this && !isGone(x));
      this.#compactAt = Math.max(256, this.tensors.length * 2);
    }
    t.scope = this;
    this.tensors.push(t);
    return t;
  }
}

/**
 * The scope on top of the stack, a linked list. V8 frees the memory of an array that becomes empty, and would allocate it again for each step of a
 * backward: a tenth of the time of a small operation.
 */
let top: Scope | null = null;

/** Returns the scope on top, which owns new tensors; null if there is none. */
export function currentScope(): Scope | null {
  return top ?? taskScope();
}

function push(s: Scope): void {
  s.below = top;
  top = s;
}

/** Removes a scope from any place of the stack; returns the scope below it. Has no effect, and returns null, if it is not on the stack. */
function remove(s: Scope): Scope | null {
  const { below } = s;
  if (top === s) top = below;
  else for (const above of openScopes()) if (above.below === s) above.below = below;
  s.below = null;
  return below;
}

/** Returns the scopes on the stack, innermost first. */
function openScopes(): Scope[] {
  const scopes: Scope[] = [];
  for (let s = top; s !== null; s = s.below) scopes.push(s);
  return scopes;
}

// — scopes across await —

/** The task value holds the scope of an asynchronous loop's iteration for the code of its body. Null until the first such loop. */
let tasks: TaskValue<TaskScope> | null = null;
let knowsTasks = false;
/** The number of open scopes that are values of a task. */
let openTasks = 0;

/** The scope of an iteration of an asynchronous loop. */
class TaskScope extends Scope {
  /** The open scope of the task before this one. */
  outer: Scope | null = null;
  /** Whether the first synchronous part of the loop's body runs, and nothing else. */
  isRunning = false;
  #isTaskValue = false;

  override adopt(t: Tensor): Tensor {
    if (this.isRunning && !this.#isTaskValue && tasks !== null) {
      this.#isTaskValue = true;
      openTasks++;
      this.outer = taskScope();
      tasks.set(this);
    }
    return super.adopt(t);
  }

  override close(): void {
    if (!this.closed && this.#isTaskValue) openTasks--;
    super.close();
  }
}

/** Returns the scope of the task that runs; null where there is none, or where the platform cannot tell tasks apart. */
function taskScope(): Scope | null {
  if (openTasks === 0) return null;
  let s: Scope | null = tasks?.get() ?? null;
  while (s instanceof TaskScope && s.closed) s = s.outer;
  return s;
}

/** Prepares for asynchronous loops. To be called by the code that loops. */
export function followTasks(): void {
  if (!knowsTasks) tasks = taskValue();
  knowsTasks = true;
}

/** Opens the scope of an iteration of an asynchronous loop and calls `fn` in it. It stays open, and leaves the stack. */
export function openTaskScope<T>(fn: (s: Scope) => T): T {
  const s = new TaskScope('iteration');
  push(s);
  try {
    return fn(s);
  } finally {
    park(s);
  }
}

/**
 * Calls `resume`, which fulfils the promise that the loop waits for. The scope is on the stack while the loop's body runs, up to
 * its first `await`: microtasks run in the order in which they were queued, so one runs just before the body, and one just after.
 */
export function resumeIn(s: Scope, resume: () => void): void {
  queueMicrotask(() => {
    if (!(s instanceof TaskScope) || s.closed) return;
    push(s);
    s.isRunning = true;
  });
  resume();
  queueMicrotask(() => park(s));
}

/** Takes the scope of an asynchronous iteration from the stack. */
function park(s: Scope): void {
  if (s instanceof TaskScope) s.isRunning = false;
  remove(s);
}

/** Whether a microtask is queued that runs when the synchronous code that runs now has ended. */
let isWatching = false;

/**
 * Opens the scope of an iteration of a synchronous loop. If it is still open when the synchronous code ends, the loop waits in an
 * asynchronous function. Then nothing tells whose code made its tensors, or will make others: the code that called this function
 * runs on before the wait is over. So the scope gives up what it has, and owns nothing from then on.
 */
export function openIteration(): Scope {
  if (!isWatching) queueMicrotask(giveUpIterations);
  isWatching = true;
  return openScope('iteration');
}

function giveUpIterations(): void {
  isWatching = false;
  for (const s of openScopes()) {
    if (s.kind !== 'iteration' || s instanceof TaskScope) continue;
    s.gaveUp = true;
    abandonScope(s);
  }
}

/** Removes a scope from the stack and frees nothing: its tensors are left to the GC fallback, because other code may use them. */
export function abandonScope(s: Scope): void {
  leaveStack(s);
  for (const t of s.tensors) {
    if (t.scope !== s || isGone(t)) continue;
    // The next recorded operation frees an expiring tensor.
    if (t.isExpiring) t.scope = null;
    else t.leaveScopes();
  }
  s.tensors = [];
}

// — opening and closing —

export function openScope(kind: FreedBy): Scope {
  const s = new Scope(kind);
  push(s);
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
  if (top !== s && openScopes().includes(s)) while (top !== s) closeScope(top!, results);
  closeScope(s, results);
}

/**
 * Returns `fn` as a function that leaves its result and nothing else. Afterwards its other tensors are freed, also if it throws,
 * except those whose node the result's graph needs: they stay on their tape. For functions composed of several operations.
 */
/* @__NO_SIDE_EFFECTS__ */
export function composed<A extends readonly unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    const s = openScope('dispose');
    let result: R | null = null;
    try {
      result = fn(...args);
      return result;
    } finally {
      closeComposed(s, result);
    }
  };
}

/** Frees what a composed function has made, except its result, a tensor or an array of them, and what a live graph needs. */
function closeComposed(s: Scope, result: unknown): void {
  const outer = leaveStack(s);
  const left: Tensor[] = [];
  // Newest first, so that a node is met after those that use it.
  for (let i = s.tensors.length - 1; i >= 0; i--) {
    const t = s.tensors[i]!;
    if (t.scope !== s || isGone(t)) continue;
    const isResult = t === result || (Array.isArray(result) && result.includes(t));
    if (isResult || (t.hasLiveNode && t.node!.isUsed)) {
      left.push(t);
      continue;
    }
    drop(t, s);
  }
  for (let i = left.length - 1; i >= 0; i--) passOn(left[i]!, outer);
}

/** Frees a tensor, and what its node has saved. */
function drop(t: Tensor, s: Scope): void {
  if (t.hasLiveNode) t.node!.consume(s.kind);
  t.free(s.kind);
}

/** Frees the nodes that no other live node uses. */
function dropUnused(s: Scope): void {
  // Newest first, so that a node is met after those that use it.
  for (const t of s.tensors.toReversed()) if (t.scope === s && t.hasLiveNode && !t.node!.isUsed) drop(t, s);
}

/**
 * Runs `fn`, whose tensors stay. Passes it a function that frees one of them, unless it has a node or is the user's own: for a
 * layer that calls other layers and drops their results. If `fn` throws, the nodes that it recorded are freed.
 */
export function releasing<R>(fn: (release: (t: Tensor) => void) => R): R {
  const s = openScope('scope');
  const release = (t: Tensor): void => {
    if (t.scope === s && t.node === null) t.free(s.kind);
  };
  let failed = true;
  try {
    const result = fn(release);
    failed = false;
    return result;
  } finally {
    const outer = leaveStack(s);
    if (failed) dropUnused(s);
    for (const t of s.tensors) if (t.scope === s && !isGone(t)) passOn(t, outer);
  }
}

/**
 * Runs `fn`, and frees its tensors; its result holds none. If it returns a promise, it goes on after this call, so they are left to the
 * GC fallback.
 */
export function startInScope<R>(fn: () => R | Promise<R>): R | Promise<R> {
  const s = openScope('scope');
  let result: R | Promise<R> | null = null;
  try {
    result = fn();
    return result;
  } finally {
    if (typeof peek(result, 'then') === 'function') abandonScope(s);
    else closeScope(s, []);
  }
}

/** The tensors that became the user's own in the innermost call of allOrNone; null outside of such calls. */
let kept: Tensor[] | null = null;

/** Notes that a tensor became the user's own. */
export function noteKept(t: Tensor): void {
  kept?.push(t);
}

/**
 * Runs `fn`, whose tensors stay. If it throws, they are freed, also those that would be the user's own, such as parameters. For
 * functions and constructors that make several tensors.
 */
export function allOrNone<R>(fn: () => R): R {
  const before = kept;
  const own: Tensor[] = [];
  kept = own;
  const s = openScope('dispose');
  let failed = true;
  try {
    const result = fn();
    failed = false;
    return result;
  } finally {
    kept = before;
    const outer = leaveStack(s);
    if (failed) for (const t of own) t.dispose();
    else before?.push(...own);
    for (const t of s.tensors) {
      if (t.scope !== s || isGone(t)) continue;
      if (failed) drop(t, s);
      else passOn(t, outer);
    }
  }
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
  s.close();
  return remove(s) ?? taskScope();
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

/** Transfers one tensor to the outer scope, or to its tape or the GC fallback if there is none. An expiring one stays. */
function transferTensor(t: Tensor, outer: Scope | null): void {
  t.isExpiring = false;
  passOn(t, outer);
}

/** The same, but an expiring tensor stays expiring. */
function passOn(t: Tensor, outer: Scope | null): void {
  if (outer !== null) outer.adopt(t);
  else t.leaveScopes();
}
