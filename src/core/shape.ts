/**
 * Shapes, strides and arithmetic on them. Strides count elements, not bytes.
 */
import { ArgumentError, ShapeError, checkArray, isArray, shown } from './errors.ts';

/** The sizes of a tensor's dims; `[]` is the shape of a single number. */
export type Shape = readonly number[];

/** The largest number of elements of a tensor: 2³¹ − 1, so that every index fits an int32. */
export const MAX_ELEMENTS = 2 ** 31 - 1;

/** The largest number of dims of a tensor, as in PyTorch and NumPy: time and messages grow with it. */
export const MAX_DIMS = 64;

/** Throws ShapeError for more dims than a tensor can have. */
export function checkDims(op: string, ndim: number): void {
  if (ndim > MAX_DIMS) throw new ShapeError(`${op}: ${ndim} dims are given or would result, a tensor has at most ${MAX_DIMS}`);
}

/** Formats a shape as messages print it: `[2,3]`. */
export function formatShape(shape: Shape): string {
  return `[${Array.from(shape, (size) => (typeof size === 'number' ? size : shown(size))).join(',')}]`;
}

/** Formats the arguments of an operation as messages print them: `(x [2,3], w [3])`. Omits null. */
export function shapesOf(given: Readonly<Record<string, { readonly shape: Shape } | null>>): string {
  const shapes = Object.entries(given).flatMap(([name, t]) => (t ? `${name} ${formatShape(t.shape)}` : []));
  return `(${shapes.join(', ')})`;
}

/** Returns the number of elements of `shape`. Throws if a size is not a whole number ≥ 0, for more than MAX_DIMS sizes, or if the count is above MAX_ELEMENTS. */
export function sizeOf(shape: Shape, op = 'tensor'): number {
  checkArray(op, shape);
  checkDims(op, shape.length);
  let n = 1;
  for (const d of shape) {
    if (!Number.isSafeInteger(d) || d < 0) {
      throw new ShapeError(`${op}: every size must be a whole number ≥ 0, got shape ${formatShape(shape)}`);
    }
    n *= d;
  }
  // With a size of 0 the count is 0, so the other sizes may be of any magnitude.
  if (n > MAX_ELEMENTS) {
    throw new ShapeError(`${op}: shape ${formatShape(shape)} has ${n} elements, at most ${MAX_ELEMENTS} fit`);
  }
  return n;
}

/** Returns row-major strides. Size-1 dims get the stride that a larger size would have, so that equal shapes have equal strides. */
export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = stride;
    stride *= Math.max(shape[d]!, 1);
  }
  return strides;
}

/** Returns dense strides for `shape` with dims nested in `order`, outermost first. */
export function stridesInOrder(shape: Shape, order: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(0);
  let stride = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    const d = order[i]!;
    strides[d] = stride;
    stride *= Math.max(shape[d]!, 1);
  }
  return strides;
}

/** Returns channels-last strides of a shape [N, C, ...spatial]: the memory order N, ...spatial, C. */
export function channelsLastStrides(shape: Shape): number[] {
  const order = shape.map((_, d) => d);
  const channels = order.splice(1, 1);
  return stridesInOrder(shape, [...order, ...channels]);
}

/**
 * Returns the dims of a strided layout from outermost (largest stride) to innermost. The position of size-1 and broadcast
 * (stride 0) dims is ambiguous: they stay after their left neighbour.
 */
export function memoryOrder(shape: Shape, strides: readonly number[]): number[] {
  const order: number[] = [];
  // Insertion sort: ranks are small, and it must be stable to leave ambiguous dims in place.
  for (let d = 0; d < shape.length; d++) {
    const position = isAmbiguous(shape, strides, d) ? order.length : insertionPoint(order, shape, strides, d);
    order.splice(position, 0, d);
  }
  return order;
}

/** Returns the position in `order` before all dims with a smaller stride than dim d. */
function insertionPoint(order: readonly number[], shape: Shape, strides: readonly number[], d: number): number {
  let position = order.length;
  for (let i = order.length - 1; i >= 0; i--) {
    const other = order[i]!;
    if (isAmbiguous(shape, strides, other)) continue;
    if (strides[other]! >= strides[d]!) break;
    position = i;
  }
  return position;
}

function isAmbiguous(shape: Shape, strides: readonly number[], d: number): boolean {
  return shape[d]! <= 1 || strides[d]! <= 0;
}

/** Returns whether the layout is dense row-major. Ignores strides of size-1 dims; a zero-size layout is row-major. */
export function isRowMajor(shape: Shape, strides: readonly number[]): boolean {
  let expected = 1;
  let matches = true;
  for (let d = shape.length - 1; d >= 0; d--) {
    const size = shape[d]!;
    if (size === 0) return true;
    if (size !== 1 && strides[d] !== expected) matches = false;
    expected *= size;
  }
  return matches;
}

/** Returns whether the layout reaches every element of a contiguous block exactly once, in some order of the dims. */
export function isDense(shape: Shape, strides: readonly number[]): boolean {
  if (isRowMajor(shape, strides)) return true;
  const order = memoryOrder(shape, strides);
  return isRowMajor(
    order.map((d) => shape[d]!),
    order.map((d) => strides[d]!),
  );
}

/** Returns whether elements share memory, because a dim was expanded. */
export function isExpanded(shape: Shape, strides: readonly number[]): boolean {
  return strides.some((s, d) => s === 0 && shape[d]! > 1);
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Returns the NumPy broadcast of the shapes. Throws: ShapeError that names `op` and all shapes */
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

/** Returns the strides that read a tensor of `shape` as the broadcast shape `to`: 0 along every broadcast dim. */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): number[] {
  const addedDims = to.length - shape.length;
  return to.map((size, d) => {
    const own = d - addedDims;
    const isBroadcast = own < 0 || (shape[own] === 1 && size !== 1);
    return isBroadcast ? 0 : strides[own]!;
  });
}

/** Returns `dim` as an index from 0 to ndim − 1; negative dims count from the end. */
export function normalizeDim(op: string, dim: number, ndim: number): number {
  const range = Math.max(ndim, 1);
  if (!Number.isInteger(dim) || dim < -range || dim >= range) {
    throw new ShapeError(`${op}: dim ${shown(dim)} is out of range for ${ndim} dims (expected ${-range} to ${range - 1})`);
  }
  return dim < 0 ? dim + range : dim;
}

/** Returns the dims of a reduction as sorted indices; no dims means all of them. Throws if a dim is out of range or given twice. */
export function normalizeDims(op: string, dim: number | readonly number[] | null | undefined, ndim: number): number[] {
  const given = typeof dim === 'number' ? [dim] : (dim ?? []);
  checkArray(op, given);
  const dims = given.map((d) => normalizeDim(op, d, ndim));
  if (dims.length === 0) return Array.from({ length: ndim }, (_, d) => d);
  dims.sort((a, b) => a - b);
  for (let i = 1; i < dims.length; i++) {
    if (dims[i] === dims[i - 1]) throw new ShapeError(`${op}: dim ${dims[i]} appears twice`);
  }
  // A 0-d tensor accepts dims 0 and −1, although it has no dims.
  return ndim === 0 ? [] : dims;
}

/** Returns the strides that view (`shape`, `strides`) as the shape `to`, or null if that needs a copy. */
export function viewStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (isRowMajor(shape, strides)) return rowMajorStrides(to);
  const out = new Array<number>(to.length).fill(0);
  let j = to.length - 1;
  for (let i = shape.length - 1; i >= 0; ) {
    if (shape[i] === 1) {
      i--;
      continue;
    }
    // The longest run of old dims, ending at i, that has the memory layout of one dim.
    const step = strides[i]!;
    let run = shape[i]!;
    while (i > 0 && (shape[i - 1] === 1 || strides[i - 1] === step * run)) {
      i--;
      run *= shape[i]!;
    }
    i--;
    // New dims must have exactly as many elements as the run.
    let filled = 1;
    while (j >= 0 && filled < run) {
      out[j] = step * filled;
      filled *= to[j]!;
      j--;
    }
    if (filled !== run) return null;
  }
  fillUnitDims(out, to, j);
  return out;
}

/** Sets the stride of every size-1 dim of `to`, and of the dims up to `lastUnset`, to that of the next dim times its size. */
function fillUnitDims(strides: number[], to: Shape, lastUnset: number): void {
  const spanAfter = (d: number): number => (d + 1 < to.length ? strides[d + 1]! * to[d + 1]! : 1);
  strides.fill(spanAfter(lastUnset), 0, lastUnset + 1);
  for (let d = to.length - 1; d >= 0; d--) {
    if (to[d] === 1) strides[d] = spanAfter(d);
  }
}

/** Returns a number, a list of one number, or a pair as a pair. Throws unless each is a whole number ≥ `least`. */
export function pair(op: string, name: string, value: number | readonly number[], least: number): readonly [number, number] {
  const [a, b = a, ...more] = isArray(value) ? value : [value];
  if (more.length > 0 || !Number.isInteger(a) || !Number.isInteger(b) || a! < least || b! < least) {
    throw new ArgumentError(`${op}: ${name} must be a whole number ≥ ${least} or a pair of them, got ${shown(value)}`);
  }
  return [a!, b!];
}
