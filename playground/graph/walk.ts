/**
 * Two walks over the graph of a program as lists of steps with snapshots: the engine's own, newest node first, and a naive one,
 * depth first. Everything here is plain data, which a page shows and tests compare.
 */
import { type BackwardStep, ChainruleError, type GraphNode, type Tensor, backwardSteps, graph, ones, scope, tensor } from 'chainrule';
import { ExpressionError } from '../expression/parse.ts';
import { MAX_NODES } from './limits.ts';
import { nodeNames } from './node-names.ts';
import { type Forward, runProgram } from './program.ts';

/** Elements in row-major order. */
export type Values = readonly number[];

/** A node of the graph. Its number is its position in the list of nodes. */
export interface NodeView {
  /** The label, a short expression such as `w · x`, or # and a number. */
  readonly name: string;
  readonly op: string;
  readonly kind: 'leaf' | 'constant' | 'operation';
  readonly shape: readonly number[];
  readonly value: Values;
  /** The nodes of its arguments. */
  readonly inputs: readonly number[];
  /** How many gradients it receives in the whole backward. */
  readonly uses: number;
  /** The library's `.grad` after backward; null if there is none. */
  readonly grad: Values | null;
}

/** A leaf as the program makes it. */
export interface LeafView {
  readonly node: number;
  readonly name: string;
  readonly line: number;
  readonly isLiteral: boolean;
}

/** A gradient on its way from a node to one of its inputs. */
export interface Passed {
  readonly to: number;
  /** The position among the inputs of the node that passes it. */
  readonly input: number;
  readonly values: Values;
}

/** A gradient that arrives at a node and is added to what has arrived before. */
export interface Arrival {
  readonly node: number;
  /** The node that has passed it; null for the gradient that the walk starts with. */
  readonly from: number | null;
  /** The position among the inputs of `from`. */
  readonly input: number;
  readonly added: Values;
  /** The sum before; null if this is the first one. */
  readonly before: Values | null;
  readonly after: Values;
  /** How many have arrived, this one included. */
  readonly count: number;
  /** Whether the node has passed on its gradient before, so that this part is lost to the nodes behind it. */
  readonly isLate: boolean;
}

export interface Step {
  readonly node: number;
  /** What the node passes on is computed from this. */
  readonly received: Values;
  /** Empty for a leaf, and for a node that has passed on before. */
  readonly passed: readonly Passed[];
  readonly arrivals: readonly Arrival[];
}

/** What is known between two steps. */
export interface State {
  /** The gradient that has accumulated at each node; null where none has arrived. */
  readonly grads: readonly (Values | null)[];
  /** How many gradients have arrived at each node. */
  readonly counts: readonly number[];
  /** Whether each node has been visited. */
  readonly visited: readonly boolean[];
}

/** A walk: states[k] is what is known after k steps. */
export interface Walk {
  readonly steps: readonly Step[];
  readonly states: readonly State[];
}

export interface GraphModel {
  readonly nodes: readonly NodeView[];
  readonly leaves: readonly LeafView[];
  /** The last line's node. */
  readonly root: number;
  /** The engine's walk. */
  readonly newestFirst: Walk;
  /** The naive walk. */
  readonly depthFirst: Walk;
}

/**
 * Computes a program, its graph and both walks. The walks start with a gradient of ones.
 *
 * Throws: ExpressionError with the line
 */
export function buildModel(program: string): GraphModel {
  try {
    return scope(() => modelOf(runProgram(program)));
  } catch (error) {
    if (error instanceof ExpressionError || !(error instanceof ChainruleError)) throw error;
    // What only backward refuses belongs to no line but the last.
    throw new ExpressionError(program.trimEnd().split('\n').length, error.message);
  }
}

function modelOf({ result, leaves, lastLine }: Forward): GraphModel {
  const listed = graph(result).retainGrad().nodes;
  if (listed.length > MAX_NODES) throw new ExpressionError(lastLine, `expected at most ${MAX_NODES} nodes, got ${listed.length}`);
  const root = listed.length - 1;
  const known: Known = { listed, numbers: new Map(listed.map((n, i) => [n, i])), byName: new Map(listed.map((n, i) => [n.name, i])) };
  const values = listed.map((n) => (n.value === null ? [] : valuesOf(n.value)));
  const seed = ones(result.shape, { dtype: result.dtype });
  // The naive walk comes first, as the engine's consumes the graph.
  const depthFirst = depthFirstWalk(known, root, valuesOf(seed));
  const newestFirst = engineWalk(known, root, result, seed);
  const { counts } = newestFirst.states.at(-1)!;
  const names = nodeNames(listed);
  const nodes = listed.map((n, i): NodeView => {
    const { op, shape, inputs, grad } = n;
    return {
      name: names[i]!,
      op,
      kind: kindOf(op),
      shape,
      value: values[i]!,
      inputs: inputs.map((input) => known.numbers.get(input)!),
      uses: counts[i]!,
      grad: grad === null ? null : valuesOf(grad),
    };
  });
  const leafViews = leaves.map(({ name, tensor: t, line, isLiteral }) => ({
    node: listed.findIndex((n) => n.value === t),
    name,
    line,
    isLiteral,
  }));
  return { nodes, leaves: leafViews.filter(({ node }) => node >= 0), root, newestFirst, depthFirst };
}

/** The nodes of the graph and their numbers. */
interface Known {
  readonly listed: readonly GraphNode[];
  readonly numbers: ReadonlyMap<GraphNode, number>;
  readonly byName: ReadonlyMap<string, number>;
}

function kindOf(op: string): NodeView['kind'] {
  return op === 'leaf' || op === 'constant' ? op : 'operation';
}

function valuesOf(t: Tensor): Values {
  return Array.from(t.data());
}

// — the engine's walk —

function engineWalk({ listed, byName }: Known, root: number, result: Tensor, seed: Tensor): Walk {
  const record = new Recorder(listed.length);
  record.arrive(root, valuesOf(seed), null, 0);
  record.begin();
  for (const step of backwardSteps(result, seed)) {
    const node = byName.get(step.name)!;
    const passed = passedBy(step, listed[node]!, byName);
    record.visit(node);
    const arrivals = passed.map(({ to, values, input }) => record.arrive(to, values, node, input));
    record.end({ node, received: valuesOf(step.grad), passed, arrivals });
  }
  return record.walk();
}

/** Returns the gradients that a step passes on, with the positions of the inputs. */
function passedBy({ inputs }: BackwardStep, { inputs: all }: GraphNode, byName: ReadonlyMap<string, number>): Passed[] {
  const positions = [...all.keys()].filter((i) => all[i]!.op !== 'constant');
  return inputs.flatMap(({ name, grad }, i) =>
    grad === null ? [] : [{ to: byName.get(name)!, input: positions[i]!, values: valuesOf(grad) }],
  );
}

// — the naive walk —

/**
 * Calls itself for each input with the gradient that the node passes to it. A node passes on what it has when the first gradient
 * arrives, and never again. This is wrong where the result of an operation is used twice: what arrives later is not passed on.
 */
function depthFirstWalk({ listed, numbers }: Known, root: number, seed: Values): Walk {
  const record = new Recorder(listed.length);
  record.begin();
  const receive = (node: number, gradient: Values, from: number | null, position: number): void => {
    const wasVisited = record.isVisited(node) && listed[node]!.op !== 'leaf';
    const arrival = record.arrive(node, gradient, from, position);
    record.visit(node);
    const passed = wasVisited ? [] : passedOn(listed[node]!, gradient, numbers);
    record.end({ node, received: gradient, passed, arrivals: [arrival] });
    for (const { to, values, input } of passed) receive(to, values, node, input);
  };
  receive(root, seed, null, 0);
  return record.walk();
}

/** Returns what a node passes on for the gradient `g`: its vector–Jacobian products. */
function passedOn(node: GraphNode, g: Values, numbers: ReadonlyMap<GraphNode, number>): Passed[] {
  const { shape, dtype, inputs } = node;
  const grads = node.vjp(tensor([...g], { dtype }).reshape(shape));
  return grads.flatMap((grad, i) => (grad === null ? [] : [{ to: numbers.get(inputs[i]!)!, input: i, values: valuesOf(grad) }]));
}

// — recording —

/** Collects the steps and states of a walk. */
class Recorder {
  readonly #grads: (Values | null)[];
  readonly #counts: number[];
  readonly #visited: boolean[];
  readonly #steps: Step[] = [];
  readonly #states: State[] = [];

  constructor(nodes: number) {
    this.#grads = new Array<Values | null>(nodes).fill(null);
    this.#counts = new Array<number>(nodes).fill(0);
    this.#visited = new Array<boolean>(nodes).fill(false);
  }

  /** Ends what happens before the first step. */
  begin(): void {
    this.#states.push({ grads: this.#grads.slice(), counts: this.#counts.slice(), visited: this.#visited.slice() });
  }

  end(step: Step): void {
    this.#steps.push(step);
    this.begin();
  }

  isVisited(node: number): boolean {
    return this.#visited[node]!;
  }

  visit(node: number): void {
    this.#visited[node] = true;
  }

  /** Adds a gradient to what has arrived at a node. */
  arrive(node: number, added: Values, from: number | null, input: number): Arrival {
    const before = this.#grads[node]!;
    const after = before === null ? added : before.map((x, i) => x + added[i]!);
    this.#grads[node] = after;
    const count = ++this.#counts[node]!;
    return { node, from, input, added, before, after, count, isLate: this.#visited[node]! };
  }

  walk(): Walk {
    return { steps: this.#steps, states: this.#states };
  }
}
