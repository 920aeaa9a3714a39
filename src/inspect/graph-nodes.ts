/**
 * The nodes of a graph as users see them: named, with constants, data and gradients.
 */
import { peek } from '../core/describe.ts';
import type { DType } from '../core/dtype.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import { nodeGrads } from '../autograd/backward.ts';
import { formatNumber } from '../autograd/format.ts';
import type { Node } from '../autograd/tape.ts';
import { Tensor, checkTensor, isTensor } from '../autograd/tensor.ts';

/** One node of a graph: a leaf, the recorded result of an operation, or a constant. */
export interface GraphNode {
  /**
   * The tensor's path in the module given as `names`, or its label; without either, # and the position among the nodes that the text
   * lists, counted from 1. A constant number is named by its value.
   */
  readonly name: string;
  /** The operation's name; 'leaf' for a leaf, 'constant' for a tensor that requires no gradient. */
  readonly op: string;
  readonly label: string | null;
  readonly shape: Shape;
  readonly dtype: DType;
  /** The nodes of the operation's tensors and numbers, in the order of its arguments; constants too. */
  readonly inputs: readonly GraphNode[];
  /** The tensor; null once its memory is freed. */
  readonly value: Tensor | null;
  /** The tensor's `.grad`, which backward stores for leaves and after retainGrad(); null until then. */
  readonly grad: Tensor | null;
  /** Whether backward has consumed the node. It then gives no more gradients. */
  readonly consumed: boolean;
  /**
   * Returns the node's vector–Jacobian product gᵀ ∂node/∂input for each of `inputs`, null for constants. Changes no `.grad`.
   * `g` is a gradient of the node, in its shape and dtype; by default 1, for one element only, which gives the local derivatives.
   * Throws: GraphConsumedError after backward, unless it had { retainGraph: true }
   */
  vjp(g?: Tensor | null): readonly (Tensor | null)[];
}

/** What names tensors by path: an nn.Module. */
export interface NamesTensors {
  namedParameters(): Iterable<readonly [path: string, tensor: Tensor]>;
  namedBuffers(): Iterable<readonly [path: string, tensor: Tensor]>;
}

/** The nodes behind a tensor, inputs before the nodes that use them, and the listed one of each node of the engine. */
export interface Listing {
  readonly nodes: readonly ListedNode[];
  readonly of: ReadonlyMap<Node, ListedNode>;
}

/** Lists the nodes behind `t`, each constant before its first use. */
export function listNodes(t: Tensor, paths: ReadonlyMap<Tensor, string>): Listing {
  const of = new Map<Node, ListedNode>();
  const constants = new Map<Tensor, ListedNode>();
  const nodes: ListedNode[] = [];
  const constant = (c: Tensor, user: Node | null): ListedNode => {
    const made = constants.get(c) ?? new ListedNode(c, null, [], []);
    if (user !== null) made.users.push(user);
    if (constants.has(c)) return made;
    constants.set(c, made);
    nodes.push(made);
    return made;
  };
  if (t.node === null) constant(t, null);
  for (const node of t.node === null ? [] : nodesBehind(t.node)) {
    const positions = [...node.inputs.keys()].filter((i) => node.inputs[i] !== null || isTensor(node.args[i]));
    const inputs = positions.map((i) => {
      const input = node.inputs[i];
      return input == null ? constant(node.args[i] as Tensor, node) : of.get(input)!;
    });
    const made = new ListedNode(node.output, node, inputs, positions);
    of.set(node, made);
    nodes.push(made);
  }
  nameAll(nodes, paths);
  return { nodes, of };
}

/** Returns the paths of a module's tensors. Throws for what is no module. */
export function pathsIn(op: string, names: NamesTensors | undefined): ReadonlyMap<Tensor, string> {
  if (names === undefined) return new Map();
  if (typeof peek(names, 'namedParameters') !== 'function' || typeof peek(names, 'namedBuffers') !== 'function')
    throw new ArgumentError(`${op}: names must be a module, got ${kindOf(names)}`);
  return new Map([...names.namedParameters(), ...names.namedBuffers()].map(([path, t]) => [t, path]));
}

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

/** Names each node: a unique path or label as it is, one of several nodes with the node's number, otherwise the number. */
function nameAll(nodes: readonly ListedNode[], paths: ReadonlyMap<Tensor, string>): void {
  const uses = new Map<string, number>();
  for (const n of nodes) {
    n.givenName = paths.get(n.tensor) ?? n.label;
    n.isNumber = n.node === null && n.tensor.ndim === 0 && n.givenName === null && nodes.length > 1;
    if (n.givenName !== null) uses.set(n.givenName, (uses.get(n.givenName) ?? 0) + 1);
  }
  let position = 0;
  for (const n of nodes) {
    const { givenName, isNumber } = n;
    if (!isNumber) position++;
    if (isNumber) n.name = formatNumber(n.tensor.item(), n.dtype);
    else n.name = givenName !== null && uses.get(givenName) === 1 ? givenName : `${givenName ?? ''}#${position}`;
  }
}

/** A node of a listing. */
export class ListedNode implements GraphNode {
  name = '';
  /** Its path or label; null: it is named by its number or value. */
  givenName: string | null = null;
  readonly label: string | null;
  readonly inputs: readonly ListedNode[];
  readonly tensor: Tensor;
  /** Null for a constant. */
  readonly node: Node | null;
  /** The operations that a constant is an argument of. */
  readonly users: Node[] = [];
  /** Whether it is a constant number, which the text writes where it is used. */
  isNumber = false;
  /** The positions of `inputs` among the operation's arguments. */
  readonly #positions: readonly number[];
  /** A constant whose handle was freed, on the memory that an operation has saved. */
  #saved: Tensor | null = null;

  constructor(tensor: Tensor, node: Node | null, inputs: readonly ListedNode[], positions: readonly number[]) {
    this.tensor = tensor;
    this.label = tensor.label;
    this.node = node;
    this.inputs = inputs;
    this.#positions = positions;
  }

  get op(): string {
    return this.node?.name ?? 'constant';
  }

  get shape(): Shape {
    return this.tensor.shape;
  }

  get dtype(): DType {
    return this.tensor.dtype;
  }

  get value(): Tensor | null {
    // A released 0-d tensor retains its value as a number.
    if (!this.tensor.isReleased || this.tensor.ndim === 0) return this.tensor;
    if (this.#saved === null || this.#saved.isReleased) this.#saved = this.#fromSaved();
    return this.#saved;
  }

  /** Returns a tensor in place of a constant that is freed when an operation ends, such as a mask that was cast to floats. */
  #fromSaved(): Tensor | null {
    const saved = this.users.flatMap((user) => user.savedTensors).find((s) => s.tensor === this.tensor);
    if (saved === undefined) return null;
    const { offset, shape, strides, dtype } = this.tensor;
    return Tensor.fromView({ storage: saved.storage, offset, shape, strides, dtype }).adoptIntoScope();
  }

  get grad(): Tensor | null {
    return this.tensor.grad;
  }

  get consumed(): boolean {
    return this.node !== null && this.node.consumedBy !== null;
  }

  vjp(g: Tensor | null = null): readonly (Tensor | null)[] {
    if (g !== null) checkTensor('vjp', 'g', g);
    if (this.node === null) return [];
    const grads = nodeGrads(this.node, g);
    return this.#positions.map((i) => grads[i] ?? null);
  }
}
