import { readFileSync } from 'node:fs';
import { ArgumentError, manualSeed, memory, randn, scope, tensor, zeros, type Tensor } from 'chainrule';
import { checkpointFromBytes, checkpointToBytes } from 'chainrule/io';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, wave } from '../nn/fixture.ts';

// RMSprop against PyTorch's trajectories, Muon against those of its source's algorithm in PyTorch's operations (make-optim.py).

interface Fixture {
  readonly rmsprop: readonly { options: optim.RMSpropOptions; second: optim.RMSpropOptions; snapshots: Record<string, number[][]> }[];
  readonly muon: readonly { options: optim.MuonOptions; snapshots: Record<string, number[][]> }[];
  readonly cyclicMomentum: readonly [lr: number, momentum: number][];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/optim.json', import.meta.url), 'utf8')) as Fixture;

type FloatType = 'float32' | 'float64';

/** Σ (1.5 + sin i)(p − cos i)² / 10 */
function lossOf(params: readonly Tensor[]): Tensor {
  const terms = params.map((p) => {
    const [shape, dtype] = [[...p.shape], p.dtype as FloatType];
    return wave(shape, { k: 5, offset: 1.5, dtype })
      .mul(p.sub(wave(shape, { k: 7, dtype })).square())
      .sum(); // prettier-ignore
  });
  return terms.reduce((a, b) => a.add(b)).div(10);
}

function follow(
  optimizer: optim.Optimizer,
  params: readonly Tensor[],
  steps: number,
  used: (step: number) => number,
  visit: (step: number) => void,
): void {
  for (let step = 1; step <= steps; step++) {
    scope(() => {
      optimizer.zeroGrad();
      lossOf(params.slice(0, used(step))).backward();
    });
    // Outside any scope: a step frees its temporaries.
    optimizer.step();
    visit(step);
  }
}

// Near the minimum g / √v amplifies rounding, so RMSprop's float32 is compared over four steps only. Muon's iteration amplifies it where
// a singular value is small.
describe.each([
  ['float64', 1e-9, 60],
  ['float32', 1e-3, 4],
] as const)('%s within %f', (dtype, tolerance, steps) => {
  test.each(fixture.rmsprop.map((c) => [JSON.stringify(c.options), c] as const))('RMSprop %s', (_, c) => {
    const params = [wave([3, 2], { dtype, requiresGrad: true }), wave([5], { k: 1, dtype, requiresGrad: true })] as const;
    const optimizer = new optim.RMSprop([{ params: [params[0]] }, { params: [params[1]], ...c.second }], c.options);
    follow(
      optimizer,
      params,
      steps,
      (step) => (step === 3 || step === 4 ? 1 : 2),
      (step) => {
        c.snapshots[step]?.forEach((want, i) => expectClose(params[i]!, want, tolerance));
      },
    ); // prettier-ignore
  });

  test.each(fixture.muon.map((c) => [JSON.stringify(c.options), c] as const))('Muon %s', (_, c) => {
    const params = [
      [3, 5],
      [6, 2],
      [4, 2, 1, 3],
    ].map((shape, k) => wave(shape, { k, dtype, requiresGrad: true })); // prettier-ignore
    follow(
      new optim.Muon(params, c.options),
      params,
      10,
      () => 3,
      (step) => {
        c.snapshots[step]?.forEach((want, i) => expectClose(params[i]!, want, tolerance));
      },
    ); // prettier-ignore
  });
});

test('a step of Muon has singular values near lr, whatever those of the gradient are', () => {
  manualSeed(4);
  const scales = tensor([1, 0.3, 0.1, 0.05], { dtype: 'float64' });
  const p = zeros([4, 6], { dtype: 'float64', requiresGrad: true });
  p.grad = randn([4, 6], { dtype: 'float64' }).mul(scales.reshape([4, 1]));
  new optim.Muon([p], { lr: 1, weightDecay: 0 }).step();
  // The trace of (P Pᵀ)ᵏ is Σ σ²ᵏ: all four lie between 0.65⁸ and 1.25⁸ only if each singular value does about.
  const square = p.matmul(p.transpose(0, 1));
  const eighth = square.matmul(square).matmul(square).matmul(square);
  const trace = (m: Tensor): number => [0, 1, 2, 3].reduce((sum, i) => sum + m.select(0, i).select(0, i).item(), 0);
  expect(trace(square) / 4).toBeGreaterThan(0.6);
  expect(trace(eighth)).toBeLessThan(4 * 1.25 ** 8);
});

test.each([
  ['RMSprop', (p: Tensor) => new optim.RMSprop([p], { momentum: 0.9, centered: true })],
  ['Muon', (p: Tensor) => new optim.Muon([p])],
] as const)('%s: memory is flat, and a restored optimizer goes on with the same bits', (_, make) => {
  const start = (): Tensor => wave([4, 3], { requiresGrad: true, dtype: 'float32' });
  const run = (p: Tensor, optimizer: optim.Optimizer, steps: number): void =>
    follow(
      optimizer,
      [p],
      steps,
      () => 1,
      () => {},
    ); // prettier-ignore
  const p = start();
  const optimizer = make(p);
  run(p, optimizer, 3);
  const { tensors, bytes } = memory();
  run(p, optimizer, 5);
  expect(memory()).toMatchObject({ tensors, bytes });
  const saved = checkpointToBytes({ optimizer });
  const other = start();
  other.requiresGrad_(false).copy_(p.detach()).requiresGrad_(true);
  const restored = make(other);
  checkpointFromBytes(saved, { optimizer: restored });
  run(p, optimizer, 4);
  run(other, restored, 4);
  expect(other.toArray()).toEqual(p.toArray());
});

test.each([
  ['RMSprop', {}, ['squareAvg']],
  ['RMSprop', { momentum: 0.9 }, ['squareAvg', 'momentumBuffer']],
  ['RMSprop', { centered: true }, ['squareAvg', 'gradAvg']],
  ['Muon', {}, ['momentumBuffer']],
] as const)('%s %j keeps %j of each parameter, in the same tensors at every step', (name, options, names) => {
  const p = wave([2, 2], { requiresGrad: true, dtype: 'float32' });
  const optimizer = name === 'Muon' ? new optim.Muon([p], options) : new optim.RMSprop([p], options);
  const step = (): Record<string, Tensor> => {
    p.grad = p.detach().clone();
    optimizer.step();
    return optimizer.stateDict().state[0]!;
  };
  const first = step();
  expect(Object.keys(first)).toEqual(names);
  const second = step();
  for (const key of names) expect(second[key]).toBe(first[key]);
});

test('CyclicLR leaves the momentum with cycleMomentum: false, and starts from its lower rates', () => {
  const leaf = (): Tensor => zeros([1], { requiresGrad: true });
  const optimizer = new optim.SGD([{ params: [leaf()] }, { params: [leaf()] }], { lr: 0.5, momentum: 0.6 });
  const schedule = new optim.CyclicLR(optimizer, { baseLr: [0.1, 0.2], maxLr: [1, 2], stepSizeUp: 2, cycleMomentum: false });
  expect([schedule.baseLrs, schedule.lastLr]).toEqual([
    [0.1, 0.2],
    [0.1, 0.2],
  ]);
  schedule.step();
  schedule.step();
  expect(optimizer.paramGroups.map(({ lr, momentum }) => [lr, momentum])).toEqual([
    [1, 0.6],
    [2, 0.6],
  ]);
  schedule.restart();
  expect(schedule.lastLr).toEqual([0.1, 0.2]);
  optimizer.addParamGroup({ params: [leaf()] });
  expect(() => schedule.step()).toThrow(new ArgumentError('CyclicLR: baseLr has 2 values, the optimizer 3 groups'));
});

test('CyclicLR cycles the momentum, and starts from its own rate', () => {
  const optimizer = new optim.SGD([zeros([1], { requiresGrad: true })], { lr: 0.5, momentum: 0.1 });
  const options = {
    baseLr: 0.01,
    maxLr: 0.2,
    stepSizeUp: 3,
    stepSizeDown: 5,
    mode: 'triangular2',
    baseMomentum: 0.7,
    maxMomentum: 0.95,
  } as const;
  const schedule = new optim.CyclicLR(optimizer, options);
  fixture.cyclicMomentum.forEach((row, step) => {
    if (step > 0) schedule.step();
    expectClose([optimizer.paramGroups[0]!.lr, optimizer.paramGroups[0]!.momentum], row, 1e-12);
  });
});

test('what is wrong is refused by name', () => {
  const leaf = (shape: number[]): Tensor => zeros(shape, { requiresGrad: true });
  const rmsprop = (options: object) => () => new optim.RMSprop([leaf([2])], options);
  const muon = (options: object) => () => new optim.Muon([leaf([2, 2])], options);
  const cyclic = (options: object) => () => new optim.CyclicLR(new optim.SGD([leaf([2])], { lr: 1 }), { baseLr: 0, maxLr: 1, ...options });
  const cases: [() => unknown, string][] = [
    [rmsprop({ alpha: -1 }), 'RMSprop: alpha must be a number ≥ 0, got -1'],
    [rmsprop({ centered: 'yes' }), "RMSprop: centered must be true or false, got 'yes'"],
    [() => new optim.Muon([leaf([3])]), 'Muon: expected parameters of 2 or more dims, got [3]; give it to AdamW'],
    [muon({ lr: -1 }), 'Muon: lr must be a number ≥ 0, got -1'],
    [muon({ nesterov: 1 }), 'Muon: nesterov must be true or false, got 1'],
    [muon({ nsSteps: 0 }), 'Muon: nsSteps must be a whole number ≥ 1, got 0'],
    [muon({ adjustLr: 'rms' }), "Muon: adjustLr must be 'original' or 'matchRmsAdamw', got 'rms'"],
    [cyclic({ mode: 'saw' }), "CyclicLR: mode must be 'triangular', 'triangular2' or 'expRange', got 'saw'"],
    [cyclic({ stepSizeUp: 0 }), 'CyclicLR: stepSizeUp must be a whole number ≥ 1, got 0'],
    [cyclic({ maxLr: [1, 2] }), 'CyclicLR: maxLr has 2 values, the optimizer 1 groups'],
    [
      () => new optim.CyclicLR(new optim.RMSprop([leaf([2])]), { baseLr: 0 } as never),
      'CyclicLR: maxLr must be a number ≥ 0, got undefined',
    ],
    [
      () => new optim.CosineAnnealingWarmRestarts(new optim.SGD([leaf([2])], { lr: 1 }), { t0: 1.5 }),
      'CosineAnnealingWarmRestarts: t0 must be a whole number ≥ 1, got 1.5',
    ],
  ];
  for (const [run, message] of cases) expect(run).toThrow(new ArgumentError(message));
});
