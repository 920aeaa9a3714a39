/** Chapter 5: backward multiplies a gradient by the Jacobian without making the Jacobian. */
import { type Tensor, jacobian, tensor, vjp } from 'chainrule';

/** Prints the Jacobian J of f at x, and gᵀJ twice: from J, and as backward computes it. */
function compare(title: string, f: (x: Tensor) => Tensor, x: Tensor, g: Tensor): void {
  const J = jacobian(f, x);
  const fromJ = g.matmul(J);
  const [, fromBackward] = vjp(f, x, g);
  const text = (t: Tensor): string => JSON.stringify(t.toArray());
  console.log(`${title}: J ${text(J)}, gᵀJ ${text(fromJ)}, backward ${text(fromBackward)}`);
}

const x = tensor([1, 2, 3], { dtype: 'float64' });

// A linear map: J is its matrix.
const W = tensor(
  [
    [1, 0, 2],
    [0, 3, 1],
  ],
  { dtype: 'float64' },
);
compare('W x', (x) => W.mv(x), x, tensor([10, 1], { dtype: 'float64' }));

// An elementwise function: J is diagonal.
compare('x²', (x) => x.square(), x, tensor([1, 10, 100], { dtype: 'float64' }));

// A sum: J has one row of ones.
compare('Σx', (x) => x.sum().reshape([1]), x, tensor([5], { dtype: 'float64' }));

// What backward would need for a million elements, if it made J.
const n = 1_000_000;
console.log(`x² of ${n} elements: J has ${n * n} entries, gᵀJ takes ${n} products`);
