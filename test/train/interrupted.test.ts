import { ArgumentError, StateDictError } from 'chainrule';
import { DataLoader, type Transform } from 'chainrule/data';
import { checkpointFromBytes, checkpointToBytes } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { EMA, LambdaLR } from 'chainrule/optim';
import { Accuracy, earlyStopping, evaluate, type FitEvent, type LossFunction, type TrainingBatch } from 'chainrule/train';
import { describe, expect, test } from 'vitest';
import { eventsOf, makeRun, parts, points, weightsOf, type Change } from './support.ts';

// Steps that fail in the middle, evaluations that overlap, and stops that come with the last step.

/** Two epochs of 7 batches, two batches a step; without dropout, whose random numbers go on. */
function makeRepeatable(change: Change = () => ({})): ReturnType<typeof makeRun> {
  const { run, made } = makeRun((m) => ({ epochs: 2, accumulate: 2, evaluation: null, ...change(m) }));
  for (const [, module] of made.model.namedModules()) if (module instanceof nn.Dropout) module.eval();
  return { run, made };
}

/** Returns the events of as many loops over a run as it takes, and the errors of those that throw. */
async function eventsAndErrors(run: AsyncIterable<FitEvent>): Promise<{ readonly events: FitEvent[]; readonly errors: string[] }> {
  const events: FitEvent[] = [];
  const errors: string[] = [];
  for (;;) {
    try {
      for await (const event of run) events.push(event);
      return { events, errors };
    } catch (error) {
      errors.push((error as Error).message);
    }
  }
}

/** Throws at the calls of these numbers, from 1. */
function failingAt(calls: readonly number[]): () => void {
  let call = 0;
  return () => {
    call++;
    if (calls.includes(call)) throw new Error(`call ${call}`);
  };
}

function failingLoss(...calls: number[]): LossFunction {
  const count = failingAt(calls);
  return (output, target) => {
    count();
    return F.crossEntropy(output, target);
  };
}

describe('a step that fails is done by the next loop', () => {
  test.each([[[1]], [[2]], [[4, 7]], [[7]], [[9, 11, 14]]])('where the loss throws at calls %j', async (calls) => {
    const whole = makeRepeatable();
    const failing = makeRepeatable(() => ({ loss: failingLoss(...calls) }));
    const { events, errors } = await eventsAndErrors(failing.run);
    expect(errors).toEqual(calls.map((call) => `call ${call}`));
    expect(events).toEqual(await eventsOf(whole.run));
    expect(events.at(-1)!.step).toBe(failing.run.totalSteps);
    expect(weightsOf(failing.made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('where a metric throws', async () => {
    const withMetric = (calls: readonly number[]): Change => {
      const count = failingAt(calls);
      const metric = { reset() {}, update() {}, compute: () => (count(), 1) };
      return () => ({ metrics: { metric } });
    };
    const [whole, failing] = [makeRepeatable(withMetric([])), makeRepeatable(withMetric([1, 5]))];
    const { events, errors } = await eventsAndErrors(failing.run);
    expect(errors).toEqual(['call 1', 'call 5']);
    expect(events).toEqual(await eventsOf(whole.run));
    expect(weightsOf(failing.made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('but one that has updated the parameters is not done twice, where a schedule throws', async () => {
    const withSchedule = (calls: readonly number[]): Change => {
      const count = failingAt(calls);
      const lrLambda = (step: number): number => (count(), 1 / (step + 1));
      return ({ model, optimizer }) => ({ ema: new EMA(model.parameters()), scheduler: new LambdaLR(optimizer, { lrLambda }) });
    };
    // The first call is that of the constructor. The last steps of both epochs are among those that fail.
    const [whole, failing] = [makeRepeatable(withSchedule([])), makeRepeatable(withSchedule([2, 5, 6, 10]))];
    const { events, errors } = await eventsAndErrors(failing.run);
    expect(errors).toEqual(['call 2', 'call 5', 'call 6', 'call 10']);
    expect(events).toEqual(await eventsOf(whole.run));
    expect(weightsOf(failing.made.model)).toEqual(weightsOf(whole.made.model));
  });

  test('and its run is not saved before its schedule has followed', async () => {
    const count = failingAt([2]);
    const { run } = makeRepeatable(({ optimizer }) => ({ scheduler: new LambdaLR(optimizer, { lrLambda: () => (count(), 1) }) }));
    await expect(run.finish()).rejects.toThrow('call 2');
    const message = 'fit.stateDict: a step has updated the parameters, and what follows has failed; begin another loop first';
    expect(() => run.stateDict()).toThrow(new StateDictError(message));
    await run.finish();
    expect(run.stateDict().progress.step).toBe(run.totalSteps);
  });

  test.each([1, 2, 5, 7, 8, 9])('where batch %i cannot be made', async (number) => {
    const loaderThat = (fails: readonly number[]): Change => {
      const count = failingAt(fails);
      const batchTransform = <T>(items: T): T => {
        count();
        return items;
      };
      return () => ({ loader: new DataLoader(points(40, 7), { batchSize: 6, shuffle: true, seed: 1, batchTransform }) });
    };
    const failing = makeRepeatable(loaderThat([number]));
    const { events, errors } = await eventsAndErrors(failing.run);
    expect(errors).toEqual([`call ${number}`]);
    expect(events).toEqual(await eventsOf(makeRepeatable(loaderThat([])).run));
  });

  test('and the state is that before the step', async () => {
    const { run } = makeRepeatable(() => ({ loss: failingLoss(4) }));
    await expect(run.finish()).rejects.toThrow('call 4');
    const { progress, loader } = run.stateDict();
    expect([progress.step, progress.epoch, progress.samples, loader]).toEqual([1, 0, 12, expect.objectContaining({ position: 2 })]);
  });
});

describe('the loader of evaluations belongs to the run', () => {
  /** Evaluations on augmented samples, which differ from epoch to epoch of their loader. */
  const augmented =
    (change: Change = () => ({})): Change =>
    (m) => ({
      evaluation: { loader: new DataLoader(points(20, 8), { batchSize: 8, shuffle: true, transform: noise, seed: 3 }), every: 2 },
      ...change(m),
    });
  const noise: Transform = ({ data, shape, dtype }, random) => ({ data: data.map((v) => v + random.uniform()), shape, dtype });

  test('a restored run evaluates on the same samples', async () => {
    const whole = makeRun(augmented());
    const states: Uint8Array[] = [];
    const events: FitEvent[] = [];
    for await (const event of whole.run) {
      events.push(event);
      states.push(checkpointToBytes({ run: whole.run }));
    }
    for (const moment of [0, 3, 4, 9, 20]) {
      const { run } = makeRun(augmented(), 99);
      checkpointFromBytes(states[moment]!, { run });
      expect(await eventsOf(run), `after event ${moment}`).toEqual(events.slice(moment + 1));
    }
  });

  test('an aborted evaluation is done again on the same samples', async () => {
    const expected = await eventsOf(makeRun(augmented()).run);
    let batches = 0;
    let controller = new AbortController();
    const signal = {
      get aborted() {
        return controller.signal.aborted;
      },
      get reason(): unknown {
        return controller.signal.reason;
      },
      throwIfAborted: () => controller.signal.throwIfAborted(),
    }; // prettier-ignore
    const abort = new Accuracy();
    const update = abort.update.bind(abort);
    abort.update = (...batch) => {
      if (++batches % 7 === 2) controller.abort();
      update(...batch);
    };
    const { run } = makeRun((m) => ({ signal, evaluation: { ...augmented()(m).evaluation!, metrics: { abort } } }));
    const events: FitEvent[] = [];
    let pauses = 0;
    while (events.at(-1)?.type !== 'end') {
      for await (const event of run) {
        if (event.type === 'pause') pauses++;
        else events.push(event);
      }
      controller = new AbortController();
    }
    expect(pauses).toBeGreaterThan(2);
    const losses = (list: readonly FitEvent[]): unknown[] => list.map((e) => [e.type, e.step, 'loss' in e ? e.loss : null]);
    expect(losses(events)).toEqual(losses(expected));
  });
});

describe('evaluations of one model at once', () => {
  /** Batches, each after some turns of the event loop. */
  async function* slowly(turns: number): AsyncGenerator<TrainingBatch> {
    for await (const batch of new DataLoader(points(20, 8), { batchSize: 8 })) {
      for (let i = 0; i < turns; i++) await new Promise((resolve) => void setImmediate(resolve));
      yield batch;
    }
  }

  test.each([
    [1, 5],
    [5, 1],
  ])('run in evaluation mode, and the last restores the modes (%i and %i turns a batch)', async (first, second) => {
    const { model } = parts();
    const frozen = model.namedModules()[3]![1];
    frozen.eval();
    const before = model.namedModules().map(([, module]) => module.training);
    const modes: boolean[] = [];
    const loss: LossFunction = (output, target) => {
      modes.push(...model.namedModules().map(([, module]) => module.training));
      return F.crossEntropy(output, target);
    };
    const results = await Promise.all([first, second].map((turns) => evaluate(model, { loader: slowly(turns), loss })));
    expect(results[0]).toEqual(results[1]);
    expect(new Set(modes)).toEqual(new Set([false]));
    expect(model.namedModules().map(([, module]) => module.training)).toEqual(before);
  });

  test('one of a part of a model, and one that fails, leave the modes as they were', async () => {
    const { model } = parts();
    const all = evaluate(model, { loader: slowly(5), loss: F.crossEntropy });
    const first = model.namedModules()[1]![1] as nn.Linear;
    const part = evaluate(first, { loader: slowly(1), loss: failingLoss(1) });
    await expect(part).rejects.toThrow('call 1');
    expect([model.training, first.training]).toEqual([false, false]);
    await all;
    expect(model.namedModules().every(([, module]) => module.training)).toBe(true);
  });

  test('fit trains on no model that is being evaluated', async () => {
    const { run, made } = makeRun(() => ({ evaluation: null }));
    const evaluation = evaluate(made.model, { loader: slowly(5), loss: F.crossEntropy });
    await expect(run.finish()).rejects.toThrow(
      new ArgumentError('fit: an evaluation of the model is running, so its modules are in evaluation mode; await evaluate(…) first'),
    );
    await evaluation;
    expect((await run.finish()).step).toBe(21);
  });
});

describe('a run that is stopped with its last step', () => {
  test.each([
    [2, null],
    [3, 'no better loss than '],
  ])('of %i epochs has the reason %j', async (epochs, reason) => {
    // Evaluations never improve: the second one stops the run.
    const { run } = makeRun(({ test: loader }) => ({
      epochs,
      evaluation: { loader, loss: (output) => output.mul(0).sum() },
      callbacks: [earlyStopping({ patience: 1 })],
    }));
    const end = await run.finish();
    expect([end.type, end.step]).toEqual(['end', 14]);
    expect(end).toMatchObject({ reason: reason === null ? null : expect.stringContaining(reason) });
  });
});
