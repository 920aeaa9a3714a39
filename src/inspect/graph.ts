/**
 * Shows the graph behind a tensor: as a list of nodes, as text, as a drawing (DOT), and as the steps of its backward.
 */
import { ITEM_SIZE, type DType } from '../core/dtype.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape, type Shape } from '../core/shape.ts';
import { viewOf } from '../kernels/memory/wasm-memory.ts';
import { addressOf } from '../kernels/view.ts';
import { readBackward, steps, type BackwardOptions } from '../autograd/backward.ts';
import { whenCollected } from '../autograd/gc-fallback.ts';
import { formatNumber } from '../autograd/format.ts';
import { Scope, closeScope } from '../autograd/scope-stack.ts';
import type { Node } from '../autograd/tape.ts';
import { checkTensor, type Tensor } from '../autograd/tensor.ts';
import { unravelIndex } from './unravel-index.ts';

/** One node of a graph: a leaf, or the recorded result of an operation. */
export interface GraphNode {
  /** The label; without one, # and the position in the order of computation, counted from 1. */
  readonly name: string;
  /** The operation's name; 'leaf' for a leaf, 'constant' for a tensor that requires no gradient. */
  readonly op: string;
  readonly label: string | null;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The nodes of the operation's arguments. Constants are not recorded, so they are missing here. */
  readonly inputs: readonly GraphNode[];
  /** The tensor; null once its memory is freed. */
  readonly value: Tensor | null;
  /** The tensor's `.grad`, which backward stores for leaves and after retainGrad(). */
  readonly grad: Tensor | null;
  /** Whether backward has consumed the node, which drops its inputs. */
  readonly consumed: boolean;
}

/** A tensor's node and its ancestors, inputs before the nodes that use them. */
export interface Graph extends Iterable<GraphNode> {
  readonly nodes: readonly GraphNode[];
  /** One line a node, like a program: `y = mul(x, w)`, dtype and shape, value, gradient. */
  toString(): string;
  /** The graph in Graphviz's DOT language; arrows point from inputs to results. */
  toDot(): string;
}

/** One step of a backward: the visited node, its gradient, and the gradients that it propagates to its inputs. */
export interface BackwardStep {
  /** The node's name, as in `graph`. */
  readonly name: string;
  /** The operation's name; 'leaf' for a leaf. */
  readonly op: string;
  readonly label: string | null;
  readonly shape: Shape;
  /** The gradient of the root with respect to this node, summed over all its uses. Readable until the next step. */
  readonly grad: Tensor;
  /** The inputs that gradients flow to, each with this operation's contribution; readable until the next step. */
  readonly inputs: readonly BackwardStepInput[];
  /** The step in one sentence; works after the step too. */
  toString(): string;
}

/** An input of the visited node, and the gradient propagated to it. */
export interface BackwardStepInput {
  readonly name: string;
  readonly op: string;
  readonly label: string | null;
  /** Null if the operation returns no gradient for it. */
  readonly grad: Tensor | null;
}

/**
 * Returns the graph behind `t`, inputs before the nodes that use them.
 *
 * Only tensors that require a gradient are recorded; constants are not part of the graph. After backward has consumed a graph, only
 * the node of `t` is left: call this before backward, or pass { retainGraph: true } to it.
 * @example console.log(String(graph(loss)))
 */
export function graph(t: Tensor): Graph {
  checkTensor('graph', 't', t);
  refuseOptions('graph', arguments[1]);
  const nodes = t.node === null ? [constantNode(t)] : graphNodes(t.node);
  return {
    nodes,
    [Symbol.iterator]: () => nodes[Symbol.iterator](),
    toString: () => graphText(nodes),
    toDot: () => graphDot(nodes),
  };
}

/**
 * Runs the backward of `t` a step at a time. This is the engine's own walk: it visits the newest node first, leaves last.
 *
 * Gradients are committed to `.grad` when the loop ends. Leaving it early commits none, and consumes the graph.
 * Throws: what `backward` throws, at the first step
 * @example for (const step of backwardSteps(loss)) console.log(String(step))
 */
export function backwardSteps(
  t: Tensor,
  gradient?: Tensor | BackwardOptions | null,
  options?: BackwardOptions,
): Generator<BackwardStep, void> {
  checkTensor('backwardSteps', 't', t);
  // The walk itself begins at the first step, which is late to learn of a misspelt option.
  readBackward(gradient, options);
  const walkScope = new Scope('backward');
  const walk = describedSteps(t, gradient, options, walkScope);
  // GC fallback for a generator that is dropped without being finished or closed.
  whenCollected(walk, () => closeScope(walkScope, []));
  return walk;
}

/** Yields the steps of the walk with names and text. */
function* describedSteps(
  t: Tensor,
  gradient: Tensor | BackwardOptions | null | undefined,
  options: BackwardOptions | undefined,
  walkScope: Scope,
): Generator<BackwardStep, void> {
  // Names are computed first, as a visited node drops its inputs.
  const names = t.node === null ? new Map<Node, string>() : namesOf(nodesBehind(t.node));
  for (const { node, grad, inputGrads } of steps(t, gradient, options, walkScope)) {
    const inputs = node.inputs.flatMap((input, i) => {
      if (input === null) return [];
      return [{ name: names.get(input)!, op: input.name, label: input.output.label, grad: inputGrads[i] ?? null }];
    });
    const step = { name: names.get(node)!, op: node.name, label: node.output.label, shape: node.output.shape, grad, inputs };
    // The text is made now, as the gradients are freed after the step.
    const text = stepText(step);
    yield { ...step, toString: () => text };
  }
}

// — nodes —

/** Returns `root` and all its ancestors, oldest first. */
function nodesBehind(root: Node): Node[] {
  const seen = new Set<Node>();
  const stack = [root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) {
      if (input !== null) stack.push(input);
    }
  }
  return [...seen].sort((a, b) => a.seq - b.seq);
}

/** Names each node: a unique label as it is, a label of several nodes with the node's number, otherwise the number. */
function namesOf(nodes: readonly Node[]): Map<Node, string> {
  const uses = new Map<string, number>();
  for (const { output } of nodes) {
    if (output.label !== null) uses.set(output.label, (uses.get(output.label) ?? 0) + 1);
  }
  const names = new Map<Node, string>();
  nodes.forEach((node, i) => {
    const { label } = node.output;
    const isUnique = label !== null && uses.get(label) === 1;
    names.set(node, isUnique ? label : `${label ?? ''}#${i + 1}`);
  });
  return names;
}

function graphNodes(root: Node): GraphNode[] {
  const order = nodesBehind(root);
  const names = namesOf(order);
  const made = new Map<Node, GraphNode>();
  for (const n of order) {
    const { label, shape, dtype, grad } = n.output;
    made.set(n, {
      name: names.get(n)!,
      op: n.name,
      label,
      shape,
      dtype,
      inputs: n.inputs.flatMap((input) => (input === null ? [] : [made.get(input)!])),
      value: readableOrNull(n.output),
      grad,
      consumed: n.consumedBy !== null,
    });
  }
  return [...made.values()];
}

function constantNode(t: Tensor): GraphNode {
  const { label, shape, dtype } = t;
  return { name: label ?? '#1', op: 'constant', label, shape, dtype, inputs: [], value: readableOrNull(t), grad: null, consumed: false };
}

/** Returns the tensor if its value can be read: a released 0-d tensor retains its value as a number. */
function readableOrNull(t: Tensor): Tensor | null {
  return t.isReleased && t.ndim > 0 ? null : t;
}

// — text —

/** Number of elements that a preview shows. */
const PREVIEW_LENGTH = 4;

/** Returns the first elements in row-major order, such as `-6` or `[1, 2, 3, 4, …]`. */
function preview(t: Tensor): string {
  if (t.ndim === 0) return formatNumber(t.item(), t.dtype);
  const n = t.numel;
  const first = addressOf(t) / ITEM_SIZE[t.dtype];
  const shown = Array.from({ length: Math.min(n, PREVIEW_LENGTH) }, (_, i) => {
    const element = unravelIndex(i, t.shape).reduce((sum, k, d) => sum + k * t.strides[d]!, first);
    return formatNumber(viewOf(t.dtype)[element]!, t.dtype);
  });
  if (n > PREVIEW_LENGTH) shown.push('…');
  return `[${shown.join(', ')}]`;
}

function definitionText(n: GraphNode): string {
  if (n.inputs.length > 0) return `${n.op}(${n.inputs.map((i) => i.name).join(', ')})`;
  return n.consumed ? `${n.op}(… consumed by backward)` : n.op;
}

function graphText(nodes: readonly GraphNode[]): string {
  const rows = nodes.map((n) => [
    n.name,
    definitionText(n),
    `${n.dtype} ${formatShape(n.shape)}`,
    n.value === null ? '(freed)' : preview(n.value),
    n.grad === null ? '' : `grad ${preview(n.grad)}`,
  ]);
  const widths = [0, 1, 2, 3].map((c) => rows.reduce((most, r) => Math.max(most, r[c]!.length), 0));
  const lines = rows.map((row) => {
    const [name, definition, type, value, grad] = row.map((cell, c) => cell.padEnd(widths[c] ?? 0));
    return `${name} = ${definition}   ${type}   ${value}   ${grad}`.trimEnd();
  });
  return lines.join('\n');
}

function graphDot(nodes: readonly GraphNode[]): string {
  const ids = new Map(nodes.map((n, i) => [n, `n${i + 1}`]));
  const lines = nodes.flatMap((n) => {
    const text = [dotTitle(n), `${n.dtype} ${formatShape(n.shape)}`, n.value === null ? '(freed)' : preview(n.value)];
    if (n.grad !== null) text.push(`grad ${preview(n.grad)}`);
    const shape = n.inputs.length === 0 ? 'ellipse' : 'box';
    const edges = n.inputs.map((i) => `  ${ids.get(i)!} -> ${ids.get(n)!};`);
    return [`  ${ids.get(n)!} [shape=${shape}, label=${dotString(text)}];`, ...edges];
  });
  return ['digraph {', '  rankdir=TB;', ...lines, '}'].join('\n');
}

function dotTitle({ label, op, inputs }: GraphNode): string {
  if (label === null) return op;
  return inputs.length === 0 ? label : `${label} = ${op}`;
}

/** Quotes lines of text as a DOT string. */
function dotString(lines: readonly string[]): string {
  return `"${lines.map((l) => l.replaceAll('\\', '\\\\').replaceAll('"', '\\"')).join('\\n')}"`;
}

function stepText({ name, op, grad, inputs }: Omit<BackwardStep, 'toString'>): string {
  if (op === 'leaf') return `${name} receives ${preview(grad)}: a leaf, so it goes to ${name}.grad`;
  const passed = inputs.map((i) => (i.grad === null ? `nothing to ${i.name}` : `${preview(i.grad)} to ${i.name}`));
  return `${name} = ${op}(${inputs.map((i) => i.name).join(', ')}) receives ${preview(grad)}, passes ${passed.join(', ')}`;
}
