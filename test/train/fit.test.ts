import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, ShapeError, StateDictError, manualSeed, memory, type Tensor } from 'chainrule';
import { Random } from 'chainrule/data';
import { checkpointFromBytes, checkpointToBytes, loadSafetensors } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { clipGradNorm, EMA, OneCycleLR, ReduceLROnPlateau, SGD, StepLR } from 'chainrule/optim';
import {
  Accuracy,
  ConfusionMatrix,
  earlyStopping,
  evaluate,
  type Fit,
  fit,
  type FitEvent,
  type FitOptions,
  type FitState,
  NonFiniteLossError,
  type TrainingLoader,
  saveBest,
} from 'chainrule/train';
import { describe, expect, test, vi } from 'vitest';
import { batchesOf, eventsOf, makeRun, parts, tensorsSince, weightsOf, type Change, type PlainBatch, type Parts } from './support.ts';

describe('the loop', () => {
  test('does what the visible loop does, bit for bit', async () => {
    const { run, made } = makeRun();
    const events = await eventsOf(run);
    const { model, optimizer, loader } = parts();
    const losses: number[] = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      for (const [x, y] of loader) {
        model.train();
        const loss = F.crossEntropy(model.forward(x), y);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        losses.push(loss.item());
      }
    }
    expect(events.flatMap((e) => (e.type === 'step' ? [e.loss] : []))).toEqual(losses);
    expect(weightsOf(made.model)).toEqual(weightsOf(model));
  });

  test('yields steps, epochs, evaluations and the end, in order', async () => {
    const { run } = makeRun();
    expect([run.totalSteps, run.batches, run.metricNames]).toEqual([21, 7, ['accuracy']]);
    const events = await eventsOf(run);
    const one = [...Array<string>(7).fill('step'), 'epoch', 'evaluation'];
    expect(events.map((e) => e.type)).toEqual([...one, ...one, ...one, 'end']);
    expect(
      events
        .filter((e) => e.type === 'step')
        .map((e) => [e.step, e.epoch, e.samples])
        .slice(5, 9),
    ).toEqual([
      [6, 0, 6],
      [7, 0, 4],
      [8, 1, 6],
      [9, 1, 6],
    ]); // prettier-ignore
    expect(events.filter((e) => e.type === 'epoch').map((e) => [e.step, e.epoch])).toEqual([
      [7, 0],
      [14, 1],
      [21, 2],
    ]); // prettier-ignore
    expect(events.at(-1)).toEqual({ type: 'end', step: 21, epoch: 3, reason: null });
    expect(await eventsOf(run)).toEqual([]);
  });

  test('the loss of an epoch is the mean over its samples', async () => {
    const { run } = makeRun(() => ({ epochs: 1 }));
    const events = await eventsOf(run);
    const steps = events.filter((e) => e.type === 'step');
    const sum = steps.reduce((total, e) => total + e.loss * e.samples, 0);
    expect(events.find((e) => e.type === 'epoch')!.loss).toBeCloseTo(sum / 40, 12);
  });

  test('an evaluation equals evaluate()', async () => {
    const { run, made } = makeRun(() => ({ epochs: 1 }));
    const events = await eventsOf(run);
    const direct = await evaluate(made.model, { loader: made.test, loss: F.crossEntropy, metrics: { accuracy: new Accuracy() } });
    expect(events.find((e) => e.type === 'evaluation')).toMatchObject({ loss: direct.loss, metrics: direct.metrics });
    expect(direct.samples).toBe(20);
  });

  test.each([
    [{ maxSteps: 10 }, [7, 10]],
    [{ epochs: 2, maxSteps: 100 }, [7, 14]],
    [{ maxSteps: 10, every: 4 }, [4, 8, 10]],
  ])(
    'evaluates after the epoch or every n steps, and at the end: %j',
    async ({ every, ...limits }: { every?: number; epochs?: number; maxSteps?: number }, expected) => {
      const change: Change = ({ test }) => ({
        epochs: 9,
        evaluation: { loader: test, ...(every === undefined ? {} : { every }) },
        ...limits,
      });
      const events = await eventsOf(makeRun(change).run);
      expect(events.filter((e) => e.type === 'evaluation').map((e) => e.step)).toEqual(expected);
      expect(events.at(-1)!.step).toBe(expected.at(-1));
    },
  );

  test('leaving the loop pauses the run, and another goes on', async () => {
    const whole = makeRun();
    const expected = await eventsOf(whole.run);
    const { run, made } = makeRun();
    const seen: FitEvent[] = [];
    for (let pause = 0; pause < 5; pause++) {
      for await (const event of run) {
        seen.push(event);
        if (seen.length % 6 === 0) break;
      }
    }
    seen.push(...(await eventsOf(run)));
    expect(seen).toEqual(expected);
    expect(weightsOf(made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('finish() runs to the end', async () => {
    const { run } = makeRun();
    expect(await run.finish()).toEqual({ type: 'end', step: 21, epoch: 3, reason: null });
    await expect(run.finish()).rejects.toThrow('finish: the run has ended already');
  });

  test('memory is flat', async () => {
    const { run } = makeRun(({ optimizer }) => ({ epochs: 40, clipNorm: 1, scheduler: new StepLR(optimizer, { stepSize: 50 }) }));
    let before = Infinity;
    const grown: number[] = [];
    for await (const event of run) {
      if (event.step <= 20 || event.type !== 'step') continue;
      grown.push(tensorsSince(before));
      before = memory().tensors;
    }
    expect(new Set(grown)).toEqual(new Set([0]));
  });
});

describe('options', () => {
  test('accumulated gradients of equal batches give the step of the whole batch', async () => {
    const inputs = [
      [1, 2],
      [3, -1],
      [0, 1],
      [2, 2],
    ]; // prettier-ignore
    const targets = [1, 0, 2, 1];
    const weights = async (batches: readonly PlainBatch[], accumulate: number): Promise<number[][]> => {
      manualSeed(3);
      const model = new nn.Linear(2, 1);
      const optimizer = new SGD(model.parameters(), { lr: 0.1 });
      const loss = (output: Tensor, target: Tensor): Tensor => F.mseLoss(output.squeeze(1), target);
      await fit(model, { loader: batchesOf(...batches), optimizer, loss, epochs: 2, accumulate }).finish();
      return weightsOf(model);
    };
    const half = [
      [inputs.slice(0, 2), targets.slice(0, 2)],
      [inputs.slice(2), targets.slice(2)],
    ] as const; // prettier-ignore
    const whole = await weights([[inputs, targets]], 1);
    const parts = await weights([...half], 2);
    parts.flat().forEach((w, i) => expect(w).toBeCloseTo(whole.flat()[i]!, 6));
    // Of three batches by two, the last step has one, whose gradient counts in full.
    const odd = await weights([...half, [inputs, targets]], 2);
    const visible = await weights(
      [
        [inputs, targets],
        [inputs, targets],
      ],
      1,
    ); // prettier-ignore
    odd.flat().forEach((w, i) => expect(w).toBeCloseTo(visible.flat()[i]!, 6));
  });

  test('clipping gives the norm before it, and the step that clipGradNorm gives', async () => {
    const { run, made } = makeRun(() => ({ maxSteps: 1, clipNorm: 0.01 }));
    const [step] = await eventsOf(run);
    const visible = parts();
    const [x, y] = visible.loader.first();
    F.crossEntropy(visible.model.forward(x), y).backward();
    expect(step).toMatchObject({ gradNorm: clipGradNorm(visible.model.parameters(), 0.01) });
    visible.optimizer.step();
    expect(weightsOf(made.model)).toEqual(weightsOf(visible.model));
  });

  test('a scheduler steps per step or per epoch', async () => {
    const rates = async (schedulePer: 'step' | 'epoch'): Promise<number[]> => {
      const { run } = makeRun(({ optimizer }) => ({ scheduler: new StepLR(optimizer, { stepSize: 1, gamma: 0.5 }), schedulePer }));
      return (await eventsOf(run)).flatMap((e) => (e.type === 'step' ? [e.lr] : []));
    };
    expect((await rates('step')).slice(0, 4)).toEqual([0.1, 0.05, 0.025, 0.0125]);
    expect((await rates('epoch')).filter((_, i) => i % 7 === 0)).toEqual([0.1, 0.05, 0.025]);
  });

  test('ReduceLROnPlateau steps with each evaluation', async () => {
    const { run } = makeRun(({ optimizer }) => ({
      epochs: 4,
      scheduler: new ReduceLROnPlateau(optimizer, { patience: 0, threshold: 10, thresholdMode: 'abs', factor: 0.1 }),
    }));
    const rates = (await eventsOf(run)).flatMap((e) => (e.type === 'step' && e.step % 7 === 1 ? [e.lr] : []));
    expect(rates.map((r) => Math.round(r * 1e4))).toEqual([1000, 1000, 100, 10]);
  });

  test('evaluations use the averages, and leave the weights', async () => {
    let ema: EMA | null = null;
    const { run, made } = makeRun(({ model }) => ({ maxSteps: 5, ema: (ema = new EMA(model.parameters(), { decay: 0.5 })) }));
    const event = (await eventsOf(run)).find((e) => e.type === 'evaluation')!;
    const plain = makeRun(() => ({ maxSteps: 5 }));
    const without = (await eventsOf(plain.run)).find((e) => e.type === 'evaluation')!;
    expect(weightsOf(made.model)).toEqual(weightsOf(plain.made.model));
    expect(event.loss).not.toBe(without.loss);
    ema!.copyTo();
    expect((await evaluate(made.model, { loader: made.test, loss: F.crossEntropy })).loss).toBe(event.loss);
  });

  test('metrics of a step are those of its output before the step, over all of its batches', async () => {
    const seen: number[] = [];
    const { run, made } = makeRun(() => ({ accumulate: 2, maxSteps: 4, metrics: { accuracy: new Accuracy() }, evaluation: null }));
    const events = (await eventsOf(run)).filter((e) => e.type === 'step');
    const twin = parts();
    const accuracy = new Accuracy();
    let batches = 0;
    for (const [x, y] of twin.loader) {
      const output = twin.model.forward(x);
      accuracy.update(output, y);
      const loss = F.crossEntropy(output, y);
      if (batches % 2 === 0) twin.optimizer.zeroGrad();
      // The last of seven batches is a step of its own.
      (batches === 6 ? loss : loss.div(2)).backward();
      if (++batches % 2 === 1 && batches < 7) continue;
      seen.push(accuracy.compute());
      accuracy.reset();
      twin.optimizer.step();
    }
    expect(events.map((e) => e.metrics)).toEqual(seen.map((value) => ({ accuracy: value })));
    expect(new Set(seen).size).toBeGreaterThan(1);
    expect(weightsOf(made.model)).toEqual(weightsOf(twin.model));
    expect(run.metricNames).toEqual(['accuracy']);
  });

  test('metrics of a step do not change the run, and leave no tensor', async () => {
    const without = makeRun(() => ({ evaluation: null }));
    const expected = (await eventsOf(without.run)).map((e) => ('metrics' in e ? { ...e, metrics: {} } : e));
    const { run, made } = makeRun(() => ({ evaluation: null, metrics: { accuracy: new Accuracy(), confusion: new ConfusionMatrix(3) } }));
    let before = Infinity;
    const grown: number[] = [];
    const events: FitEvent[] = [];
    for await (const event of run) {
      events.push('metrics' in event ? { ...event, metrics: {} } : event);
      if (event.type === 'step') grown.push(tensorsSince(before));
      before = memory().tensors;
    }
    expect(events).toEqual(expected);
    expect(weightsOf(made.model)).toEqual(weightsOf(without.made.model));
    expect(new Set(grown)).toEqual(new Set([0]));
  });

  test('a loss that is a sum over the samples', async () => {
    const { model, test: loader } = parts();
    const sum = (output: Tensor, target: Tensor): Tensor => F.crossEntropy(output, target, { reduction: 'sum' });
    let total = 0;
    model.eval();
    for (const [x, y] of loader) total += sum(model.forward(x), y).item();
    expect((await evaluate(model, { loader, loss: sum, reduction: 'sum' })).loss).toBe(total / 20);
    const { run } = makeRun(() => ({ maxSteps: 1, evaluation: { loader, loss: sum, reduction: 'sum' } }));
    const direct = await evaluate(run.model, { loader, loss: F.crossEntropy });
    const evaluation = (await eventsOf(run)).find((e) => e.type === 'evaluation')!;
    expect(evaluation.samples).toBe(20);
    expect(evaluation.loss).not.toBe(direct.loss);
    expect(evaluation.loss).toBe((await evaluate(run.model, { loader, loss: sum, reduction: 'sum' })).loss);
  });

  test('seconds are those of steps and of making their batches', async () => {
    let clock = 0;
    const spy = vi.spyOn(performance, 'now').mockImplementation(() => clock);
    /** Lets time pass before each batch. */
    const slow = (loader: TrainingLoader, ms: number): TrainingLoader => ({
      length: loader.length,
      get position() {
        return loader.position;
      },
      async *[Symbol.asyncIterator]() {
        for await (const batch of loader) {
          clock += ms;
          yield batch;
        }
      },
      stateDict: () => loader.stateDict(),
      loadStateDict: (state: object) => loader.loadStateDict(state as never),
    });
    const make = (): Fit =>
      makeRun(({ loader }) => ({
        loader: slow(loader, 1000),
        loss: (output, target) => {
          clock += 250;
          return F.crossEntropy(output, target);
        },
        evaluation: { loader: slow(batchesOf([[[1, 2]], [0]]), 7000), loss: (o) => o.sum(), every: 2 },
        callbacks: [() => void (clock += 30_000)],
        maxSteps: 9,
      })).run;
    try {
      const run = make();
      for await (const event of run) {
        clock += 100_000;
        if (event.step === 4) break;
      }
      expect(run.seconds).toBe(5);
      const other = make();
      checkpointFromBytes(checkpointToBytes({ run }), { run: other });
      expect(other.seconds).toBe(5);
      await other.finish();
      expect(other.seconds).toBe(9 * 1.25);
    } finally {
      spy.mockRestore();
    }
  });

  test('a loss that is not finite throws before the step', async () => {
    const { run, made } = makeRun(() => ({
      loss: (output, target) => (made.loader.position === 3 ? F.crossEntropy(output, target).div(0) : F.crossEntropy(output, target)),
    }));
    let before: number[][] = [];
    const steps = async (): Promise<void> => {
      for await (const event of run) if (event.type === 'step') before = weightsOf(made.model);
    };
    await expect(steps()).rejects.toMatchObject({ constructor: NonFiniteLossError, step: 3, loss: Infinity });
    expect(run.step).toBe(2);
    expect(weightsOf(made.model)).toEqual(before);
  });

  test.each([
    [{ epochs: undefined }, 'fit: give epochs or maxSteps, or the run never ends'],
    [{ epochs: 0 }, 'fit: epochs must be an integer from 1 on, got 0'],
    [{ accumulate: 1.5 }, 'fit: accumulate must be an integer from 1 on, got 1.5'],
    [{ loader: [] }, 'fit: loader must be a DataLoader or another async iterable, got an array'],
    [{ loss: 'mse' }, 'fit: loss must be a function, got a string'],
    [{ optimizer: {} }, 'fit: optimizer must be an optimizer, such as new SGD(model.parameters(), …), got an object'],
    [{ clipNorm: -1 }, 'fit: clipNorm must be a number above 0, got -1'],
    [{ schedulePer: 'batch' }, "fit: schedulePer must be 'step' or 'epoch', got 'batch'"],
    [{ metrics: 5 }, 'fit: metrics must be an object of metrics by name, got a number'],
    [{ metrics: { a: 1 } }, 'fit: metrics.a must have update, compute and reset, as new Accuracy() has, got a number'],
    [{ signal: {} }, 'fit: signal must be an AbortSignal, got an object'],
    [{ callbacks: [1] }, 'fit: callback 0 must be a function, got a number'],
    [{ evaluation: {} }, 'fit: evaluation: loader must be a DataLoader or another async iterable, got undefined'],
    [{ evaluation: { loader: batchesOf(), every: 0 } }, "fit: evaluation: every must be 'epoch' or a number of steps, got 0"],
    [
      { evaluation: { loader: batchesOf(), metrics: { a: 1 } } },
      'fit: evaluation: metrics.a must have update, compute and reset, as new Accuracy() has, got a number',
    ],
    [{ evaluation: { loader: batchesOf(), reduction: 'none' } }, "fit: evaluation: reduction must be 'mean' or 'sum', got 'none'"],
    [{ lr: 1 }, "fit: unknown option 'lr'; the options are loader, optimizer, loss"],
  ])('%j is refused', (change, message) => {
    expect(() => makeRun(() => change as unknown as Partial<FitOptions>)).toThrow(message);
    expect(() => makeRun(() => change as unknown as Partial<FitOptions>)).toThrow(ArgumentError);
  });

  test('a batch that is none, and a loss of several elements', async () => {
    const wrong = {
      ...batchesOf([[[1, 2]], [0]]),
      async *[Symbol.asyncIterator]() {
        yield [] as never;
      },
    }; // prettier-ignore
    await expect(makeRun(() => ({ loader: wrong })).run.finish()).rejects.toThrow('fit: a batch must be an array of two tensors');
    const several = makeRun(() => ({ loss: (output) => output }));
    await expect(several.run.finish()).rejects.toThrow(ShapeError);
  });

  test('a second loop over a run is refused', async () => {
    const { run } = makeRun();
    for await (const _ of run) {
      await expect(run.finish()).rejects.toThrow('fit: another loop over this run is active');
      break;
    }
  });
});

describe('an abort pauses the run', () => {
  /** Yields the batches and aborts before number `at` of the second evaluation. */
  function abortsIn(loader: TrainingLoader, controller: AbortController, at: number): TrainingLoader {
    let loops = 0;
    return {
      length: loader.length,
      position: 0,
      async *[Symbol.asyncIterator]() {
        loops++;
        let batch = 0;
        for await (const pair of loader) {
          if (loops === 2 && batch++ === at) controller.abort();
          yield pair;
        }
      },
      stateDict: () => loader.stateDict(),
      loadStateDict: (state: object) => loader.loadStateDict(state as never),
    };
  }

  test('after the step; another loop, also over a restored run, goes on with the same bits and events', async () => {
    const whole = makeRun();
    const expected = await eventsOf(whole.run);
    const controller = new AbortController();
    const { run } = makeRun(() => ({ signal: controller.signal }));
    const seen: FitEvent[] = [];
    for await (const event of run) {
      seen.push(event);
      if (event.step === 3) controller.abort();
    }
    expect(seen).toEqual([...expected.slice(0, 3), { type: 'pause', step: 3, epoch: 0 }]);
    // The signal stays aborted, so a loop over the same run pauses at once.
    expect(await eventsOf(run)).toEqual([{ type: 'pause', step: 3, epoch: 0 }]);
    expect(await run.finish()).toEqual({ type: 'pause', step: 3, epoch: 0 });
    // The random state of dropout is saved with the run, so before another is made.
    const saved = checkpointToBytes({ run });
    const other = makeRun(() => ({ signal: new AbortController().signal }), 5);
    checkpointFromBytes(saved, { run: other.run });
    expect(await eventsOf(other.run)).toEqual(expected.slice(3));
    expect(weightsOf(other.made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('before the first step', async () => {
    const { run, made } = makeRun(() => ({ signal: AbortSignal.abort() }));
    const before = weightsOf(made.model);
    expect(await eventsOf(run)).toEqual([{ type: 'pause', step: 0, epoch: 0 }]);
    expect(weightsOf(made.model)).toEqual(before);
  });

  test.each([0, 1])('during an evaluation, before its batch %i: it is repeated first', async (at) => {
    const change: Change = ({ test, model }) => ({
      maxSteps: 14,
      ema: new EMA(model.parameters(), { decay: 0.5 }),
      evaluation: { loader: test, metrics: { accuracy: new Accuracy() } },
    });
    const whole = makeRun(change);
    const expected = await eventsOf(whole.run);
    const controller = new AbortController();
    const { run, made } = makeRun((parts) => ({
      ...change(parts),
      evaluation: { loader: abortsIn(parts.test, controller, at), metrics: { accuracy: new Accuracy() } },
      signal: controller.signal,
    }));
    const { tensors } = memory();
    const seen = await eventsOf(run);
    // The evaluation after the last step is missing, so the run has not ended.
    expect(seen).toEqual([...expected.slice(0, -2), { type: 'pause', step: 14, epoch: 2 }]);
    expect(made.model.training).toBe(true);
    // What remains is the gradients and the momentum.
    expect(tensorsSince(tensors)).toBeLessThanOrEqual(2 * made.model.parameters().length);
    const other = makeRun(change, 5);
    checkpointFromBytes(checkpointToBytes({ run }), { run: other.run });
    expect(await eventsOf(other.run)).toEqual(expected.slice(-2));
    expect(weightsOf(other.made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('after the last event it has no effect', async () => {
    const controller = new AbortController();
    const { run } = makeRun(() => ({ signal: controller.signal, maxSteps: 2 }));
    const types: string[] = [];
    for await (const event of run) {
      types.push(event.type);
      if (event.type === 'evaluation') controller.abort();
    }
    expect(types).toEqual(['step', 'step', 'evaluation', 'end']);
  });

  test('callbacks that save the run at a pause receive no pause when it goes on', async () => {
    const controller = new AbortController();
    let bytes: Uint8Array | null = null;
    const make = (signal: AbortSignal | null, seed = 1): Fit =>
      makeRun(() => ({ signal, callbacks: [(event, r) => void (event.type === 'pause' && (bytes = checkpointToBytes({ run: r })))] }), seed)
        .run;
    const first = make(controller.signal);
    for await (const event of first) if (event.step === 2) controller.abort();
    const second = make(null, 9);
    checkpointFromBytes(bytes!, { run: second });
    const [next] = await eventsOf(second);
    expect(next).toMatchObject({ type: 'step', step: 3 });
  });

  test('evaluate throws the reason', async () => {
    const { model, test: loader } = parts();
    model.train();
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(evaluate(model, { loader, loss: F.crossEntropy, signal })).rejects.toThrow('enough');
    expect(model.training).toBe(true);
    await expect(evaluate(model, { loader, loss: F.crossEntropy, signal: {} as AbortSignal })).rejects.toThrow(
      'evaluate: signal must be an AbortSignal, got an object',
    );
  });
});

describe('saving and restoring', () => {
  /** All that has a state, at once. */
  const everything: Change = ({ model, optimizer, test }) => ({
    accumulate: 2,
    clipNorm: 1,
    ema: new EMA(model.parameters(), { decay: 0.9 }),
    scheduler: new OneCycleLR(optimizer, { maxLr: 0.2, totalSteps: 12 }),
    evaluation: { loader: test, metrics: { accuracy: new Accuracy() }, every: 5 },
    callbacks: [earlyStopping({ patience: 50, restoreBest: true })],
  });

  test('a run restored at any event ends with the same bits and the same events', async () => {
    const whole = makeRun(everything);
    const saved: Uint8Array[] = [];
    const expected: FitEvent[] = [];
    for await (const event of whole.run) {
      expected.push(event);
      saved.push(checkpointToBytes({ run: whole.run }));
    }
    const bits = weightsOf(whole.made.model);
    const random = new Random(11);
    const moments = Array.from({ length: 20 }, () => Math.floor(random.uniform() * (saved.length - 1)));
    for (const moment of moments) {
      const { run, made } = makeRun(everything, 99);
      checkpointFromBytes(saved[moment]!, { run });
      expect(await eventsOf(run), `after event ${moment}`).toEqual(expected.slice(moment + 1));
      expect(weightsOf(made.model)).toEqual(bits);
    }
  });

  test('a callback that saves the run does not hide the event from those behind it', async () => {
    const log = (seen: string[], name: string) => (event: FitEvent) => void seen.push(`${name} ${event.type} ${event.step}`);
    let bytes: Uint8Array | null = null;
    const first: string[] = [];
    const save = (event: FitEvent): void => {
      if (event.type === 'epoch' && event.epoch === 0) bytes = checkpointToBytes({ run: a.run });
    };
    const a = makeRun(() => ({ callbacks: [log(first, 'before'), save, log(first, 'behind')] }));
    const events = await eventsOf(a.run);
    const second: string[] = [];
    const b = makeRun(() => ({ callbacks: [log(second, 'before'), () => {}, log(second, 'behind')] }), 5);
    checkpointFromBytes(bytes!, { run: b.run });
    const rest = await eventsOf(b.run);
    // The loop of the second process receives the epoch's event too: the first was saved before its loop did.
    expect(rest).toEqual(events.slice(7));
    expect(second).toEqual(first.slice(first.indexOf('behind epoch 7')));
  });

  test('a run of another make is refused before anything changes', async () => {
    const { run } = makeRun(everything);
    for await (const event of run) if (event.step === 3) break;
    const state = run.stateDict();
    const other = makeRun();
    const before = weightsOf(other.made.model);
    expect(() => other.run.loadStateDict(state)).toThrow('fit.loadStateDict: the state has 1 callbacks, the run 0');
    const noEma = makeRun((made) => ({ ...everything(made), ema: null }));
    expect(() => noEma.run.loadStateDict(state)).toThrow('fit.loadStateDict: ema: the state has one, the run has none');
    expect(weightsOf(other.made.model)).toEqual(before);
  });

  test.each([
    ['progress', undefined, 'progress: expected a record, got undefined'],
    ['progress.step', -1, 'progress.step: expected a whole number ≥ 0, got -1'],
    ['progress.epoch', '1', "progress.epoch: expected a whole number ≥ 0, got '1'"],
    ['progress.seconds', undefined, 'progress.seconds: expected a number ≥ 0, got undefined'],
    ['progress.evaluatedAt', -2, 'progress.evaluatedAt: expected a whole number ≥ -1, got -2'],
    ['progress.reason', 5, 'progress.reason: expected a text or null, got 5'],
    ['progress.ended', 'no', "progress.ended: expected true or false, got 'no'"],
    ['callbacks', 5, 'callbacks: expected an array, got 5'],
    ['pending', { event: { type: 'x', step: 1, epoch: 0 }, next: 0 }, "pending: expected null or an event and a callback's number"],
    ['pending', { event: { type: 'step', step: 1, epoch: 0 }, next: 2 }, "pending: expected null or an event and a callback's number"],
    ['model', null, 'model: the state has none, the run has one'],
  ])('a state whose %s is %j is refused before anything changes', (path, value, message) => {
    const { run, made } = makeRun(everything);
    const state = structuredClone({
      ...run.stateDict(),
      model: {},
      optimizer: {},
      loader: {},
      evaluationLoader: {},
      scheduler: {},
      ema: {},
      callbacks: [{}],
    });
    const [key, field] = path.split('.') as [keyof FitState, string?];
    Object.assign(field === undefined ? state : state.progress, { [field ?? key]: value });
    const before = weightsOf(made.model);
    expect(() => run.loadStateDict(state)).toThrow(`fit.loadStateDict: ${message}`);
    expect(() => run.loadStateDict(state)).toThrow(StateDictError);
    expect([run.step, weightsOf(made.model)]).toEqual([0, before]);
  });

  test.each([undefined, null, 'x', 5])('a state that is %j is refused', (state) => {
    expect(() => makeRun().run.loadStateDict(state as never)).toThrow(/^fit\.loadStateDict: the state: expected a record, got /);
  });

  test('a state between two batches of one step is refused', async () => {
    let caught: unknown = null;
    const { run } = makeRun(() => ({
      accumulate: 3,
      maxSteps: 1,
      loader: {
        ...batchesOf(),
        length: 3,
        position: 1,
        async *[Symbol.asyncIterator]() {
          for (let i = 0; i < 3; i++) {
            if (i === 1) {
              try {
                run.stateDict();
              } catch (error) {
                caught = error;
              }
            }
            yield* [parts().loader.first()];
          }
        },
      },
    }));
    await run.finish();
    expect(caught).toBeInstanceOf(StateDictError);
    expect((caught as Error).message).toBe('fit.stateDict: a step has only some of its batches; save the run at an event');
  });
});

test('evaluate restores the mode of each module and leaves no tensor', async () => {
  const { model, test: loader } = parts();
  const frozen = model.namedModules()[3]![1];
  model.train();
  frozen.eval();
  const { tensors } = memory();
  await evaluate(model, { loader, loss: F.crossEntropy });
  expect([model.training, frozen.training, tensorsSince(tensors)]).toEqual([true, false, 0]);
  const failing = evaluate(model, {
    loader,
    loss: () => {
      throw new Error('mine');
    },
  }); // prettier-ignore
  await expect(failing).rejects.toThrow('mine');
  expect([model.training, frozen.training]).toEqual([true, false]);
  await expect(evaluate(model, { loader: batchesOf(), loss: F.crossEntropy })).rejects.toThrow('evaluate: the loader has no batch');
});

describe('found by attack', () => {
  const emaOf = (made: Parts): EMA => new EMA(made.model.parameters(), { decay: 0.8 });

  test('with averages, the best weights that are restored and saved are the averages that were evaluated', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'fit-')), 'best.safetensors');
    const best = { mode: 'min' } as const;
    const { run, made } = makeRun((m) => ({
      ema: emaOf(m),
      callbacks: [earlyStopping({ ...best, restoreBest: true }), saveBest(path, best)],
    }));
    const events = await eventsOf(run);
    const lowest = Math.min(...events.flatMap((e) => (e.type === 'evaluation' ? [e.loss] : [])));
    const lossNow = async (): Promise<number> => (await evaluate(made.model, { loader: made.test, loss: F.crossEntropy })).loss;
    expect(await lossNow()).toBe(lowest);
    made.model.loadStateDict(loadSafetensors(path));
    expect(await lossNow()).toBe(lowest);
  });

  test('a state is refused while an evaluation uses averages', async () => {
    let caught: unknown = null;
    const { run } = makeRun((m) => ({
      ema: emaOf(m),
      maxSteps: 1,
      evaluation: {
        loader: {
          async *[Symbol.asyncIterator]() {
            try {
              run.stateDict();
            } catch (error) {
              caught = error;
            }
            yield m.test.first();
          },
        },
      },
    }));
    await run.finish();
    expect(caught).toBeInstanceOf(StateDictError);
    expect((caught as Error).message).toBe('fit.stateDict: an evaluation uses the averages of the weights; save the run at an event');
    expect(run.stateDict().progress.step).toBe(1);
  });

  test('a state that does not fit in one part changes none', () => {
    const { run, made } = makeRun((m) => ({
      callbacks: [Object.assign(() => {}, { stateDict: () => ({ n: 1 }), loadStateDict: fails })],
      ema: emaOf(m),
    }));
    const other = makeRun(
      (m) => ({ callbacks: [Object.assign(() => {}, { stateDict: () => ({ n: 1 }), loadStateDict: fails })], ema: emaOf(m) }),
      7,
    );
    function fails(): void {
      throw new Error('mine');
    }
    const [before, { tensors }] = [weightsOf(made.model), memory()];
    expect(() => run.loadStateDict(other.run.stateDict())).toThrow('mine');
    expect(weightsOf(made.model)).toEqual(before);
    expect(memory().tensors).toBe(tensors);
  });

  test('the callbacks behind one that saves the run in the end event receive that event after a restart', async () => {
    let bytes: Uint8Array | null = null;
    const save = (event: FitEvent): void => {
      if (event.type === 'end') bytes = checkpointToBytes({ run: a.run });
    };
    const a = makeRun(() => ({ maxSteps: 2, callbacks: [save, () => {}] }));
    await a.run.finish();
    const seen: string[] = [];
    const b = makeRun(() => ({ maxSteps: 2, callbacks: [() => {}, (event: FitEvent) => void seen.push(event.type)] }));
    checkpointFromBytes(bytes!, { run: b.run });
    expect((await eventsOf(b.run)).map((e) => e.type)).toEqual(['end']);
    expect(seen).toEqual(['end']);
    expect(await eventsOf(b.run)).toEqual([]);
  });

  test('gradients whose norm is not finite stop the run before the step', async () => {
    const { run, made } = makeRun(() => ({
      clipNorm: 1,
      loss: (output, target) => F.crossEntropy(output, target).add(output.mul(0).sum().sqrt()),
    }));
    const before = weightsOf(made.model);
    await expect(run.finish()).rejects.toThrow('clipGradNorm: the total norm of the gradients is NaN');
    expect(weightsOf(made.model)).toEqual(before);
  });

  test('a batch that throws ends its step, so that the run can be saved', async () => {
    let calls = 0;
    const { run } = makeRun(() => ({ accumulate: 2, loss: (output, target) => F.crossEntropy(output, target).div(++calls === 2 ? 0 : 1) }));
    await expect(run.finish()).rejects.toThrow(NonFiniteLossError);
    expect(run.stateDict().progress.step).toBe(0);
  });

  test.each([
    ['the loss of the second batch of a step throws', 2, 'loss'],
    ['the second batch of a step cannot be made', 2, 'batch'],
    ['the loss of a step of one batch throws', 1, 'loss'],
    ['a loss is not finite', 1, 'NaN'],
  ] as const)('a step that failed once is done again with the same bits: %s', async (_, accumulate, what) => {
    const whole = makeRun(() => ({ accumulate }));
    await whole.run.finish();
    let calls = 0;
    const failsOnce = (): boolean => ++calls === 4;
    const { run, made } = makeRun(({ loader }) => ({
      accumulate,
      loss: (output, target) => {
        if (what === 'loss' && failsOnce()) throw new RangeError('once');
        return F.crossEntropy(output, target).mul(what === 'NaN' && failsOnce() ? NaN : 1);
      },
      loader: {
        length: loader.length,
        get position() {
          return loader.position;
        },
        async *[Symbol.asyncIterator]() {
          for await (const batch of loader) {
            if (what === 'batch' && failsOnce()) throw new RangeError('once');
            yield batch;
          }
        },
        stateDict: () => loader.stateDict(),
        loadStateDict: (state: never) => loader.loadStateDict(state),
      },
    }));
    await expect(run.finish()).rejects.toThrow(what === 'NaN' ? NonFiniteLossError : new RangeError('once'));
    await run.finish();
    expect(weightsOf(made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('modules in evaluation mode stay so within a model in training; a model in evaluation is switched', async () => {
    const { run, made } = makeRun();
    const dropout = made.model.namedModules()[3]![1];
    dropout.eval();
    for await (const event of run) if (event.step === 2) break;
    expect([made.model.training, dropout.training]).toEqual([true, false]);
    made.model.eval();
    for await (const event of run) if (event.step === 4) break;
    expect([made.model.training, dropout.training]).toEqual([true, true]);
  });

  test.each([
    [
      'a loader without a position',
      (m: Parts) => ({
        loader: {
          [Symbol.asyncIterator]: () => m.loader[Symbol.asyncIterator](),
          length: 7,
          stateDict: () => ({}),
          loadStateDict: () => {},
        },
      }),
      'fit: loader.position must be a number of batches, got undefined',
    ],
    [
      'a plateau without evaluations',
      (m: Parts) => ({ scheduler: new ReduceLROnPlateau(m.optimizer), evaluation: null }),
      'fit: ReduceLROnPlateau steps with the loss of an evaluation; give evaluation too',
    ],
  ] as const)('%s is refused', (_, change, message) => {
    expect(() => makeRun(change as unknown as Change)).toThrow(message);
  });
});
