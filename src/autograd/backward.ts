/**
 * Backward: an iterative walk over the nodes behind the outputs, newest first.
 *
 * All checks come before the first step; leaf gradients are committed together after the last. A walk that stops in between
 * leaves every `.grad` as it was.
 */
import { ArgumentError, AutogradError, GraphConsumedError, ReleasedError, ShapeError } from '../core/errors.ts';
import { formatShape, isDense, sameShape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { emptyLike, type View } from '../kernels/view.ts';
import { ARGUMENT, defineOp, duringBackward } from './op.ts';
import { add } from './ops/elementwise.ts';
import { sumTo } from './ops/reduce.ts';
import { identity } from './ops/movement.ts';
import { Scope, closeScope, currentScope, isGradEnabled, openScope, withGradMode } from './scope.ts';
import { Saved, consume, type Node } from './tape.ts';
import { Tensor, alias, isTensor, loose } from './tensor.ts';
import { watcher } from './watch.ts';

/** What becomes of the graph. */
export interface BackwardOptions {
  /** Keeps the graph for another backward. Default: the value of `createGraph`. */
  readonly retainGraph?: boolean;
  /** Records the gradients' own computation, so that they can be differentiated. Default false. */
  readonly createGraph?: boolean;
}

/** Options of `grad`. */
export interface GradOptions extends BackwardOptions {
  /** The gradients of the outputs; by default 1, for 0-d outputs only. */
  readonly gradOutputs?: Tensor | null | readonly (Tensor | null)[];
  /** Gives null for inputs the outputs do not depend on, instead of throwing. Default false. */
  readonly allowUnused?: boolean;
}

/** One visited node: its gradient, and those that went on to its inputs (null where none). */
export interface WalkStep {
  readonly node: Node;
  readonly grad: Tensor;
  readonly inputGrads: readonly (Tensor | null)[];
}

interface Walk {
  readonly retainGraph: boolean;
  readonly createGraph: boolean;
  /** What the walk has made and not yet handed on. It is on no stack. */
  readonly bag: Scope;
  /** Where gradients are wanted; null: in the `.grad` of all leaves. */
  readonly wanted: ReadonlySet<Node> | null;
  /** Throws for a wanted node that the outputs do not depend on, before the walk starts. */
  readonly refuse?: (unused: Node) => never;
}

/**
 * Accumulates the gradient of `t` into the `grad` of every leaf behind it, and consumes the graph.
 * Throws where `t` is no scalar and no gradient is given, was consumed before, or something it needs has changed since.
 */
export function backward(t: Tensor, gradient?: Tensor | null, options: BackwardOptions = {}): void {
  for (const step of steps(t, gradient, options)) void step;
}

/**
 * The walk of `backward`, a step at a time. Stopping early commits no gradient and consumes the graph. The bag holds the
 * gradients on their way.
 */
export function* steps(
  t: Tensor,
  gradient: Tensor | null | undefined,
  options: BackwardOptions,
  bag: Scope = new Scope('backward'),
): Generator<WalkStep, void> {
  yield* run([root('backward', t, gradient)], { ...modes(options), wanted: null, bag }, commit);
}

/**
 * The gradients of the sum of `outputs` (weighted with `gradOutputs`) with respect to `inputs`, without touching any `.grad`.
 * The structure of the result is that of `inputs`: one tensor or an array.
 */
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, options?: GradOptions & { allowUnused?: false }): Tensor;
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, options: GradOptions): Tensor | null;
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options?: GradOptions & { allowUnused?: false },
): Tensor[];
export function grad(outputs: Tensor | readonly Tensor[], inputs: readonly Tensor[], options: GradOptions): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Tensor | null | (Tensor | null)[] {
  const ys = isTensor(outputs) ? [outputs] : outputs;
  const xs = isTensor(inputs) ? [inputs] : inputs;
  const given =
    options.gradOutputs === undefined || options.gradOutputs === null || isTensor(options.gradOutputs)
      ? [options.gradOutputs]
      : options.gradOutputs;
  const wanted = new Set<Node>();
  xs.forEach((x, i) => {
    if (x.node === null) throw new AutogradError(`grad: input ${i} ${formatShape(x.shape)} does not require a gradient`);
    wanted.add(x.node);
  });
  if (options.gradOutputs != null && given.length !== ys.length) {
    throw new ArgumentError(`grad: ${given.length} gradOutputs for ${ys.length} outputs; give one for each, null where it is 1`);
  }
  const roots = ys.map((y, i) => root('grad', y, given[i]));
  const refuse = (unused: Node): never => {
    const i = xs.findIndex((x) => x.node === unused);
    throw new AutogradError(
      `grad: the outputs do not depend on input ${i} ${formatShape(unused.output.shape)}; allow that with { allowUnused: true }`,
    );
  };
  const walk = { ...modes(options), wanted, bag: new Scope('backward'), ...(options.allowUnused === true ? {} : { refuse }) };
  let found: (Tensor | null)[] = [];
  const collect = (grads: Map<Node, Tensor>): Tensor[] => {
    found = xs.map((x) => grads.get(x.node!) ?? null);
    return found.filter((g) => g !== null);
  };
  for (const step of run(roots, walk, collect)) void step;
  return isTensor(inputs) ? found[0]! : found;
}

function modes(options: BackwardOptions): { retainGraph: boolean; createGraph: boolean } {
  const createGraph = options.createGraph ?? false;
  return { createGraph, retainGraph: options.retainGraph ?? createGraph };
}

interface Root {
  readonly tensor: Tensor;
  readonly gradient: Tensor | null;
}

function root(op: string, t: Tensor, gradient: Tensor | null | undefined): Root {
  if (t.node === null) {
    throw new AutogradError(
      `${op}: the tensor ${formatShape(t.shape)} does not require a gradient: nothing behind it does, it was detached, or it was made under noGrad`,
    );
  }
  if (gradient == null) {
    if (t.numel !== 1) {
      throw new AutogradError(
        `${op}: the tensor has shape ${formatShape(t.shape)}, and only a scalar has an implied gradient of 1. Give the gradient, or reduce with sum() or mean()`,
      );
    }
    return { tensor: t, gradient: null };
  }
  if (!sameShape(gradient.shape, t.shape) || gradient.dtype !== t.dtype) {
    throw new ShapeError(
      `${op}: the gradient is ${gradient.dtype} ${formatShape(gradient.shape)}, the tensor ${t.dtype} ${formatShape(t.shape)}; they must be equal`,
    );
  }
  return { tensor: t, gradient };
}

interface Plan {
  /** The nodes to visit, newest first. */
  readonly order: Node[];
  /** Those of them whose operations gradients go through: what the walk consumes. */
  readonly through: Node[];
  /** The same as a set: what gradients flow to. */
  readonly visited: ReadonlySet<Node>;
}

/** Finds the nodes to visit and checks all of them. */
function plan(roots: readonly Root[], walk: Walk): Plan {
  let oldest = 0;
  if (walk.wanted !== null) {
    // What is older than every wanted node cannot depend on one.
    oldest = Number.POSITIVE_INFINITY;
    for (const n of walk.wanted) oldest = Math.min(oldest, n.seq);
  }
  const seen = new Set<Node>();
  const stack = roots.map((r) => r.tensor.node!);
  for (let n = stack.pop(); n !== undefined; n = stack.pop()) {
    if (n.seq < oldest || seen.has(n)) continue;
    checkLive(n);
    seen.add(n);
    for (const input of n.inputs) if (input !== null && !seen.has(input)) stack.push(input);
  }
  let order = [...seen].sort((a, b) => a.seq - b.seq);
  let visited = seen;
  if (walk.wanted !== null) {
    for (const n of walk.wanted) if (!seen.has(n)) walk.refuse?.(n);
    visited = new Set();
    for (const n of order) if (walk.wanted.has(n) || n.inputs.some((i) => i !== null && visited.has(i))) visited.add(n);
    order = order.filter((n) => visited.has(n));
  }
  const through = order.filter((n) => n.inputs.some((i) => i !== null && visited.has(i)));
  for (const n of through) n.checkVersions();
  return { order: order.reverse(), through, visited };
}

function checkLive(n: Node): void {
  if (n.consumedBy === null) return;
  const what = `backward: ${n.name} ${formatShape(n.output.shape)}`;
  if (n.consumedBy === 'backward' || n.consumedBy === 'dispose') {
    throw new GraphConsumedError(
      `${what} belongs to a graph that ${n.consumedBy === 'backward' ? 'an earlier backward' : 'dispose()'} has consumed. ` +
        'Give the earlier backward { retainGraph: true }, add the losses before one backward, or compute it again',
    );
  }
  throw new ReleasedError(
    `${what} was freed at the end of its ${n.consumedBy === 'scope' ? 'scope' : 'iteration'}, before backward. Call backward inside, or return the result from the scope`,
  );
}

/**
 * The loop itself. `finish` gets the gradients of the wanted nodes (or of all leaves and retaining nodes) and returns the
 * tensors that outlive the walk.
 */
function* run(
  roots: readonly Root[],
  walk: Walk,
  finish: (grads: Map<Node, Tensor>, walk: Walk) => readonly Tensor[],
): Generator<WalkStep, void> {
  const { order, through, visited } = plan(roots, walk);
  const { bag } = walk;
  const pending = new Map<Node, Tensor>();
  const kept = new Map<Node, Tensor>();
  let survivors: readonly Tensor[] = [];
  // Before the first step, so that a hook cannot walk what this walk is about to consume.
  if (!walk.retainGraph && !walk.createGraph) for (const n of through) n.consumedBy = 'backward';
  try {
    step(walk, () => roots.map((r) => deliver(pending, r.tensor.node!, seed(r), walk)));
    for (const node of order) {
      const pendingGrad = pending.get(node);
      if (pendingGrad === undefined) continue;
      pending.delete(node);
      if (node.spent)
        throw new GraphConsumedError(`backward: ${node.name} ${formatShape(node.output.shape)} was freed in the middle of this walk`);
      const { inputs } = node;
      const needs = inputs.map((i) => i !== null && visited.has(i));
      const results = step(walk, () => {
        const hooked = runHooks(node, pendingGrad);
        watcher?.visiting?.(node);
        const grads = needs.includes(true) ? differentiate(node, hooked, needs, walk) : [];
        watcher?.visited(node, hooked, grads);
        return [hooked, ...grads];
      });
      const g = results[0]!;
      const inputGrads = results.slice(1);
      yield { node, grad: g, inputGrads };
      step(walk, () =>
        inputGrads.map((x, i) => {
          if (x === null || !needs[i]) return null;
          // A gradient handed on as it came, or to two inputs, gets a handle for each, so that every pending one is its own.
          const shared = x === g || x.scope !== bag || inputGrads.indexOf(x) < i;
          return deliver(pending, inputs[i]!, shared && !walk.createGraph ? alias(x) : x, walk);
        }),
      );
      if (walk.wanted === null ? node.op === null || node.retainsGrad : walk.wanted.has(node)) kept.set(node, g);
      else if (!walk.createGraph && g.scope === bag) g.free('backward');
      if (!walk.retainGraph && needs.includes(true)) node.dropSaved();
    }
    survivors = step(walk, () => finish(kept, walk)).filter((t) => t !== null);
  } finally {
    closeScope(bag, survivors, currentScope() ?? undefined);
    if (!walk.retainGraph) consume(through, 'backward');
  }
}

/** Runs a part of the walk in the walk's mode and a scope of its own; what it returns goes to the bag. */
function step<T extends Tensor | null>(walk: Walk, fn: () => readonly T[]): readonly T[] {
  const scope = openScope('backward');
  let results: readonly T[] = [];
  try {
    results = withGradMode(walk.createGraph, () => duringBackward(fn));
    return results;
  } finally {
    closeScope(
      scope,
      results.filter((t): t is T & Tensor => t !== null),
      walk.bag,
    );
  }
}

function seed({ tensor, gradient }: Root): Tensor {
  // The caller's gradient stays the caller's: the walk takes a handle of its own unless its history matters.
  if (gradient !== null) return isGradEnabled() ? gradient : alias(gradient);
  const one = emptyLike(tensor);
  kernels.fill(1, one);
  return loose(one);
}

/** Adds `g` to what is pending for `node`. */
function deliver(pending: Map<Node, Tensor>, node: Node, g: Tensor, walk: Walk): Tensor {
  const before = pending.get(node);
  let sum = g;
  if (before !== undefined) {
    if (walk.createGraph || !solelyOwned(before)) {
      sum = add(before, g);
      if (!walk.createGraph && before.scope === walk.bag) before.free('backward');
    } else {
      kernels.binary('add', before, g, before);
      sum = before;
    }
  }
  pending.set(node, sum);
  return sum;
}

/** Whether nothing else can see the tensor's memory, and every element of it is one element of the tensor. */
function solelyOwned(t: Tensor): boolean {
  return t.storage.refs === 1 && !t.isOwned && t.node === null && isDense(t.shape, t.strides);
}

function runHooks(node: Node, g: Tensor): Tensor {
  for (const hook of node.hooks ?? []) {
    const changed = hook(g);
    if (!isTensor(changed)) continue;
    if (!sameShape(changed.shape, g.shape) || changed.dtype !== g.dtype) {
      throw new ShapeError(
        `hook of ${node.name}: returned ${changed.dtype} ${formatShape(changed.shape)} for a gradient ${g.dtype} ${formatShape(g.shape)}`,
      );
    }
    g = changed;
  }
  return g;
}

/** The gradients of the node's inputs by argument position, each in its input's shape. */
function differentiate(node: Node, g: Tensor, needs: readonly boolean[], walk: Walk): (Tensor | null)[] {
  const op = node.op!;
  const saved = unpack(node);
  const raw = walk.createGraph && op.definition !== undefined ? definitionGrads(node, saved, g, needs) : op.backward!(g, saved, needs);
  return node.inputs.map((input, i) => {
    const x = raw[i] ?? null;
    if (x === null || input === null || !needs[i]) return null;
    const shape = input.output.shape;
    const reduced = op.broadcasts === true ? sumTo(x, shape) : x;
    if (!sameShape(reduced.shape, shape) || reduced.dtype !== input.output.dtype) {
      throw new AutogradError(
        `backward of ${op.name}: the gradient of argument ${i} is ${reduced.dtype} ${formatShape(reduced.shape)}, the argument ${input.output.dtype} ${formatShape(shape)}`,
      );
    }
    return reduced;
  });
}

/** The gradient of a fused op as the vjp of its definition: all of it recorded, so that it can be differentiated again. */
function definitionGrads(node: Node, saved: Record<string, unknown>, g: Tensor, needs: readonly boolean[]): (Tensor | null)[] {
  const args = node.inputs.map((_, i) => saved[ARGUMENT + i]);
  const inputs = args.map((a, i) => (needs[i] ? identity(a as Tensor) : a));
  const result = node.op!.definition!(...inputs);
  const y = Array.isArray(result) ? result[0]! : result;
  const wanted = inputs.filter((_, i) => needs[i]) as Tensor[];
  const found = grad(y, wanted, { gradOutputs: g, createGraph: true, allowUnused: true });
  return inputs.map((_, i) => (needs[i] ? found.shift()! : null));
}

/** The saved values with their tensors; a handle that was freed is replaced by a new one on the memory that was held. */
function unpack(node: Node): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const key in node.saved) {
    const s = node.saved[key];
    out[key] = s instanceof Saved ? handleOf(s) : s;
  }
  return out;
}

function handleOf({ tensor, storage }: Saved): Tensor {
  // A 0-d tensor that was freed and came back has other memory.
  if (!tensor.isReleased && tensor.storage === storage) return tensor;
  const { offset, shape, strides, dtype } = tensor;
  const t = new Tensor({ storage, offset, shape, strides, dtype });
  if (tensor.node !== null) t.attach(tensor.node);
  return t.born();
}

/** y = x in the memory order of `like`.   ∂x = g */
const copyInOrderOf = defineOp({
  name: 'grad',
  forward: (k, x: Tensor, like: Pick<View, 'shape' | 'strides'>) => {
    const y = emptyLike({ ...like, storage: x.storage, offset: 0, dtype: x.dtype });
    k.copy(x, y);
    return y;
  },
  backward: (g) => [g],
});

/** Accumulates the gradients into `.grad`: all memory is found first, so that none or all of them change. */
function commit(grads: Map<Node, Tensor>, walk: Walk): Tensor[] {
  const changes: (() => void)[] = [];
  const recorded: Tensor[] = [];
  for (const [{ output: leaf }, g] of grads) {
    if (leaf.isReleased) continue;
    const before = leaf.grad;
    if (walk.createGraph || before?.requiresGrad === true) {
      const sum = before === null ? copyInOrderOf(g, leaf) : add(before, g);
      recorded.push(sum);
      changes.push(() => leaf.adoptGrad(sum.keep()));
    } else if (before !== null) {
      changes.push(() => {
        kernels.binary('add', before, g, before);
        before.storage.version++;
      });
    } else if (solelyOwned(g) && g.scope === walk.bag && g.strides.every((s, d) => s === leaf.strides[d] || g.shape[d] === 1)) {
      changes.push(() => leaf.adoptGrad(g.keep()));
    } else {
      const copy = emptyLike(leaf);
      kernels.copy(g, copy);
      const t = loose(copy);
      changes.push(() => leaf.adoptGrad(t.keep()));
    }
  }
  for (const change of changes) change();
  return recorded;
}
