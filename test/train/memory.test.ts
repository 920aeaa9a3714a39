import { getHeapStatistics, queryObjects, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memory, Tensor } from 'chainrule';
import { EMA, OneCycleLR } from 'chainrule/optim';
import { Accuracy, earlyStopping } from 'chainrule/train';
import { expect, test } from 'vitest';
import { makeRun } from './support.ts';

// A long run keeps neither tensors nor objects. Of 10,000 steps also the heap is measured, which grows in the first thousands, as V8 compiles.

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

interface Measurement {
  readonly tensors: number;
  readonly bytes: number;
  /** JavaScript objects of the class, also of freed tensors. */
  readonly handles: number;
  readonly heap: number;
}

async function measure(): Promise<Measurement> {
  // The GC fallback frees in a task of its own.
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => void setImmediate(resolve));
  }
  const handles = queryObjects(Tensor, { format: 'count' }) as unknown as number;
  const { tensors, bytes } = memory();
  return { tensors, bytes, handles, heap: getHeapStatistics().used_heap_size };
}

const isLong = process.env.CHAINRULE_LONG === '1';
const STEPS = isLong ? 10_000 : 200;

test(`memory is flat over ${STEPS} steps`, async () => {
  const { run } = makeRun(({ model, optimizer, test: loader }) => ({
    epochs: STEPS,
    maxSteps: STEPS,
    clipNorm: 1,
    ema: new EMA(model.parameters(), { decay: 0.9 }),
    scheduler: new OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: STEPS }),
    metrics: { accuracy: new Accuracy() },
    evaluation: { loader, metrics: { accuracy: new Accuracy() }, every: 50 },
    callbacks: [earlyStopping({ patience: STEPS, restoreBest: true })],
  }));
  const found: Measurement[] = [];
  for await (const event of run) if (event.type === 'step' && event.step % (STEPS / 4) === 0) found.push(await measure());
  const [, start, , end] = found as [Measurement, Measurement, Measurement, Measurement];
  // An evaluation may have replaced the best weights meanwhile, of which there is one set.
  expect(end.tensors).toBe(start.tensors);
  expect(end.bytes).toBe(start.bytes);
  expect(end.handles).toBe(start.handles);
  if (isLong) expect(end.heap - start.heap).toBeLessThan(250_000);
}, 600_000);
