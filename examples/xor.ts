/**
 * Trains a network with one hidden layer on XOR, the smallest function that a single linear layer cannot represent.
 *
 *   npx tsx examples/xor.ts
 *
 * Prints the four outputs after 300 steps. Throws if one of them is off by more than 0.1.
 */
import { manualSeed, scoped, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';

// The four inputs, one a row, and the output for each.
const x = tensor([0, 0, 0, 1, 1, 0, 1, 1], { shape: [4, 2] });
const y = tensor([0, 1, 1, 0], { shape: [4, 1] });

manualSeed(0);
const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
const optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
// scoped() counts the steps and frees each step's tensors at its end.
for (const step of scoped(300)) {
  const loss = F.binaryCrossEntropyWithLogits(model.forward(x), y);
  optimizer.zeroGrad();
  loss.backward();
  optimizer.step();
  if (step % 100 === 99) console.log(`step ${step + 1}: loss ${loss.item().toFixed(4)}`);
}

const outputs = model.forward(x).sigmoid();
console.log(`xor of 00, 01, 10, 11: ${Array.from(outputs.data(), (v) => v.toFixed(3)).join(', ')}`);
if (outputs.sub(y).abs().amax().item() > 0.1) throw new Error('XOR was not learnt');
