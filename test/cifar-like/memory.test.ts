import { join } from 'node:path';
import { memory } from 'chainrule';
import { syntheticCifar, transforms } from 'chainrule/data';
import { saveCheckpoint } from 'chainrule/io';
import { expect, test } from 'vitest';
import { prepare } from '../../examples/cifar-like/loop.ts';
import { makeModel } from '../../examples/cifar-like/model.ts';
import { defaultSettings } from '../../examples/cifar-like/options.ts';
import { onReference, temporaryFolder } from './support.ts';

// The loop includes evaluations, accuracy and checkpoints. CHAINRULE_LONG=1 runs 1,000 steps.

const STEPS = process.env.CHAINRULE_LONG === '1' ? 1000 : 60;

const folder = temporaryFolder();

test.skipIf(onReference)(`${STEPS} steps: memory is equal after every step from the third on, and pages do not grow`, async () => {
  const normalize = transforms.normalize(0.5, 0.25);
  const data = {
    train: syntheticCifar({ length: 8 * 25 }),
    test: syntheticCifar({ split: 'test', length: 40 }),
    trainTransform: normalize,
    testTransform: normalize,
  };
  const recipe = { batchSize: 8, lr: 0.1, seed: 0, epochs: 1, maxSteps: STEPS };
  const { run } = prepare(makeModel(defaultSettings(), true, 3), data, recipe, { parts: 10 });
  const file = join(folder, 'checkpoint.safetensors');
  const seen: { bytes: number; tensors: number; pages: number }[] = [];
  let evaluations = 0;
  let saves = 0;
  for await (const event of run) {
    if (event.type === 'step') {
      const { bytes, tensors, pages } = memory();
      seen.push({ bytes, tensors, pages });
    }
    if (event.type === 'evaluation') evaluations++;
    if (event.type !== 'epoch') continue;
    saveCheckpoint(file, { run }, { step: seen.length });
    saves++;
  }
  expect([run.step, seen.length, evaluations]).toEqual([STEPS, STEPS, 10]);
  expect(saves).toBeGreaterThanOrEqual(2);
  expect([...new Set(seen.slice(2).map((m) => JSON.stringify(m)))]).toEqual([JSON.stringify(seen[2])]);
});
