// A training run with all that has a state, which kills its process at a moment:
//
//   node killed.mjs FOLDER [PHASE COUNT]      kills at the COUNT-th time that PHASE is reached: forward, batch, first, last or loop
//
// It goes on from the latest checkpoint in the folder, and prints the digest of its weights at the end.
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { manualSeed } from 'chainrule';
import { DataLoader } from 'chainrule/data';
import { loadCheckpoint } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { AdamW, EMA, OneCycleLR } from 'chainrule/optim';
import { Accuracy, earlyStopping, fit, latestCheckpoint, logJsonLines, saveCheckpoints } from 'chainrule/train';
import { dataset } from './samples.mjs';

const [folder, phase, count] = process.argv.slice(2);
let reached = 0;
function moment(name) {
  if (name === phase && ++reached === Number(count)) process.kill(process.pid, 'SIGKILL');
}

const latest = latestCheckpoint(folder);
// A run that was killed before its first checkpoint begins anew, and so does its log.
if (latest === null) rmSync(`${folder}/events.jsonl`, { force: true });
// A restored run brings its own random numbers.
manualSeed(latest === null ? 1 : 99);
const layers = [new nn.Linear(2, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(8, 3)];
const model = new nn.Sequential(...layers);
const batchTransform = (items) => {
  moment('batch');
  return items;
};
const workers = { count: 2, module: new URL('./samples.mjs', import.meta.url) };
const loader = new DataLoader(dataset, { batchSize: 6, shuffle: true, seed: latest === null ? 1 : 5, batchTransform, workers });
const optimizer = new AdamW(model.parameters(), { lr: 0.02 });
const run = fit(model, {
  loader,
  optimizer,
  loss: (output, target) => {
    moment('forward');
    return F.crossEntropy(output, target);
  },
  epochs: 4,
  accumulate: 2,
  clipNorm: 1,
  ema: new EMA(model.parameters(), { decay: 0.9 }),
  scheduler: new OneCycleLR(optimizer, { maxLr: 0.02, totalSteps: 16 }),
  metrics: { accuracy: new Accuracy() },
  evaluation: { loader: new DataLoader(dataset, { batchSize: 20, workers }), metrics: { accuracy: new Accuracy() }, every: 3 },
  callbacks: [
    () => moment('first'),
    earlyStopping({ patience: 50, restoreBest: true }),
    saveCheckpoints(folder, { every: 2, keep: 2 }),
    logJsonLines(`${folder}/events.jsonl`),
    () => moment('last'),
  ],
});
if (latest !== null) loadCheckpoint(latest, { run });
for await (const _ of run) moment('loop');

const hash = createHash('sha256');
for (const tensor of Object.values(model.stateDict())) hash.update(tensor.data());
process.stdout.write(hash.digest('hex'));
