/**
 * How tensors print.
 */
import type { DType } from '../core/dtype.ts';
import { formatShape, type Shape } from '../core/shape.ts';

/** The part of a tensor that printing reads. */
interface Printable {
  readonly shape: Shape;
  readonly ndim: number;
  readonly dtype: DType;
  readonly label: string | null;
  readonly node: { readonly op: object | null; readonly name: string } | null;
  readonly isReleased: boolean;
  item(): number;
  data(): ArrayLike<number>;
}

/** Dims longer than 2 · EDGE + 1 show their first and last EDGE elements. */
const EDGE = 3;

/** Returns `tensor [2,2] float32 ← mul` and the values; a freed tensor has `(freed)` in their place. */
export function formatTensor(t: Printable): string {
  const label = t.label === null ? '' : ` '${t.label}'`;
  const head = `tensor${label} ${formatShape(t.shape)} ${t.dtype}${formatOrigin(t.node)}`;
  if (t.isReleased) return t.ndim === 0 ? `${head} ${formatNumber(t.item(), t.dtype)}` : `${head} (freed)`;
  const body = formatValues(t, t.data(), 0, 0, '');
  return body.includes('\n') ? `${head}\n${body}` : `${head} ${body}`;
}

function formatOrigin(node: Printable['node']): string {
  if (node === null) return '';
  return node.op === null ? ' requiresGrad' : ` ← ${node.name}`;
}

/** The values of dim `d` and the dims after it, from element `at`. */
function formatValues(t: Printable, data: ArrayLike<number>, d: number, at: number, indent: string): string {
  if (d === t.ndim) return formatNumber(data[at]!, t.dtype);
  const step = t.shape.slice(d + 1).reduce((a, b) => a * b, 1);
  const parts = shownIndices(t.shape[d]!).map((i) => (i === null ? '…' : formatValues(t, data, d + 1, at + i * step, `${indent} `)));
  return `[${parts.join(d === t.ndim - 1 ? ', ' : `,\n${indent} `)}]`;
}

/** The indices of a dim of size `n` that are printed; null stands for those left out. */
function shownIndices(n: number): (number | null)[] {
  if (n <= 2 * EDGE + 1) return Array.from({ length: n }, (_, i) => i);
  const first = Array.from({ length: EDGE }, (_, i) => i);
  return [...first, null, ...first.map((i) => n - EDGE + i)];
}

/** @internal Returns a number as tensors print it. */
export function formatNumber(x: number, dtype: DType): string {
  if (dtype === 'bool') return x === 0 ? 'false' : 'true';
  if (Number.isInteger(x)) return String(x);
  return String(Number(x.toPrecision(dtype === 'float32' ? 5 : 8)));
}
