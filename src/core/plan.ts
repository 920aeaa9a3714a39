/**
 * The iteration planner: the fewest nested loops that walk several strided operands together, innermost contiguous where
 * the layouts allow it. Elementwise, indexing and reduction kernels all run what it returns.
 */
import type { Shape } from './shape.ts';

/** Nested loops, innermost last, at least one. */
export interface Plan {
  readonly sizes: readonly number[];
  /** `strides[k][d]`: how far operand k moves per step of loop d, in elements. */
  readonly strides: readonly (readonly number[])[];
}

/**
 * Plans a walk over `shape` for operands with the given strides, 0 where they broadcast. Dims are sorted by the first
 * operand's strides (then the second's, …), size-1 dims dropped, and neighbours merged where all operands allow it.
 */
export function planIteration(shape: Shape, operands: readonly (readonly number[])[]): Plan {
  return planFlat(shape, operands) ?? planNested(shape, operands);
}

/** One loop where every operand is row-major or one single element; null otherwise. Most calls end here, so it is cheap. */
function planFlat(shape: Shape, operands: readonly (readonly number[])[]): Plan | null {
  const strides = new Array<readonly number[]>(operands.length);
  let n = 1;
  for (let k = 0; k < operands.length; k++) {
    const s = operands[k]!;
    let rowMajor = true;
    let single = true;
    n = 1;
    for (let d = shape.length - 1; d >= 0; d--) {
      const size = shape[d]!;
      if (size === 1) continue;
      if (s[d] !== n) rowMajor = false;
      if (s[d] !== 0) single = false;
      n *= size;
    }
    if (!rowMajor && !single) return null;
    strides[k] = rowMajor ? ONE : ZERO;
  }
  return { sizes: [n], strides };
}

const ONE = [1];
const ZERO = [0];

function planNested(shape: Shape, operands: readonly (readonly number[])[]): Plan {
  const order: number[] = [];
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 1) continue;
    // Insertion sort: ranks are small, and it keeps equal dims in place.
    let i = order.length;
    for (; i > 0 && isInner(operands, order[i - 1]!, d); i--) order[i] = order[i - 1]!;
    order[i] = d;
  }
  const sizes: number[] = [];
  const strides: number[][] = [];
  for (let k = 0; k < operands.length; k++) strides.push([]);
  let last = -1;
  for (let i = 0; i < order.length; i++) {
    const d = order[i]!;
    const size = shape[d]!;
    const merges = last >= 0 && spans(operands, d, size, strides, last);
    if (!merges) last++;
    sizes[last] = merges ? sizes[last]! * size : size;
    for (let k = 0; k < operands.length; k++) strides[k]![last] = operands[k]![d]!;
  }
  return { sizes, strides };
}

/** Whether one step of loop `last` goes as far as all of dim `d`, in every operand. */
function spans(operands: readonly (readonly number[])[], d: number, size: number, strides: number[][], last: number): boolean {
  for (let k = 0; k < operands.length; k++) if (strides[k]![last] !== operands[k]![d]! * size) return false;
  return true;
}

/** Whether dim `a` steps less far than dim `b`, by the first operand that tells. */
function isInner(operands: readonly (readonly number[])[], a: number, b: number): boolean {
  for (let k = 0; k < operands.length; k++) {
    const difference = Math.abs(operands[k]![a]!) - Math.abs(operands[k]![b]!);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
