/**
 * Short names for nodes: a label, or the operation as an expression, such as `w · x`.
 */
import type { GraphNode } from 'chainrule';

/** The longest expression that names a node. */
const LONGEST = 14;

const INFIX: Readonly<Record<string, string>> = { add: '+', sub: '−', mul: '·', div: '/', matmul: '@' };

/** Names each node. Two nodes never have the same name, constant numbers excepted. */
export function nodeNames(nodes: readonly GraphNode[]): string[] {
  const names = new Map<GraphNode, string>();
  const taken = new Set(nodes.flatMap(({ label, name }) => (label === null ? [] : [name])));
  nodes.forEach((node, i) => {
    const text = textOf(node, names);
    const name = node.label === null && node.op !== 'constant' && (text.length > LONGEST || taken.has(text)) ? `#${i + 1}` : text;
    taken.add(name);
    names.set(node, name);
  });
  return nodes.map((node) => names.get(node)!);
}

/** The label, with a number where several nodes have it; a constant number's value; or an expression. */
function textOf(node: GraphNode, names: ReadonlyMap<GraphNode, string>): string {
  if (node.label !== null) return node.name;
  if (node.op !== 'constant') return expressionOf(node, names);
  return node.name.startsWith('#') ? 'constant' : node.name.replace('-', '−');
}

/** How tightly operators bind. */
const BINDING: Readonly<Record<string, number>> = { add: 1, sub: 1, mul: 2, div: 2, matmul: 2, pow: 3, neg: 3 };

function expressionOf({ op, inputs }: GraphNode, names: ReadonlyMap<GraphNode, string>): string {
  const operands = inputs.map((input, i) => operandOf(input, names.get(input)!, (BINDING[op] ?? 0) + (i === 0 ? 0 : 0.5)));
  const sign = INFIX[op];
  if (sign !== undefined && operands.length === 2) return operands.join(` ${sign} `);
  if (op === 'pow' && operands.length === 2) return operands.join('^');
  if (op === 'neg') return `−${operands[0]!}`;
  return `${op}(${operands.join(', ')})`;
}

/** Returns a name as an operand of an operator that binds with strength `around`. */
function operandOf({ op, label }: GraphNode, name: string, around: number): string {
  const isExpression = label === null && !name.startsWith('#') && BINDING[op] !== undefined;
  return isExpression && BINDING[op]! < around ? `(${name})` : name;
}
