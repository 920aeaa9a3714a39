/**
 * Whichever allocation of a call fails, memory and state are as they were before the call.
 */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { OutOfMemoryError, type Tensor, grad, manualSeed, memory, noGrad, randn, recompute, scope, tensor } from '../../src/index.ts';
import { isTensor } from '../../src/autograd/index.ts';
import { tensorsFromBytes, tensorsToBytes } from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import * as F from '../../src/nn/functional.ts';
import * as optim from '../../src/optim/index.ts';
import { left } from '../support/failing-allocations.ts';
import { Draw } from '../support/arbitraries.ts';
import { HOMES, LAYERS, invoke } from '../support/public-calls.ts';
import { TABLE } from '../support/table.ts';

// Vitest moves this before the imports.
vi.mock('../../src/kernels/memory/allocator.ts', async (original) => {
  const { failingAllocations } = await import('../support/failing-allocations.ts');
  return failingAllocations(await original());
});

/**
 * Runs `fn` in a scope again and again: first its first allocation fails, then its second, until none does. After each failure
 * memory and `state` must be unchanged. Returns the number of allocations.
 */
function exhaust(fn: () => void, state: () => unknown, what = String(fn)): number {
  for (let n = 0; ; n++) {
    const before = [memory().bytes, memory().tensors, state()];
    left.count = n;
    try {
      scope(fn);
      return n;
    } catch (e) {
      if (!(e instanceof OutOfMemoryError)) throw e;
    } finally {
      left.count = Infinity;
    }
    expect([memory().bytes, memory().tensors, state()], `${what}, allocation ${n}`).toEqual(before);
  }
}

/** Returns what `act` throws if only `allocations` allocations succeed, and `failures` fail after them. An iterator is run to its end. */
function thrownWith(allocations: number, act: () => unknown, failures = Infinity): unknown {
  Object.assign(left, { count: allocations, failures });
  try {
    const result = act();
    if (Object.prototype.toString.call(result) === '[object Generator]') for (const step of result as Iterable<unknown>) void step;
    return undefined;
  } catch (e) {
    return e;
  } finally {
    Object.assign(left, { count: Infinity, failures: Infinity });
  }
}

/** Returns the sum of all outputs that require a gradient. */
function total(y: Tensor | readonly Tensor[]): Tensor {
  const parts = (isTensor(y) ? [y] : y).filter((t) => t.requiresGrad).map((t) => t.sum());
  return parts.reduce((a, b) => a.add(b));
}

describe('memory may run out', () => {
  test('in any operation of the table, its backward, and that of createGraph', () => {
    const draws = fc.sample(fc.gen(), { numRuns: process.env.CHAINRULE_LONG === '1' ? 3 : 1, seed: 7 });
    let failures = 0;
    for (const line of TABLE) {
      for (const g of draws) {
        const { fn, inputs } = line.draw(new Draw(g));
        const xs = inputs.map((s) => s.base({ requiresGrad: true }));
        const made = (): Tensor | readonly Tensor[] => fn(...xs.map((x, i) => inputs[i]!.view(x)));
        const state = (): unknown => xs.map((x) => [x.data(), x.grad?.data(), x.requiresGrad]);
        failures += exhaust(() => total(made()).backward(), state, line.name);
        for (const x of xs) x.grad = null;
        failures += exhaust(() => void grad(total(made()), xs, { createGraph: true, allowUnused: true }), state, line.name);
        for (const x of xs) x.dispose();
      }
    }
    expect(failures).toBeGreaterThan(TABLE.length * draws.length * 10);
  });

  test('in a net’s forward and backward, with and without recompute: all gradients change or none', () => {
    manualSeed(2);
    const conv = new nn.Conv2d(3, 4, 3, { padding: 1 });
    const net = new nn.Sequential(conv, new nn.ReLU(), new nn.SqueezeExcite(4, { reduction: 2 }), new nn.MaxPool2d(2), new nn.Flatten());
    const head = new nn.Linear(16, 3);
    const [x, classes] = [randn([2, 3, 4, 4]), tensor([0, 2], { dtype: 'int32' })];
    const params = [...net.parameters(), ...head.parameters()];
    const state = (): unknown => params.map((p) => [p.data(), p.grad?.data()]);
    for (const call of [(t: Tensor) => net.forward(t), (t: Tensor) => recompute((u) => net.forward(u), t)]) {
      const step = (): void => F.crossEntropy(head.forward(call(x)), classes).backward();
      // First without gradients, then with gradients to accumulate into, then with createGraph.
      expect(exhaust(step, state)).toBeGreaterThan(20);
      expect(exhaust(step, state)).toBeGreaterThan(20);
    }
    for (const made of [net, head, x, classes]) made.dispose();
  });

  test('in writes: in-place operations, gradients and changes of dtype', () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: 'float64' },
    );
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm2d(3));
    const state = (): unknown => [x.data(), x.grad?.data(), ...Object.values(model.stateDict()).map((t) => [t.dtype, t.data()])];
    const other = tensor([1, 2, 3]);
    const transposed = x.transpose(0, 1);
    const writes: (() => unknown)[] = [
      () => x.add_(2),
      () => x.add_(other),
      () => x.mul_(transposed.reshape([2, 3])),
      () => x.copy_(other),
      () => x.fill_(3),
      () => x.zero_(),
      () => (x.grad = x),
      () => transposed.data(),
    ];
    for (const write of writes)
      expect(
        exhaust(() => void write(), state),
        String(write),
      ).toBeGreaterThan(0);
    for (const made of [x, model, other, transposed]) made.dispose();
  });

  test('in an optimizer’s step: all parameters of all groups are updated or none, and no state is added', () => {
    const make = (options: object): optim.Optimizer[] => {
      const groups = (): { params: Tensor[]; maximize?: boolean }[] => {
        const params = [[2, 3], [4]].map((shape) => randn(shape, { dtype: 'float64', requiresGrad: true }));
        return [{ params: [params[0]!] }, { params: [params[1]!], maximize: true }];
      };
      return [
        new optim.SGD(groups(), { lr: 0.1, momentum: 0.9, dampening: 0.5, ...options }),
        new optim.Adam(groups(), { amsgrad: true, ...options }),
        new optim.AdamW(groups(), options),
      ];
    };
    // The first step allocates a table and the state of both parameters. SGD has a velocity; Adam with amsgrad has a count, two
    // averages and a maximum; AdamW has a count and two averages.
    const table = 1;
    const allocations = [2, 2 * 4, 2 * 3].map((n) => table + n);
    make({ weightDecay: 0.1 }).forEach((optimizer, i) => {
      const params = optimizer.paramGroups.flatMap((g) => g.params);
      for (const p of params) p.grad = randn(p.shape, { dtype: 'float64' });
      const state = (): unknown => [
        params.map((p) => [p.data(), p.storage.version, p.grad?.data()]),
        Object.entries(optimizer.stateDict().state).map(([n, s]) => [n, ...Object.entries(s).map(([name, t]) => [name, t.data()])]),
      ];
      const step = (): void => optimizer.step();
      expect(exhaust(step, state)).toBe(allocations[i]);
      expect(exhaust(step, state)).toBe(table);
      expect(params.map((p) => p.storage.version)).toEqual([2, 2]);
      // All averages are converted to another dtype.
      for (const p of params) {
        noGrad(() => p.replace(p.to('float32')));
        p.grad = randn(p.shape);
      }
      expect(exhaust(step, state)).toBeGreaterThan(2);
      optimizer.dispose();
    });
  });

  /** Optimizers of every class, with options that give them more state or more terms. */
  const OPTIMIZERS: [name: string, make: (params: Tensor[]) => optim.Optimizer][] = [
    ['SGD', (params) => new optim.SGD(params, { lr: 0.1 })],
    ['SGD, all options', (params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1, maximize: true })],
    ['Adam', (params) => new optim.Adam(params)],
    ['Adam, all options', (params) => new optim.Adam(params, { amsgrad: true, weightDecay: 0.1, maximize: true })],
    ['AdamW', (params) => new optim.AdamW(params, { amsgrad: true })],
    ['RMSprop', (params) => new optim.RMSprop(params)],
    ['RMSprop, all options', (params) => new optim.RMSprop(params, { momentum: 0.9, centered: true, weightDecay: 0.1, maximize: true })],
    ['Muon', (params) => new optim.Muon(params, { nsSteps: 2 })],
    ['Muon, other options', (params) => new optim.Muon(params, { nsSteps: 1, nesterov: false, adjustLr: 'matchRmsAdamw' })],
  ];

  test('in a step, a load of state, or clipping, and only once: then it can be repeated, with the bits of one that did not fail', () => {
    const classes = Object.values(optim).filter((made) => typeof made === 'function' && made.prototype instanceof optim.Optimizer);
    expect(new Set(OPTIMIZERS.map(([, make]) => make([randn([2, 2], { requiresGrad: true })]).constructor))).toEqual(new Set(classes));
    /** Returns what `act` leaves: of each call the first allocation fails, then the second … until it succeeds. */
    const after = (make: (params: Tensor[]) => optim.Optimizer, failures: number): unknown => {
      manualSeed(11);
      const params = [
        [2, 3],
        [3, 2],
      ].map((shape) => randn(shape, { requiresGrad: true }));
      const [optimizer, ema] = [make(params), new optim.EMA(params, { decay: 0.5 })];
      const other = make(params);
      const acts = [
        () => void optim.clipGradNorm(params, 0.5),
        () => void optim.clipGradNorm(params, 0.5, { normType: Infinity }),
        () => void optim.clipGradNorm(params, 0.5, { normType: 3 }),
        () => optim.clipGradValue(params, 0.3),
        () => optimizer.step(),
        () => ema.update(),
        () => other.loadStateDict(optimizer.stateDict()),
        () => other.step(),
        () => ema.use(() => ema.update()),
      ];
      for (let round = 0; round < 3; round++) {
        for (const p of params) p.grad = randn(p.shape, { dtype: p.dtype as 'float32' });
        for (const act of acts) {
          let error: unknown = null;
          for (let n = 0; error !== undefined; n++) {
            error = thrownWith(n, act, failures);
            if (error !== undefined) expect(error).toBeInstanceOf(OutOfMemoryError);
          }
        }
        // The next round converts all states.
        if (round === 1) for (const p of params) noGrad(() => p.replace(p.to('float64')));
      }
      const states = [optimizer, other].flatMap((o) => Object.values(o.stateDict().state).flatMap((entries) => Object.entries(entries)));
      const found = [
        ...params.map((p) => p.data()),
        ...ema.stateDict().averages.map((a) => a.data()),
        ...states.map(([name, t]) => [name, t.data()]),
      ];
      for (const made of [...params, optimizer, other, ema]) made.dispose();
      return found;
    };
    for (const [name, make] of OPTIMIZERS) {
      const wanted = after(make, 0);
      expect(after(make, Infinity), name).toEqual(wanted);
      expect(after(make, 1), name).toEqual(wanted);
    }
  });

  test('in loading, converting and averaging: all tensors change or none', () => {
    manualSeed(4);
    const make = (): nn.Sequential => new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm2d(2));
    const wide = (t: Tensor): Tensor => t.detach().to('float64').add(1).keep();
    const [model, other] = [make(), make()];
    const params = model.parameters();
    for (const p of params) p.grad = p;
    const ema = new optim.EMA(params, { decay: 0.5 });
    const sgd = new optim.SGD(params, { lr: 0.1, momentum: 0.9 });
    sgd.step();
    const optimizerState = sgd.stateDict();
    const fresh = new optim.SGD(params, { lr: 0.1, momentum: 0.9 });
    const wideState = Object.fromEntries(Object.entries(other.stateDict()).map(([k, t]) => [k, t.dtype === 'float32' ? wide(t) : t]));
    const wideAverages = { averages: ema.stateDict().averages.map(wide) };
    const bytes = tensorsToBytes(wideState);
    const state = (): unknown =>
      [
        ...Object.values(model.stateDict()),
        ...ema.stateDict().averages,
        ...[sgd, fresh].flatMap((o) => Object.values(o.stateDict().state).flatMap(Object.values)),
      ].map((t: Tensor) => [t.dtype, t.data(), t.storage.version, t.grad?.data()]);
    const calls: [name: string, call: () => unknown, least: number][] = [
      ['loadStateDict', () => model.loadStateDict(wideState), 6],
      ['EMA.loadStateDict', () => ema.loadStateDict(wideAverages), 4],
      ['EMA.update', () => ema.update(), 4],
      ['EMA.copyTo', () => ema.copyTo(), 0],
      ['EMA.use', () => ema.use(() => 0), 4],
      ['clipGradValue', () => optim.clipGradValue(params, 0.1), 4],
      ['optimizer.loadStateDict', () => fresh.loadStateDict(optimizerState), 4],
      ['optimizer.loadStateDict into a state', () => fresh.loadStateDict(optimizerState), 0],
      ['cloneStateDict', () => nn.disposeStateDict(nn.cloneStateDict({ a: model.stateDict(), b: sgd.stateDict() })), 8],
      ['new EMA', () => new optim.EMA(params).dispose(), 4],
      ['tensorsFromBytes', () => tensorsFromBytes(bytes), 7],
      ['to', () => model.to('float64'), 8],
      ['EMA.copyTo, converting', () => ema.copyTo(), 4],
      ['EMA.update, converting', () => ema.update(), 8],
    ];
    for (const [name, call, least] of calls)
      expect(
        exhaust(() => void call(), state, name),
        name,
      ).toBeGreaterThanOrEqual(least);
    expect(model.parameters().map((p) => [p.dtype, p.grad!.dtype])).toEqual(params.map(() => ['float64', 'float64']));
    for (const made of [model, other, ema, sgd, fresh, ...Object.values(wideState), ...wideAverages.averages]) made.dispose();
  });

  const calls = HOMES.flatMap(({ home, exports, calls: of }) =>
    Object.entries(of).map(([name, call]) => [`${home} ${name}`, exports[name], call.args] as const),
  );
  const layers = LAYERS.map(([name, make]) => [`a layer: ${name}`, () => make().dispose(), () => [] as unknown[]] as const);

  test.each([...calls, ...layers])('in %s, outside of any scope: it leaves no tensor', (_, fn, args) => {
    for (let n = 0; ; n++) {
      // The outer scope frees the arguments, and the inner one what a call that succeeds returns.
      const error = scope(() => {
        const given = args();
        const { tensors } = memory();
        const failure = thrownWith(n, () => invoke(fn, given));
        // A walk that fails has consumed the graph, as one that succeeds.
        if (failure instanceof OutOfMemoryError) expect(memory().tensors - tensors, `allocation ${n}`).toBeLessThanOrEqual(0);
        return failure;
      });
      if (!(error instanceof OutOfMemoryError)) return;
    }
  });

  test('in clipping: all gradients are scaled or none', () => {
    const params = [tensor([3], { requiresGrad: true }), tensor([0, 4], { dtype: 'float64', requiresGrad: true })];
    for (const p of params) p.grad = p;
    const state = (): unknown => params.map((p) => [p.grad!.data(), p.grad!.storage.version]);
    const [first, second] = params.map((p) => p.grad!.storage.version);
    // Clipping allocates partial sums and two tables.
    expect(exhaust(() => void optim.clipGradNorm(params, 2.5 + 5e-7), state)).toBe(3);
    expect(params.map((p) => p.grad!.toArray())).toEqual([[1.5], [0, 2]]);
    expect(params.map((p) => p.grad!.storage.version)).toEqual([first! + 1, second! + 1]);
    for (const p of params) p.dispose();
  });
});
