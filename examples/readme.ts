import { manualSeed, noGrad } from 'chainrule';
import { DataLoader, syntheticCifar } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';

manualSeed(1);
const layers = [new nn.Conv2d(3, 16, 3, { stride: 2, padding: 1, bias: false }), new nn.BatchNorm2d(16), new nn.ReLU()];
const attention = new nn.SqueezeExcite(16, { reduction: 4 });
const model = new nn.Sequential(...layers, attention, new nn.AdaptiveAvgPool2d(4), new nn.Flatten(), new nn.Linear(256, 10));

const loader = new DataLoader(syntheticCifar({ length: 128 }), { batchSize: 32, shuffle: true });
const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
for (let epoch = 0; epoch < 30; epoch++) {
  for (const [images, labels] of loader) {
    const loss = F.crossEntropy(model.forward(images), labels);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
  }
}

model.eval();
let correct = 0;
for (const [images, labels] of loader) correct += noGrad(() => model.forward(images).argmax(1).eq(labels).sum().item());
console.log(`learnt ${correct} of 128 images by heart`);
