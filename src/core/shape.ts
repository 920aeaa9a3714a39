/**
 * Shapes, strides and the small arithmetic on them. Strides count elements, not bytes.
 */
import { ArgumentError, ShapeError, checkArray } from './errors.ts';

/** The sizes of a tensor's dims; `[]` is the shape of a single number. */
export type Shape = readonly number[];

/** The most elements a tensor may have: 2³¹ − 1, so that every index fits an int32. */
export const MAX_ELEMENTS = 2 ** 31 - 1;

/** `[2,3]`: how shapes are printed in every message. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(',')}]`;
}

/** `(x [2,3], w [3])`: how messages show what an operation was given; null is left out. */
export function shapesOf(given: Readonly<Record<string, { readonly shape: Shape } | null>>): string {
  return `(${Object.entries(given)
    .flatMap(([name, t]) => (t ? `${name} ${formatShape(t.shape)}` : []))
    .join(', ')})`;
}

/** The number of elements of `shape`; throws where a size is no natural number or the count overflows. */
export function sizeOf(shape: Shape, op = 'tensor'): number {
  checkArray(op, shape);
  let n = 1;
  for (const d of shape) {
    if (!Number.isSafeInteger(d) || d < 0) {
      throw new ShapeError(`${op}: every size must be a whole number ≥ 0, got shape ${formatShape(shape)}`);
    }
    n *= d;
  }
  // A zero-size tensor may have any other sizes: its count is 0 whatever the product of the rest.
  if (n > MAX_ELEMENTS) {
    throw new ShapeError(`${op}: shape ${formatShape(shape)} has ${n} elements, at most ${MAX_ELEMENTS} fit`);
  }
  return n;
}

/** Row-major strides; size-1 dims get the stride they would have, so that equal shapes have equal strides. */
export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let s = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = s;
    s *= Math.max(shape[d]!, 1);
  }
  return strides;
}

/** Dense strides for `shape` with dims nested in `order`, outermost first. */
export function stridesInOrder(shape: Shape, order: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(0);
  let s = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    strides[order[i]!] = s;
    s *= Math.max(shape[order[i]!]!, 1);
  }
  return strides;
}

/** Channels-last strides of a shape [N, C, ...spatial]: the memory order N, ...spatial, C. */
export function channelsLastStrides(shape: Shape): number[] {
  const order = shape.map((_, d) => d);
  order.push(...order.splice(1, 1));
  return stridesInOrder(shape, order);
}

/**
 * The dims of a strided layout from outermost (largest stride) to innermost. Size-1 dims say nothing about order and
 * broadcast (stride 0) dims little: both keep their place relative to their left neighbour.
 */
export function memoryOrder(shape: Shape, strides: readonly number[]): number[] {
  const order: number[] = [];
  for (let d = 0; d < shape.length; d++) {
    let i = order.length;
    // Insertion sort: ranks are small, and stability is what keeps ambiguous dims in place.
    if (shape[d]! > 1 && strides[d]! > 0) {
      for (let j = order.length - 1; j >= 0; j--) {
        const o = order[j]!;
        if (shape[o]! > 1 && strides[o]! > 0) {
          if (strides[o]! >= strides[d]!) break;
          i = j;
        }
      }
    }
    order.splice(i, 0, d);
  }
  return order;
}

/** Whether the layout is dense row-major (strides of size-1 dims ignored; zero-size counts as contiguous). */
export function isRowMajor(shape: Shape, strides: readonly number[]): boolean {
  let s = 1;
  let dense = true;
  for (let d = shape.length - 1; d >= 0; d--) {
    const n = shape[d]!;
    if (n === 0) return true;
    if (n !== 1 && strides[d] !== s) dense = false;
    s *= n;
  }
  return dense;
}

/** Whether the layout visits every element of a dense block exactly once, in some order of the dims. */
export function isDense(shape: Shape, strides: readonly number[]): boolean {
  if (isRowMajor(shape, strides)) return true;
  const order = memoryOrder(shape, strides);
  return isRowMajor(
    order.map((d) => shape[d]!),
    order.map((d) => strides[d]!),
  );
}

/** Whether several elements share memory: a dim was expanded. */
export function isExpanded(shape: Shape, strides: readonly number[]): boolean {
  return strides.some((s, d) => s === 0 && shape[d]! > 1);
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The NumPy broadcast of the shapes; throws a ShapeError that names `op` and all of them. */
export function broadcastShapes(op: string, ...shapes: readonly Shape[]): Shape {
  const first = shapes.find((s) => s.length > 0) ?? [];
  if (shapes.every((s) => s.length === 0 || sameShape(s, first))) return first;
  const ndim = Math.max(...shapes.map((s) => s.length));
  const out = new Array<number>(ndim).fill(1);
  for (const shape of shapes) {
    for (let i = 1; i <= shape.length; i++) {
      const n = shape[shape.length - i]!;
      const m = out[ndim - i]!;
      if (n === m || n === 1) continue;
      if (m !== 1) {
        throw new ShapeError(`${op}: shapes ${shapes.map(formatShape).join(' and ')} do not broadcast (${m} against ${n})`);
      }
      out[ndim - i] = n;
    }
  }
  return out;
}

/** Strides that read a tensor of `shape` as the broadcast shape `to`: 0 along every broadcast dim. */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): number[] {
  const lead = to.length - shape.length;
  return to.map((n, d) => (d < lead || (shape[d - lead] === 1 && n !== 1) ? 0 : strides[d - lead]!));
}

/** `dim` as a natural number below `ndim`; negative dims count from the end. */
export function normalizeDim(op: string, dim: number, ndim: number): number {
  const range = Math.max(ndim, 1);
  if (!Number.isInteger(dim) || dim < -range || dim >= range) {
    throw new ShapeError(`${op}: dim ${dim} is out of range for ${ndim} dims (expected ${-range} to ${range - 1})`);
  }
  return dim < 0 ? dim + range : dim;
}

/** Sorted natural dims of a reduction; none named means all of them. Throws on a dim out of range or named twice. */
export function normalizeDims(op: string, dim: number | readonly number[] | null | undefined, ndim: number): number[] {
  const given = typeof dim === 'number' ? [dim] : (dim ?? []);
  checkArray(op, given);
  const dims = given.map((d) => normalizeDim(op, d, ndim));
  if (dims.length === 0) return Array.from({ length: ndim }, (_, d) => d);
  dims.sort((a, b) => a - b);
  for (let i = 1; i < dims.length; i++) {
    if (dims[i] === dims[i - 1]) throw new ShapeError(`${op}: dim ${dims[i]} appears twice`);
  }
  // A 0-d tensor accepts dim 0 and −1, which name no dim of it.
  return ndim === 0 ? [] : dims;
}

/** Strides that view (`shape`, `strides`) as `to` without copying, or null where that needs a copy. */
export function viewStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (isRowMajor(shape, strides)) return rowMajorStrides(to);
  const out = new Array<number>(to.length).fill(0);
  let j = to.length - 1;
  for (let i = shape.length - 1; i >= 0; ) {
    if (shape[i] === 1) {
      i--;
      continue;
    }
    // The largest run of old dims, ending at i, that lies in memory like one dim.
    const step = strides[i]!;
    let run = shape[i]!;
    while (i > 0 && (shape[i - 1] === 1 || strides[i - 1] === step * run)) run *= shape[--i]!;
    i--;
    // New dims must fill that run exactly.
    let filled = 1;
    while (j >= 0 && filled < run) {
      out[j] = step * filled;
      filled *= to[j]!;
      j--;
    }
    if (filled !== run) return null;
  }
  let s = j + 1 < to.length ? out[j + 1]! * to[j + 1]! : 1;
  for (; j >= 0; j--) out[j] = s;
  for (let d = to.length - 1; d >= 0; d--) {
    if (to[d] === 1) out[d] = s = d + 1 < to.length ? out[d + 1]! * to[d + 1]! : 1;
  }
  return out;
}

/** A number (or a list of one) or a pair of numbers as a pair; each must be a whole number ≥ `least`. */
export function pair(op: string, name: string, value: number | readonly number[], least: number): readonly [number, number] {
  const [a, b = a, ...more] = [value].flat();
  if (more.length > 0 || !Number.isInteger(a) || !Number.isInteger(b) || a! < least || b! < least) {
    throw new ArgumentError(`${op}: ${name} must be a whole number ≥ ${least} or a pair of them, got ${JSON.stringify(value)}`);
  }
  return [a!, b!];
}
