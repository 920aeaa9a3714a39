/**
 * Shows the graph behind a tensor: as a list of nodes, as text, as a drawing (DOT), and as the steps of its backward.
 */
import { GraphConsumedError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import type { Shape } from '../core/shape.ts';
import { optionsOnly, readBackward, steps, type BackwardOptions } from '../autograd/backward.ts';
import { whenCollected } from '../autograd/gc-fallback.ts';
import { Scope, closeScope } from '../autograd/scope-stack.ts';
import { checkTensor, type Tensor } from '../autograd/tensor.ts';
import { listNodes, pathsIn, type GraphNode, type Listing, type NamesTensors } from './graph-nodes.ts';
import { definitionText, graphDot, graphText, stepText } from './graph-text.ts';

export type { GraphNode, NamesTensors } from './graph-nodes.ts';

/** Options of `graph`. */
export interface GraphOptions {
  /** A module: its parameters and buffers are named by path, such as `layers.0.weight`. Default: labels and numbers only. */
  readonly names?: NamesTensors;
}

/** A tensor's node and its ancestors, inputs before the nodes that use them. */
export interface Graph extends Iterable<GraphNode> {
  readonly nodes: readonly GraphNode[];
  /**
   * Makes backward retain the value and the gradient of every node, as Tensor.retainGrad() does for one, until their scope ends. Read
   * both from `nodes` or the text after backward. Returns the graph.
   * Throws: GraphConsumedError after backward
   */
  retainGrad(): Graph;
  /** One line a node, like a program: `y = mul(x, 3)`, dtype and shape, value, gradient. Constant numbers have no line. */
  toString(): string;
  /** The graph in Graphviz's DOT language; arrows point from inputs to results. */
  toDot(): string;
}

/** Options of `backwardSteps`. */
export interface BackwardStepsOptions extends BackwardOptions, GraphOptions {}

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
  /** The inputs that gradients flow to, each with this operation's contribution; readable until the next step. Constants are left out. */
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
  /** The sum of what earlier steps have propagated to the input; null if none has. The walk adds `grad` to it after the step. */
  readonly accumulated: Tensor | null;
}

/**
 * Returns the graph behind `t`, inputs before the nodes that use them. It includes constants: numbers, and tensors that require no
 * gradient. Values and gradients are those at the time of reading.
 *
 * After backward has consumed a graph, only the node of `t` is left: call this before backward, or pass { retainGraph: true } to it.
 * @example console.log(String(graph(loss, { names: model })))
 * @example const g = graph(loss).retainGrad(); loss.backward(); console.log(String(g)) // data and gradient of every node
 */
export function graph(t: Tensor, options: GraphOptions = {}): Graph {
  checkTensor('graph', 't', t);
  checkOptions('graph', options, ['names']);
  const listing = listNodes(t, pathsIn('graph', options.names));
  const { nodes } = listing;
  const made: Graph = {
    nodes,
    [Symbol.iterator]: () => nodes[Symbol.iterator](),
    retainGrad: () => {
      retainAll(listing);
      return made;
    },
    toString: () => graphText(nodes),
    toDot: () => graphDot(nodes),
  };
  return made;
}

function retainAll({ of }: Listing): void {
  for (const [node, { name }] of of) {
    if (node.consumedBy !== null) throw new GraphConsumedError(`retainGrad: ${name} is consumed by backward. Call this before backward`);
  }
  for (const node of of.keys()) node.retainsGrad = true;
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
  gradient?: Tensor | BackwardStepsOptions | null,
  options?: BackwardStepsOptions,
): Generator<BackwardStep, void> {
  checkTensor('backwardSteps', 't', t);
  // The walk itself begins at the first step, which is late to learn of a misspelt option.
  const [given, all] = optionsOnly(gradient, options);
  checkOptions('backwardSteps', all, ['retainGraph', 'createGraph', 'names']);
  const { names, ...read } = all;
  readBackward(given, read);
  const paths = pathsIn('backwardSteps', names);
  const walkScope = new Scope('backward');
  const walk = describedSteps(t, given, read, paths, walkScope);
  // GC fallback for a generator that is dropped without being finished or closed.
  whenCollected(walk, () => closeScope(walkScope, []));
  return walk;
}

/** Yields the steps of the walk with names and text. */
function* describedSteps(
  t: Tensor,
  gradient: Tensor | null | undefined,
  options: BackwardOptions,
  paths: ReadonlyMap<Tensor, string>,
  walkScope: Scope,
): Generator<BackwardStep, void> {
  // Nodes are listed first, as a visited node drops its inputs.
  const { of } = listNodes(t, paths);
  for (const { node, grad, inputGrads, inputVisits } of steps(t, gradient, options, walkScope)) {
    const inputs = node.inputs.flatMap((input, i) => {
      if (input === null) return [];
      const { name, op, label } = of.get(input)!;
      return [{ name, op, label, grad: inputGrads[i] ?? null, accumulated: inputVisits[i]?.grad ?? null }];
    });
    const listed = of.get(node)!;
    const step = { name: listed.name, op: listed.op, label: listed.label, shape: listed.shape, grad, inputs };
    // The text is made now, as the gradients are freed after the step.
    const text = stepText(step, definitionText(listed));
    yield { ...step, toString: () => text };
  }
}
