/**
 * Trains 12 steps, saves every second step, and goes on from a checkpoint that is there. A rank can be killed in a given part of a step.
 *
 *   killed.ts FOLDER [PART STEP]      PART: forward, backward, reduce, save
 *
 * The rank that is killed writes the time to FOLDER/killed. Rank 0 prints a digest of the weights.
 */
import { createHash } from 'node:crypto';
import fs, { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { manualSeed } from 'chainrule';
import { DataLoader, type ArrayData, type BatchDataset } from 'chainrule/data';
import { broadcastState, DataParallel, init } from 'chainrule/distributed';
import { loadCheckpoint, saveCheckpoint } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';

const [folder, part = null, killStep = '0'] = process.argv.slice(2) as [string, string?, string?];
const group = init();
const { rank } = group;

const noteTime = (): void => writeFileSync(join(folder, 'killed'), String(Date.now()));
const die = (): void => {
  noteTime();
  process.kill(process.pid, 'SIGKILL');
};

const data: BatchDataset<readonly [ArrayData, ArrayData]> = {
  length: 18,
  getBatch: (indices, randomFor) => [
    {
      data: Float32Array.from({ length: 3 * indices.length }, (_, i) => randomFor(indices[Math.floor(i / 3)]!).normal() + (i % 3)),
      shape: [indices.length, 3],
      dtype: 'float32',
    },
    { data: Int32Array.from(indices, (i) => i % 2), shape: [indices.length], dtype: 'int32' },
  ],
};

manualSeed(1);
const model = new nn.Sequential(new nn.Linear(3, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(8, 2));
const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
const loader = new DataLoader(data, { batchSize: 8, shuffle: true, dropLast: true, shard: group });
const parallel = new DataParallel(model, { group, deterministic: 'across-sizes', shards: 4 });

const path = join(folder, 'checkpoint.safetensors');
let step = 0;
if (rank === 0 && existsSync(path)) step = (loadCheckpoint(path, { model, optimizer, loader }) as { step: number }).step;
broadcastState(group, model, optimizer, loader);
[step] = parallel.sum([step]) as [number];

const isVictim = (what: string): boolean =>
  part === what && step + 1 === Number(killStep) && rank === (what === 'save' ? 0 : group.size - 1);
model[0]!.registerForwardHook(() => (isVictim('forward') ? die() : undefined));
model.parameters()[0]!.registerHook(() => (isVictim('backward') ? die() : undefined));

/** Kills the last rank while it waits in the sum: rank 0 comes late. */
function prepareReduce(): void {
  if (part !== 'reduce' || step + 1 !== Number(killStep)) return;
  if (rank === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
  if (!isVictim('reduce')) return;
  noteTime();
  const killer = new Worker(`setTimeout(() => process.kill(${process.pid}, 'SIGKILL'), 500)`, { eval: true });
  killer.unref();
}

while (step < 12) {
  if (loader.position > 0) loader.loadStateDict(loader.stateDict());
  for (const batch of loader) {
    optimizer.zeroGrad();
    prepareReduce();
    parallel.backward(batch, (x, y) => F.crossEntropy(model.forward(x), y));
    optimizer.step();
    if (isVictim('save')) fs.renameSync = die;
    step++;
    if (rank === 0 && step % 2 === 0) saveCheckpoint(path, { model, optimizer, loader }, { step });
    if (step === 12) break;
  }
}
if (rank === 0)
  console.log(
    createHash('sha256')
      .update(new Uint8Array(Buffer.concat(Object.values(model.stateDict()).map((t) => Buffer.from(t.data().buffer)))))
      .digest('hex'),
  );
