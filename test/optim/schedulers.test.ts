import { ArgumentError, StateDictError, zeros } from 'chainrule';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fixture } from '../nn/fixture.ts';

function twoGroups({ momentum = 0.9, lr = 0.1 } = {}): optim.SGD {
  const p = (): ReturnType<typeof zeros> => zeros([1], { requiresGrad: true });
  return new optim.SGD([{ params: [p()] }, { params: [p()], lr: 0.02 }], { lr, momentum });
}

const rowOf = (o: optim.SGD): number[] => o.paramGroups.flatMap((g) => [g.lr, g.momentum]);

describe('learning rate and momentum equal PyTorch’s within 1e-12', () => {
  test.each(
    [
      ...fixture.schedulers.cosine.map(
        (c) => ['CosineAnnealingLR', c, (o: optim.SGD) => new optim.CosineAnnealingLR(o, c.options)] as const,
      ),
      ...fixture.schedulers.oneCycle.map((c) => ['OneCycleLR', c, (o: optim.SGD) => new optim.OneCycleLR(o, c.options)] as const),
    ].map(([name, c, make]) => [`${name} ${JSON.stringify(c.options)}`, c, make] as const),
  )('%s', (_, c, make) => {
    const optimizer = twoGroups();
    const schedule = make(optimizer);
    // PyTorch's base_lrs: the learning rates at construction.
    expectClose(
      schedule.baseLrs,
      optimizer.paramGroups.map((g) => g.lr),
      1e-12,
    );
    c.rows.forEach((row, step) => {
      if (step > 0) schedule.step();
      expectClose(rowOf(optimizer), row.flat(), 1e-12);
      expect(schedule.lastLr).toEqual(optimizer.paramGroups.map((g) => g.lr));
      expect(schedule.lastEpoch).toBe(step);
    });
  });
});

test('a schedule resumed from its state and the optimizer’s continues bitwise identical', () => {
  const make = {
    cosine: (o: optim.SGD) => new optim.CosineAnnealingLR(o, { tMax: 10, etaMin: 0.001 }),
    oneCycle: (o: optim.SGD) => new optim.OneCycleLR(o, { maxLr: 0.2, totalSteps: 40 }),
  };
  for (const build of Object.values(make)) {
    const optimizer = twoGroups();
    const schedule = build(optimizer);
    for (let i = 0; i < 13; i++) schedule.step();
    const saved = JSON.parse(JSON.stringify([schedule.stateDict(), optimizer.stateDict()])) as [optim.SchedulerState, optim.OptimizerState];
    const other = twoGroups({ momentum: 0.5, lr: 0.3 });
    const resumed = build(other);
    other.loadStateDict(saved[1]);
    resumed.loadStateDict(saved[0]);
    expect(resumed.lastLr).toEqual(schedule.lastLr);
    for (let i = 0; i < 20; i++) {
      schedule.step();
      resumed.step();
      expect(rowOf(other)).toEqual(rowOf(optimizer));
    }
  }
});

test('two cosine schedules chain: each starts from the other’s learning rate', () => {
  const optimizer = twoGroups();
  const schedules = [new optim.CosineAnnealingLR(optimizer, { tMax: 10 }), new optim.CosineAnnealingLR(optimizer, { tMax: 20 })];
  for (let i = 0; i < 5; i++) for (const s of schedules) s.step();
  const cosine = (share: number): number => (1 + Math.cos(Math.PI * share)) / 2;
  expectClose([optimizer.paramGroups[0]!.lr], [0.1 * cosine(0.5) * cosine(0.25)], 1e-12);
});

test('one-cycle changes betas where there is no momentum option', () => {
  class Adaptive extends optim.Optimizer {
    protected override checkGroup(): void {}
    protected override update(): void {}
  }
  const p = zeros([1], { requiresGrad: true });
  const optimizer = new Adaptive([p], { lr: 1, betas: [0.9, 0.999] });
  new optim.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 10 }).step();
  expect((optimizer.paramGroups[0]!.betas as number[])[0]).toBeLessThan(0.95);
  expect((optimizer.paramGroups[0]!.betas as number[])[1]).toBe(0.999);
  expect(() => new optim.OneCycleLR(new Adaptive([p], { lr: 1 }), { maxLr: 1, totalSteps: 10 })).toThrow(
    new ArgumentError('OneCycleLR: Adaptive has no momentum to cycle; set cycleMomentum: false'),
  );
});

test('errors leave the optimizer as it was', () => {
  const optimizer = twoGroups();
  const before = JSON.stringify(optimizer.paramGroups);
  const one = (options: Partial<optim.OneCycleOptions>) => (): unknown =>
    new optim.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 10, ...options });
  const cases: [() => unknown, string][] = [
    [() => new optim.CosineAnnealingLR(optimizer, { tMax: 0 }), 'CosineAnnealingLR: tMax must be a whole number ≥ 1, got 0'],
    [
      () => new optim.CosineAnnealingLR(optimizer, { tMax: 3, minLr: 1 } as never),
      "CosineAnnealingLR: unknown option 'minLr'; the options are tMax, etaMin",
    ],
    [
      one({ pct: 2 } as never),
      "OneCycleLR: unknown option 'pct'; the options are maxLr, totalSteps, epochs, stepsPerEpoch, pctStart, annealStrategy, " +
        'cycleMomentum, baseMomentum, maxMomentum, divFactor, finalDivFactor, threePhase',
    ],
    [() => new optim.OneCycleLR(optimizer, { maxLr: 0.1, epochs: 2 }), 'OneCycleLR: give totalSteps, or both epochs and stepsPerEpoch'],
    [one({ totalSteps: 1.5 }), 'OneCycleLR: totalSteps must be a whole number ≥ 1, got 1.5'],
    [one({ pctStart: 2 }), 'OneCycleLR: pctStart must be a number from 0 to 1, got 2'],
    [one({ annealStrategy: 'sin' as 'cos' }), "OneCycleLR: annealStrategy must be 'cos' or 'linear', got 'sin'"],
    [one({ maxLr: [0.1] }), 'OneCycleLR: maxLr has 1 values, the optimizer 2 groups'],
    [one({ maxMomentum: -1 }), 'OneCycleLR: maxMomentum must be a number ≥ 0, got -1'],
  ];
  for (const [run, message] of cases) expect(run).toThrow(new ArgumentError(message));
  expect(JSON.stringify(optimizer.paramGroups)).toBe(before);

  const short = new optim.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 3 });
  for (let i = 0; i < 3; i++) short.step();
  expect(() => short.step()).toThrow(new ArgumentError('OneCycleLR: step 4 is beyond the 3 steps of the cycle'));
  expect(short.lastEpoch).toBe(3);
  expect(() => short.loadStateDict({ lastEpoch: 1, baseLrs: [1], lastLr: [1] })).toThrow(
    new StateDictError('loadStateDict: the state does not fit OneCycleLR: expected lastEpoch ≥ 0, 2 baseLrs and 2 lastLr, got 1, 1 and 1'),
  );
});

test('a damaged state is refused, each part by itself, and nothing changes', () => {
  const optimizer = twoGroups();
  const schedule = new optim.StepLR(optimizer, { stepSize: 3 });
  schedule.step();
  const valid = schedule.stateDict();
  const expected = 'expected lastEpoch ≥ 0, 2 baseLrs and 2 lastLr, got';
  const cases: [damage: object, problem: string][] = [
    [{ lastEpoch: -1 }, `${expected} -1, 2 and 2`],
    [{ lastEpoch: 0.5 }, `${expected} 0.5, 2 and 2`],
    [{ lastEpoch: '1' }, `${expected} '1', 2 and 2`],
    [{ lastEpoch: undefined }, `${expected} undefined, 2 and 2`],
    [{ baseLrs: [0.1] }, `${expected} 1, 1 and 2`],
    [{ baseLrs: undefined }, `${expected} 1, undefined and 2`],
    [{ baseLrs: { length: 2 } }, `${expected} 1, an object and 2`],
    [{ lastLr: [0.1, 0.2, 0.3] }, `${expected} 1, 2 and 3`],
    [{ lastLr: undefined }, `${expected} 1, 2 and undefined`],
    [{ baseLrs: [0.1, Number.NaN] }, 'a learning rate is NaN, no finite number'],
    [{ lastLr: [0.1, '0.02'] }, "a learning rate is '0.02', no finite number"],
  ];
  for (const [damage, problem] of cases) {
    expect(() => schedule.loadStateDict({ ...valid, ...damage })).toThrow(
      new StateDictError(`loadStateDict: the state does not fit StepLR: ${problem}`),
    );
    expect(schedule.stateDict()).toEqual(valid);
  }
  schedule.loadStateDict({ ...valid, lastEpoch: 0 });
  expect(schedule.lastEpoch).toBe(0);
});

test('a state that was saved stays as it is when the schedule goes on', () => {
  const schedule = new optim.ExponentialLR(twoGroups(), { gamma: 0.5 });
  const saved = schedule.stateDict();
  (saved.baseLrs as number[])[0] = 9;
  schedule.step();
  expect(schedule.stateDict()).toEqual({ lastEpoch: 1, baseLrs: [0.1, 0.02], lastLr: [0.05, 0.01] });
  const loaded = { lastEpoch: 1, baseLrs: [0.1, 0.02], lastLr: [0.05, 0.01] };
  schedule.loadStateDict(loaded);
  loaded.baseLrs[0] = loaded.lastLr[0] = 9;
  expect(schedule.stateDict()).toEqual({ lastEpoch: 1, baseLrs: [0.1, 0.02], lastLr: [0.05, 0.01] });
});

test('a schedule of one’s own starts at the optimizer’s rates', () => {
  class Twice extends optim.Scheduler {
    protected override next({ lr }: optim.ParamGroup): number {
      return 2 * lr;
    }
  }
  const schedule = new Twice(twoGroups());
  expect(schedule.lastLr).toEqual([0.1, 0.02]);
  schedule.step();
  expect(schedule.lastLr).toEqual([0.2, 0.04]);
});
