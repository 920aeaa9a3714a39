/**
 * Tensors with many elements as pictures.
 */
import { heatMap } from '../ui/heat-map.ts';
import { color } from '../ui/theme.ts';
import type { Grid } from './format.ts';
import type { Values } from './walk.ts';

/** The pictures of one colour scheme. Snapshots of a walk share their values, so each is drawn once. */
let scheme = '';
let pictures = new WeakMap<Values, string>();

/** Returns a tensor as the address of a picture: blue for positive, orange for negative, gaps between channels. */
export function pictureOf(values: Values, grid: Grid): string {
  const now = color('panel');
  if (now !== scheme) {
    scheme = now;
    pictures = new WeakMap();
  }
  const known = pictures.get(values);
  if (known !== undefined) return known;
  const canvas = heatMap(matrixOf(values, grid), { label: '', diverging: true });
  const address = canvas.toDataURL();
  pictures.set(values, address);
  return address;
}

/** Returns a tensor in rows and columns; NaN, which is drawn as nothing, between channels. */
export function matrixOf(values: Values, { rows, columns, order }: Grid) {
  return { rows, columns, values: order.map((i) => (i < 0 ? NaN : values[i]!)) };
}
