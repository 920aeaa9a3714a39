/**
 * The graph behind a tensor, to be looked at: as a list of nodes, as text, as a drawing, and as the steps of its backward.
 */
import { ITEM_SIZE, type DType } from '../core/dtype.ts';
import { formatShape, type Shape } from '../core/shape.ts';
import { viewOf } from '../kernels/memory/wasm-memory.ts';
import { addressOf } from '../kernels/view.ts';
import { steps, type BackwardOptions } from '../autograd/backward.ts';
import { whenCollected } from '../autograd/finalize.ts';
import { formatNumber } from '../autograd/format.ts';
import { Scope, closeScope } from '../autograd/scope.ts';
import type { Node } from '../autograd/tape.ts';
import type { Tensor } from '../autograd/tensor.ts';
import { unravelIndex } from './unravel-index.ts';

/** One node: a leaf, or the recorded result of an operation. */
export interface GraphNode {
  /** Its label, else # and its place in the order of computation, counted from 1. */
  readonly name: string;
  /** The operation; 'leaf' for what the user made, 'constant' where no gradient is wanted. */
  readonly op: string;
  readonly label: string | null;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The nodes among the operation's arguments; constants are not recorded, so they are not among them. */
  readonly inputs: readonly GraphNode[];
  /** The tensor, while its memory is held. */
  readonly value: Tensor | null;
  /** The gradient that backward has left there: of leaves, and where retainGrad() was asked for. */
  readonly grad: Tensor | null;
  /** Whether backward has used the node up: its inputs are forgotten. */
  readonly consumed: boolean;
}

/** The nodes behind a tensor, inputs before their users. */
export interface Graph extends Iterable<GraphNode> {
  readonly nodes: readonly GraphNode[];
  /** One line a node, read like a program: `y = mul(x, w)`, dtype and shape, value, gradient. */
  toString(): string;
  /** The same in the DOT language of Graphviz; arrows point from inputs to results. */
  toDot(): string;
}

/** One step of a backward: a node with the gradient that reached it, and those it passes on. */
export interface BackwardStep {
  /** The node's name, as `graph` gives it. */
  readonly name: string;
  /** The operation, 'leaf' for what the user made. */
  readonly op: string;
  readonly label: string | null;
  readonly shape: Shape;
  /** The gradient of the root with respect to this node, all its users added up. Readable until the next step. */
  readonly grad: Tensor;
  /** The operation's inputs that gradients flow to, with what this operation adds to each; readable until the next step. */
  readonly inputs: readonly BackwardStepInput[];
  /** The step in one sentence; also after it. */
  toString(): string;
}

/** An input of the visited node, and the gradient that goes on to it. */
export interface BackwardStepInput {
  readonly name: string;
  readonly op: string;
  readonly label: string | null;
  /** Null where the operation gives none. */
  readonly grad: Tensor | null;
}

/**
 * The graph behind `t`, inputs before their users.
 *
 * Only what leads to a gradient is recorded: constants are not part of it. A graph that backward has consumed is the one
 * node of `t`, so look first, or give backward { retainGraph: true }.
 * @example console.log(String(graph(loss)))
 */
export function graph(t: Tensor): Graph {
  const nodes = t.node === null ? [constantNode(t)] : graphNodes(t.node);
  return {
    nodes,
    [Symbol.iterator]: () => nodes[Symbol.iterator](),
    toString: () => graphText(nodes),
    toDot: () => graphDot(nodes),
  };
}

/**
 * Runs the backward of `t` a step at a time: the engine's own loop, which visits the newest node first and leaves last.
 *
 * Gradients are committed to `.grad` when the loop is done. Leaving it early commits none of them, and consumes the graph.
 * Throws as `backward` does, at the first step
 * @example for (const step of backwardSteps(loss)) console.log(String(step))
 */
export function backwardSteps(t: Tensor, gradient?: Tensor | null, options: BackwardOptions = {}): Generator<BackwardStep, void> {
  const bag = new Scope('backward');
  const walk = narrate(t, gradient, options, bag);
  // A loop that is neither finished nor left, but dropped.
  whenCollected(walk, () => closeScope(bag, []));
  return walk;
}

function* narrate(t: Tensor, gradient: Tensor | null | undefined, options: BackwardOptions, bag: Scope): Generator<BackwardStep, void> {
  // Names first: a visited node forgets its inputs.
  const names = t.node === null ? new Map<Node, string>() : namesOf(nodesBehind(t.node));
  for (const { node, grad, inputGrads } of steps(t, gradient, options, bag)) {
    const inputs = node.inputs.flatMap((input, i) => {
      if (input === null) return [];
      return [{ name: names.get(input)!, op: input.name, label: input.output.label, grad: inputGrads[i] ?? null }];
    });
    const step = { name: names.get(node)!, op: node.name, label: node.output.label, shape: node.output.shape, grad, inputs };
    // The text now, while the gradients are there.
    const text = stepText(step);
    yield { ...step, toString: () => text };
  }
}

// — nodes —

/** All nodes behind `root` and itself, oldest first. */
function nodesBehind(root: Node): Node[] {
  const seen = new Set<Node>();
  const stack = [root];
  for (let n = stack.pop(); n !== undefined; n = stack.pop()) {
    if (seen.has(n)) continue;
    seen.add(n);
    for (const input of n.inputs) if (input !== null) stack.push(input);
  }
  return [...seen].sort((a, b) => a.seq - b.seq);
}

/** Labels where they tell nodes apart, numbers elsewhere. */
function namesOf(nodes: readonly Node[]): Map<Node, string> {
  const count = new Map<string, number>();
  for (const { output } of nodes) if (output.label !== null) count.set(output.label, (count.get(output.label) ?? 0) + 1);
  return new Map(
    nodes.map((n, i) => {
      const label = n.output.label;
      return [n, label === null ? `#${i + 1}` : count.get(label) === 1 ? label : `${label}#${i + 1}`];
    }),
  );
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
      value: held(n.output),
      grad,
      consumed: n.consumedBy !== null,
    });
  }
  return [...made.values()];
}

function constantNode(t: Tensor): GraphNode {
  const { label, shape, dtype } = t;
  return { name: label ?? '#1', op: 'constant', label, shape, dtype, inputs: [], value: held(t), grad: null, consumed: false };
}

/** A 0-d tensor has its value for ever. */
function held(t: Tensor): Tensor | null {
  return t.isReleased && t.ndim > 0 ? null : t;
}

// — text —

/** Of larger tensors, this many elements are shown. */
const SHOWN = 4;

/** `-6` or `[1, 2, 3, 4, …]`: the elements in row-major order, enough of them to recognise the tensor. */
function preview(t: Tensor): string {
  if (t.ndim === 0) return formatNumber(t.item(), t.dtype);
  const n = t.numel;
  const first = addressOf(t) / ITEM_SIZE[t.dtype];
  const shown = Array.from({ length: Math.min(n, SHOWN) }, (_, i) => {
    const at = unravelIndex(i, t.shape).reduce((sum, k, d) => sum + k * t.strides[d]!, first);
    return formatNumber(viewOf(t.dtype)[at]!, t.dtype);
  });
  if (n > SHOWN) shown.push('…');
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
  const widths = [0, 1, 2, 3].map((c) => Math.max(...rows.map((r) => r[c]!.length)));
  return rows
    .map(([name, definition, type, value, grad]) =>
      `${name!.padEnd(widths[0]!)} = ${definition!.padEnd(widths[1]!)}   ${type!.padEnd(widths[2]!)}   ${value!.padEnd(widths[3]!)}   ${grad!}`.trimEnd(),
    )
    .join('\n');
}

function graphDot(nodes: readonly GraphNode[]): string {
  const ids = new Map(nodes.map((n, i) => [n, `n${i + 1}`]));
  const lines = nodes.flatMap((n) => {
    const title = n.inputs.length === 0 && n.label !== null ? n.label : n.label === null ? n.op : `${n.label} = ${n.op}`;
    const text = [title, `${n.dtype} ${formatShape(n.shape)}`, n.value === null ? '(freed)' : preview(n.value)];
    if (n.grad !== null) text.push(`grad ${preview(n.grad)}`);
    const shape = n.inputs.length === 0 ? 'ellipse' : 'box';
    const edges = n.inputs.map((i) => `  ${ids.get(i)!} -> ${ids.get(n)!};`);
    return [`  ${ids.get(n)!} [shape=${shape}, label=${dotString(text)}];`, ...edges];
  });
  return ['digraph {', '  rankdir=TB;', ...lines, '}'].join('\n');
}

function dotString(lines: readonly string[]): string {
  return `"${lines.map((l) => l.replaceAll('\\', '\\\\').replaceAll('"', '\\"')).join('\\n')}"`;
}

function stepText({ name, op, grad, inputs }: Omit<BackwardStep, 'toString'>): string {
  if (op === 'leaf') return `${name} receives ${preview(grad)}: a leaf, so it goes to ${name}.grad`;
  const passed = inputs.map((i) => (i.grad === null ? `nothing to ${i.name}` : `${preview(i.grad)} to ${i.name}`));
  return `${name} = ${op}(${inputs.map((i) => i.name).join(', ')}) receives ${preview(grad)}, passes ${passed.join(', ')}`;
}
