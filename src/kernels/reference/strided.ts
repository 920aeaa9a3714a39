/**
 * Loops over the elements of strided views, for the reference kernels.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { rowMajorStrides, sizeOf, type Shape } from '../../core/shape.ts';
import { addressOf, type View } from '../view.ts';

/** Where an operand's elements are in its typed array: the index of the first element, and the stride of each dim. */
export interface Place {
  readonly start: number;
  readonly strides: readonly number[];
}

/** Returns the place of a view in `viewOf(v.dtype)`, the typed array over the whole memory. `strides` may replace the view's. */
export function at(v: View, strides: readonly number[] = v.strides): Place {
  return { start: addressOf(v) / ITEM_SIZE[v.dtype], strides };
}

/** The shape of an image or a weight, or an index into one. */
export type Four = [number, number, number, number];

/** Returns the position of element [a, b, c, d]. */
export function position(p: Place, a: number, b: number, c: number, d: number): number {
  const s = p.strides as Four;
  return p.start + a * s[0] + b * s[1] + c * s[2] + d * s[3];
}

/** Returns the view's strides with 0 along the dims for which `isFixed` returns true, so that a loop does not advance along them. */
export function fixedStrides(v: View, isFixed: (dim: number) => boolean): number[] {
  return v.strides.map((s, d) => (isFixed(d) ? 0 : s));
}

/** Calls `fn` for every index of `shape`, in row-major order, with the positions in up to four places. */
export function forEachIndex(shape: Shape, places: readonly Place[], fn: (a: number, b: number, c: number, d: number) => void): void {
  if (shape.includes(0)) return;
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  const stepOf = (k: number): number => places[k]?.strides[last] ?? 0;
  const steps: Four = [stepOf(0), stepOf(1), stepOf(2), stepOf(3)];
  const starts = [0, 1, 2, 3].map((k) => places[k]?.start ?? 0) as Four;
  const index = new Array<number>(shape.length).fill(0);
  do {
    runRow(n, starts, steps, fn);
  } while (advance(shape, places, index, starts));
}

/** Calls `fn` along the last dim. This is a loop of its own because tests spend most of their time in it. */
function runRow(n: number, starts: Four, steps: Four, fn: (a: number, b: number, c: number, d: number) => void): void {
  const [sa, sb, sc, sd] = steps;
  let [a, b, c, d] = starts;
  for (let i = 0; i < n; i++) {
    fn(a, b, c, d);
    a += sa;
    b += sb;
    c += sc;
    d += sd;
  }
}

/** Advances `index` and `starts` to the next row, by carrying from dim to dim; returns false after the last row. */
function advance(shape: Shape, places: readonly Place[], index: number[], starts: Four): boolean {
  for (let dim = shape.length - 2; dim >= 0; dim--) {
    index[dim]!++;
    const wraps = index[dim] === shape[dim];
    const steps = wraps ? 1 - shape[dim]! : 1;
    for (let k = 0; k < places.length; k++) starts[k]! += places[k]!.strides[dim]! * steps;
    if (!wraps) return true;
    index[dim] = 0;
  }
  return false;
}

/** Float64 accumulators for the elements of a view, in row-major order. They are rounded once, when they are stored. */
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
    forEachIndex(this.#view.shape, [this.place, at(this.#view)], (s, v) => (array[v] = this.values[s]!));
  }
}
