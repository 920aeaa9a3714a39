/** Chapter 1: the chain rule by hand for y = (w·x + b)², and the same with chainrule. */
import { tensor } from 'chainrule';

/** A number, and what backward needs: the inputs it was computed from, and its derivative by each of them. */
interface Value {
  readonly data: number;
  grad: number;
  readonly inputs: readonly Value[];
  readonly locals: readonly number[];
}

function value(data: number, inputs: readonly Value[] = [], locals: readonly number[] = []): Value {
  return { data, grad: 0, inputs, locals };
}

const mul = (a: Value, b: Value): Value => value(a.data * b.data, [a, b], [b.data, a.data]);
const add = (a: Value, b: Value): Value => value(a.data + b.data, [a, b], [1, 1]);
const square = (a: Value): Value => value(a.data ** 2, [a], [2 * a.data]);

// Forward: compute, and record.
const w = value(3);
const x = value(2);
const b = value(1);
const p = mul(w, x);
const s = add(p, b);
const y = square(s);

// Backward: the gradient of an input is the gradient of the result times the recorded derivative.
y.grad = 1;
s.grad = y.grad * y.locals[0]!;
p.grad = s.grad * s.locals[0]!;
b.grad = s.grad * s.locals[1]!;
w.grad = p.grad * p.locals[0]!;
x.grad = p.grad * p.locals[1]!;

for (const [name, node] of Object.entries({ y, s, p, b, w, x })) {
  console.log(`${name}: data ${node.data}, grad ${node.grad}, locals [${node.locals.join(', ')}]`);
}

// The same with chainrule.
const W = tensor(3, { requiresGrad: true });
const X = tensor(2, { requiresGrad: true });
const B = tensor(1, { requiresGrad: true });
W.mul(X).add(B).square().backward();
console.log(`chainrule: w ${W.grad!.item()}, x ${X.grad!.item()}, b ${B.grad!.item()}`);
