/** Chapter 6: backward is made of operations, so it can be recorded and differentiated. */
import { grad, noGrad, tensor } from 'chainrule';

// y = x³ at x = 4: y' = 3x², y'' = 6x, y''' = 6.
const x = tensor(4, { requiresGrad: true });
const y = x.mul(x).mul(x);
const dy = grad(y, x, { createGraph: true });
const d2y = grad(dy, x, { createGraph: true });
const d3y = grad(d2y, x);
console.log(`y ${y.item()}, y' ${dy.item()}, y'' ${d2y.item()}, y''' ${d3y.item()}`);

// Without createGraph a gradient has no graph, and no derivative.
const z = x.mul(x).mul(x);
const plain = grad(z, x);
console.log(`plain: ${plain.item()}, requiresGrad ${plain.requiresGrad}`);

// A loss that contains a gradient: the slope of f = w·v² by v is 2wv. Train w until the slope at v = 2 is 6.
const w = tensor(3, { requiresGrad: true });
const v = tensor(2, { requiresGrad: true });
for (let step = 0; step < 4; step++) {
  const f = w.mul(v.square());
  const slope = grad(f, v, { createGraph: true });
  const loss = slope.sub(6).square();
  const dw = grad(loss, w).item();
  console.log(`w ${w.item()}, slope ${slope.item()}, loss ${loss.item()}, gradient of w ${dw}`);
  noGrad(() => w.add_(-dw / 64));
}
