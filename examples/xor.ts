/**
 * Learns XOR, the smallest function that no single layer can: ten lines of training.
 *
 *   npx tsx examples/xor.ts
 *
 * Prints the four outputs after 300 steps, and fails where one is off by more than 0.1.
 */
import { manualSeed, scoped, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';

const x = tensor([0, 0, 0, 1, 1, 0, 1, 1], { shape: [4, 2] });
const y = tensor([0, 1, 1, 0], { shape: [4, 1] });

manualSeed(0);
const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
const optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 });
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
