/**
 * Your scalar engine. Chapters 1 to 3 of the tour complete it. At the end it has at most 100 lines of code.
 *
 * Replace each `return notWritten(…)` by your code. `npm run tour 1` checks it.
 */
import { notWritten } from '../../support/exercise.ts';

/** A number, and what backward needs: the inputs it was computed from, and its derivative by each of them. */
export interface Value {
  data: number;
  grad: number;
  readonly inputs: readonly Value[];
  readonly locals: readonly number[];
}

/** Makes a value. Without inputs it is a leaf. */
export function value(data: number, inputs: readonly Value[] = [], locals: readonly number[] = []): Value {
  return { data, grad: 0, inputs, locals };
}

// ── Exercise 1.1 ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** a + b. An example: both local derivatives are 1. */
export function add(a: Value, b: Value): Value {
  return value(a.data + b.data, [a, b], [1, 1]);
}

/** a − b */
export function sub(a: Value, b: Value): Value {
  return notWritten(a, b);
}

/** a · b */
export function mul(a: Value, b: Value): Value {
  return notWritten(a, b);
}

/** a / b */
export function div(a: Value, b: Value): Value {
  return notWritten(a, b);
}

// ── Exercise 1.2 ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** eᵃ */
export function exp(a: Value): Value {
  return notWritten(a);
}

/** tanh(a) */
export function tanh(a: Value): Value {
  return notWritten(a);
}

/** max(a, 0). At a = 0 the derivative is 0 by convention. */
export function relu(a: Value): Value {
  return notWritten(a);
}

/** aⁿ for a constant n */
export function power(a: Value, n: number): Value {
  return notWritten(a, n);
}

// ── Exercise 1.3, and again in chapters 2 and 3 ──────────────────────────────────────────────────────────────────────────

/** Computes the derivative of root by each value that root depends on, and leaves it in the value's grad. */
export function backward(root: Value): void {
  notWritten(root);
}
