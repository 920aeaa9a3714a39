/**
 * Einstein summation, as products of matrices: labels are dims, and what the result does not name is summed over.
 */
import { ArgumentError } from '../../core/errors.ts';
import { formatShape } from '../../core/shape.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { slice } from './indexing.ts';
import { matmul } from './linalg.ts';
import { sum } from './reduce.ts';
import { permute, reshape } from './views.ts';

const TERM = String.raw`[a-zA-Z]*(?:\.{3})?[a-zA-Z]*`;
const EQUATION = new RegExp(`^${TERM}(?:,${TERM})*(?:->${TERM})?$`);

/** A tensor and what its dims are called: by a letter, or by a number where an ellipsis stands for them. */
interface Term {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/** `term`'s labels; those of its ellipsis are numbered from the last one on. */
function labelsOf(term: string, rank: number): string[] {
  const [head, tail] = term.split('...') as [string, string?];
  const hidden = tail === undefined ? 0 : rank - head.length - tail.length;
  const numbers = Array.from({ length: hidden }, (_, i) => String(hidden - i));
  return [...Array.from(head), ...numbers, ...Array.from(tail ?? '')];
}

/** With one dim for each label: the diagonal of those that have two. */
function diagonal({ x, labels }: Term): Term {
  const b = labels.findLastIndex((l, i) => labels.indexOf(l) < i);
  if (b < 0) return { x, labels };
  const a = labels.indexOf(labels[b]!);
  const rest = [...labels.keys()].filter((d) => d !== a && d !== b);
  const n = x.shape[a]!;
  const flat = reshape(permute(x, [...rest, a, b]), [...rest.map((d) => x.shape[d]!), n * n]);
  return diagonal({ x: slice(flat, -1, 0, null, n + 1), labels: [...rest, a].map((d) => labels[d]!) });
}

/** With the dims of `labels`, in their order; the others are summed over. */
function arranged(t: Term, labels: readonly string[]): Tensor {
  const gone = [...t.labels.keys()].filter((d) => !labels.includes(t.labels[d]!));
  const left = t.labels.filter((l) => labels.includes(l));
  const order = labels.map((l) => left.indexOf(l));
  return permute(gone.length === 0 ? t.x : sum(t.x, gone), order);
}

/** The product of two terms, summed over the labels that are not in `keep`: a matrix product for each shared one that is. */
function contract(a: Term, b: Term, keep: readonly string[]): Term {
  const kept = ({ labels }: Term, other: Term, shared: boolean): string[] =>
    labels.filter((l) => keep.includes(l) && other.labels.includes(l) === shared);
  const inner = a.labels.filter((l) => !keep.includes(l) && b.labels.includes(l));
  const [batch, rows, columns] = [kept(a, b, true), kept(a, b, false), kept(b, a, false)];
  const [x, w] = [arranged(a, [...batch, ...rows, ...inner]), arranged(b, [...batch, ...inner, ...columns])];
  const count = (t: Tensor, from: number, n: number): number => t.shape.slice(from, from + n).reduce((p, s) => p * s, 1);
  const [B, R, K] = [batch.length, rows.length, inner.length];
  const [m, k, n] = [count(x, B, R), count(w, B, K), count(w, B + K, columns.length)];
  const y = matmul(reshape(x, [count(x, 0, B), m, k]), reshape(w, [count(w, 0, B), k, n]));
  return { x: reshape(y, [...x.shape.slice(0, B + R), ...w.shape.slice(B + K)]), labels: [...batch, ...rows, ...columns] };
}

/**
 * Σ over the labels that the result does not name of the product of the operands, e.g. `einsum('bij,bjk->bik', a, b)`.
 * Without `->` the result has the labels that occur once, in alphabetical order, after those of an ellipsis. A label twice
 * in an operand is its diagonal. Size 1 broadcasts. Operands are contracted from left to right.
 * Throws: ArgumentError for an equation that is malformed or does not fit the operands
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  operands.forEach((x, i) => checkTensors('einsum', { [`operand ${i}`]: x }));
  const fail = (why: string): never => {
    throw new ArgumentError(`einsum: "${equation}" ${why} (operands ${operands.map((t) => formatShape(t.shape)).join(', ')})`);
  };
  const compact = equation.replaceAll(' ', '');
  if (!EQUATION.test(compact)) fail('must be letters, commas, at most one "..." a term and at most one "->"');
  const [left, right] = compact.split('->') as [string, string?];
  const terms = left.split(',');
  if (terms.length !== operands.length) fail(`is for ${terms.length} operands, got ${operands.length}`);
  const sizes = new Map<string, number>();
  const named = operands.map((x, i) => {
    const labels = labelsOf(terms[i]!, x.ndim);
    if (labels.length !== x.ndim) fail(`does not name the dims of operand ${i} by "${terms[i]}"`);
    labels.forEach((l, d) => {
      const [n, known] = [x.shape[d]!, sizes.get(l) ?? 1];
      if (n !== known && n !== 1 && known !== 1) fail(`gives "${l}" two sizes, ${known} and ${n}`);
      if (known === 1) sizes.set(l, n);
    });
    return labels;
  });
  const all = named.flat();
  const hidden = [...sizes.keys()].filter((l) => l <= '9').sort((a, b) => Number(b) - Number(a));
  const once = all.filter((l) => l > '9' && all.indexOf(l) === all.lastIndexOf(l)).sort();
  const result = right === undefined ? [...hidden, ...once] : labelsOf(right, right.replace('...', '').length + hidden.length);
  if (new Set(result).size !== result.length || result.some((l) => !sizes.has(l)))
    fail('must have labels of the operands in its result, each once');

  const plain = operands.map((x, i) => {
    // A dim of size 1 where the label has more elsewhere broadcasts: the same as not having it.
    const dims = [...x.shape.keys()].filter((d) => x.shape[d] === sizes.get(named[i]![d]!));
    const shape = dims.map((d) => x.shape[d]!);
    return diagonal({ x: reshape(x, shape), labels: dims.map((d) => named[i]![d]!) });
  });
  const product = plain.reduce((a, b, i) => contract(a, b, [...result, ...plain.slice(i + 1).flatMap((t) => t.labels)]));
  return arranged(product, result);
}
