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
  const grad = t.node === null ? '' : t.node.op === null ? ' requiresGrad' : ` ← ${t.node.name}`;
  const label = t.label === null ? '' : ` '${t.label}'`;
  const head = `tensor${label} ${formatShape(t.shape)} ${t.dtype}${grad}`;
  if (t.isReleased) return t.ndim === 0 ? `${head} ${formatNumber(t.item(), t.dtype)}` : `${head} (freed)`;
  const data = t.data();
  const values = (d: number, at: number, indent: string): string => {
    if (d === t.ndim) return formatNumber(data[at]!, t.dtype);
    const n = t.shape[d]!;
    const step = t.shape.slice(d + 1).reduce((a, b) => a * b, 1);
    const parts: string[] = [];
    for (let i = 0; i < n; i++) {
      if (n > 2 * EDGE + 1 && i === EDGE) {
        parts.push('…');
        i = n - EDGE;
      }
      parts.push(values(d + 1, at + i * step, `${indent} `));
    }
    return `[${parts.join(d === t.ndim - 1 ? ', ' : `,\n${indent} `)}]`;
  };
  const body = values(0, 0, '');
  return body.includes('\n') ? `${head}\n${body}` : `${head} ${body}`;
}

/** @internal A number as tensors print it. */
export function formatNumber(x: number, dtype: DType): string {
  if (dtype === 'bool') return x === 0 ? 'false' : 'true';
  if (dtype === 'int32' || !Number.isFinite(x) || Number.isInteger(x)) return String(x);
  return String(Number(x.toPrecision(dtype === 'float32' ? 5 : 8)));
}
