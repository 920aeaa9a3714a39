/**
 * Backward: an iterative walk over the nodes that the outputs depend on, newest first.
 *
 * An operation is newer than its inputs, so this is a topological order: a node's gradient is complete when the walk visits it.
 * All checks come before the first step. The gradients of leaves are committed together after the last step, so that a walk that
 * stops early leaves every `.grad` unchanged.
 */
import { foreignKind } from '../core/copies.ts';
import { isInstance } from '../core/describe.ts';
import {
  AnomalyError,
  ArgumentError,
  AutogradError,
  GraphConsumedError,
  OutOfMemoryError,
  ReleasedError,
  ShapeError,
  WorkerError,
  isArray,
  prependMessage,
  shown,
} from '../core/errors.ts';
import { checkOptions, isPlainObject } from '../core/options.ts';
import { formatShape, isDense, sameShape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { emptyLike, type View } from '../kernels/view.ts';
import { ARGUMENT, defineOp } from './op.ts';
import { sumTo } from './ops/broadcasting.ts';
import { add } from './ops/elementwise.ts';
import { clone, identity } from './ops/views.ts';
import { duringBackward, isGradEnabled } from './grad-mode.ts';
import { withEarlyLeaves } from './leaf-gradients.ts';
import { Scope, closeScope, currentScope, openScope } from './scope-stack.ts';
import { Visit, consume, type Node, type RecordedOp } from './tape.ts';
import { Tensor, checkTensors, isTensor, untracked } from './tensor.ts';
import { instrumentation } from './instrumentation.ts';

/** Options of `backward`: whether the graph is retained. */
export interface BackwardOptions {
  /** Retains the graph for another backward. Default: the value of `createGraph`. */
  readonly retainGraph?: boolean;
  /** Records the computation of the gradients, so that they can be differentiated. Default false. */
  readonly createGraph?: boolean;
}

/** Options of `grad`. */
export interface GradOptions extends BackwardOptions {
  /** The gradients of the outputs; by default 1, for 0-d outputs only. */
  readonly gradOutputs?: Tensor | null | readonly (Tensor | null)[];
  /** Returns null for inputs that the outputs do not depend on, instead of throwing. Default false. */
  readonly allowUnused?: boolean;
}

/** One visited node: its gradient, and the gradients of its inputs (null where there is none). */
export interface WalkStep {
  readonly node: Node;
  readonly grad: Tensor;
  readonly inputGrads: readonly (Tensor | null)[];
  /** The visits of its inputs, to which the walk adds `inputGrads` after the step. */
  readonly inputVisits: readonly (Visit | null)[];
}

interface Walk {
  readonly retainGraph: boolean;
  readonly createGraph: boolean;
  /** Owns the gradients that the walk has computed and still needs. It is not on the stack of scopes. */
  readonly walkScope: Scope;
  /** The nodes whose gradients are wanted; null for the `.grad` of all leaves. */
  readonly wanted: ReadonlySet<Node> | null;
  /** Whether the walk ends at the wanted nodes. */
  readonly stopAtInputs: boolean;
  /** Is called before the walk for a wanted node that the outputs do not depend on; throws. */
  readonly rejectUnused: ((unused: Node) => never) | null;
}

/**
 * Accumulates the gradient of `t` into the `grad` of every leaf that it depends on, and consumes the graph.
 * Throws if `t` is not a scalar and no gradient is given, if its graph was consumed before, or if a saved tensor has changed since.
 */
export function backward(t: Tensor, gradient?: Tensor | BackwardOptions | null, options?: BackwardOptions): void {
  runToEnd(steps(t, gradient, options));
}

/** Returns gradient and options of a backward. Options alone may be the first argument, as a scalar needs no gradient. */
export function optionsOnly<O extends BackwardOptions>(
  gradient: Tensor | O | null | undefined,
  options: O | undefined,
): [gradient: Tensor | null | undefined, options: O] {
  if (options === undefined && isPlainObject(gradient)) return [null, gradient as O];
  return [gradient as Tensor | null | undefined, options === undefined ? ({} as O) : options];
}

/** Reads the arguments of `backward`. */
export function readBackward(
  gradient: Tensor | BackwardOptions | null | undefined,
  options: BackwardOptions | undefined,
): [gradient: Tensor | null | undefined, Pick<Walk, 'retainGraph' | 'createGraph'>] {
  const [given, read] = optionsOnly(gradient, options);
  return [given, modes('backward', read)];
}

function runToEnd(walk: Generator<WalkStep, void>): void {
  for (const step of walk) void step;
}

/**
 * Returns the walk of `backward` as a generator of steps. The options may stand in the place of the gradient. Stopping early commits no gradient and consumes the graph.
 * `walkScope` owns the gradients in flight.
 */
export function steps(
  t: Tensor,
  gradient: Tensor | BackwardOptions | null | undefined,
  options: BackwardOptions | undefined,
  walkScope: Scope = new Scope('backward'),
): Generator<WalkStep, void> {
  const [given, read] = readBackward(gradient, options);
  return run([root('backward', t, given)], { ...read, wanted: null, stopAtInputs: false, rejectUnused: null, walkScope }, commit);
}

/**
 * Returns the gradients of the sum of `outputs` (weighted with `gradOutputs`) with respect to `inputs`, and changes no `.grad`.
 * The result has the structure of `inputs`: one tensor or an array, each in memory of its own.
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
  const found = gradients(listOf(outputs), listOf(inputs), options);
  return isTensor(inputs) ? found[0]! : found;
}

/** Returns an array as it is, and any other value as an array of one. */
const listOf = <T>(value: T | readonly T[]): readonly T[] => (isArray(value) ? value : [value]);

/** The same for arrays. If `stopAtInputs`, no gradient flows from an input to the tensors that it was computed from. */
export function gradients(ys: readonly Tensor[], xs: readonly Tensor[], options: GradOptions, stopAtInputs = false): (Tensor | null)[] {
  const mode = modes('grad', options, ['gradOutputs', 'allowUnused']);
  const { gradOutputs = null, allowUnused = false } = options;
  const given = listOf(gradOutputs);
  const wanted = new Set<Node>();
  xs.forEach((x, i) => {
    checkTensors('grad', { [`input ${i}`]: x });
    if (x.node === null) throw new AutogradError(`grad: input ${i} ${formatShape(x.shape)} does not require a gradient`);
    wanted.add(x.node);
  });
  if (gradOutputs !== null && given.length !== ys.length) {
    throw new ArgumentError(`grad: ${given.length} gradOutputs for ${ys.length} outputs; give one for each, null where it is 1`);
  }
  const roots = ys.map((y, i) => root('grad', y, given[i]));
  const rejectUnused = (unused: Node): never => {
    const i = xs.findIndex((x) => x.node === unused);
    throw new AutogradError(
      `grad: the outputs do not depend on input ${i} ${formatShape(unused.output.shape)}; allow that with { allowUnused: true }`,
    );
  };
  const walk = { ...mode, wanted, stopAtInputs, walkScope: new Scope('backward'), rejectUnused: allowUnused ? null : rejectUnused };
  let found = new Map<Node, Tensor>();
  const finish = (grads: Map<Node, Tensor>): Tensor[] => {
    const own = inOwnMemory([...grads.values()], given);
    found = new Map([...grads.keys()].map((node, i) => [node, own[i]!]));
    return own;
  };
  runToEnd(run(roots, walk, finish));
  return xs.map((x) => found.get(x.node!) ?? null);
}

/**
 * Returns the gradients, each in memory of its own. A gradient that passes through unchanged lies in the memory of one that the user
 * has given, and the gradients of both arguments of a sum are one: without copies, who scales one in place would scale the other.
 */
function inOwnMemory<T extends Tensor | null>(grads: readonly T[], given: readonly (Tensor | null | undefined)[]): T[] {
  const taken = new Set(given.map((own) => own?.storage));
  return grads.map((g) => {
    if (g === null) return g;
    if (taken.has(g.storage)) return clone(g) as T;
    taken.add(g.storage);
    return g;
  });
}

/** Reads the options that `backward` and `grad` share. */
function modes(op: string, options: BackwardOptions, more: readonly string[] = []): Pick<Walk, 'retainGraph' | 'createGraph'> {
  checkOptions(op, options, ['retainGraph', 'createGraph', ...more], ['retainGraph', 'createGraph', 'allowUnused']);
  const createGraph = options.createGraph ?? false;
  return { createGraph, retainGraph: options.retainGraph ?? createGraph };
}

type Root = readonly [tensor: Tensor, gradient: Tensor | null];

/** Checks an output and its given gradient. */
function root(op: string, t: Tensor, gradient: Tensor | null | undefined): Root {
  checkTensors(op, { output: t, ...(gradient != null && { gradient }) });
  if (t.node === null) {
    throw new AutogradError(
      `${op}: the tensor ${formatShape(t.shape)} does not require a gradient: nothing behind it does, it was detached, or it was made under noGrad`,
    );
  }
  if (gradient == null && t.numel !== 1) {
    throw new AutogradError(
      `${op}: the tensor has shape ${formatShape(t.shape)}, and only a scalar has an implied gradient of 1. Give the gradient, or reduce with sum() or mean()`,
    );
  }
  if (gradient != null && (!sameShape(gradient.shape, t.shape) || gradient.dtype !== t.dtype)) {
    throw new ShapeError(
      `${op}: the gradient is ${gradient.dtype} ${formatShape(gradient.shape)}, the tensor ${t.dtype} ${formatShape(t.shape)}; they must be equal`,
    );
  }
  return [t, gradient ?? null];
}

/**
 * Finds the nodes to visit and checks all of them. Returns
 *   - starts: the visit of each root; null if the root is older than every wanted node or has no node;
 *   - order: the visits in the order of the walk, newest first;
 *   - through: the nodes whose operations are differentiated. The walk consumes them.
 */
function plan(roots: readonly Root[], { wanted, stopAtInputs, rejectUnused }: Walk) {
  // A node older than every wanted node cannot depend on one.
  let oldest = wanted === null ? 0 : Number.POSITIVE_INFINITY;
  for (const n of wanted ?? []) oldest = Math.min(oldest, n.seq);
  const found: Visit[] = [];
  const enter = (n: Node | null): Visit | null => {
    if (n === null || n.seq < oldest) return null;
    if (n.visit === null) {
      checkLive(n);
      n.visit = new Visit(n);
      found.push(n.visit);
    }
    return n.visit;
  };
  try {
    const starts = roots.map(([t]) => enter(t.node));
    // `enter` appends to `found`, so this loop reaches all nodes behind the roots.
    for (const v of found) {
      const stops = stopAtInputs && wanted!.has(v.node);
      if (!stops) v.inputs = v.node.inputs.map(enter);
    }
    for (const n of wanted ?? []) if (n.visit === null) rejectUnused?.(n);
    const newestFirst = found.slice().sort((a, b) => b.node.seq - a.node.seq);
    const order = wanted === null ? withEarlyLeaves(newestFirst) : leadingTo(wanted, newestFirst);
    const through = order.filter((v) => v.hasInputs).map((v) => v.node);
    for (const n of through) n.checkVersions();
    return { starts, order, through };
  } finally {
    for (const { node } of found) node.visit = null;
  }
}

/** Returns the visits whose nodes are `wanted` or depend on a wanted node. Removes the others from the inputs of visits. */
function leadingTo(wanted: ReadonlySet<Node>, newestFirst: readonly Visit[]): Visit[] {
  // Oldest first, so that the inputs of a visit are decided before it.
  for (const v of newestFirst.toReversed()) {
    v.inputs = v.inputs.map((input) => (input?.wanted === true ? input : null));
    v.wanted = wanted.has(v.node) || v.hasInputs;
  }
  return newestFirst.filter((v) => v.wanted);
}

/** Throws if the node's graph was consumed. */
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
 * Runs the walk. `finish` receives the gradients of the wanted nodes (or of all leaves and retaining nodes) and returns the tensors
 * that outlive the walk.
 */
function* run(
  roots: readonly Root[],
  walk: Walk,
  finish: (grads: Map<Node, Tensor>, walk: Walk) => readonly Tensor[],
): Generator<WalkStep, void> {
  const { starts, order, through } = plan(roots, walk);
  const { walkScope, createGraph, retainGraph } = walk;
  const collected = new Map<Node, Tensor>();
  let survivors: readonly Tensor[] = [];
  // Before the first step, so that a hook cannot start another walk over the nodes that this one consumes.
  if (!retainGraph && !createGraph) for (const n of through) n.consumedBy = 'backward';
  try {
    const seeds = step(walk, () => roots.map(seed));
    starts.forEach((v, i) => v !== null && accumulate(v, seeds[i]!, walk));
    for (const visit of order) {
      if (visit.grad === null) continue;
      const done = takeStep(visit, visit.grad, walk);
      yield done;
      const { node, grad: g, inputGrads } = done;
      const collects = isCollected(node, walk);
      if (collects) collected.set(node, g);
      const transferred = propagate(visit, g, inputGrads, collects, walk);
      if (!transferred) release(g, walk);
      if (!retainGraph && visit.hasInputs) node.dropSaved();
    }
    survivors = step(walk, () => finish(collected, walk));
  } finally {
    closeScope(walkScope, survivors, currentScope() ?? undefined);
    if (!retainGraph) consume(through, 'backward');
  }
}

const NONE: never[] = [];

/** Takes one step: computes the gradients of the visit's inputs from the gradient that has accumulated at its node. */
function takeStep(visit: Visit, accumulated: Tensor, walk: Walk): WalkStep {
  const { node, inputs, hasInputs } = visit;
  checkNotDropped(node);
  const grad = afterHooks(node, accumulated, walk);
  visit.grad = null;
  instrumentation?.visiting?.(node);
  const inputGrads = hasInputs ? step(walk, () => differentiate(node, grad, inputs, walk)) : NONE;
  instrumentation?.visited(node, grad, inputGrads);
  return { node, grad, inputGrads, inputVisits: inputs };
}

/**
 * Returns the gradients that the node's op passes to its arguments, by position, for the gradient `g` of its output; by default 1.
 * Changes no `.grad`, runs no hook, and leaves the graph as it is. Throws if the graph is consumed.
 */
export function nodeGrads(node: Node, g: Tensor | null): readonly (Tensor | null)[] {
  const from = root('vjp', node.output, g);
  checkLive(node);
  const walkScope = new Scope('backward');
  const walk = { retainGraph: true, createGraph: false, walkScope, wanted: null, stopAtInputs: false, rejectUnused: null };
  const inputs = node.inputs.map((input) => input && new Visit(input));
  let grads: readonly (Tensor | null)[] = NONE;
  try {
    if (node.op !== null) grads = step(walk, () => inOwnMemory(differentiate(node, seed(from), inputs, walk), [g]));
    return grads;
  } finally {
    closeScope(walkScope, grads, currentScope() ?? undefined);
  }
}

/** Throws if code between two steps has freed the node. */
function checkNotDropped(node: Node): void {
  if (!node.dropped) return;
  throw new GraphConsumedError(`backward: ${node.name} ${formatShape(node.output.shape)} was freed in the middle of this walk`);
}

/** Returns whether the walk collects the gradient of `node`. */
function isCollected(node: Node, { wanted }: Walk): boolean {
  if (wanted !== null) return wanted.has(node);
  return node.op === null || node.retainsGrad;
}

/** Runs a part of the walk in the walk's mode and its own scope. `walkScope` owns the results. */
function step<T extends Tensor | null>(walk: Walk, fn: () => readonly T[]): readonly T[] {
  const scope = openScope('backward');
  let results: readonly T[] = NONE;
  try {
    results = duringBackward(walk.createGraph, fn);
    return results;
  } finally {
    closeScope(scope, results, walk.walkScope);
  }
}

/** The gradient that the walk starts with at an output. */
function seed([tensor, gradient]: Root): Tensor {
  // The user's tensor is not the walk's to free, so the walk uses a new handle, except where the gradient's graph is needed.
  if (gradient !== null) return isGradEnabled() ? gradient : untracked(gradient);
  const one = emptyLike(tensor);
  kernels.fill(1, one);
  return untracked(one);
}

/**
 * Accumulates the gradients at the inputs. Returns whether the handle of `g` has a new owner: an input, or the collected gradients if
 * `collected`. Each pending gradient needs a handle of its own. So further handles are made if a gradient is `g` itself and that handle
 * is taken, or if a gradient goes to two inputs.
 */
function propagate({ inputs }: Visit, g: Tensor, grads: readonly (Tensor | null)[], collected: boolean, walk: Walk): boolean {
  let transferred = collected;
  const handles = grads.map((x, i) => {
    if (x === null || walk.createGraph) return x;
    const unused = x === g ? !transferred : grads.indexOf(x) === i;
    if (x === g) transferred = true;
    return unused && x.scope === walk.walkScope ? x : walk.walkScope.adopt(Tensor.fromView(x));
  });
  for (let i = 0; i < handles.length; i++) {
    const handle = handles[i];
    if (handle != null) accumulate(inputs[i]!, handle, walk);
  }
  return transferred;
}

/**
 * Adds `g` to the gradient accumulated at a node. Gradients add because a node that is used several times contributes to the output
 * through each use. The sum is computed in place only if nothing else references the buffer.
 */
function accumulate(to: Visit, g: Tensor, walk: Walk): void {
  const before = to.grad;
  if (before === null) {
    to.grad = g;
    return;
  }
  if (!walk.createGraph && solelyOwned(before)) {
    kernels.binary('add', before, g, before);
  } else {
    to.grad = step(walk, () => [add(before, g)])[0]!;
    release(before, walk);
  }
  release(g, walk);
}

/** Frees a gradient that is no longer needed, if the walk owns it and does not record. */
function release(g: Tensor, walk: Walk): void {
  if (!walk.createGraph && g.scope === walk.walkScope) g.free('backward');
}

/**
 * For walks that do not record. Returns whether nothing else references the tensor's memory, and each element of the memory is one element of
 * the tensor.
 */
function solelyOwned(t: Tensor): boolean {
  return t.storage.refs === 1 && !t.isOwned && isDense(t.shape, t.strides);
}

/** Returns the gradient that the node's hooks make of `g`. The listener of a leaf receives the result, except in a walk of `grad`. */
function afterHooks(node: Node, g: Tensor, walk: Walk): Tensor {
  const listener = walk.wanted === null ? node.listener : null;
  if (node.hooks === null && listener === null) return g;
  const run = (): Tensor => {
    const result = runHooks(node, g);
    listener?.(result);
    return result;
  };
  return step(walk, () => [run()])[0]!;
}

function runHooks(node: Node, g: Tensor): Tensor {
  for (const hook of node.hooks ?? []) {
    const changed = hook(g);
    if (changed == null) continue;
    checkTensors(`hook of ${node.name}`, { result: changed });
    if (!sameShape(changed.shape, g.shape) || changed.dtype !== g.dtype) {
      throw new ShapeError(
        `hook of ${node.name}: returned ${changed.dtype} ${formatShape(changed.shape)} for a gradient ${g.dtype} ${formatShape(g.shape)}`,
      );
    }
    g = changed;
  }
  return g;
}

/** Returns the gradients of the node's inputs by argument position, each in its input's shape. */
function differentiate(node: Node, g: Tensor, inputs: readonly (Visit | null)[], walk: Walk): (Tensor | null)[] {
  const op = node.op!;
  // Again, as a hook, or the code between two steps, may have written to a saved tensor since the walk began.
  node.checkVersions();
  const saved = unpack(node);
  const needs = inputs.map((input) => input !== null);
  const raw = walk.createGraph && op.definition !== undefined ? definitionGrads(node, saved, g, needs) : ownGrads(op, g, saved, needs);
  const grads = new Array<Tensor | null>(inputs.length);
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i]!;
    const x = raw[i];
    grads[i] = input === null || x === null ? null : gradOfArgument(op, i, x, input.node.output);
  }
  return grads;
}

/** Returns what the op's backward gave for argument i as the gradient of that argument, in its shape. */
function gradOfArgument(op: RecordedOp, i: number, x: unknown, { shape, dtype }: Tensor): Tensor {
  if (!isTensor(x)) {
    const foreign = foreignKind(x);
    const got = foreign === null ? '' : `, got ${foreign}`;
    throw new AutogradError(
      `backward of ${op.name}: no gradient for argument ${i}${got}; it must return an array with one for each argument, null where there is none`,
    );
  }
  const reduced = op.broadcasts === true ? sumTo(x, shape) : x;
  if (!sameShape(reduced.shape, shape) || reduced.dtype !== dtype) {
    throw new AutogradError(
      `backward of ${op.name}: the gradient of argument ${i} is ${reduced.dtype} ${formatShape(reduced.shape)}, the argument ${dtype} ${formatShape(shape)}`,
    );
  }
  return reduced;
}

/** Runs the op's backward. An error inside names the op, as the stack of the walk does not show where its forward was called. */
function ownGrads(
  op: RecordedOp,
  g: Tensor,
  saved: Readonly<Record<string, unknown>>,
  needs: readonly boolean[],
): readonly (Tensor | null)[] {
  let grads: unknown;
  try {
    grads = op.backward!(g, saved, needs);
  } catch (e) {
    throw inBackwardOf(op.name, e);
  }
  // A user's op may return anything. The missing gradients are named below.
  return Array.isArray(grads) ? grads : [];
}

/** Errors whose message already names the op in whose backward they occurred. */
const named = new WeakSet<Error>();

function inBackwardOf(op: string, e: unknown): unknown {
  if (!isInstance(e, Error))
    return new AutogradError(`backward of ${op}: ${typeof e === 'string' ? e : shown(e)} was thrown`, { cause: e });
  const isOfEngine = e instanceof OutOfMemoryError || e instanceof WorkerError || e instanceof AnomalyError;
  if (isOfEngine || named.has(e) || e.message.startsWith(`backward of ${op}`)) return e;
  named.add(e);
  prependMessage(e, `backward of ${op}: `);
  return e;
}

/** The gradient of a fused op, as the vector–Jacobian product of its definition. All of it is recorded, so that it is differentiable. */
function definitionGrads(node: Node, saved: Readonly<Record<string, unknown>>, g: Tensor, needs: readonly boolean[]): (Tensor | null)[] {
  const args = node.inputs.map((_, i) => saved[ARGUMENT + i]);
  const inputs = args.map((a, i) => (needs[i] ? identity(a as Tensor) : a));
  const result = node.op!.definition!(...inputs);
  const y = Array.isArray(result) ? result[0]! : result;
  const wanted = inputs.filter((_, i) => needs[i]) as Tensor[];
  const found = gradients([y], wanted, { gradOutputs: g, createGraph: true, allowUnused: true });
  return atNeeded(needs, found);
}

/** Puts one item at each position where `needs` is true, in order, and null elsewhere. */
export function atNeeded<T>(needs: readonly boolean[], items: readonly T[]): (T | null)[] {
  let next = 0;
  return needs.map((need) => (need ? items[next++]! : null));
}

/** Returns the saved values. A tensor whose handle was freed is replaced by a new handle on the retained memory. */
function unpack({ saved, savedTensors }: Node): Readonly<Record<string, unknown>> {
  let values = saved ?? {};
  for (const { key, tensor, storage } of savedTensors) {
    // A freed 0-d tensor that was recreated has other memory.
    if (!tensor.isReleased && tensor.storage === storage) continue;
    const { offset, shape, strides, dtype, node } = tensor;
    const t = Tensor.fromView({ storage, offset, shape, strides, dtype });
    if (node !== null) t.attach(node);
    values = { ...values, [key]: t.adoptIntoScope() };
  }
  return values;
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

/** Accumulates the gradients into `.grad`. All memory is allocated first, so that either all of them change or none. */
function commit(grads: Map<Node, Tensor>, { walkScope, createGraph }: Walk): Tensor[] {
  const changes: (() => void)[] = [];
  const adopted: Tensor[] = [];
  for (const [{ output: leaf }, g] of grads) {
    if (leaf.isReleased) continue;
    const before = leaf.grad;
    if (before !== null && !createGraph && !before.requiresGrad) {
      changes.push(() => {
        kernels.binary('add', before, g, before);
        before.storage.version++;
      });
      continue;
    }
    let next = g;
    if (before !== null) next = add(before, g);
    else if (createGraph || !hasOrderOf(g, leaf) || g.scope !== walkScope || !solelyOwned(g)) {
      // The leaf itself would be an argument that requires a gradient.
      next = copyInOrderOf(g, { shape: leaf.shape, strides: leaf.strides });
    }
    adopted.push(next);
    changes.push(() => leaf.adoptGrad(next.keep()));
  }
  for (const change of changes) change();
  return adopted;
}

/** Returns whether the memory orders of two tensors of one shape are equal; strides of dims of size 1 do not matter. */
function hasOrderOf(a: Tensor, b: Tensor): boolean {
  return a.strides.every((s, d) => s === b.strides[d] || a.shape[d] === 1);
}
