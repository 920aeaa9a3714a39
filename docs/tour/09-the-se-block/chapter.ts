/** Chapter 9: a squeeze-and-excitation block on one image of two channels, and the two paths of its gradient. */
import { type Tensor, backwardSteps, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';

const text = (t: Tensor): string => JSON.stringify(Array.from(t.data(), (v) => Number(v.toFixed(4))));

// One image [1,2,1,2]: channel 0 has the pixels 1 and 3, channel 1 has −2 and 4.
const x = tensor([[[[1, 3]], [[-2, 4]]]], { requiresGrad: true, label: 'x' });
const W1 = tensor([[1, 0.5]], { label: 'W1' });
const W2 = tensor([[0.4], [-0.4]], { label: 'W2' });

// Squeeze, excite, scale.
const z = x.mean([2, 3]);
const h = z.matmul(W1.transpose(0, 1)).relu();
const s = h.matmul(W2.transpose(0, 1)).sigmoid();
const y = x.mul(s.reshape([1, 2, 1, 1]));
console.log(`squeeze z ${text(z)}, hidden h ${text(h)}, gates s ${text(s)}`);
console.log(`scaled y ${text(y)}`);

// The loss is the sum of y. x is an input of two operations: of the product, and of the mean.
for (const { op, inputs } of backwardSteps(y.sum())) {
  for (const { name, grad } of inputs) if (name === 'x') console.log(`${op} passes ${text(grad!)} to x`);
}
console.log(`gradient of x ${text(x.grad!)}`);

// The layer of chainrule/nn, with the same weights.
const block = new nn.SqueezeExcite(2, { hiddenChannels: 1 });
block.loadStateDict({ 'fc.0.weight': W1, 'fc.2.weight': W2 });
console.log(`nn.SqueezeExcite ${text(block.forward(x))}`);
