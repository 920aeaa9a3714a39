/**
 * The iteration planner: computes the fewest nested loops that iterate over several strided operands together. The innermost
 * loop is contiguous where the layouts allow it. Elementwise, indexing and reduction kernels run the plan.
 */
import type { Shape } from './shape.ts';

/** Nested loops, innermost last, at least one. */
export interface Plan {
  readonly sizes: readonly number[];
  /** `strides[k][d]`: how many elements operand k advances per step of loop d. */
  readonly strides: readonly (readonly number[])[];
}

/**
 * Plans the iteration over `shape` for operands with the given strides, 0 where they broadcast. Drops size-1 dims, sorts the
 * rest by the first operand's strides (ties by the second's, …), and merges adjacent dims where all operands allow it.
 */
export function planIteration(shape: Shape, operands: readonly (readonly number[])[]): Plan {
  return planSingleLoop(shape, operands) ?? planNestedLoops(shape, operands);
}

/** Returns one loop if every operand is row-major or a single element, else null. Most calls end here, so it must be cheap. */
function planSingleLoop(shape: Shape, operands: readonly (readonly number[])[]): Plan | null {
  const strides = new Array<readonly number[]>(operands.length);
  let n = 1;
  for (let k = 0; k < operands.length; k++) {
    const operand = operands[k]!;
    let isRowMajor = true;
    let isSingleElement = true;
    n = 1;
    for (let d = shape.length - 1; d >= 0; d--) {
      const size = shape[d]!;
      if (size === 1) continue;
      if (operand[d] !== n) isRowMajor = false;
      if (operand[d] !== 0) isSingleElement = false;
      n *= size;
    }
    if (!isRowMajor && !isSingleElement) return null;
    strides[k] = isRowMajor ? ONE : ZERO;
  }
  return { sizes: [n], strides };
}

const ONE = [1];
const ZERO = [0];

function planNestedLoops(shape: Shape, operands: readonly (readonly number[])[]): Plan {
  const order: number[] = [];
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 1) continue;
    // Insertion sort: ranks are small, and it is stable.
    let i = order.length;
    while (i > 0 && isInner(operands, order[i - 1]!, d)) {
      order[i] = order[i - 1]!;
      i--;
    }
    order[i] = d;
  }
  const sizes: number[] = [];
  const strides: number[][] = [];
  for (let k = 0; k < operands.length; k++) strides.push([]);
  let last = -1;
  for (let i = 0; i < order.length; i++) {
    const d = order[i]!;
    const size = shape[d]!;
    const merges = last >= 0 && canMerge(operands, d, size, strides, last);
    if (!merges) last++;
    sizes[last] = merges ? sizes[last]! * size : size;
    for (let k = 0; k < operands.length; k++) strides[k]![last] = operands[k]![d]!;
  }
  return { sizes, strides };
}

/** Returns whether, in every operand, one step of loop `last` advances as far as all `size` steps of dim `d`. */
function canMerge(operands: readonly (readonly number[])[], d: number, size: number, strides: number[][], last: number): boolean {
  for (let k = 0; k < operands.length; k++) if (strides[k]![last] !== operands[k]![d]! * size) return false;
  return true;
}

/** Returns whether dim `a` has a smaller stride than dim `b` in the first operand where the two differ. */
function isInner(operands: readonly (readonly number[])[], a: number, b: number): boolean {
  for (let k = 0; k < operands.length; k++) {
    const difference = Math.abs(operands[k]![a]!) - Math.abs(operands[k]![b]!);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
