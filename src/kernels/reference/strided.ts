/**
 * How the reference kernels visit elements: one odometer over a shape that keeps a position in every operand.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { rowMajorStrides, sizeOf, type Shape } from '../../core/shape.ts';
import { addressOf, type View } from '../view.ts';

/** Where an operand's element 0 is in its typed array, and how far each dim steps. */
export interface Place {
  readonly start: number;
  readonly strides: readonly number[];
}

/** The place of a view in the typed array `viewOf(v.dtype)` of the whole memory; `strides` may replace its own. */
export function at(v: View, strides: readonly number[] = v.strides): Place {
  return { start: addressOf(v) / ITEM_SIZE[v.dtype], strides };
}

/** The shape of an image or a weight, or an index into one. */
export type Four = [number, number, number, number];

/** The position of element [a, b, c, d]. */
export function position(p: Place, a: number, b: number, c: number, d: number): number {
  const s = p.strides as Four;
  return p.start + a * s[0] + b * s[1] + c * s[2] + d * s[3];
}

/** The view's strides with 0 along the dims that `stays` picks: those the walk does not move along. */
export function still(v: View, stays: (dim: number) => boolean): number[] {
  return v.strides.map((s, d) => (stays(d) ? 0 : s));
}

/** Calls `visit` for every index of `shape`, in row-major order, with the positions of up to four places. */
export function walk(shape: Shape, places: readonly Place[], visit: (a: number, b: number, c: number, d: number) => void): void {
  if (shape.includes(0)) return;
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  // The last dim is a plain loop of its own: a test-suite's time goes there.
  const [sa, sb, sc, sd] = [0, 1, 2, 3].map((k) => places[k]?.strides[last] ?? 0) as Four;
  const pos = [0, 1, 2, 3].map((k) => places[k]?.start ?? 0);
  const index = new Array<number>(shape.length).fill(0);
  for (;;) {
    let [a, b, c, d] = pos as Four;
    for (let i = 0; i < n; i++, a += sa, b += sb, c += sc, d += sd) visit(a, b, c, d);
    let dim = last - 1;
    for (; dim >= 0; dim--) {
      const wraps = ++index[dim]! === shape[dim];
      const steps = wraps ? 1 - shape[dim]! : 1;
      for (let k = 0; k < places.length; k++) pos[k]! += places[k]!.strides[dim]! * steps;
      if (!wraps) break;
      index[dim] = 0;
    }
    if (dim < 0) return;
  }
}

/** Float64 sums for a view, row-major, rounded once when they are stored. */
export class Sums {
  readonly values: Float64Array;
  readonly place: Place;
  readonly #view: View;

  constructor(view: View, initial = 0) {
    this.#view = view;
    this.values = new Float64Array(sizeOf(view.shape)).fill(initial);
    this.place = { start: 0, strides: rowMajorStrides(view.shape) };
  }

  storeIn(array: { [i: number]: number }): void {
    walk(this.#view.shape, [this.place, at(this.#view)], (s, v) => (array[v] = this.values[s]!));
  }
}
