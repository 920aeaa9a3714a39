import { ArgumentError, ShapeError, StateDictError, manualSeed, memory, type Tensor } from 'chainrule';
import { Random } from 'chainrule/data';
import { checkpointFromBytes, checkpointToBytes } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { clipGradNorm, EMA, OneCycleLR, ReduceLROnPlateau, SGD, StepLR } from 'chainrule/optim';
import { Accuracy, earlyStopping, evaluate, fit, NonFiniteLossError, type FitEvent, type FitOptions } from 'chainrule/train';
import { describe, expect, test } from 'vitest';
import { batchesOf, eventsOf, makeRun, parts, weightsOf, type Change, type PlainBatch } from './support.ts';

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
    const tensors = new Set<number>();
    for await (const event of run) if (event.type === 'step' && event.step > 20) tensors.add(memory().tensors);
    expect(tensors.size).toBe(1);
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

  test('an abort ends the run after the step', async () => {
    const controller = new AbortController();
    const { run } = makeRun(() => ({ signal: controller.signal }));
    const types: string[] = [];
    for await (const event of run) {
      types.push(event.type);
      if (event.step === 3) controller.abort();
    }
    expect(types).toEqual(['step', 'step', 'step', 'end']);
    expect(run.step).toBe(3);
  });

  test('a loss that is not finite throws before the step', async () => {
    const { run, made } = makeRun(() => ({
      loss: (output, target) => (made.loader.position === 3 ? F.crossEntropy(output, target).div(0) : F.crossEntropy(output, target)),
    }));
    let before: number[][] = [];
    const steps = async (): Promise<void> => {
      for await (const event of run) if (event.type === 'step') before = weightsOf(made.model);
    };
    await expect(steps()).rejects.toThrow(NonFiniteLossError);
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
    [{ callbacks: [1] }, 'fit: callback 0 must be a function, got a number'],
    [{ evaluation: {} }, 'fit: evaluation: loader must be a DataLoader or another async iterable, got undefined'],
    [{ evaluation: { loader: batchesOf(), every: 0 } }, "fit: evaluation: every must be 'epoch' or a number of steps, got 0"],
    [
      { evaluation: { loader: batchesOf(), metrics: { a: 1 } } },
      'fit: evaluation: metrics.a must have update, compute and reset, as new Accuracy() has, got a number',
    ],
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
  expect([model.training, frozen.training, memory().tensors]).toEqual([true, false, tensors]);
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
