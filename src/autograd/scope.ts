/**
 * Scopes: who frees what was made where. A stack, because scopes nest; everything made while a scope is on top is its.
 */
import { ScopeError } from '../core/errors.ts';
import { whenCollected } from './finalize.ts';
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

  adopt(t: Tensor): Tensor {
    // A long scope around many backwards would collect what they freed: drop it whenever the list has doubled.
    if (this.tensors.length >= this.#compactAt) {
      this.tensors = this.tensors.filter((x) => x.scope === this && (!x.isReleased || x.hasUnspentNode));
      this.#compactAt = Math.max(256, this.tensors.length * 2);
    }
    t.scope = this;
    this.tensors.push(t);
    return t;
  }
}

const stack: Scope[] = [];

/** The scope that adopts what is made now; null outside all. */
export function currentScope(): Scope | null {
  return stack.length === 0 ? null : stack[stack.length - 1]!;
}

/** How operations run now. */
interface Mode {
  /** Whether they are recorded. */
  readonly grad: boolean;
  readonly backward: boolean;
  /** While a forward is repeated: the number of its first node. */
  readonly repeatedFrom: number | null;
}

let mode: Mode = { grad: true, backward: false, repeatedFrom: null };

function withMode<T>(next: Mode, fn: () => T): T {
  const before = mode;
  mode = next;
  try {
    return fn();
  } finally {
    mode = before;
  }
}

/** Whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return mode.grad;
}

/** Whether a backward runs now. */
export function isInsideBackward(): boolean {
  return mode.backward;
}

/** Runs `fn` with recording on or off, without a scope. */
export function withGradMode<T>(grad: boolean, fn: () => T): T {
  return mode.grad === grad ? fn() : withMode({ ...mode, grad }, fn);
}

/** Runs `fn` as part of a backward, with recording on or off: recorded operations in it leave the bin alone. */
export function duringBackward<T>(grad: boolean, fn: () => T): T {
  return withMode({ ...mode, grad, backward: true }, fn);
}

/** Runs `fn`, which opens a scope, as the repetition of a forward: recorded, and without writing to what was there before. */
export function repeating<T>(fn: () => T): T {
  return withMode({ ...mode, grad: true, repeatedFrom: nodeCount() }, fn);
}

/** Whether a forward is being repeated that did not make `t`: its first pass has written what there was to write. */
export function isSettled({ scope }: Tensor): boolean {
  return mode.repeatedFrom !== null && (scope === null || scope.firstNode < mode.repeatedFrom);
}

export function openScope(kind: FreedBy): Scope {
  const s = new Scope(kind);
  stack.push(s);
  return s;
}

/**
 * Closes a scope wherever it sits. What it made and is neither owned nor among `results` (with the history made inside) is
 * freed; results go to `into`, by default the scope around it.
 */
export function closeScope(s: Scope, results: readonly (Tensor | null)[], into?: Scope): void {
  if (s.closed) return;
  const around = leaveStack(s);
  const outer = into ?? around;
  for (const r of results) if (r !== null) pass(r, s, outer);
  for (const t of s.tensors) {
    if (t.scope !== s) continue;
    t.scope = null;
    if (t.isOwned) continue;
    if (t.hasUnspentNode) t.node!.consume(s.kind);
    t.free(s.kind);
  }
  s.tensors = [];
}

/** Takes a scope off the stack and frees nothing: all it made passes to the scope around, or to the garbage collector. */
function dissolveScope(s: Scope): void {
  if (s.closed) return;
  const outer = leaveStack(s);
  for (const t of s.tensors) if (t.scope === s) hand(t, outer);
  s.tensors = [];
}

/** Takes a scope off the stack, wherever it sits; returns the one around it. */
function leaveStack(s: Scope): Scope | null {
  s.closed = true;
  const at = stack.lastIndexOf(s);
  if (at === stack.length - 1) stack.pop();
  else if (at >= 0) stack.splice(at, 1);
  return stack[at - 1] ?? null;
}

/** Hands a result and the history that was made inside to the outer scope. */
function pass(result: Tensor, s: Scope, outer: Scope | null): void {
  if (result.scope === s) hand(result, outer);
  if (result.node === null) return;
  const seen = new Set<Node>();
  const nodes: (Node | null)[] = [result.node];
  for (let n = nodes.pop(); n !== undefined; n = nodes.pop()) {
    if (n === null || n.seq < s.firstNode || seen.has(n)) continue;
    seen.add(n);
    if (n.output.scope === s) hand(n.output, outer);
    nodes.push(...n.inputs);
  }
}

function hand(t: Tensor, outer: Scope | null): void {
  t.binned = false;
  if (outer !== null) outer.adopt(t);
  else t.leaveScopes();
}

/** All tensors in a result: itself, or in arrays, records, Map and Set, however deep. */
export function tensorsIn(value: unknown, isTensor: (v: unknown) => v is Tensor): Tensor[] {
  if (isTensor(value)) return [value];
  const found: Tensor[] = [];
  const seen = new Set<object>();
  const visit = (v: unknown): void => {
    if (typeof v !== 'object' || v === null || seen.has(v)) return;
    seen.add(v);
    if (isTensor(v)) {
      found.push(v);
    } else if (Array.isArray(v) || v instanceof Set) {
      v.forEach(visit);
    } else if (v instanceof Map) {
      for (const [k, x] of v) {
        visit(k);
        visit(x);
      }
    } else if (Object.getPrototypeOf(v) === Object.prototype || Object.getPrototypeOf(v) === null) {
      Object.values(v).forEach(visit);
    }
  };
  visit(value);
  return found;
}

/** Runs `fn` in a scope of its own; also closes scopes that loops inside `fn` have left open. */
export function runScoped<T>(name: string, fn: () => T, isTensor: (v: unknown) => v is Tensor): T {
  const s = openScope('scope');
  let result: T | undefined;
  let results: Tensor[] = [];
  try {
    result = fn();
    refuseDeferred(name, result);
    results = tensorsIn(result, isTensor);
    return result;
  } finally {
    for (let top = currentScope(); top !== null && top !== s && stack.includes(s); top = currentScope()) closeScope(top, results);
    closeScope(s, results);
  }
}

function refuseDeferred(name: string, result: unknown): void {
  const { then, next } = Object(result) as { then?: unknown; next?: unknown };
  if (typeof then !== 'function' && typeof next !== 'function') return;
  const deferred = typeof then === 'function' ? 'a Promise' : 'an iterator';
  throw new ScopeError(
    `${name}: the function returned ${deferred}, whose work would run after the scope has ended. ` +
      `Give ${name} a synchronous function, or loop with for (const i of scoped(n))`,
  );
}

/** What `scoped` and data loaders have in common: an iteration's scope opens before its value is made and closes before the next. */
class ScopedSteps<T> {
  readonly #inner: Iterator<T>;
  #scope: Scope | null = null;
  #done = false;

  constructor(inner: Iterator<T>) {
    this.#inner = inner;
  }

  /** Ends the current iteration. Throws where scopes of others have been left above it. */
  end(): void {
    const s = this.#scope;
    this.#scope = null;
    if (s === null) return;
    const nested = currentScope() === s;
    const closedByOther = s.closed;
    closeScope(s, []);
    if (nested) return;
    this.#done = true;
    this.#inner.return?.();
    throw new ScopeError(
      closedByOther
        ? 'scoped loop: the scope around this loop has ended before the loop did. Finish the loop inside it'
        : 'scoped loop: two scoped loops run at the same time, and one began an iteration inside the other’s. ' +
            'Run them one after the other, or walk both in one loop with zip(a, b)',
    );
  }

  next(): IteratorResult<T, unknown> {
    this.end();
    this.#scope = openScope('iteration');
    // What has thrown is done too, and has nothing to return from.
    this.#done = true;
    const step = this.#inner.next();
    this.#done = step.done === true;
    return step;
  }

  /** The loop was dropped in the middle: what its iteration made passes to the scope around. */
  abandon(): void {
    if (this.#scope !== null) dissolveScope(this.#scope);
    this.#scope = null;
    this.#done = true;
  }

  stop(): void {
    const done = this.#done;
    this.#done = true;
    try {
      this.end();
    } finally {
      if (!done) this.#inner.return?.();
    }
  }
}

/** Each iteration of `source` in a scope of its own. */
export function scopedIterator<T>(source: Iterable<T>): IterableIterator<T> {
  const steps = new ScopedSteps(source[Symbol.iterator]());
  return watched(steps, loop(steps));
}

function* loop<T>(steps: ScopedSteps<T>): Generator<T, void> {
  try {
    for (let step = steps.next(); step.done !== true; step = steps.next()) yield step.value;
  } finally {
    steps.stop();
  }
}

/** An iterator that nobody holds any more, as after `loader[Symbol.iterator]().next()`, gives up its scope. */
function watched<I extends object>(steps: { abandon(): void }, iterator: I): I {
  whenCollected(iterator, () => steps.abandon());
  return iterator;
}

/** How long an asynchronous scoped loop may keep the event loop from turning, in milliseconds. */
const TURN_MS = 50;

/** The same for `for await`: gives the event loop a turn, between iterations, at most every 50 ms. */
export function scopedAsyncIterator<T>(source: Iterable<T>): AsyncIterableIterator<T> {
  const steps = new ScopedSteps(source[Symbol.iterator]());
  return watched(steps, loopInTurns(steps));
}

async function* loopInTurns<T>(steps: ScopedSteps<T>): AsyncGenerator<T, void> {
  let turned = performance.now();
  try {
    for (let step = steps.next(); step.done !== true; step = steps.next()) {
      yield step.value;
      steps.end();
      if (performance.now() - turned < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      turned = performance.now();
    }
  } finally {
    steps.stop();
  }
}
