import { ArgumentError, StateDictError, memory, noGrad, tensor, zeros } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { expect, test } from 'vitest';
import { expectClose } from '../nn/fixture.ts';

test('the average follows a ← decay·a + (1 − decay)·p', () => {
  const p = tensor([1, -2], { dtype: 'float64', requiresGrad: true });
  const ema = new optim.EMA([p], { decay: 0.75 });
  let expected = [1, -2];
  for (const values of [
    [3, 0],
    [-1, 4],
    [10, 0.5],
  ]) {
    noGrad(() => p.copy_(tensor(values, { dtype: 'float64' })));
    ema.update();
    expected = expected.map((a, i) => 0.75 * a + 0.25 * values[i]!);
    expectClose([...ema.stateDict().averages[0]!.data()], expected, 1e-14);
  }
});

test('use sets the averages and restores the weights, also after a throw, without a memory leak', () => {
  const p = tensor([1, 2], { requiresGrad: true }).keep();
  const ema = new optim.EMA([p], { decay: 0 });
  noGrad(() => p.copy_(tensor([5, 6])));
  const before = memory();
  expect(ema.use(() => p.toArray())).toEqual([1, 2]);
  expect(p.toArray()).toEqual([5, 6]);
  expect(() =>
    ema.use(() => {
      throw new RangeError('mine');
    }),
  ).toThrow(new RangeError('mine'));
  expect(p.toArray()).toEqual([5, 6]);
  expect(memory().bytes).toBe(before.bytes);
  expect(memory().tensors).toBe(before.tensors);
  ema.copyTo();
  expect(p.toArray()).toEqual([1, 2]);
});

test('a state loads into another EMA, or changes nothing', () => {
  const of = (...values: number[]): optim.EMA => new optim.EMA([tensor(values), zeros([2, 2])]);
  const [a, b] = [of(1, 2), of(3, 4)];
  b.loadStateDict(a.stateDict());
  expect(b.stateDict().averages[0]!.toArray()).toEqual([1, 2]);
  const c = new optim.EMA([tensor([7]), zeros([2, 2])]);
  const cases: [unknown, string][] = [
    [a.stateDict(), 'average 0 is [2], expected [1]'],
    [{ averages: [zeros([1])] }, 'expected 2 averages, got 1'],
    [null, 'expected 2 averages, got undefined'],
    [{ averages: [zeros([1]), 3] }, 'average 1 is a number, expected [2,2]'],
  ];
  for (const [state, what] of cases) {
    expect(() => c.loadStateDict(state as optim.EMAState)).toThrow(
      new StateDictError(`loadStateDict: the state does not fit EMA: ${what}`),
    );
  }
  expect(c.stateDict().averages[0]!.toArray()).toEqual([7]);
});

test('bad arguments', () => {
  const p = zeros([1]);
  const wants = 'EMA: expected parameters, such as model.parameters(), got';
  expect(() => new optim.EMA([])).toThrow(new ArgumentError(`${wants} none`));
  expect(() => new optim.EMA(p as never)).toThrow(new ArgumentError(`${wants} a tensor`));
  expect(() => new optim.EMA(new nn.Linear(1, 1) as never)).toThrow(new ArgumentError(`${wants} a module`));
  expect(() => new optim.EMA([3] as never)).toThrow(new ArgumentError(`${wants} a number`));
  expect(() => new optim.EMA([p], { decay: 1.5 })).toThrow(new ArgumentError('EMA: decay must be a number from 0 to 1, got 1.5'));
  expect(() => new optim.EMA([p], { momentum: 1 } as never)).toThrow(
    new ArgumentError("EMA: unknown option 'momentum'; the options are decay"),
  );
});
