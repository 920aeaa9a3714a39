import { readFileSync } from 'node:fs';
import { ArgumentError, StateDictError, zeros } from 'chainrule';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../nn/fixture.ts';

type Named = [name: keyof typeof make, options: never];

interface Fixture {
  schedulers: { name: keyof typeof make; options: never; rows: number[][] }[];
  metrics: number[];
  plateau: { options: optim.PlateauOptions; rows: number[][]; state: optim.PlateauState }[];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/optim.json', import.meta.url), 'utf8')) as Fixture;

const make = {
  StepLR: (o: optim.Optimizer, options: optim.StepOptions) => new optim.StepLR(o, options),
  MultiStepLR: (o: optim.Optimizer, options: optim.MultiStepOptions) => new optim.MultiStepLR(o, options),
  ExponentialLR: (o: optim.Optimizer, options: { gamma: number }) => new optim.ExponentialLR(o, options),
  LinearLR: (o: optim.Optimizer, options: optim.LinearOptions) => new optim.LinearLR(o, options),
  CosineAnnealingLR: (o: optim.Optimizer, options: optim.CosineAnnealingOptions) => new optim.CosineAnnealingLR(o, options),
  CosineAnnealingWarmRestarts: (o: optim.Optimizer, options: optim.WarmRestartOptions) => new optim.CosineAnnealingWarmRestarts(o, options),
  CyclicLR: (o: optim.Optimizer, options: optim.CyclicOptions) => new optim.CyclicLR(o, options),
  LambdaLR: (o: optim.Optimizer, { two }: { two: boolean }) =>
    new optim.LambdaLR(o, { lrLambda: two ? [(t) => 0.95 ** t, (t) => 1 / (1 + t)] : (t) => 1 / (t + 1) ** 0.5 }),
  SequentialLR: (o: optim.Optimizer, { schedulers, milestones }: { schedulers: Named[]; milestones: number[] }): optim.Scheduler =>
    new optim.SequentialLR(o, { schedulers: schedulers.map(([name, options]) => make[name](o, options)), milestones }),
};

function twoGroups(lr = 0.1): optim.Adam {
  const p = (): ReturnType<typeof zeros> => zeros([1], { requiresGrad: true });
  return new optim.Adam([{ params: [p()] }, { params: [p()], lr: 0.02 }], { lr });
}

const lrsOf = (o: optim.Optimizer): number[] => o.paramGroups.map((g) => g.lr);

describe('learning rates over 60 steps equal PyTorch’s within 1e-12', () => {
  test.each(fixture.schedulers.map((c) => [c.name, JSON.stringify(c.options), c] as const))('%s %s', (_, __, c) => {
    const optimizer = twoGroups();
    const schedule = make[c.name](optimizer, c.options);
    c.rows.forEach((row, step) => {
      if (step > 0) schedule.step();
      expectClose(lrsOf(optimizer), row, 1e-12);
      expect(schedule.lastLr).toEqual(lrsOf(optimizer));
      expect(schedule.lastEpoch).toBe(step);
    });
  });

  test.each(fixture.plateau.map((c) => [JSON.stringify(c.options), c] as const))('ReduceLROnPlateau %s', (_, c) => {
    const optimizer = twoGroups();
    const schedule = new optim.ReduceLROnPlateau(optimizer, c.options);
    c.rows.forEach((row, t) => {
      schedule.step(t === 25 ? Number.NaN : fixture.metrics[t]!);
      expectClose(schedule.lastLr, row, 1e-12);
    });
    expect(schedule.stateDict()).toEqual(c.state);
  });
});

test('resumed from its state and the optimizer’s, each continues bitwise identical', () => {
  for (const { name, options } of fixture.schedulers) {
    const optimizer = twoGroups();
    const schedule = make[name](optimizer, options);
    for (let i = 0; i < 13; i++) schedule.step();
    const saved = JSON.parse(JSON.stringify([schedule.stateDict(), optimizer.stateDict()])) as [never, optim.OptimizerState];
    const other = twoGroups(0.3);
    const resumed = make[name](other, options);
    other.loadStateDict(saved[1]);
    resumed.loadStateDict(saved[0]);
    for (let i = 0; i < 40; i++) {
      schedule.step();
      resumed.step();
      expect(lrsOf(other)).toEqual(lrsOf(optimizer));
    }
  }
  for (const { options } of fixture.plateau) {
    const [optimizer, other] = [twoGroups(), twoGroups(0.3)];
    const schedule = new optim.ReduceLROnPlateau(optimizer, options);
    for (const metric of fixture.metrics.slice(0, 30)) schedule.step(metric);
    const resumed = new optim.ReduceLROnPlateau(other, options);
    other.loadStateDict(optimizer.stateDict());
    resumed.loadStateDict(schedule.stateDict());
    for (const metric of fixture.metrics) for (const s of [schedule, resumed]) s.step(metric);
    expect(lrsOf(other)).toEqual(lrsOf(optimizer));
    expect(resumed.stateDict()).toEqual(schedule.stateDict());
  }
});

test('restart resets to the base learning rates', () => {
  const optimizer = twoGroups();
  const cosine = new optim.CosineAnnealingLR(optimizer, { tMax: 1 });
  for (let i = 0; i < 4; i++) cosine.step();
  cosine.restart();
  expect([cosine.lastEpoch, ...lrsOf(optimizer)]).toEqual([0, 0.1, 0.02]);
});

test('errors leave the optimizer as it was', () => {
  const optimizer = twoGroups();
  const parts = (): optim.Scheduler[] => [1, 2].map((stepSize) => new optim.StepLR(optimizer, { stepSize }));
  parts();
  const before = JSON.stringify(optimizer.paramGroups);
  const cases: [() => unknown, string][] = [
    [() => new optim.StepLR(optimizer, { stepSize: 0 }), 'StepLR: stepSize must be a whole number ≥ 1, got 0'],
    [() => new optim.StepLR(optimizer, undefined as never), 'StepLR: stepSize must be a whole number ≥ 1, got undefined'],
    [() => new optim.StepLR(optimizer, { stepSize: 1, gamma: -1 }), 'StepLR: gamma must be a number ≥ 0, got -1'],
    [() => new optim.StepLR(optimizer, { step: 1 } as never), "StepLR: unknown option 'step'; the options are stepSize, gamma"],
    [
      () => new optim.MultiStepLR(optimizer, { milestones: 3 as never }),
      'MultiStepLR: milestones must be an array of whole numbers, got a number',
    ],
    [() => new optim.MultiStepLR(optimizer, { milestones: [1, 2.5] }), 'MultiStepLR: milestones[1] must be a whole number ≥ 1, got 2.5'],
    [() => new optim.ExponentialLR(optimizer, {} as never), 'ExponentialLR: gamma must be a number ≥ 0, got undefined'],
    [() => new optim.LinearLR(optimizer, { startFactor: 0 }), 'LinearLR: startFactor must be a number > 0 and ≤ 1, got 0'],
    [() => new optim.LinearLR(optimizer, { endFactor: 2 }), 'LinearLR: endFactor must be a number from 0 to 1, got 2'],
    [() => new optim.LinearLR(optimizer, { totalIters: 0 }), 'LinearLR: totalIters must be a whole number ≥ 1, got 0'],
    [
      () => new optim.LambdaLR(optimizer, { lrLambda: 0.1 as never }),
      'LambdaLR: lrLambda must be a function or an array of functions, got a number',
    ],
    [() => new optim.LambdaLR(optimizer, { lrLambda: [() => 1] }), 'LambdaLR: lrLambda has 1 functions, the optimizer 2 groups'],
    [
      () => new optim.LambdaLR(optimizer, { lrLambda: [() => 1, 2 as never] }),
      'LambdaLR: lrLambda must be a function or an array of functions, got an array',
    ],
    [
      () => new optim.SequentialLR(optimizer, undefined as never),
      'SequentialLR: schedulers must be an array of schedulers that step without a metric',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: [new optim.StepLR(optimizer, { stepSize: 1 }), 3 as never], milestones: [1] }),
      'SequentialLR: schedulers must be an array of schedulers that step without a metric',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: [new optim.StepLR(optimizer, { stepSize: 1 }), 3 as never], milestones: [] }),
      'SequentialLR: schedulers must be an array of schedulers that step without a metric',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: [new optim.StepLR(optimizer, { stepSize: 1 })], milestones: 3 as never }),
      'SequentialLR: milestones must be an array of whole numbers, got a number',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: parts(), milestone: [1] } as never),
      "SequentialLR: unknown option 'milestone'; the options are schedulers, milestones",
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: parts(), milestones: ['2' as never] }),
      "SequentialLR: milestones of 2 schedulers must be 1 rising steps, got ['2']",
    ],
    [
      () => new optim.SequentialLR(optimizer, {} as never),
      'SequentialLR: schedulers must be an array of schedulers that step without a metric',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: [new optim.ReduceLROnPlateau(optimizer) as never], milestones: [] }),
      'SequentialLR: schedulers must be an array of schedulers that step without a metric',
    ],
    [
      () => new optim.SequentialLR(optimizer, { schedulers: [new optim.StepLR(twoGroups(), { stepSize: 1 })], milestones: [] }),
      'SequentialLR: all schedulers must be of its own optimizer',
    ],
    [() => new optim.ReduceLROnPlateau(optimizer, { factor: 1 }), 'ReduceLROnPlateau: factor must be a number ≥ 0 and < 1, got 1'],
    [() => new optim.ReduceLROnPlateau(optimizer, { mode: 'up' as 'min' }), "ReduceLROnPlateau: mode must be 'min' or 'max', got 'up'"],
    [
      () => new optim.ReduceLROnPlateau(optimizer, { thresholdMode: 'x' as 'rel' }),
      "ReduceLROnPlateau: thresholdMode must be 'rel' or 'abs', got 'x'",
    ],
    [() => new optim.ReduceLROnPlateau(optimizer, { patience: -1 }), 'ReduceLROnPlateau: patience must be a number ≥ 0, got -1'],
    [
      () => new optim.ReduceLROnPlateau(optimizer).step(undefined as never),
      'ReduceLROnPlateau: step takes the metric, a number, got undefined',
    ],
  ];
  for (const [run, message] of cases) expect(run).toThrow(new ArgumentError(message));
  expect(JSON.stringify(optimizer.paramGroups)).toBe(before);

  const three = [...parts(), ...parts().slice(1)];
  const wrong = 'SequentialLR: milestones of 3 schedulers must be 2 rising steps, got ';
  for (const milestones of [[5], [5, 5], [7, 2]]) {
    const run = (): unknown => new optim.SequentialLR(optimizer, { schedulers: three, milestones });
    expect(run).toThrow(new ArgumentError(`${wrong}[${milestones.join(',')}]`));
  }
  const sequence = new optim.SequentialLR(optimizer, { schedulers: parts(), milestones: [2] });
  expect(() => sequence.loadStateDict({ ...sequence.stateDict(), schedulers: [] })).toThrow(
    new StateDictError('loadStateDict: the state does not fit SequentialLR: expected 2 schedulers, got 0'),
  );
  const plateau = new optim.ReduceLROnPlateau(optimizer);
  expect(() => plateau.loadStateDict({ ...plateau.stateDict(), best: null } as never)).toThrow(
    new StateDictError('loadStateDict: the state does not fit ReduceLROnPlateau: best is no number'),
  );
  const present = plateau.stateDict();
  for (const key of ['extra', '__proto__', 'toString']) {
    expect(() => plateau.loadStateDict({ ...present, best: 3, [key]: zeros([1]) } as never)).toThrow(
      new StateDictError(`loadStateDict: the state does not fit ReduceLROnPlateau: it has '${key}', which is no part of it`),
    );
  }
  expect(plateau.stateDict()).toEqual(present);
});

test('SequentialLR loads the states of all its schedulers or of none', () => {
  const optimizer = twoGroups();
  const parts = [new optim.StepLR(optimizer, { stepSize: 2 }), new optim.ExponentialLR(optimizer, { gamma: 0.5 })];
  const sequence = new optim.SequentialLR(optimizer, { schedulers: parts, milestones: [3] });
  const saved = sequence.stateDict();
  sequence.step();
  const before = sequence.stateDict();
  for (const bad of [
    { ...saved, schedulers: [saved.schedulers[0]!, { ...saved.schedulers[1]!, lastEpoch: -1 }] },
    { ...saved, lastEpoch: -1 },
  ]) {
    expect(() => sequence.loadStateDict(bad)).toThrow(StateDictError);
    expect(sequence.stateDict()).toEqual(before);
  }
});

test('every schedule refuses a value that is not a state', () => {
  const o = twoGroups();
  const schedules: { loadStateDict(state: never): void }[] = [
    new optim.StepLR(o, { stepSize: 2 }),
    new optim.ReduceLROnPlateau(o),
    new optim.SequentialLR(o, { schedulers: [new optim.StepLR(o, { stepSize: 2 })], milestones: [] }),
  ];
  for (const s of schedules)
    for (const state of [null, undefined, {}]) expect(() => s.loadStateDict(state as never)).toThrow(StateDictError);
});
