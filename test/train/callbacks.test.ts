import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError, memory, type Tensor } from 'chainrule';
import { checkpointFromBytes, checkpointToBytes, loadCheckpoint, loadSafetensors } from 'chainrule/io';
import * as F from 'chainrule/nn/functional';
import {
  Accuracy,
  earlyStopping,
  evaluate,
  fit,
  latestCheckpoint,
  logCsv,
  logJsonLines,
  logProgress,
  logScalars,
  lrFinder,
  type LrCurve,
  type LossFunction,
  type TrainingLoader,
  saveBest,
  saveCheckpoints,
  type Callback,
  type FitEvent,
} from 'chainrule/train';
import { afterAll, describe, expect, test } from 'vitest';
import { fullDisk } from '../support/full-disk.ts';
import { eventsOf, makeRun, parts, tensorsSince, weightsOf } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'train-'));
afterAll(() => rmSync(folder, { recursive: true }));

const withCallbacks = (callbacks: readonly Callback[], epochs = 3, seed = 1) => makeRun(() => ({ callbacks, epochs }), seed);

/** Passes evaluations with these losses to a callback, until it stops the run. Returns the reason and the evaluations until then. */
async function evaluations(callback: Callback, losses: readonly number[]): Promise<[reason: string | null, count: number]> {
  const { run } = withCallbacks([]);
  let reason: string | null = null;
  Object.defineProperty(run, 'stop', { value: (r: string) => (reason ??= r) });
  for (const [step, loss] of losses.entries()) {
    await callback({ type: 'evaluation', step, epoch: 0, loss, metrics: { accuracy: -loss }, samples: 1 }, run);
    if (reason !== null) return [reason, step + 1];
  }
  return [reason, losses.length];
}

describe('early stopping', () => {
  test.each([
    [{ patience: 2 }, [3, 2, 2.5, 2, 1], ['no better loss than 2 in 2 evaluations', 4]],
    [{ patience: 2 }, [3, 2, 2.5, 1, 1.5], [null, 5]],
    [{ patience: 1, minDelta: 0.5 }, [3, 2.6], ['no better loss than 3 in 1 evaluations', 2]],
    [{ patience: 1, monitor: 'accuracy', mode: 'max' as const }, [3, 2, 1, 1.5], ['no better accuracy than -1 in 1 evaluations', 4]],
    [{ patience: 2 }, [NaN, NaN], ['no loss that is a number in 2 evaluations', 2]],
  ] as const)('%j with %j', async (options, losses, expected) => {
    expect(await evaluations(earlyStopping(options), losses)).toEqual(expected);
  });

  test('restores the weights of the best evaluation at the end, and keeps no copy', async () => {
    const { run, made } = withCallbacks([earlyStopping({ patience: 1, minDelta: 100, restoreBest: true })], 9);
    const { tensors } = memory();
    let best: number[][] = [];
    for await (const event of run) if (event.type === 'evaluation' && event.step === 7) best = weightsOf(made.model);
    expect(run.step).toBe(14);
    expect(weightsOf(made.model)).toEqual(best);
    // What remains is the optimizer's state.
    expect(tensorsSince(tensors)).toBeLessThanOrEqual(Object.keys(made.model.stateDict()).length * 2);
  });

  test('a metric that is not there names those that are', async () => {
    const { run } = withCallbacks([earlyStopping({ monitor: 'f1' })]);
    await expect(run.finish()).rejects.toThrow("earlyStopping: the evaluation has no metric 'f1'; it has loss, accuracy");
  });
});

test('saveBest writes the weights of the best evaluation only', async () => {
  const path = join(folder, 'best.safetensors');
  const { run, made } = withCallbacks([saveBest(path)], 5);
  let lowest = Infinity;
  let best: number[][] = [];
  for await (const event of run) {
    if (event.type !== 'evaluation' || event.loss >= lowest) continue;
    lowest = event.loss;
    best = weightsOf(made.model);
  }
  made.model.loadStateDict(loadSafetensors(path));
  expect(weightsOf(made.model)).toEqual(best);
});

test('saveCheckpoints keeps the latest, and a run goes on from there with the same bits', async () => {
  const dir = join(folder, 'checkpoints');
  mkdirSync(dir);
  writeFileSync(join(dir, 'notes.txt'), 'mine');
  expect(latestCheckpoint(dir)).toBe(null);
  const whole = withCallbacks([saveCheckpoints(dir, { every: 4, keep: 2 })]);
  for await (const event of whole.run) if (event.step === 13) break;
  expect(readdirSync(dir).sort()).toEqual(['notes.txt', 'step-000000008.safetensors', 'step-000000012.safetensors']);
  const rest = await eventsOf(whole.run);
  expect(readdirSync(dir).sort()).toEqual(['notes.txt', 'step-000000020.safetensors', 'step-000000021.safetensors']);
  const second = withCallbacks([saveCheckpoints(dir, { every: 4, keep: 2 })], 3, 5);
  loadCheckpoint(join(dir, 'step-000000020.safetensors'), { run: second.run });
  const events = await eventsOf(second.run);
  // The event during which it was saved comes again, as the first loop had not received it.
  expect(events).toEqual(rest.slice(-events.length));
  expect(events[0]).toMatchObject({ type: 'step', step: 20 });
  expect(weightsOf(second.made.model)).toEqual(weightsOf(whole.made.model));
  expect(latestCheckpoint(join(folder, 'none'))).toBe(null);
});

test('saveCheckpoints leaves those of later steps, and never removes what it has just written', async () => {
  const dir = join(folder, 'repeated');
  mkdirSync(dir);
  await withCallbacks([saveCheckpoints(dir, { every: 4, keep: 3 })]).run.finish();
  const all = ['step-000000016.safetensors', 'step-000000020.safetensors', 'step-000000021.safetensors'];
  expect(readdirSync(dir).sort()).toEqual(all);
  const second = withCallbacks([saveCheckpoints(dir, { every: 4, keep: 1 })]);
  for await (const event of second.run) if (event.step === 9) break;
  expect(readdirSync(dir).sort()).toEqual(['step-000000008.safetensors', ...all]);
});

describe('logs', () => {
  test('lines of JSON are the events', async () => {
    const path = join(folder, 'events.jsonl');
    const { run } = withCallbacks([logJsonLines(path)]);
    const events = await eventsOf(run);
    expect(
      readFileSync(path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as FitEvent),
    ).toEqual(events); // prettier-ignore
  });

  test('comma-separated values have a header and a column for each metric', async () => {
    const path = join(folder, 'events.csv');
    await withCallbacks([logCsv(path)], 1).run.finish();
    const rows = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((row) => row.split(',')); // prettier-ignore
    expect(rows[0]).toEqual(['type', 'step', 'epoch', 'loss', 'lr', 'gradNorm', 'samples', 'accuracy']);
    expect(rows[1]!.slice(0, 3)).toEqual(['step', '1', '0']);
    expect(rows.map((row) => [row[0], row.length])).toEqual(
      ['type', ...Array(7).fill('step'), 'epoch', 'evaluation', 'end'].map((type) => [type, 8]),
    ); // prettier-ignore
    expect(Number(rows.at(-2)![7])).toBeGreaterThan(0);
  });

  test('names of metrics with commas, quotes and line breaks are quoted', async () => {
    const path = join(folder, 'quoted.csv');
    const metrics = Object.fromEntries(['a,b', 'c"d', 'e\rf', 'g\nh', 'i'].map((name) => [name, new Accuracy()]));
    await makeRun(() => ({ maxSteps: 1, metrics, callbacks: [logCsv(path)] })).run.finish();
    const [header] = readFileSync(path, 'utf8').split('\nstep,');
    expect(header).toMatch(/^type,step,epoch,loss,lr,gradNorm,samples,"a,b","c""d","e\rf","g\nh",i(,accuracy)?$/);
  });

  test.each([
    ['logJsonLines', logJsonLines],
    ['logCsv', logCsv],
  ])('%s: after a kill the file continues at the restored event, without a cut line', async (name, log) => {
    const path = join(folder, `${name}.txt`);
    const whole = withCallbacks([log(join(folder, `${name}-whole.txt`))]);
    await whole.run.finish();
    const first = withCallbacks([log(path)]);
    let saved: Uint8Array | null = null;
    for await (const event of first.run) {
      if (event.type === 'step' && event.step === 9) saved = checkpointToBytes({ run: first.run });
      if (event.step === 12) break;
    }
    appendFileSync(path, '{"type":"st');
    const second = withCallbacks([log(path)], 3, 5);
    checkpointFromBytes(saved!, { run: second.run });
    await second.run.finish();
    expect(readFileSync(path, 'utf8')).toBe(readFileSync(join(folder, `${name}-whole.txt`), 'utf8'));
    const state = second.run.stateDict();
    writeFileSync(path, '');
    expect(() => second.run.loadStateDict(state)).toThrow(/has 0 bytes, the restored run had written \d+; give the file of that run/);
  });

  test.each([
    ['logJsonLines', logJsonLines],
    ['logCsv', logCsv],
  ])('%s: a full disk leaves whole lines, and the run goes on where it failed', async (name, log) => {
    const whole = join(folder, `${name}-roomy.txt`);
    await withCallbacks([log(whole)], 1).run.finish();
    const wanted = readFileSync(whole, 'utf8');
    // Within the first line, at its end, and within a later one.
    for (const room of [5, wanted.indexOf('\n'), Math.floor(wanted.length / 2)]) {
      const path = join(folder, `${name}-${room}.txt`);
      const { run } = withCallbacks([log(path)], 1);
      const makeRoom = fullDisk(room);
      try {
        await expect(run.finish()).rejects.toThrow(new FileError(`${name}: cannot write ${path} (ENOSPC)`));
      } finally {
        makeRoom();
      }
      expect(readFileSync(path, 'utf8')).toBe(wanted.slice(0, wanted.lastIndexOf('\n', room - 1) + 1));
      const saved = checkpointToBytes({ run });
      const restored = withCallbacks([log(path)], 1, 5).run;
      checkpointFromBytes(saved, { run: restored });
      await (room === 5 ? run : restored).finish();
      expect(readFileSync(path, 'utf8')).toBe(wanted);
    }
  });

  test('a file that cannot be written', async () => {
    const { run } = withCallbacks([logJsonLines(join(folder, 'none/x.jsonl'))]);
    await expect(run.finish()).rejects.toThrow(FileError);
  });

  test('scalars go to a writer', async () => {
    const scalars: [string, number, number][] = [];
    const writer = { addScalar: (tag: string, value: number, step: number) => void scalars.push([tag, value, step]) };
    const events = await eventsOf(withCallbacks([logScalars(writer)], 1).run);
    const evaluation = events.find((e) => e.type === 'evaluation')!;
    expect(scalars.filter(([tag]) => tag === 'train/loss').map(([, value]) => value)).toEqual(
      events.flatMap((e) => (e.type === 'step' ? [e.loss] : [])),
    ); // prettier-ignore
    expect(scalars.slice(-2)).toEqual([
      ['evaluation/loss', evaluation.loss, 7],
      ['evaluation/accuracy', evaluation.metrics.accuracy, 7],
    ]);
  });

  test('metrics of steps are logged as those of evaluations', async () => {
    const path = join(folder, 'metrics.csv');
    const scalars: [string, number][] = [];
    const texts: string[] = [];
    const writer = { addScalar: (tag: string, value: number) => void scalars.push([tag, value]) };
    const callbacks = [logCsv(path), logScalars(writer), logProgress({ write: (text) => void texts.push(text), every: 1 })];
    const metrics = { accuracy: new Accuracy(), top2: new Accuracy({ topK: 2 }) };
    const [step] = await eventsOf(makeRun(() => ({ maxSteps: 1, metrics, callbacks })).run);
    if (step?.type !== 'step') throw new Error('the first event is a step');
    const { accuracy, top2 } = step.metrics;
    expect(scalars.slice(2, 4)).toEqual([
      ['train/accuracy', accuracy],
      ['train/top2', top2],
    ]); // prettier-ignore
    const rows = readFileSync(path, 'utf8')
      .split('\n')
      .map((row) => row.split(',').slice(7)); // prettier-ignore
    expect(rows[0]).toEqual(['accuracy', 'top2']);
    expect(rows[1]).toEqual([String(accuracy), String(top2)]);
    expect(rows[2]![1]).toBe('');
    expect(texts[0]).toContain(`  accuracy ${accuracy!.toPrecision(4)}  top2 ${top2!.toPrecision(4)}`);
  });

  test('a pause is saved, shown and logged', async () => {
    const dir = join(folder, 'paused');
    mkdirSync(dir);
    const controller = new AbortController();
    const texts: string[] = [];
    const callbacks = [saveCheckpoints(dir), logProgress({ write: (text) => void texts.push(text) })];
    for await (const { step } of makeRun(() => ({ callbacks, signal: controller.signal })).run) if (step === 3) controller.abort();
    expect(readdirSync(dir)).toEqual(['step-000000003.safetensors']);
    expect(texts.at(-1)).toBe('\npaused at step 3\n');
  });

  test('the progress is one line per evaluation and one that is rewritten', async () => {
    const texts: string[] = [];
    await withCallbacks([logProgress({ write: (text) => void texts.push(text), every: 4 })], 1).run.finish();
    expect(texts.map((t) => t.replace(/\d+\.\d+/g, 'x'))).toEqual([
      '\r█████████████░░░░░░░░░░░ 4/7  loss x',
      '\r████████████████████████ 7/7  loss x',
      '\rstep 7, epoch 1:  loss x  accuracy x\n',
      '\n',
    ]);
    const stopped: string[] = [];
    const stop: Callback = (_, run) => run.stop('enough');
    await withCallbacks([stop, logProgress({ write: (text) => void stopped.push(text) })]).run.finish();
    expect(stopped.at(-1)).toBe('\nstopped at step 1: enough\n');
  });
});

test.each([
  [() => earlyStopping({ patience: 0 }), 'earlyStopping: patience must be an integer from 1 on, got 0'],
  [() => earlyStopping({ mode: 'low' as never }), "earlyStopping: mode must be 'min' or 'max'"],
  [() => earlyStopping({ minDelta: NaN }), 'earlyStopping: minDelta must be a number from 0 on, got NaN'],
  [() => saveBest(''), 'saveBest: the path must be a text that is not empty, got an empty one'],
  [() => saveCheckpoints(folder, { every: 'step' as never }), "saveCheckpoints: every must be an integer from 1 on, got 'step'"],
  [() => saveCheckpoints(folder, { keep: 0 }), 'saveCheckpoints: keep must be an integer from 1 on, got 0'],
  [() => logScalars({} as never), 'logScalars: expected a writer with addScalar, got an object'],
  [() => logProgress({ write: 'stderr' as never }), 'logProgress: write must be a function, got a string'],
  [() => logProgress({ every: -1 }), 'logProgress: every must be an integer from 1 on, got -1'],
])('%s is refused', (act, message) => {
  expect(act).toThrow(message);
  expect(act).toThrow(ArgumentError);
});

/** A loader without batches; throws where a loop over it has no end. */
function emptyLoader(): TrainingLoader {
  let loops = 0;
  const next = async (): Promise<{ done: true; value: undefined }> => {
    if (++loops > 10) throw new Error('the loop does not end');
    return { done: true, value: undefined };
  };
  return { length: 0, position: 0, [Symbol.asyncIterator]: () => ({ next }), stateDict: () => ({}), loadStateDict: () => {} };
}

test.each([
  [(output: Tensor) => output, 'the loss must be a tensor of one element, got [6,3]'],
  [(output: Tensor) => output.mean().item() as never, 'the loss must be a tensor of one element, got a number'],
  [() => undefined as never, 'the loss must be a tensor of one element, got undefined'],
])('a loss that is no tensor of one element: %s', async (loss, message) => {
  const { model, optimizer, loader } = parts();
  const calls = {
    fit: () => fit(model, { loader, optimizer, loss, epochs: 1 }).finish(),
    evaluate: () => evaluate(model, { loader, loss }),
    lrFinder: () => lrFinder(model, { loader, optimizer, loss }),
  };
  for (const [name, call] of Object.entries(calls)) await expect(call(), name).rejects.toThrow(`${name}: ${message}`);
});

describe('lrFinder', () => {
  test('returns the curve and leaves everything as it was', async () => {
    const { model, optimizer, loader, test: evaluation } = parts();
    const { model: twin, optimizer: twinOptimizer, loader: twinLoader } = parts();
    const { tensors } = memory();
    const curve = await lrFinder(model, { loader, optimizer, loss: F.crossEntropy, minLr: 1e-4, maxLr: 100, steps: 40 });
    expect(tensorsSince(tensors)).toBe(0);
    expect(curve.lrs[0]).toBe(1e-4);
    expect(curve.lrs.length).toBeLessThanOrEqual(40);
    expect(curve.losses).toHaveLength(curve.lrs.length);
    curve.lrs.forEach((lr, i) => expect(lr).toBeCloseTo(1e-4 * 10 ** ((6 * i) / 39), 10));
    expect(curve.suggestion! > 1e-4 && curve.suggestion! < 100).toBe(true);
    expect(weightsOf(model)).toEqual(weightsOf(twin));
    expect(optimizer.stateDict()).toEqual(twinOptimizer.stateDict());
    expect(loader.stateDict()).toEqual(twinLoader.stateDict());
    const { loss } = await evaluate(model, { loader: evaluation, loss: F.crossEntropy });
    expect(loss).toBe((await evaluate(twin, { loader: evaluation, loss: F.crossEntropy })).loss);
  });

  test('ends before a loss that is not finite, and refuses a range that is none', async () => {
    const { model, optimizer, loader } = parts();
    const curve = await lrFinder(model, {
      loader,
      optimizer,
      loss: F.crossEntropy,
      minLr: 1,
      maxLr: 1e30,
      steps: 30,
      divergence: Infinity,
    });
    expect(curve.losses.every(Number.isFinite)).toBe(true);
    await expect(lrFinder(model, { loader, optimizer, loss: F.crossEntropy, minLr: 1, maxLr: 0.1 })).rejects.toThrow(
      'lrFinder: expected 0 < minLr < maxLr, got 1 and 0.1',
    );
    await expect(lrFinder(model, { loader, optimizer, loss: F.crossEntropy, steps: 1 })).rejects.toThrow(
      'lrFinder: steps must be an integer from 2 on, got 1',
    );
    expect(existsSync(folder)).toBe(true);
  });

  /** Runs a range test whose losses are given, from 1e-4 to 1, and returns the rates and the suggestion. */
  const rangeOf = async (losses: readonly number[]): Promise<LrCurve> => {
    const { model, optimizer, loader } = parts();
    let i = 0;
    const loss: LossFunction = (output) => output.sum().mul(0).add(losses[i++]!);
    return lrFinder(model, { loader, optimizer, loss, minLr: 1e-4, maxLr: 1, steps: losses.length });
  };

  test('suggests no rate of the first batches, whose average is that of few losses', async () => {
    // The first two batches differ by chance more than the loss ever falls later.
    const losses = Array.from({ length: 40 }, (_, i) => (i === 0 ? 5 : 3 - 0.1 * Math.max(0, Math.min(i - 20, 10))));
    const { lrs, smoothed, suggestion } = await rangeOf(losses);
    expect(smoothed[1]! - smoothed[0]!).toBeLessThan(-1);
    expect(lrs.indexOf(suggestion!)).toBeGreaterThan(20);
    expect(lrs.indexOf(suggestion!)).toBeLessThan(32);
  });

  test('suggests none where the curve is too short or never falls', async () => {
    const falling = (length: number): number[] => Array.from({ length }, (_, i) => 3 - 0.1 * i);
    expect((await rangeOf(falling(10))).suggestion).toBeNull();
    const eleven = await rangeOf(falling(11));
    expect(eleven.suggestion).toBe(eleven.lrs[10]);
    expect((await rangeOf(falling(40).map((x) => 6 - x))).suggestion).toBeNull();
  });

  test('a loss below 0 does not end it', async () => {
    const { model, optimizer, loader } = parts();
    const loss: LossFunction = (output, target) => F.crossEntropy(output, target).sub(100);
    const curve = await lrFinder(model, { loader, optimizer, loss, minLr: 1e-4, maxLr: 1e-2, steps: 10 });
    expect(curve.lrs.length).toBe(10);
  });

  test('a loader without batches is refused, and nothing is left', async () => {
    const { model, optimizer } = parts();
    const { tensors } = memory();
    await expect(lrFinder(model, { loader: emptyLoader(), optimizer, loss: F.crossEntropy })).rejects.toThrow(
      'lrFinder: the loader has no batch',
    );
    expect(memory().tensors).toBe(tensors);
  });

  test.each<[name: string, change: object, message: string]>([
    ['no loader', { loader: 1 }, 'lrFinder: loader must be a DataLoader or another async iterable, got a number'],
    ['a loader without a state', { loader: { [Symbol.asyncIterator]: () => {} } }, 'lrFinder: loader.stateDict must be a function'],
    ['no optimizer', { optimizer: {} }, 'lrFinder: optimizer must be an optimizer, such as new SGD(model.parameters(), …), got an object'],
    ['smoothing of 1', { smoothing: 1 }, 'lrFinder: smoothing must be a number from 0 to below 1, got 1'],
    ['a divergence of 1', { divergence: 1 }, 'lrFinder: divergence must be a number above 1, got 1'],
    ['a divergence that is none', { divergence: 'x' }, "lrFinder: divergence must be a number above 1, got 'x'"],
  ])('%s is refused', async (_, change, message) => {
    const { model, optimizer, loader } = parts();
    const options = { loader, optimizer, loss: F.crossEntropy, ...change } as never;
    await expect(lrFinder(model, options)).rejects.toThrow(message);
    await expect(lrFinder(model, options)).rejects.toThrow(ArgumentError);
  });
});
