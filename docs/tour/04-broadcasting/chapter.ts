/** Chapter 4: the gradient of a tensor that was broadcast is a sum. */
import { tensor } from 'chainrule';

// b [3] is added to both rows of a [2,3], and c [2,1] to all three columns.
const a = tensor(
  [
    [1, 2, 3],
    [4, 5, 6],
  ],
  { requiresGrad: true },
);
const b = tensor([10, 20, 30], { requiresGrad: true });
const c = tensor([[100], [200]], { requiresGrad: true });
const y = a.add(b).add(c);
console.log('y', JSON.stringify(y.toArray()));

// A loss that weights each element of y. The gradient of y is the weights.
const weights = tensor([
  [1, 0, 2],
  [3, 1, 1],
]);
y.mul(weights).sum().backward();
console.log('gradient of a [2,3]', JSON.stringify(a.grad!.toArray()));
console.log('gradient of b [3]  ', JSON.stringify(b.grad!.toArray()));
console.log('gradient of c [2,1]', JSON.stringify(c.grad!.toArray()));

// The same without broadcasting: repeat b by hand, and add the gradients of its copies.
const rows = [0, 1].map(() => tensor([10, 20, 30], { requiresGrad: true }));
for (const [i, row] of rows.entries()) row.mul(weights.select(0, i)).sum().backward();
console.log('gradients of two copies of b', JSON.stringify(rows.map((row) => row.grad!.toArray())));
