import { readFileSync } from 'node:fs';
import { ArgumentError, ReleasedError, StateDictError, memory, noGrad, ones, scope, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, wave } from '../nn/fixture.ts';

interface Case {
  name: 'Adam' | 'AdamW';
  options: optim.AdamOptions;
  second: optim.AdamOptions;
  snapshots: Record<string, number[][]>;
  state: Record<string, number[] | number>[];
}

const make = { Adam: optim.Adam, AdamW: optim.AdamW };

const cases = (JSON.parse(readFileSync(new URL('../fixtures/optim.json', import.meta.url), 'utf8')) as { adam: Case[] }).adam;

const start = (dtype: 'float32' | 'float64' = 'float64'): [Tensor, Tensor] => [
  wave([3, 2], { dtype, requiresGrad: true }),
  wave([5], { k: 1, dtype, requiresGrad: true }),
];

function lossOf(params: readonly Tensor[], used: number): Tensor {
  const terms = params.slice(0, used).map((p) => {
    const [shape, dtype] = [[...p.shape], p.dtype as 'float32'];
    return wave(shape, { k: 5, offset: 1.5, dtype })
      .mul(p.sub(wave(shape, { k: 7, dtype })).square())
      .sum();
  });
  return terms.reduce((a, b) => a.add(b)).div(10);
}

function follow(
  optimizer: optim.Optimizer,
  params: readonly Tensor[],
  from: number,
  to: number,
  visit: (step: number) => void = () => {},
): void {
  for (let step = from; step <= to; step++) {
    scope(() => {
      optimizer.zeroGrad();
      lossOf(params, step === 3 || step === 4 ? 1 : 2).backward();
    });
    // Outside any scope: a step frees its temporaries.
    optimizer.step();
    visit(step);
  }
}

describe('60 steps of two groups follow PyTorch; one parameter has no gradient in two of them', () => {
  const runs = cases.flatMap((c) => [
    [c.name, JSON.stringify(c.options), 'float64', 1e-10, c] as const,
    [c.name, JSON.stringify(c.options), 'float32', 2e-5, c] as const,
  ]);
  test.each(runs)('%s %s %s within %f', (_, __, dtype, tolerance, c) => {
    const params = start(dtype);
    const optimizer = new make[c.name]([{ params: [params[0]] }, { params: [params[1]], ...c.second }], c.options);
    follow(optimizer, params, 1, 60, (step) => {
      c.snapshots[step]?.forEach((want, i) => expectClose(params[i]!, want, tolerance));
    });
    const { state } = optimizer.stateDict();
    expect(Object.keys(state)).toEqual(['0', '1']);
    c.state.forEach((want, i) => {
      expect(Object.keys(state[i]!).sort()).toEqual(Object.keys(want).sort());
      for (const [name, values] of Object.entries(want)) expectClose(state[i]![name]!, [values].flat(), tolerance);
    });
    optimizer.dispose();
  });
});

describe('a step', () => {
  test('uses the same memory from the second on, with and without a scope around it; dispose frees the state', () => {
    const params = start();
    const before = memory();
    const optimizer = new optim.AdamW(params, { amsgrad: true, maximize: true });
    const after: { bytes: number; tensors: number }[] = [];
    for (let i = 0; i < 20; i++) {
      follow(optimizer, params, 10, 10);
      optimizer.zeroGrad();
      const { bytes, tensors } = memory();
      after.push({ bytes, tensors });
    }
    // Three averages of 11 elements, and a count of each parameter.
    expect(after[0]!.bytes - before.bytes).toBe(8 * (3 * 11 + 2));
    expect(after[0]!.tensors - before.tensors).toBe(8);
    expect(after).toEqual(Array(20).fill(after[0]));
    scope(() => {
      follow(optimizer, params, 10, 12);
      optimizer.zeroGrad();
    });
    expect(memory().bytes).toBe(after[0]!.bytes);
    optimizer.dispose();
    expect(memory().bytes).toBe(before.bytes);
    expect(memory().tensors).toBe(before.tensors);
  });

  test('accepts a gradient in another memory order, and does not change it', () => {
    scope(() => {
      const p = new nn.Parameter(wave([2, 3]));
      const optimizer = new optim.Adam([p], { lr: 0.5, maximize: true, weightDecay: 0.1 });
      const grad = wave([3, 2], { offset: 3 }).transpose(0, 1);
      p.adoptGrad(grad.clone().keep());
      const want = noGrad(() => p.add(0.5).data());
      const given = p.grad!.data();
      optimizer.step();
      // The first step is lr · sign(g), independent of the magnitude of g.
      expectClose(p, want, 1e-7);
      expect(p.grad!.data()).toEqual(given);
      p.dispose();
      optimizer.dispose();
    });
  });

  test('changes no parameter of any group when one is released', () => {
    const [a, b] = start();
    const optimizer = new optim.Adam([{ params: [a] }, { params: [b] }]);
    a.grad = ones([3, 2], { dtype: 'float64' });
    const before = a.data();
    const grad = ones([5], { dtype: 'float64' });
    b.dispose();
    Object.defineProperty(b, 'grad', { value: grad });
    expect(() => optimizer.step()).toThrow(ReleasedError);
    expect(a.data()).toEqual(before);
    expect(optimizer.stateDict().state).toEqual({});
  });

  test('continues in the new dtype after model.to', () => {
    const model = new nn.Linear(3, 2, { bias: false });
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.25 });
    const step = (): void => {
      model.weight.grad = ones([2, 3], { dtype: model.weight.dtype as 'float32' });
      optimizer.step();
    };
    const before = model.weight.data()[0]!;
    step();
    const first = optimizer.stateDict().state[0]!.step;
    step();
    expect(optimizer.stateDict().state[0]!.step).toBe(first);
    model.to('float64');
    step();
    expect(optimizer.stateDict().state[0]!.step).toBe(first);
    expectClose([model.weight.data()[0]!], [before - 0.75], 1e-6);
    const { step: count, expAvg, expAvgSq } = optimizer.stateDict().state[0]!;
    expect([count!.item(), expAvg!.dtype, expAvgSq!.dtype]).toEqual([3, 'float64', 'float64']);
    model.dispose();
    optimizer.dispose();
  });
});

describe('state', () => {
  const options = { lr: 0.05, betas: [0.8, 0.9], amsgrad: true, weightDecay: 0.1 } as const;

  test.each(['Adam', 'AdamW'] as const)('%s resumed from it continues bitwise identical', (name) => {
    const params = start();
    const optimizer = new make[name]([{ params: [params[0]] }, { params: [params[1]], lr: 0.02 }], options);
    follow(optimizer, params, 1, 10);
    const saved = optimizer.stateDict();
    expect(saved.paramGroups[1]).toEqual({
      lr: 0.02,
      betas: [0.8, 0.9],
      eps: 1e-8,
      weightDecay: 0.1,
      amsgrad: true,
      maximize: false,
      params: [1],
    });
    expect(saved.state[0]!.step!.shape).toEqual([]);
    expect([0, 1].map((i) => saved.state[i]!.step!.item())).toEqual([10, 8]);
    const copies = params.map((p) => tensor(p.data(), { shape: p.shape, dtype: 'float64', requiresGrad: true }));
    const other = new make[name]([{ params: [copies[0]!] }, { params: [copies[1]!] }], { lr: 9 });
    const paramGroups = JSON.parse(JSON.stringify(saved.paramGroups)) as typeof saved.paramGroups;
    other.loadStateDict({ state: saved.state, paramGroups });
    follow(optimizer, params, 11, 40);
    follow(other, copies, 11, 40);
    copies.forEach((p, i) => expect(p.data()).toEqual(params[i]!.data()));
    for (const o of [optimizer, other]) o.dispose();
  });

  test('a state that does not match throws and changes nothing', () => {
    const params = start();
    const optimizer = new optim.Adam(params, options);
    follow(optimizer, params, 1, 2);
    const saved = optimizer.stateDict();
    const [group] = saved.paramGroups as [(typeof saved.paramGroups)[0]];
    const sgd = new optim.SGD(params, { lr: 1 });
    const errors: [optim.OptimizerState, Error][] = [
      [
        { ...saved, state: { 1: { step: saved.state[1]!.expAvg! } } },
        new StateDictError('loadStateDict: the state does not fit Adam: step of parameter 1 has shape [5], expected []'),
      ],
      [
        { ...saved, state: { 1: { expAvg: saved.state[1]!.step! } } },
        new StateDictError('loadStateDict: the state does not fit Adam: expAvg of parameter 1 has shape [], the parameter [5]'),
      ],
      [
        sgd.stateDict(),
        new StateDictError("loadStateDict: the state does not fit Adam: group 0 has the option 'momentum', which is another optimizer's"),
      ],
      [
        { ...saved, paramGroups: [{ ...group, betas: 0.9 }] },
        new ArgumentError('Adam: betas must be two numbers from 0 to below 1, got 0.9'),
      ],
    ];
    const before = [2, 0.05, saved.state[0]!.expAvg!.data()];
    for (const [state, error] of errors) expect(() => optimizer.loadStateDict(state)).toThrow(error);
    const now = optimizer.stateDict().state[0]!;
    expect([now.step!.item(), optimizer.paramGroups[0]!.lr, now.expAvg!.data()]).toEqual(before);
    optimizer.dispose();
  });
});

test('invalid options throw', () => {
  const p = ones([2], { requiresGrad: true });
  const errors: [() => unknown, string][] = [
    [() => new optim.Adam([p], { lr: -1 }), 'Adam: lr must be a number ≥ 0, got -1'],
    [() => new optim.AdamW([p], { eps: Number.NaN }), 'AdamW: eps must be a number ≥ 0, got NaN'],
    [() => new optim.Adam([{ params: [p], weightDecay: -0.1 }]), 'Adam: weightDecay must be a number ≥ 0, got -0.1'],
    [() => new optim.Adam([p], { betas: [0.9, 1] }), 'Adam: betas must be two numbers from 0 to below 1, got [0.9,1]'],
    [() => new optim.AdamW([p], { betas: [0.9] as never }), 'AdamW: betas must be two numbers from 0 to below 1, got [0.9]'],
    [() => new optim.Adam([p], { amsgrad: 'no' as never }), "Adam: amsgrad must be true or false, got 'no'"],
    [() => new optim.Adam([p], { maximize: 1 as never }), 'Adam: maximize must be true or false, got 1'],
    [
      () => new optim.Adam([p], { beta: 0.9 } as never),
      "Adam: unknown option 'beta'; the options are lr, betas, eps, weightDecay, amsgrad, maximize",
    ],
    [() => new optim.AdamW([]), 'AdamW: the list of parameters is empty'],
  ];
  for (const [run, message] of errors) expect(run).toThrow(new ArgumentError(message));
});

test('the defaults are PyTorch’s; AdamW’s weight decay is 0.01', () => {
  const p = ones([2], { requiresGrad: true });
  const { params: _, ...adam } = new optim.Adam([p]).paramGroups[0]!;
  expect(adam).toEqual({ lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, amsgrad: false, maximize: false });
  expect(new optim.AdamW([p]).paramGroups[0]!.weightDecay).toBe(0.01);
  const optimizer = new optim.Adam([p], { betas: [0.5, 0.6] });
  expect(new optim.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 10 }).totalSteps).toBe(10);
  expect(optimizer.paramGroups[0]!.betas).toEqual([0.95, 0.6]);
});
