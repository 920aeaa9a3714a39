/**
 * Numbers and shapes as the graph panel writes them.
 */
import { withMinus } from '../ui/numbers.ts';
import type { Values } from './walk.ts';

/** Returns a number with at most `digits` digits that count, and a minus sign. */
export function formatValue(x: number, digits = 4): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? 'NaN' : `${x < 0 ? '−' : ''}∞`;
  const rounded = Number(x.toPrecision(digits));
  const size = Math.abs(rounded);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? rounded.toExponential().replace('e+', 'e') : String(rounded);
  return withMinus(text);
}

/** Returns a number for use inside a formula: a negative one in parentheses. */
export function formatTerm(x: number): string {
  return x < 0 ? `(${formatValue(x)})` : formatValue(x);
}

/** Returns the numbers in brackets, at most `most` of them. */
export function formatValues(values: Values, most = 6): string {
  if (values.length === 1) return formatValue(values[0]!);
  const shown = values.slice(0, most).map((x) => formatValue(x));
  return `[${shown.join(', ')}${values.length > most ? ', …' : ''}]`;
}

export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** A tensor as rows and columns. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
  /** The index of the element at each place in row-major order; −1 leaves a gap. */
  readonly order: readonly number[];
}

/** Lays a tensor out in two dims: the channels of an image side by side, other leading dims below each other. */
export function gridOf(dims: readonly number[]): Grid {
  // Trailing dims of size 1 would make a column of one number each.
  const last = dims.findLastIndex((size) => size !== 1);
  const shape = dims.length > 2 ? dims.slice(0, last + 1) : dims;
  const numel = shape.reduce((a, b) => a * b, 1);
  const columns = shape.at(-1) ?? 1;
  const rows = columns === 0 ? 0 : numel / columns;
  const [height, count] = [shape.at(-2) ?? 1, shape.at(-3) ?? 1];
  if (shape.length < 3 || height < 2 || columns < 2 || count === 1)
    return { rows, columns, order: Array.from({ length: numel }, (_, i) => i) };
  const images = numel / (height * columns * count);
  const width = count * (columns + 1) - 1;
  const order = Array.from({ length: images * height * width }, (_, at) => {
    const [row, x] = [Math.floor(at / width), at % width];
    const [image, y] = [Math.floor(row / height), row % height];
    const [channel, column] = [Math.floor(x / (columns + 1)), x % (columns + 1)];
    return column === columns ? -1 : ((image * count + channel) * height + y) * columns + column;
  });
  return { rows: images * height, columns: width, order };
}
