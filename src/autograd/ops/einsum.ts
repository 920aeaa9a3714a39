/**
 * Einstein summation as products of matrices. A label names a dim; labels that the result does not name are summed over.
 */
import { ArgumentError, kindOf } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { composed } from '../scope-stack.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { slice } from './indexing.ts';
import { matmul } from './linalg.ts';
import { sum } from './reduce.ts';
import { apartFrom } from './own-memory.ts';
import { permute, reshape } from './views.ts';

const TERM = String.raw`[a-zA-Z]*(?:\.{3})?[a-zA-Z]*`;
const EQUATION = new RegExp(`^${TERM}(?:,${TERM})*(?:->${TERM})?$`);

/** A tensor and the labels of its dims: a letter, or a number for a dim of an ellipsis. */
interface Term {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/** Returns the labels of `term`; the dims of its ellipsis are numbered from the last one on. */
function labelsOf(term: string, rank: number): string[] {
  const [head, tail] = term.split('...') as [string, string?];
  const hidden = tail === undefined ? 0 : rank - head.length - tail.length;
  const numbers = Array.from({ length: hidden }, (_, i) => String(hidden - i));
  return [...Array.from(head), ...numbers, ...Array.from(tail ?? '')];
}

/** Takes the diagonal of dims with one label, so that each label has one dim. */
function diagonal({ x, labels }: Term): Term {
  const b = labels.findLastIndex((l, i) => labels.indexOf(l) < i);
  if (b < 0) return { x, labels };
  const a = labels.indexOf(labels[b]!);
  const rest = [...labels.keys()].filter((d) => d !== a && d !== b);
  const n = x.shape[a]!;
  const flat = reshape(permute(x, [...rest, a, b]), [...rest.map((d) => x.shape[d]!), n * n]);
  return diagonal({ x: slice(flat, -1, 0, null, n + 1), labels: [...rest, a].map((d) => labels[d]!) });
}

/** Returns a tensor with the dims of `labels`, in their order; the others are summed over. */
function arranged(t: Term, labels: readonly string[]): Tensor {
  const gone = [...t.labels.keys()].filter((d) => !labels.includes(t.labels[d]!));
  const left = t.labels.filter((l) => labels.includes(l));
  const order = labels.map((l) => left.indexOf(l));
  return permute(gone.length === 0 ? t.x : sum(t.x, gone), order);
}

/** Counts the elements along `n` dims of t from dim `from` on. */
function count(t: Tensor, from: number, n: number): number {
  return t.shape.slice(from, from + n).reduce((p, s) => p * s, 1);
}

/** Multiplies two terms and sums over shared labels that are not in `keep`. Shared labels in `keep` are batch dims of the matrix product. */
function contract(a: Term, b: Term, keep: readonly string[]): Term {
  const kept = ({ labels }: Term, other: Term, shared: boolean): string[] =>
    labels.filter((l) => keep.includes(l) && other.labels.includes(l) === shared);
  const inner = a.labels.filter((l) => !keep.includes(l) && b.labels.includes(l));
  const batch = kept(a, b, true);
  const rows = kept(a, b, false);
  const columns = kept(b, a, false);
  const x = arranged(a, [...batch, ...rows, ...inner]);
  const w = arranged(b, [...batch, ...inner, ...columns]);
  const B = batch.length;
  const R = rows.length;
  const K = inner.length;
  const m = count(x, B, R);
  const k = count(w, B, K);
  const n = count(w, B + K, columns.length);
  const y = matmul(reshape(x, [count(x, 0, B), m, k]), reshape(w, [count(w, 0, B), k, n]));
  return { x: reshape(y, [...x.shape.slice(0, B + R), ...w.shape.slice(B + K)]), labels: [...batch, ...rows, ...columns] };
}

/** Throws an ArgumentError about the equation. */
type Fail = (why: string) => never;

/** Returns the labels of each operand's dims, and each label's size: 1 only if all its dims have size 1. */
function labelOperands(terms: readonly string[], operands: readonly Tensor[], fail: Fail) {
  const sizes = new Map<string, number>();
  const labels = operands.map((x, i) => {
    const named = labelsOf(terms[i]!, x.ndim);
    if (named.length !== x.ndim) fail(`does not name the dims of operand ${i} by "${terms[i]}"`);
    for (const [d, l] of named.entries()) {
      const n = x.shape[d]!;
      const known = sizes.get(l) ?? 1;
      if (n !== known && n !== 1 && known !== 1) fail(`gives "${l}" two sizes, ${known} and ${n}`);
      if (known === 1) sizes.set(l, n);
    }
    return named;
  });
  return { labels, sizes };
}

/** Returns the labels of the result: those after `->`, else those of an ellipsis and those that occur once. */
function resultLabels(right: string | undefined, labels: readonly string[], sizes: ReadonlyMap<string, number>, fail: Fail): string[] {
  // Digits, which name the dims of an ellipsis, come before letters.
  const hidden = [...sizes.keys()].filter((l) => l <= '9').sort((a, b) => Number(b) - Number(a));
  const once = labels.filter((l) => l > '9' && labels.indexOf(l) === labels.lastIndexOf(l)).sort();
  const result = right === undefined ? [...hidden, ...once] : labelsOf(right, right.replace('...', '').length + hidden.length);
  if (new Set(result).size !== result.length || result.some((l) => !sizes.has(l)))
    fail('must have labels of the operands in its result, each once');
  return result;
}

/**
 * Multiplies the operands and sums over the labels that the result does not name, e.g. `einsum('bij,bjk->bik', a, b)`.
 * Without `->` the result has the labels that occur once, in alphabetical order, after those of an ellipsis. A label twice
 * in an operand takes its diagonal. Size 1 broadcasts. Operands are contracted from left to right.
 * Throws: ArgumentError for an equation that is malformed or does not fit the operands
 */
export const einsum = composed(function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  if (typeof equation !== 'string') throw new ArgumentError(`einsum: expected an equation such as 'ij,jk->ik', got ${kindOf(equation)}`);
  operands.forEach((x, i) => checkTensors('einsum', { [`operand ${i}`]: x }));
  const fail = (why: string): never => {
    throw new ArgumentError(`einsum: "${equation}" ${why} (operands ${operands.map((t) => formatShape(t.shape)).join(', ')})`);
  };
  const compact = equation.replaceAll(' ', '');
  if (!EQUATION.test(compact)) fail('must be letters, commas, at most one "..." a term and at most one "->"');
  const [left, right] = compact.split('->') as [string, string?];
  const terms = left.split(',');
  if (terms.length !== operands.length) fail(`is for ${terms.length} operands, got ${operands.length}`);
  const { labels, sizes } = labelOperands(terms, operands, fail);
  const result = resultLabels(right, labels.flat(), sizes, fail);

  const plain = operands.map((x, i) => {
    // A dim of size 1 whose label is larger elsewhere broadcasts, which is the same as removing it.
    const dims = [...x.shape.keys()].filter((d) => x.shape[d] === sizes.get(labels[i]![d]!));
    const shape = dims.map((d) => x.shape[d]!);
    return diagonal({ x: reshape(x, shape), labels: dims.map((d) => labels[i]![d]!) });
  });
  const product = plain.reduce((a, b, i) => contract(a, b, [...result, ...plain.slice(i + 1).flatMap((t) => t.labels)]));
  return apartFrom(operands[0]!, arranged(product, result));
});
