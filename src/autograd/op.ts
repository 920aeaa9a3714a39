/**
 * Operations: each is one block, made with defineOp. All of them run through `apply`.
 */
import { foreignKind } from '../core/copies.ts';
import { isFloat } from '../core/dtype.ts';
import { ArgumentError, AutogradError, GraphConsumedError, kindOf } from '../core/errors.ts';
import { checkFunction, checkOptions } from '../core/options.ts';
import { checkDims, formatShape } from '../core/shape.ts';
import { fused, kernels, type FusedKernels, type Kernels } from '../kernels/index.ts';
import { withTemporaries } from '../kernels/memory/allocator.ts';
import { Storage } from '../kernels/memory/storage.ts';
import type { View } from '../kernels/view.ts';
import { isGradEnabled, isInsideBackward, withGradMode } from './grad-mode.ts';
import { composed } from './scope-stack.ts';
import { Node, freeExpiring, type FreedBy, type RecordedOp } from './tape.ts';
import { Tensor, checkTensor, isTensor, untracked } from './tensor.ts';
import { instrumentation } from './instrumentation.ts';

/** Which arguments need a gradient, by position. */
export type Needs = readonly boolean[];

/** The gradients of the arguments, by position; null where there is none. */
export type Grads = readonly (Tensor | null)[];

/** What forward returns: one view, or the differentiable result followed by others without gradient. */
type Views = View | readonly View[];
type Result<V extends Views> = V extends readonly View[] ? Tensor[] : Tensor;
/** The results as a tuple. */
type Outputs<V extends Views> = V extends readonly View[] ? { readonly [I in keyof V]: Tensor } : readonly [Tensor];

/** The fields that every operation has. */
interface OpSpecBase<A extends readonly unknown[], V extends Views, S extends object> {
  readonly name: string;
  /** Inputs broadcast against each other: the engine sums gradients back to each input's shape. Default false. */
  readonly broadcasts?: boolean;
  /** Returns what backward reads. The memory of tensors among its values is retained until then. Default: nothing is saved. */
  readonly save?: (needs: Needs, args: A, outputs: Outputs<V>) => S;
  /** For an operation with kinks: returns the piece that each element took, so that gradcheck detects a step across a kink. Default: there are none. */
  readonly branch?: (args: A, outputs: Outputs<V>) => Tensor;
}

/** An operation whose backward, if it has one, is written with differentiable operations. */
export interface SimpleOpSpec<A extends readonly unknown[], V extends Views, S extends object> extends OpSpecBase<A, V, S> {
  /** Checks shapes (throws typed errors) and computes the result with kernels `k`; a result may be a view of an input. */
  readonly forward: (k: Kernels, ...args: A) => V;
  /** Returns the gradients of the arguments, given that of the result; null where there is none. Default: the result requires none. */
  readonly backward?: (g: Tensor, saved: S, needs: Needs) => Grads;
  readonly gradKernel?: undefined;
  readonly definition?: undefined;
}

/** An operation with kernels of its own for the result and for the first-order gradients. */
export interface FusedOpSpec<A extends readonly unknown[], V extends Views, S extends object> extends OpSpecBase<A, V, S> {
  /** Checks shapes and computes the result, as in SimpleOpSpec. */
  readonly forward: (k: Kernels & FusedKernels, ...args: A) => V;
  /**
   * Computes the gradients of the arguments into new views; null where there is none. It records nothing. Under createGraph
   * the engine differentiates `definition` instead.
   */
  readonly gradKernel: (k: Kernels & FusedKernels, g: View, saved: SavedViews<S>, needs: Needs) => readonly (View | null)[];
  /** The same operation in simple operations. The reference kernels run it, and higher derivatives are derived from it. */
  readonly definition: (...args: A) => Result<V>;
  readonly backward?: undefined;
}

/** What save returned, its tensors as views. */
type SavedViews<S> = { readonly [K in keyof S]: AsView<S[K]> };
type AsView<T> = T extends Tensor ? View : T;

/**
 * An operation. `A` are its arguments: tensors (differentiable inputs where they are floats) and whatever else it needs.
 * Gradients and `needs` go by argument position.
 */
export type OpSpec<A extends readonly unknown[], V extends Views, S extends object> = SimpleOpSpec<A, V, S> | FusedOpSpec<A, V, S>;

/** An operation without its types. That of a fused one has its gradient kernel as `backward`. */
export interface AnyOp extends RecordedOp {
  readonly forward: (k: Kernels & FusedKernels, ...args: readonly unknown[]) => Views;
  readonly save?: (needs: Needs, args: readonly unknown[], outputs: readonly Tensor[]) => Readonly<Record<string, unknown>>;
  readonly branch?: (args: readonly unknown[], outputs: readonly Tensor[]) => Tensor;
}

/** The kernels of operations. On the reference kernels fused operations run their definitions and read no fused kernel. */
const opKernels = { ...kernels, ...fused } as Kernels & FusedKernels;

/** The prefix of the keys under which a fused op saves its arguments, by position, for its definition. */
export const ARGUMENT = '@';

let branchLog: Float64Array[] | null = null;

/** Makes a fused operation from its block. See docs/adding-an-op.md. */
export function defineOp<A extends readonly unknown[], V extends Views | [], S extends object>(
  spec: FusedOpSpec<A, V, S>,
): (...args: A) => Result<V>;
/** Makes an operation from its block. See docs/adding-an-op.md. */
export function defineOp<A extends readonly unknown[], V extends Views | [], S extends object>(
  spec: SimpleOpSpec<A, V, S>,
): (...args: A) => Result<V>;
/* @__NO_SIDE_EFFECTS__ */
export function defineOp<A extends readonly unknown[], V extends Views, S extends object>(
  spec: OpSpec<A, V, S>,
): (...args: A) => Result<V> {
  checkSpec(spec);
  // The engine calls every op with its own arguments and saved values: within one block the types hold by construction.
  const op = (spec.gradKernel === undefined ? spec : fusedOp(spec)) as unknown as AnyOp;
  return (...args) => apply(op, args) as Result<V>;
}

const SPEC_KEYS = ['name', 'broadcasts', 'save', 'branch', 'forward', 'backward', 'gradKernel', 'definition'];

/** Throws for a specification with a misspelt field, without a name or forward, or with a part that is no function. */
function checkSpec(spec: { readonly name: unknown; readonly forward: unknown }): void {
  checkOptions('defineOp', spec, SPEC_KEYS, ['broadcasts']);
  if (typeof spec.name !== 'string') throw new ArgumentError(`defineOp: name must be a string, got ${kindOf(spec.name)}`);
  for (const part of ['forward', 'save', 'branch', 'backward', 'gradKernel', 'definition']) {
    const given = (spec as Readonly<Record<string, unknown>>)[part];
    if (part === 'forward' || given != null) checkFunction('defineOp', `${part} of ${spec.name}`, given);
  }
}

/**
 * defineOp for operations of users, whose functions may compute with tensors: what these make is freed, except the result and what
 * was saved.
 */
export const defineUserOp: typeof defineOp = (spec: OpSpec<readonly unknown[], Views, object>) =>
  composed(defineOp(spec as SimpleOpSpec<readonly unknown[], Views, object>)) as never;

/** The parts of a fused op that the engine runs. */
function fusedOp<A extends readonly unknown[], V extends Views, S extends object>(spec: FusedOpSpec<A, V, S>) {
  return { ...spec, backward: backwardFromKernel(spec), definition: composed(spec.definition) };
}

/** The backward of a fused op: runs its gradient kernel and wraps the results. What else was allocated is freed. */
function backwardFromKernel<A extends readonly unknown[], V extends Views, S extends object>(op: FusedOpSpec<A, V, S>) {
  return (g: Tensor, saved: SavedViews<S>, needs: Needs): Grads =>
    withTemporaries(op.name, () => op.gradKernel(opKernels, g, saved, needs).map((v, i) => v && gradientOf(op, i, v)));
}

function gradientOf(op: { readonly name: string }, i: number, v: View): Tensor {
  if (!isView(v)) throw new AutogradError(`backward of ${op.name}: gradient ${i} must be a tensor or null, got ${kindOf(v)}`);
  return untracked(v);
}

/** Runs `fn`. Returns its result and, for each operation with kinks, the branch that every element took. */
export function logBranches<T>(fn: () => T): { result: T; branches: Float64Array[] } {
  const branches: Float64Array[] = [];
  return { result: withBranchLog(branches, fn), branches };
}

/** Runs `fn` without logging branches: for a choice that does not affect the result. */
export function withoutBranches<T>(fn: () => T): T {
  return withBranchLog(null, fn);
}

function withBranchLog<T>(log: typeof branchLog, fn: () => T): T {
  const before = branchLog;
  branchLog = log;
  try {
    return fn();
  } finally {
    branchLog = before;
  }
}

/** Throws for a released tensor, and for one of another copy of the library, whose address means other elements here. */
function checkArguments(op: AnyOp, args: readonly unknown[]): void {
  for (let i = 0; i < args.length; i++) {
    const a = args[i];
    if (isTensor(a)) a.checkReadable();
    else if (typeof a === 'object' && foreignKind(a) !== null) checkTensor(op.name, `argument ${i}`, a);
  }
}

function apply(op: AnyOp, args: readonly unknown[]): Tensor | Tensor[] {
  // Before anything else, so that a released argument throws while nothing has changed.
  checkArguments(op, args);
  if (op.definition !== undefined && fused === null) return op.definition(...args);
  const inputs = op.backward !== undefined && isGradEnabled() ? recordedInputs(op, args) : null;
  if (Array.isArray(inputs) && !isInsideBackward()) freeExpiring();
  const result = forward(op, args);
  const outputs = isTensor(result) ? [result] : result;
  if (inputs !== null && isFloat(outputs[0]!.dtype)) attachOrFree(op, args, inputs, outputs);
  for (const t of outputs) adoptOutput(t, args);
  if (branchLog !== null && op.branch !== undefined) logBranch(op.branch, branchLog, args, outputs);
  return result;
}

/**
 * Returns the nodes of the arguments by position, or null if none requires a gradient. If all of them are consumed, returns
 * what consumed one of them.
 */
function recordedInputs(op: AnyOp, args: readonly unknown[]): (Node | null)[] | FreedBy | null {
  const nodes = new Array<Node | null>(args.length);
  let isRecorded = false;
  let consumed: Tensor | null = null;
  let by: FreedBy | null = null;
  for (let i = 0; i < args.length; i++) {
    const a = args[i];
    nodes[i] = null;
    if (!isTensor(a) || a.node === null) continue;
    if (a.node.consumedBy !== null) {
      consumed = a;
      by = a.node.consumedBy;
    } else {
      isRecorded = true;
      nodes[i] = a.node;
    }
  }
  if (!isRecorded) return by;
  if (consumed === null) return nodes;
  const [consumer, remedy] =
    by === 'dispose' ? ['dispose()', 'dispose of it later'] : ['backward', 'give that backward { retainGraph: true }'];
  throw new GraphConsumedError(
    `${op.name}: the argument ${formatShape(consumed.shape)} (result of ${consumed.node!.name}) belongs to a graph that ${consumer} has consumed, ` +
      `and another argument still wants a gradient. detach() it if it is a constant here, or ${remedy}`,
  );
}

function adoptOutput(t: Tensor, args: readonly unknown[]): void {
  if (t.ndim === 0) t.isScalarView = args.some((a) => isTensor(a) && a.storage === t.storage);
  t.adoptIntoScope();
}

/** Computes the result and frees temporaries; if it throws, frees everything that it allocated. */
function forward(op: AnyOp, args: readonly unknown[]): Tensor | Tensor[] {
  return withTemporaries(op.name, () =>
    withGradMode(false, () => {
      instrumentation?.starting?.(op);
      const r = op.forward(opKernels, ...args);
      instrumentation?.computed(op, args, isArray(r) ? r : [r], isInsideBackward());
      return isArray(r) ? r.map((v) => wrapResult(op, v, args)) : wrapResult(op, r, args);
    }),
  );
}

function wrapResult(op: AnyOp, v: View, args: readonly unknown[]): Tensor {
  if (!isView(v)) throw new ArgumentError(`${op.name}: forward must return a tensor, got ${kindOf(v)}`);
  checkDims(op.name, v.shape.length);
  const t = Tensor.fromView(v);
  // A user's forward may compute with tensors. Its handle is replaced by that of the result.
  if (isTensor(v) && !args.includes(v)) v.dispose();
  return t;
}

/** Returns whether a function of an op has returned memory of this copy of the library. */
function isView(v: View | undefined): boolean {
  return v?.storage instanceof Storage;
}

function isArray(v: Views): v is readonly View[] {
  return Array.isArray(v);
}

/** Calls attach; frees the outputs where it throws. */
function attachOrFree(op: AnyOp, args: readonly unknown[], inputs: readonly (Node | null)[] | FreedBy, outputs: readonly Tensor[]): void {
  try {
    attach(op, args, inputs, outputs);
  } catch (e) {
    for (const t of outputs) t.free('dispose');
    throw e;
  }
}

/**
 * Attaches a graph node to the first output. If every input's graph is consumed, the node is marked consumed: a later
 * operation on it and a live tensor then throws instead of losing a gradient.
 */
function attach(op: AnyOp, args: readonly unknown[], inputs: readonly (Node | null)[] | FreedBy, outputs: readonly Tensor[]): void {
  const y = outputs[0]!;
  if (typeof inputs === 'string') {
    const node = new Node(op, [], y);
    node.consumedBy = inputs;
    node.dropped = true;
    y.attach(node);
    return;
  }
  // Before the node exists, because it may throw.
  const saved = op.save?.(inputs.map(isNode), args, outputs);
  const node = hasConstant(args, inputs) ? new Node(op, inputs, y, args) : new Node(op, inputs, y);
  node.record();
  y.attach(node);
  const all = op.definition === undefined ? saved : { ...saved, ...argumentsByPosition(args) };
  if (all !== undefined) node.save(all, isTensor);
  instrumentation?.recorded(node);
}

/** Returns whether an argument is a tensor that requires no gradient. */
function hasConstant(args: readonly unknown[], inputs: readonly (Node | null)[]): boolean {
  for (let i = 0; i < args.length; i++) if (inputs[i] === null && args[i] instanceof Tensor) return true;
  return false;
}

/** Returns the arguments of a fused op's definition as values to save. */
function argumentsByPosition(args: readonly unknown[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(args.map((a, i) => [ARGUMENT + i, a]));
}

const isNode = (n: Node | null): boolean => n !== null;

/** Logs which branch every element took. */
function logBranch(branch: NonNullable<AnyOp['branch']>, log: Float64Array[], args: readonly unknown[], outputs: readonly Tensor[]): void {
  withoutBranches(() => {
    const b = withGradMode(false, () => branch(args, outputs));
    log.push(Float64Array.from(b.data()));
    // The branch may be an argument or an output itself, which must stay.
    if (!args.includes(b) && !outputs.includes(b)) b.dispose();
  });
}
