/**
 * Graphs and the steps of a backward as text.
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { formatShape } from '../core/shape.ts';
import { viewOf } from '../kernels/memory/wasm-memory.ts';
import { addressOf } from '../kernels/view.ts';
import { formatNumber } from '../autograd/format.ts';
import type { Tensor } from '../autograd/tensor.ts';
import type { ListedNode } from './graph-nodes.ts';
import { unravelIndex } from './unravel-index.ts';

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

/** Returns the operation with its arguments, such as `mul(x, 3)`. */
export function definitionText(n: ListedNode): string {
  if (n.inputs.length > 0) return `${n.op}(${n.inputs.map((i) => i.name).join(', ')})`;
  return n.consumed ? `${n.op}(… consumed by backward)` : n.op;
}

/** Returns one line a node, without constant numbers. */
export function graphText(nodes: readonly ListedNode[]): string {
  const rows = nodes
    .filter((n) => !n.isNumber)
    .map((n) => [
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

/** Returns the graph in DOT. */
export function graphDot(nodes: readonly ListedNode[]): string {
  const ids = new Map(nodes.map((n, i) => [n, `n${i + 1}`]));
  const lines = nodes.flatMap((n) => {
    const edges = n.inputs.map((i) => `  ${ids.get(i)!} -> ${ids.get(n)!};`);
    return [`  ${ids.get(n)!} [shape=${dotShape(n)}, label=${dotString(dotLines(n))}];`, ...edges];
  });
  return ['digraph {', '  rankdir=TB;', ...lines, '}'].join('\n');
}

function dotLines(n: ListedNode): string[] {
  if (n.isNumber) return [n.name];
  const lines = [dotTitle(n), `${n.dtype} ${formatShape(n.shape)}`, n.value === null ? '(freed)' : preview(n.value)];
  return n.grad === null ? lines : [...lines, `grad ${preview(n.grad)}`];
}

/** Constants have no border, leaves an ellipse, results of operations a box. */
function dotShape({ node, op }: ListedNode): string {
  if (node === null) return 'plain';
  return op === 'leaf' ? 'ellipse' : 'box';
}

function dotTitle({ givenName, op, inputs }: ListedNode): string {
  if (givenName === null) return op;
  return inputs.length === 0 ? givenName : `${givenName} = ${op}`;
}

/** Quotes lines of text as a DOT string. */
function dotString(lines: readonly string[]): string {
  return `"${lines.map((l) => l.replaceAll('\\', '\\\\').replaceAll('"', '\\"')).join('\\n')}"`;
}

/** Returns a step of a backward in one sentence. `definition` is the visited node's operation with its arguments. */
export function stepText({ name, op, grad, inputs }: StepParts, definition: string): string {
  if (op === 'leaf') return `${name} receives ${preview(grad)}: a leaf, so it goes to ${name}.grad`;
  const passed = inputs.map((i) => (i.grad === null ? `nothing to ${i.name}` : `${preview(i.grad)} to ${i.name}`));
  return `${name} = ${definition} receives ${preview(grad)}, passes ${passed.join(', ')}`;
}

/** What the sentence of a step reads. */
interface StepParts {
  readonly name: string;
  readonly op: string;
  readonly grad: Tensor;
  readonly inputs: readonly { readonly name: string; readonly grad: Tensor | null }[];
}
