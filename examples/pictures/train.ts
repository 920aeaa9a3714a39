/**
 * Trains a classifier on a folder of pictures, with augmentation in threads, early stopping, a TensorBoard log and an ONNX file.
 *
 *   npm ci --prefix examples/pictures && npx tsx examples/pictures/train.ts
 */
import { fileURLToPath } from 'node:url';
import { manualSeed, noGrad } from 'chainrule';
import { DataLoader } from 'chainrule/data';
import { SummaryWriter, toOnnx } from 'chainrule/interop';
import { loadSafetensors, writeFileAtomic } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { AdamW, OneCycleLR } from 'chainrule/optim';
import { Accuracy, earlyStopping, fit, logProgress, logScalars, saveBest } from 'chainrule/train';
import * as ort from 'onnxruntime-web';
import { draw } from './draw.ts';

const folder = fileURLToPath(new URL('./runs', import.meta.url));
await draw(`${folder}/pictures`, 150);
const { classes, trainSet, testSet } = await import('./dataset.ts');

manualSeed(1);
const block = (from: number, to: number): nn.Layer[] => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
  new nn.SqueezeExcite(to, { reduction: 4 }),
  new nn.MaxPool2d(2),
];
const head = [new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(64, classes.length)];
const model = new nn.Sequential(...block(3, 16), ...block(16, 32), ...block(32, 64), ...head);

const workers = { count: 2, module: new URL('./thread.js', import.meta.url) };
const loader = new DataLoader(trainSet, { batchSize: 32, shuffle: true, dropLast: true, seed: 1, workers });
const testLoader = new DataLoader(testSet, { batchSize: testSet.length });
const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
const best = { monitor: 'accuracy', mode: 'max' } as const;
using writer = new SummaryWriter(`${folder}/log`);
await fit(model, {
  loader,
  optimizer,
  loss: F.crossEntropy,
  epochs: 20,
  scheduler: new OneCycleLR(optimizer, { maxLr: 0.01, totalSteps: 20 * loader.length }),
  evaluation: { loader: testLoader, metrics: { accuracy: new Accuracy() } },
  callbacks: [saveBest(`${folder}/best.safetensors`, best), earlyStopping({ ...best, patience: 8 }), logScalars(writer), logProgress()],
}).finish();

// The best model, exported, must give the same answers in another runtime.
model.loadStateDict(loadSafetensors(`${folder}/best.safetensors`));
const [images, labels] = (await testLoader[Symbol.asyncIterator]().next()).value!;
const file = toOnnx(model, images);
writeFileAtomic(`${folder}/pictures.onnx`, file);
const session = await ort.InferenceSession.create(file);
const { output } = await session.run({ input: new ort.Tensor('float32', images.data(), images.shape) });
const answers = output!.data as Float32Array;
const expected = noGrad(() => model.eval().forward(images));
const worst = Math.max(...expected.data().map((v, i) => Math.abs(v - answers[i]!)));
const right = expected.argmax(1).eq(labels).sum().item();
console.log(`${right} of ${labels.numel} test pictures right; onnxruntime differs by at most ${worst.toExponential(1)}`);
