/** No schedule and no optimizer takes a rate that is not a finite number: walks over all of both. */
import { ArgumentError, StateDictError, noGrad, ones, tensor, zeros, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../nn/fixture.ts';

const parameter = (): Tensor => tensor([[1]], { requiresGrad: true });
const sgd = (lr = 0.1): optim.SGD => new optim.SGD([parameter()], { lr, momentum: 0.9 });

/** Every exported scheduler, with the options of some edge cases. */
const SCHEDULES: Readonly<Record<string, readonly ((o: optim.Optimizer) => optim.Scheduler)[]>> = {
  StepLR: [(o) => new optim.StepLR(o, { stepSize: 1 }), (o) => new optim.StepLR(o, { stepSize: 2, gamma: 0 })],
  MultiStepLR: [(o) => new optim.MultiStepLR(o, { milestones: [1, 1, 3] }), (o) => new optim.MultiStepLR(o, { milestones: [] })],
  ExponentialLR: [(o) => new optim.ExponentialLR(o, { gamma: 0 }), (o) => new optim.ExponentialLR(o, { gamma: 1.1 })],
  LinearLR: [
    (o) => new optim.LinearLR(o),
    (o) => new optim.LinearLR(o, { startFactor: 1e-300, endFactor: 0, totalIters: 1 }),
    (o) => new optim.LinearLR(o, { startFactor: 1, endFactor: 0, totalIters: 3 }),
  ],
  CosineAnnealingLR: [1, 2, 3, 7].map((tMax) => (o: optim.Optimizer) => new optim.CosineAnnealingLR(o, { tMax })),
  CosineAnnealingWarmRestarts: [1, 2, 3, 7].flatMap((t0) =>
    [1, 2].map((tMult) => (o: optim.Optimizer) => new optim.CosineAnnealingWarmRestarts(o, { t0, tMult })),
  ),
  CyclicLR: (['triangular', 'triangular2', 'expRange'] as const).flatMap((mode) =>
    [1, 3].flatMap((stepSizeUp) =>
      [null, 1, 4].map(
        (stepSizeDown) => (o: optim.Optimizer) =>
          new optim.CyclicLR(o, { baseLr: 0, maxLr: 1, stepSizeUp, stepSizeDown, mode, gamma: 0.5 }),
      ),
    ),
  ),
  LambdaLR: [(o) => new optim.LambdaLR(o, { lrLambda: (t) => 0.5 ** t })],
  SequentialLR: [
    (o) =>
      new optim.SequentialLR(o, {
        schedulers: [new optim.LinearLR(o, { totalIters: 2 }), new optim.CosineAnnealingLR(o, { tMax: 1 })],
        milestones: [2],
      }),
  ],
  // The share of the rise from 0 to 1 in tenths, over 1 to 20 steps.
  OneCycleLR: Array.from({ length: 20 }, (_, n) => n + 1).flatMap((totalSteps) =>
    Array.from({ length: 11 }, (_, i) => i / 10).flatMap((pctStart) =>
      [pctStart, 1 / totalSteps].flatMap((share) =>
        [true, false].flatMap((threePhase) =>
          (['cos', 'linear'] as const).map(
            (annealStrategy) => (o: optim.Optimizer) =>
              new optim.OneCycleLR(o, { maxLr: 1, totalSteps, pctStart: share, threePhase, annealStrategy }),
          ),
        ),
      ),
    ),
  ),
};

/** Steps the schedule to the end of its cycle, at most 20 times; calls `visit` before the first step and after each. */
function walk(schedule: optim.Scheduler, visit: () => void): void {
  const steps = schedule instanceof optim.OneCycleLR ? schedule.totalSteps : 20;
  visit();
  for (let i = 0; i < steps; i++) {
    schedule.step();
    visit();
  }
}

const isScheduler = (v: unknown): boolean => typeof v === 'function' && v.prototype instanceof optim.Scheduler;

test('the walk covers every exported scheduler', () => {
  const exported = Object.entries(optim).filter(([name, v]) => isScheduler(v) && name !== 'FormulaLR');
  expect(Object.keys(SCHEDULES).sort()).toEqual(exported.map(([name]) => name).sort());
});

describe.each(Object.keys(SCHEDULES))('%s', (name) => {
  test('learning rate and momentum are finite at every step, and ≥ 0', () => {
    for (const make of SCHEDULES[name]!) {
      const optimizer = sgd();
      const group = optimizer.paramGroups[0]!;
      walk(make(optimizer), () => {
        const valid = Number.isFinite(group.lr) && group.lr >= 0 && Number.isFinite(group.momentum);
        if (!valid) expect(group).toBe('a group of finite rates');
      });
    }
  });

  test('refuses what is no optimizer', () => {
    // The schedules of SequentialLR are made first.
    const named = name === 'SequentialLR' ? 'LinearLR' : name;
    expect(() => SCHEDULES[name]![0]!(undefined as never)).toThrow(new ArgumentError(`${named}: expected an optimizer, got undefined`));
  });

  test('a group that is added after the scheduler was made joins the schedule', () => {
    for (const add of [
      (o: optim.SGD) => o.addParamGroup({ params: [parameter()], lr: 0.4 }),
      (o: optim.SGD) => o.paramGroups.push({ ...o.paramGroups[0]!, params: [parameter()], lr: 0.4, initialLr: 0.4 }),
    ]) {
      const optimizer = sgd();
      const schedule = SCHEDULES[name]![0]!(optimizer);
      add(optimizer);
      if (schedule instanceof optim.OneCycleLR) schedule.step();
      else for (let i = 0; i < 5; i++) schedule.step();
      for (const g of optimizer.paramGroups) expect(Number.isFinite(g.lr) && Number.isFinite(g.momentum)).toBe(true);
      expect(schedule.lastLr).toEqual(optimizer.paramGroups.map((g) => g.lr));
      expect(schedule.stateDict().baseLrs).toHaveLength(2);
    }
  });
});

test('one-cycle: a phase of no steps is at its end at once', () => {
  const rates = (options: Omit<optim.OneCycleOptions, 'maxLr'>): number[] => {
    const optimizer = sgd();
    const group = optimizer.paramGroups[0]!;
    const found: number[] = [];
    walk(new optim.OneCycleLR(optimizer, { maxLr: 1, annealStrategy: 'linear', ...options }), () => found.push(group.lr, group.momentum));
    return found;
  };
  expectClose(rates({ totalSteps: 2, pctStart: 0.5, finalDivFactor: 4 }), [1, 0.85, 0.01, 0.95, 0, 1.05], 1e-12);
  expectClose(rates({ totalSteps: 10, pctStart: 0.1 }).slice(0, 4), [1, 0.85, 1 - (1 - 4e-6) / 9, 0.85 + 0.1 / 9], 1e-12);
  // PyTorch's line continues below 0 one step after the cycle: to −0.14.
  expectClose(rates({ totalSteps: 10 }).slice(-4), [4e-6, 0.95, 0, 0.95 + 0.1 / 7], 1e-9);
});

test('a group added later scales from its own rate, and restarts with it', () => {
  const optimizer = sgd();
  const schedule = new optim.LambdaLR(optimizer, { lrLambda: (t) => 0.5 ** t });
  schedule.step();
  optimizer.addParamGroup({ params: [parameter()], lr: 8 });
  schedule.step();
  expect(schedule.lastLr).toEqual([0.025, 2]);
  schedule.restart();
  expect(schedule.lastLr).toEqual([0.1, 8]);
});

test('a schedule that would write a rate that is not finite throws and writes none', () => {
  const cases: [make: (o: optim.Optimizer) => unknown, message: string][] = [
    [(o) => new optim.StepLR(o, { stepSize: 1, gamma: Infinity }), 'StepLR: gamma must be a number that is finite, got Infinity'],
    [(o) => new optim.ExponentialLR(o, { gamma: NaN }), 'ExponentialLR: gamma must be a number ≥ 0, got NaN'],
    [
      (o) => new optim.CosineAnnealingLR(o, { tMax: 2, etaMin: Infinity }),
      'CosineAnnealingLR: etaMin must be a number that is finite, got Infinity',
    ],
    [(o) => new optim.OneCycleLR(o, { maxLr: Infinity, totalSteps: 2 }), 'OneCycleLR: maxLr must be a number that is finite, got Infinity'],
    [
      (o) => new optim.OneCycleLR(o, { maxLr: 1e300, divFactor: 1e-300, totalSteps: 2 }),
      'OneCycleLR: maxLr / divFactor must be a number that is finite, got Infinity',
    ],
    [
      (o) => new optim.ExponentialLR(o, { gamma: 1e308 }).step(),
      'ExponentialLR: the learning rate of group 0 after 1 steps must be a number that is finite, got Infinity',
    ],
    [
      (o) => new optim.LambdaLR(o, { lrLambda: (t) => (t === 1 ? Number.NaN : 1) }).step(),
      'LambdaLR: lrLambda(1) must be a number that is finite, got NaN',
    ],
    [
      (o) => new optim.LambdaLR(o, { lrLambda: (t) => (t === 1 ? 1e308 : 1) }).step(),
      'LambdaLR: the learning rate of group 0 after 1 steps must be a number that is finite, got Infinity',
    ],
  ];
  for (const [make, message] of cases) {
    const optimizer = sgd(1e10);
    expect(() => make(optimizer)).toThrow(new ArgumentError(message));
    expect(optimizer.paramGroups[0]!.lr).toBe(1e10);
  }
  const optimizer = sgd();
  const listed = new optim.LambdaLR(optimizer, { lrLambda: [() => 1] });
  const cycle = new optim.OneCycleLR(optimizer, { maxLr: [1], totalSteps: 9 });
  optimizer.addParamGroup({ params: [parameter()] });
  expect(() => listed.step()).toThrow(new ArgumentError('LambdaLR: lrLambda has 1 functions, the optimizer 2 groups'));
  expect(() => cycle.step()).toThrow(new ArgumentError('OneCycleLR: maxLr has 1 values, the optimizer 2 groups'));
  expect([listed.lastEpoch, cycle.lastEpoch]).toEqual([0, 0]);
  expect(() => cycle.loadStateDict({ lastEpoch: 1, baseLrs: [1, null as never], lastLr: [1, 1] })).toThrow(
    new StateDictError('loadStateDict: the state does not fit OneCycleLR: a learning rate is null, no finite number'),
  );
});

/** Every exported optimizer. */
const OPTIMIZERS = {
  SGD: (options: object, p: Tensor) => new optim.SGD([p], { lr: 0.1, momentum: 0.5, ...options }),
  Adam: (options: object, p: Tensor) => new optim.Adam([p], options),
  AdamW: (options: object, p: Tensor) => new optim.AdamW([p], options),
  RMSprop: (options: object, p: Tensor) => new optim.RMSprop([p], options),
  Muon: (options: object, p: Tensor) => new optim.Muon([p], options),
};

describe('optimizers refuse rates that are not finite', () => {
  test('the walk covers every exported optimizer', () => {
    const isOptimizer = (v: unknown): boolean => typeof v === 'function' && v.prototype instanceof optim.Optimizer;
    expect(Object.keys(OPTIMIZERS).sort()).toEqual(
      Object.entries(optim)
        .filter(([, v]) => isOptimizer(v))
        .map(([name]) => name)
        .sort(),
    );
  });

  test.each(Object.entries(OPTIMIZERS))('%s: in the constructor, in a loaded state and at step', (name, make) => {
    const p = parameter();
    const optimizer: optim.Optimizer = make({}, p);
    const group = optimizer.paramGroups[0]!;
    const options = Object.entries(group).filter(([, v]) => typeof v === 'number' || Array.isArray(v));
    const rates = options.filter(([option]) => option !== 'params');
    expect(rates.length).toBeGreaterThanOrEqual(4);
    p.sum().backward();
    for (const [option, valid] of rates) {
      for (const wrong of [NaN, Infinity, -Infinity, undefined, '0.1']) {
        const value = Array.isArray(valid) ? [wrong, ...valid.slice(1)] : wrong;
        if (wrong !== undefined) expect(() => make({ [option]: value }, parameter())).toThrow(ArgumentError);
        const { state, paramGroups } = optimizer.stateDict();
        expect(() => optimizer.loadStateDict({ state, paramGroups: [{ ...paramGroups[0]!, [option]: value }] })).toThrow(ArgumentError);
        group[option] = value;
        const named = Array.isArray(valid) ? `${option}[0]` : option;
        expect(() => optimizer.step()).toThrow(
          new ArgumentError(`${name}: ${named} must be a number that is finite, got ${typeof wrong === 'string' ? `'${wrong}'` : wrong}`),
        );
        group[option] = valid;
        expect(p.item()).toBe(1);
      }
    }
    optimizer.step();
    expect(p.item()).toBeLessThan(1);
  });

  test('a group that lacks options is refused at step, and completed by addParamGroup', () => {
    const p = parameter();
    const optimizer = new optim.SGD([{ params: [p], lr: 0.1 }], { momentum: 0.5 } as never);
    optimizer.paramGroups.push({ params: [parameter()], lr: 0.1 } as never);
    p.sum().backward();
    expect(() => optimizer.step()).toThrow(new ArgumentError('SGD: momentum must be a number that is finite, got undefined'));
    expect(p.item()).toBe(1);
    optimizer.paramGroups.pop();
    const late = zeros([2], { requiresGrad: true });
    optimizer.addParamGroup({ params: [late], lr: 0.2 });
    expect(optimizer.paramGroups[1]).toEqual({ ...optimizer.paramGroups[0], params: [late], lr: 0.2 });
    late.sum().backward();
    optimizer.step();
    expectClose([...late.data()], [-0.2, -0.2], 1e-7);
    const cases: [group: object, message: string][] = [
      [{ params: [late], lr: 1 }, 'SGD: the parameter [2] appears twice'],
      [{ params: [parameter()] }, 'SGD: lr must be a number ≥ 0, got undefined'],
      [
        { params: [parameter()], lr: 1, momentun: 0 },
        "SGD: unknown option 'momentun'; the options are params, initialLr, lr, momentum, dampening, nesterov, weightDecay, maximize",
      ],
      [{ params: [] }, 'SGD: group 0 must be { params, … } with at least one tensor in params, and nothing else'],
    ];
    for (const [group, message] of cases) expect(() => optimizer.addParamGroup(group as never)).toThrow(new ArgumentError(message));
    expect(optimizer.paramGroups).toHaveLength(2);
  });
});

describe('a rate that is finite, but not in the dtype of a parameter', () => {
  const single = (): Tensor => ones([1, 1], { requiresGrad: true });
  const double = (): Tensor => ones([1, 1], { dtype: 'float64', requiresGrad: true });
  const inSingle = (name: string, option: string, value = '1e+39'): ArgumentError =>
    new ArgumentError(`${name}: ${option} must be finite in float32, the dtype of a parameter, got ${value}`);

  test.each(Object.entries(OPTIMIZERS))('%s refuses it in the constructor, a new group, a loaded state and at step', (name, make) => {
    for (const [option, valid] of Object.entries(make({}, single()).paramGroups[0]!)) {
      // Muon's nsSteps is a count.
      if (typeof valid !== 'number' || option === 'nsSteps') continue;
      // Of float64 parameters it is fine.
      const wide = make({ [option]: 1e39 }, double());
      expect(() => make({ [option]: 1e39 }, single())).toThrow(inSingle(name, option));
      const p = single();
      const optimizer: optim.Optimizer = make({}, p);
      expect(() => optimizer.addParamGroup({ params: [single()], [option]: 1e39 } as never)).toThrow(inSingle(name, option));
      expect(() => optimizer.loadStateDict(wide.stateDict())).toThrow(inSingle(name, option));
      p.sum().backward();
      optimizer.paramGroups[0]![option] = 1e39;
      expect(() => optimizer.step()).toThrow(inSingle(name, option));
      expect([p.item(), Object.keys(optimizer.stateDict().state)]).toEqual([1, []]);
    }
  });

  test('it counts for each group by itself, and for the dtype that the parameters have at the step', () => {
    const model = new nn.Linear(1, 1, { dtype: 'float64', bias: false });
    const optimizer = new optim.SGD([{ params: model.parameters(), lr: 1e39 }, { params: [single()] }], { lr: 0.1 });
    model.forward(double().detach()).sum().backward();
    optimizer.step();
    model.to('float32');
    expect(() => optimizer.step()).toThrow(inSingle('SGD', 'lr'));
  });

  test('a schedule refuses it, and is where it was', () => {
    const optimizer = new optim.SGD([single()], { lr: 0.5 });
    const schedule = new optim.LambdaLR(optimizer, { lrLambda: (t) => (t === 1 ? 2e39 : 1) });
    expect(() => schedule.step()).toThrow(inSingle('LambdaLR', 'the learning rate of group 0 after 1 steps'));
    expect([schedule.lastEpoch, optimizer.paramGroups[0]!.lr]).toEqual([0, 0.5]);
  });

  test('what Adam derives from its options is refused too', () => {
    expect(() => new optim.Adam([single()], { lr: 1e38, betas: [0.99, 0.999] })).toThrow(
      inSingle('Adam', 'lr / (1 − betas[0])', '9.999999999999991e+39'),
    );
    expect(() => new optim.AdamW([single()], { lr: 1e20, weightDecay: 1e20 })).toThrow(inSingle('AdamW', 'lr · weightDecay', '1e+40'));
  });

  test.each(Object.entries(OPTIMIZERS).filter(([name]) => name !== 'SGD'))('%s refuses an eps that rounds to 0', (name, make) => {
    const message = `${name}: eps 1e-50 rounds to 0 in float32, the dtype of a parameter; give a larger one`;
    expect(() => make({ eps: 1e-50 }, single())).toThrow(new ArgumentError(message));
    expect(make({ eps: 1e-50 }, double()).paramGroups[0]!.eps).toBe(1e-50);
    expect(make({ eps: 0 }, single()).paramGroups[0]!.eps).toBe(0);
  });

  test('a learning rate that rounds to 0 is accepted: schedules decay to it, and it changes nothing', () => {
    const p = single();
    const optimizer = new optim.SGD([p], { lr: 1 });
    const schedule = new optim.ExponentialLR(optimizer, { gamma: 1e-25 });
    schedule.step();
    schedule.step();
    p.sum().backward();
    optimizer.step();
    expect([optimizer.paramGroups[0]!.lr, p.item()]).toEqual([1e-25 * 1e-25, 1]);
  });
});

test('the state of an optimizer is loaded by number, whatever the numbers are', () => {
  const make = (): optim.SGD =>
    new optim.SGD([tensor([0, 0], { requiresGrad: true }), zeros([1], { requiresGrad: true })], { lr: 0, momentum: 1 });
  const optimizer = make();
  const { paramGroups } = optimizer.stateDict();
  optimizer.loadStateDict({
    state: { 4: { momentumBuffer: tensor([1, 2]) }, 9: { momentumBuffer: tensor([3]) } },
    paramGroups: [{ ...paramGroups[0]!, params: [4, 9] }],
  });
  const { state } = optimizer.stateDict();
  expect([state[0]!.momentumBuffer!.toArray(), state[1]!.momentumBuffer!.toArray()]).toEqual([[1, 2], [3]]);
});

test('EMA follows a model to another dtype', () => {
  const model = new nn.Linear(2, 1, { bias: false });
  noGrad(() => model.weight.fill_(1));
  const ema = new optim.EMA(model.parameters(), { decay: 0.75 });
  for (const dtype of ['float64', 'float32', 'float64'] as const) {
    model.to(dtype);
    noGrad(() => model.weight.fill_(1));
    ema.update();
    const [average] = ema.stateDict().averages;
    expect([average!.dtype, average!.toArray()]).toEqual([dtype, [[1, 1]]]);
  }
  noGrad(() => model.weight.fill_(5));
  ema.update();
  expect(ema.use(() => model.weight.toArray())).toEqual([[2, 2]]);
});
