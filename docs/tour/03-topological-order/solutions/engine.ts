/** The engine after chapter 3, complete. */

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

/** a + b */
export function add(a: Value, b: Value): Value {
  return value(a.data + b.data, [a, b], [1, 1]);
}

/** a − b */
export function sub(a: Value, b: Value): Value {
  return value(a.data - b.data, [a, b], [1, -1]);
}

/** a · b */
export function mul(a: Value, b: Value): Value {
  return value(a.data * b.data, [a, b], [b.data, a.data]);
}

/** a / b */
export function div(a: Value, b: Value): Value {
  return value(a.data / b.data, [a, b], [1 / b.data, -a.data / b.data ** 2]);
}

/** eᵃ */
export function exp(a: Value): Value {
  const y = Math.exp(a.data);
  return value(y, [a], [y]);
}

/** tanh(a) */
export function tanh(a: Value): Value {
  const y = Math.tanh(a.data);
  return value(y, [a], [1 - y ** 2]);
}

/** max(a, 0) */
export function relu(a: Value): Value {
  return value(Math.max(a.data, 0), [a], [a.data > 0 ? 1 : 0]);
}

/** aⁿ for a constant n */
export function power(a: Value, n: number): Value {
  return value(a.data ** n, [a], [n * a.data ** (n - 1)]);
}

/** Adds the gradient of root to the grad of every value that root depends on. Visits each value once. */
export function backward(root: Value): void {
  const arrived = new Map<Value, number>([[root, 1]]);
  for (const node of order(root)) {
    const g = arrived.get(node)!;
    node.grad += g;
    for (const [i, input] of node.inputs.entries()) {
      arrived.set(input, (arrived.get(input) ?? 0) + g * node.locals[i]!);
    }
  }
}

/** Returns root and what it depends on, each value before its inputs. */
function order(root: Value): Value[] {
  const uses = new Map<Value, number>();
  const found = [root];
  for (const node of found) {
    for (const input of node.inputs) {
      if (!uses.has(input)) found.push(input);
      uses.set(input, (uses.get(input) ?? 0) + 1);
    }
  }
  const ready = [root];
  for (const node of ready) {
    for (const input of node.inputs) {
      const left = uses.get(input)! - 1;
      uses.set(input, left);
      if (left === 0) ready.push(input);
    }
  }
  return ready;
}
