import { memory, noGrad, OutOfMemoryError, randn, type Tensor } from 'chainrule';
import { isTensor } from '../../src/autograd/index.ts';
import { DataLoader } from 'chainrule/data';
import { DataParallel, init } from 'chainrule/distributed';
import * as nn from 'chainrule/nn';
import { checkpointFromBytes, checkpointToBytes } from 'chainrule/io';
import { Adam, EMA, type EMAState, LambdaLR, type OptimizerState } from 'chainrule/optim';
import { earlyStopping, type FitState } from 'chainrule/train';
import { describe, expect, test, vi } from 'vitest';
import { left } from '../support/failing-allocations.ts';
import { makeRun, points, type Change } from './support.ts';

// Whichever allocation of a run fails, and all after it until the run has ended with the error: nothing is half done. Another loop goes on
// and ends with the bits of a run that had enough memory.

// Vitest moves this before the imports.
vi.mock('../../src/kernels/memory/allocator.ts', async (original) => {
  const { failingAllocations } = await import('../support/failing-allocations.ts');
  return failingAllocations(await original());
});

/** Every third allocation, or each one in long tests. */
const STRIDE = process.env.CHAINRULE_LONG === '1' ? 1 : 3;

/** Whether `act` runs out of memory after so many allocations. */
async function runsOut(allocations: number, act: () => unknown): Promise<boolean> {
  left.count = allocations;
  try {
    await act();
    return false;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return true;
    throw error;
  } finally {
    left.count = Infinity;
  }
}

/** A run of two steps over three batches. */
function withoutDropout(change: Change): ReturnType<typeof makeRun> {
  const loader = new DataLoader(points(10, 7), { batchSize: 4, shuffle: true, seed: 1 });
  const evaluation = { loader: new DataLoader(points(4, 8), { batchSize: 3 }), every: 1 };
  const { run, made } = makeRun((m) => ({ epochs: 1, accumulate: 2, loader, evaluation, ...change(m) }));
  for (const [, module] of made.model.namedModules()) if (module instanceof nn.Dropout) module.eval();
  return { run, made };
}

const everything: Change = ({ model, optimizer }) => ({
  clipNorm: 0.5,
  clipValue: 0.1,
  ema: new EMA(model.parameters(), { decay: 0.5 }),
  scheduler: new LambdaLR(optimizer, { lrLambda: (n) => 1 / (n + 1) }),
});

describe('fit', () => {
  test.each([
    ['with an average of the weights, clipping and evaluations', everything],
    ['on one rank', ({ model }) => ({ parallel: new DataParallel(model, { group: init() }) })],
  ] satisfies [string, Change][])('%s', async (_, change) => {
    const stateOf = ({ run }: ReturnType<typeof makeRun>): unknown =>
      numbersOf({ ...run.stateDict(), progress: { ...run.stateDict().progress, seconds: 0 } });
    const whole = withoutDropout(change);
    await whole.run.finish();
    const wanted = stateOf(whole);
    for (let n = 0; ; n += STRIDE) {
      const short = withoutDropout(change);
      const isShort = await runsOut(n, () => short.run.finish());
      if (!isShort) break;
      await short.run.finish();
      expect(stateOf(short), `allocation ${n}`).toEqual(wanted);
    }
  });
});

test('fit.loadStateDict restores all parts or none, and leaves no copy', async () => {
  const other = withoutDropout(everything);
  await other.run.finish();
  const { model, ema, optimizer, ...rest } = other.run.stateDict() as FitState & { ema: EMAState; optimizer: OptimizerState };
  const wide = (t: Tensor): Tensor => t.detach().to('float64').keep();
  // Loading converts these.
  const saved = {
    ...rest,
    model: Object.fromEntries(Object.entries(model).map(([name, t]: [string, Tensor]) => [name, wide(t)])),
    ema: { averages: ema.averages.map(wide) },
    optimizer,
  };
  const { run } = withoutDropout(everything);
  for await (const event of run) if (event.type === 'step') break;
  const state = (): unknown => [numbersOf(run.stateDict()), memory().tensors];
  const before = state();
  let failures = 0;
  while (await runsOut(failures, () => run.loadStateDict(saved))) expect(state(), `allocation ${failures++}`).toEqual(before);
  expect(failures).toBeGreaterThan(10);
  expect(run.step).toBe(2);
});

test('a checkpoint that does not fit, or needs more memory than there is, restores nothing, also where the roll-back makes state anew', () => {
  /** A model, an optimizer that has state or none, and a part that refuses its state. */
  const make = (hasState: boolean) => {
    const model = new nn.Linear(40, 30);
    const optimizer = new Adam(model.parameters(), { amsgrad: true });
    const ema = new EMA(model.parameters());
    for (const p of model.parameters()) p.grad = randn(p.shape);
    if (hasState) optimizer.step();
    let calls = 0;
    const loadStateDict = (): void => {
      // The second call is that of the roll-back.
      if (++calls % 2 === 1) throw new RangeError('other');
    };
    return { model, optimizer, ema, last: { stateDict: () => ({}), loadStateDict } };
  };
  const bytes = checkpointToBytes(make(false));
  const target = make(true);
  const parts = [target.model, target.optimizer, target.ema];
  const state = (): unknown => [...parts.map((part) => numbersOf(part.stateDict())), memory().tensors];
  const before = state();
  const live = memory().bytes;
  const messages = new Set<string>();
  for (let room = 0; room < 65_536; room += 2048) {
    left.bytes = live + room;
    try {
      checkpointFromBytes(bytes, target);
    } catch (error) {
      messages.add((error as Error).message);
    } finally {
      left.bytes = Infinity;
    }
    expect(state(), `${room} bytes`).toEqual(before);
  }
  expect([...messages]).toEqual(['test: no room', 'loadCheckpoint: bytes: last: other (nothing was changed)']);
});

test('earlyStopping keeps the weights of the best evaluation where there is no room for better ones', async () => {
  const callback = earlyStopping({ patience: 9, restoreBest: true });
  const { run, made } = withoutDropout(() => ({}));
  const evaluated = (loss: number): unknown => callback({ type: 'evaluation', step: 1, epoch: 0, loss, metrics: {}, samples: 1 }, run);
  const state = (): unknown => numbersOf(callback.stateDict!());
  await evaluated(3);
  const before = state();
  for (const p of made.model.parameters()) noGrad(() => p.add_(1));
  expect(await runsOut(1, () => evaluated(2))).toBe(true);
  expect(state()).toEqual(before);
  await evaluated(2);
  const better = state();
  expect(better).not.toEqual(before);
  const saved = { best: 9, waited: 0, weights: Object.fromEntries(made.model.namedParameters()) };
  expect(await runsOut(1, () => callback.loadStateDict!(saved as never))).toBe(true);
  expect(state()).toEqual(better);
});

/** Returns a state with the numbers of its tensors in place of these. */
function numbersOf(value: unknown): unknown {
  if (isTensor(value)) return Array.from(value.data());
  if (Array.isArray(value)) return value.map(numbersOf);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, numbersOf(v)]));
}
