import {
  ArgumentError,
  AutogradError,
  InPlaceError,
  ReleasedError,
  StateDictError,
  memory,
  noGrad,
  ones,
  scope,
  tensor,
  zeros,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fixture, wave } from '../nn/fixture.ts';

/** The fixture's loss over the first `used` parameters. */
function lossOf(params: readonly Tensor[], used: number): Tensor {
  const terms = params.slice(0, used).map((p) => {
    const shape = [...p.shape];
    const target = wave(shape, { k: 7, dtype: p.dtype as 'float32' });
    return wave(shape, { k: 5, offset: 1.5, dtype: p.dtype as 'float32' })
      .mul(p.sub(target).square())
      .sum();
  });
  return terms.reduce((a, b) => a.add(b)).div(10);
}

function follow(optimizer: optim.SGD, params: readonly Tensor[], from: number, to: number, visit: (step: number) => void = () => {}): void {
  for (let step = from; step <= to; step++) {
    scope(() => {
      optimizer.zeroGrad();
      lossOf(params, step === 3 || step === 4 ? 1 : 2).backward();
      optimizer.step();
      visit(step);
    });
  }
}

const start = (dtype: 'float32' | 'float64' = 'float64'): Tensor[] => [
  wave([3, 2], { dtype, requiresGrad: true }),
  wave([5], { k: 1, dtype, requiresGrad: true }),
];

describe('50 steps follow PyTorch; one parameter has no gradient in two of them', () => {
  const runs = fixture.sgd.flatMap((c) => [
    [JSON.stringify(c.options), 'float64', 1e-10, c] as const,
    [JSON.stringify(c.options), 'float32', 1e-5, c] as const,
  ]);
  test.each(runs)('%s %s within %f', (_, dtype, tolerance, c) => {
    const params = start(dtype);
    const optimizer = new optim.SGD(params, c.options);
    follow(optimizer, params, 1, 50, (step) => {
      const want = c.snapshots[step];
      if (want !== undefined) params.forEach((p, i) => expectClose(p, want[i]!, tolerance));
    });
    const { state } = optimizer.stateDict();
    expect(Object.keys(state).length).toBe(c.velocity.length);
    c.velocity.forEach((v, i) => expectClose(state[i]!.momentumBuffer!, v, tolerance));
    optimizer.dispose();
  });
});

describe('groups', () => {
  test('each has its own options; missing ones are the optimizer’s', () => {
    const [a, b] = start() as [Tensor, Tensor];
    const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 0.5, weightDecay: 0.1 }], { lr: 0.1 });
    expect(optimizer.paramGroups.map(({ lr, weightDecay, momentum }) => [lr, weightDecay, momentum])).toEqual([
      [0.1, 0, 0],
      [0.5, 0.1, 0],
    ]);
    const before = [a, b].map((p) => Array.from(p.data()));
    a.grad = ones([3, 2], { dtype: 'float64' });
    b.grad = ones([5], { dtype: 'float64' });
    optimizer.step();
    expectClose(
      a,
      before[0]!.map((v) => v - 0.1),
    );
    expectClose(
      b,
      before[1]!.map((v) => v - 0.5 * (1 + 0.1 * v)),
    );
  });

  test('zeroGrad sets null', () => {
    const params = start();
    const optimizer = new optim.SGD(params, { lr: 0.1 });
    params[0]!.grad = zeros([3, 2], { dtype: 'float64' });
    optimizer.zeroGrad();
    expect(params[0]!.grad).toBeNull();
  });

  test('invalid options and parameters throw', () => {
    const p = ones([2], { requiresGrad: true });
    const flat = ones([8]);
    const leaf = (from: number, to: number): Tensor => flat.slice(0, from, to).requiresGrad_();
    expect(() => new optim.SGD([leaf(0, 3), leaf(6, 8), leaf(3, 6)], { lr: 1 })).not.toThrow();
    const cases: [() => unknown, Error][] = [
      [() => new optim.SGD([p], { lr: -1 }), new ArgumentError('SGD: lr must be a number ≥ 0, got -1')],
      [() => new optim.SGD([p], {} as { lr: number }), new ArgumentError('SGD: lr must be a number ≥ 0, got undefined')],
      [() => new optim.SGD([p], { lr: 1, momentum: -0.1 }), new ArgumentError('SGD: momentum must be a number ≥ 0, got -0.1')],
      [() => new optim.SGD([p], { lr: 1, weightDecay: Number.NaN }), new ArgumentError('SGD: weightDecay must be a number ≥ 0, got NaN')],
      [
        () => new optim.SGD([p], { lr: 1, nesterov: true }),
        new ArgumentError('SGD: nesterov needs momentum > 0 and dampening 0, got momentum 0 and dampening 0'),
      ],
      [
        () => new optim.SGD([{ params: [p], dampening: 0.5 }], { lr: 1, nesterov: true, momentum: 0.9 }),
        new ArgumentError('SGD: nesterov needs momentum > 0 and dampening 0, got momentum 0.9 and dampening 0.5'),
      ],
      [() => new optim.SGD([], { lr: 1 }), new ArgumentError('SGD: the list of parameters is empty')],
      [
        () => new optim.SGD(p as never, { lr: 1 }),
        new ArgumentError('SGD: expected parameters or groups of them, such as model.parameters(), got one tensor; put it in an array'),
      ],
      [
        () => new optim.SGD(new nn.Linear(1, 1) as never, { lr: 1 }),
        new ArgumentError('SGD: expected parameters or groups of them, such as model.parameters(), got object'),
      ],
      [
        () => new optim.SGD([p], { lr: 1, momentun: 0.9 } as never),
        new ArgumentError("SGD: unknown option 'momentun'; the options are lr, momentum, dampening, nesterov, weightDecay, maximize"),
      ],
      [
        () => new optim.SGD([{ params: [p], decay: 0.9 } as never], { lr: 1 }),
        new ArgumentError(
          "SGD: unknown option 'decay'; the options are params, initialLr, lr, momentum, dampening, nesterov, weightDecay, maximize",
        ),
      ],
      [() => new optim.SGD([p], undefined as never), new ArgumentError('SGD: lr must be a number ≥ 0, got undefined')],
      [
        () => new optim.SGD([ones([1]).expand([3]).requiresGrad_()], { lr: 1 }),
        new ArgumentError('SGD: the parameter [3] is expanded: several of its elements share memory. Use clone() first'),
      ],
      [() => new optim.SGD([p, p], { lr: 1 }), new ArgumentError('SGD: the parameter [2] appears twice')],
      [
        () => new optim.SGD([leaf(5, 8), p, leaf(0, 4), leaf(3, 5)], { lr: 1 }),
        new ArgumentError('SGD: the parameter [2] lies in the memory of another, [4]. Use clone() first'),
      ],
      [
        () => new optim.SGD([{ params: [p] }, {} as never], { lr: 1 }),
        new ArgumentError('SGD: group 1 must be { params, … } with at least one tensor in params, and nothing else'),
      ],
      [
        () => new optim.SGD([flat.reshape([2, 4]).slice(1, 0, 2).requiresGrad_(), leaf(3, 4)], { lr: 1 }),
        new ArgumentError('SGD: the parameter [1] lies in the memory of another, [2,2]. Use clone() first'),
      ],
      [
        () => new optim.SGD([p, { params: [ones([1])] }] as never, { lr: 1 }),
        new ArgumentError('SGD: group 0 must be { params, … } with at least one tensor in params, and nothing else'),
      ],
      [
        () => new optim.SGD([{ params: [p, 3 as never] }], { lr: 1 }),
        new ArgumentError('SGD: group 0 must be { params, … } with at least one tensor in params, and nothing else'),
      ],
      [
        () => new optim.SGD([{ params: [p], lr: Infinity }], {} as never),
        new ArgumentError('SGD: lr must be a number that is finite, got Infinity'),
      ],
      [
        () => scope(() => new optim.SGD([p.mul(2)], { lr: 1 })),
        new AutogradError('SGD: the parameter [2] is the result of an operation; only leaves can be optimized'),
      ],
    ];
    for (const [run, error] of cases) expect(run).toThrow(error);
  });
});

describe('a step', () => {
  test('changes versions: a backward that saved tensors before it throws', () => {
    scope(() => {
      const p = ones([2], { requiresGrad: true });
      const optimizer = new optim.SGD([p], { lr: 1 });
      const loss = p.square().sum();
      p.grad = ones([2]);
      optimizer.step();
      expect(p.toArray()).toEqual([0, 0]);
      expect(() => loss.backward()).toThrow(InPlaceError);
    });
  });

  test('accepts a gradient in another memory order', () => {
    scope(() => {
      const p = new nn.Parameter(wave([2, 3]));
      const optimizer = new optim.SGD([p], { lr: 1, momentum: 0.9 });
      p.adoptGrad(wave([3, 2]).transpose(0, 1).keep());
      const want = noGrad(() => p.sub(wave([3, 2]).transpose(0, 1)).data());
      optimizer.step();
      expectClose(p, want);
      p.dispose();
      optimizer.dispose();
    });
  });

  test('changes no parameter of the group when one is released', () => {
    const [a, b] = start() as [Tensor, Tensor];
    const optimizer = new optim.SGD([a, b], { lr: 1 });
    a.grad = ones([3, 2], { dtype: 'float64' });
    const before = a.data();
    const grad = ones([5], { dtype: 'float64' });
    b.dispose();
    Object.defineProperty(b, 'grad', { value: grad });
    expect(() => optimizer.step()).toThrow(ReleasedError);
    expect(a.data()).toEqual(before);
  });

  test('continues in the new dtype after model.to', () => {
    const model = new nn.Linear(3, 2, { bias: false });
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.5 });
    const step = (): void => {
      optimizer.zeroGrad();
      scope(() =>
        model
          .forward(ones([1, 3], { dtype: model.weight.dtype as 'float32' }))
          .sum()
          .backward(),
      );
      optimizer.step();
    };
    step();
    const before = model.weight.data()[0]!;
    model.to('float64');
    step();
    // v = 0.5 · 1 + 1
    expectClose([model.weight.data()[0]!], [before - 0.15], 1e-7);
    expect(optimizer.stateDict().state[0]!.momentumBuffer!.dtype).toBe('float64');
    model.dispose();
    optimizer.dispose();
  });
});

describe('state', () => {
  const options = { lr: 0.05, momentum: 0.9, nesterov: true };

  test('has PyTorch’s layout; a run resumed from it continues bitwise identical', () => {
    const params = start();
    const optimizer = new optim.SGD([{ params: [params[0]!] }, { params: [params[1]!], lr: 0.02 }], options);
    follow(optimizer, params, 1, 10);
    const saved = optimizer.stateDict();
    expect(saved.paramGroups.map((g) => g.params)).toEqual([[0], [1]]);
    expect(saved.paramGroups[1]).toEqual({
      lr: 0.02,
      momentum: 0.9,
      dampening: 0,
      nesterov: true,
      weightDecay: 0,
      maximize: false,
      params: [1],
    });
    expect(Object.keys(saved.state)).toEqual(['0', '1']);

    const copies = params.map((p) => noGrad(() => tensor(p.data(), { shape: p.shape, dtype: 'float64', requiresGrad: true })));
    const other = new optim.SGD([{ params: [copies[0]!] }, { params: [copies[1]!] }], { lr: 9, momentum: 0.1 });
    const paramGroups = JSON.parse(JSON.stringify(saved.paramGroups)) as typeof saved.paramGroups;
    other.loadStateDict({ state: saved.state, paramGroups });
    follow(optimizer, params, 11, 20);
    follow(other, copies, 11, 20);
    copies.forEach((p, i) => expect(p.data()).toEqual(params[i]!.data()));
  });

  test('is matched by the numbers of its groups, whatever they are', () => {
    const params = start();
    const optimizer = new optim.SGD(params, options);
    const saved = (...numbers: number[]): optim.OptimizerState => ({
      state: Object.fromEntries(
        [...numbers].reverse().map((n) => [n, { momentumBuffer: zeros(params[numbers.indexOf(n)]!.shape).add(n) }]),
      ),
      paramGroups: [{ ...options, params: numbers }],
    });
    for (const numbers of [
      [4, 9],
      [9, 4],
      [1, 0],
    ]) {
      optimizer.loadStateDict(saved(...numbers));
      const { state } = optimizer.stateDict();
      expect(Object.values(state).map((s) => s.momentumBuffer!.data()[0])).toEqual(numbers);
    }
  });

  test('a state with foreign keys, numbers or values throws and changes nothing', () => {
    const params = start();
    const optimizer = new optim.SGD(params, options);
    const { paramGroups, state } = optimizer.stateDict();
    const before = JSON.stringify(optimizer.paramGroups[0]);
    const prototype = Object.getPrototypeOf(optimizer.paramGroups[0]);
    const group = paramGroups[0]!;
    const velocity = zeros(params[0]!.shape);
    const foreign = (key: string): string => `group 0 has the option '${key}', which is another optimizer's`;
    const cases: [unknown, string][] = [
      [{ state, paramGroups: [{ ...group, ['__proto__']: { lr: 5 } }] }, foreign('__proto__')],
      [{ state, paramGroups: [{ ...group, toString: 1 }] }, foreign('toString')],
      [{ state, paramGroups: [{ ...group, constructor: 1 }] }, foreign('constructor')],
      [{ state, paramGroups: [{ ...group, params: 'ab' }] }, "group 0 has no parameters, the optimizer's 2"],
      [{ state, paramGroups: [{ ...group, params: [3, 3] }] }, 'parameter 3 appears twice in its groups'],
      [{ state: { 0: 5 }, paramGroups }, 'the state of parameter 0 is a number, expected a record of tensors'],
      [{ state, paramGroups: [{ ...group, initialLr: 'x' }] }, 'initialLr of group 0 is a string, expected a number'],
      [{ state, paramGroups: [{ ...group, initialLr: Number.NaN }] }, 'initialLr of group 0 is NaN, expected a number'],
      [{ state, paramGroups: [{ ...group, nesterov: velocity }] }, 'nesterov of group 0 is an object, expected a boolean'],
      [{ state, paramGroups: [{ ...group, maximize: 'false' }] }, 'maximize of group 0 is a string, expected a boolean'],
      [{ state: { ' 0': { momentumBuffer: velocity } }, paramGroups }, 'there is state for parameter  0, which is in no group'],
      [{ state: { '': { momentumBuffer: velocity } }, paramGroups }, 'there is state for parameter , which is in no group'],
      [
        { state: { ['__proto__']: { momentumBuffer: velocity } }, paramGroups },
        'there is state for parameter __proto__, which is in no group',
      ],
    ];
    for (const [saved, problem] of cases) {
      expect(() => optimizer.loadStateDict(saved as optim.OptimizerState)).toThrow(
        new StateDictError(`loadStateDict: the state does not fit SGD: ${problem}`),
      );
    }
    expect(JSON.stringify(optimizer.paramGroups[0])).toBe(before);
    expect(Object.getPrototypeOf(optimizer.paramGroups[0])).toBe(prototype);
  });

  test('a state that does not match throws and changes nothing', () => {
    const params = start();
    const optimizer = new optim.SGD(params, options);
    follow(optimizer, params, 1, 2);
    const saved = optimizer.stateDict();
    const [group] = saved.paramGroups as [(typeof saved.paramGroups)[0]];
    const before = [optimizer.paramGroups[0]!.lr, ...Object.values(saved.state).map((s) => s.momentumBuffer!.data())];
    const text = (what: string): Error => new StateDictError(`loadStateDict: the state does not fit SGD: ${what}`);
    const cases: [optim.OptimizerState, Error][] = [
      [{ ...saved, paramGroups: [group, group] }, text('it has 2 parameter groups, the optimizer 1')],
      [{ ...saved, paramGroups: [{ ...group, params: [0] }] }, text("group 0 has 1 parameters, the optimizer's 2")],
      [{} as optim.OptimizerState, text('expected { state, paramGroups }')],
      [{ ...saved, state: { 2: saved.state[0]! } }, text('there is state for parameter 2, which is in no group')],
      [
        { ...saved, paramGroups: [{ ...group, lr: 7 }], state: { 0: saved.state[0]!, 1: saved.state[0]! } },
        text('momentumBuffer of parameter 1 has shape [3,2], the parameter [5]'),
      ],
      [null as never, text('expected { state, paramGroups }')],
      [{ ...saved, state: null as never }, text('expected { state, paramGroups }')],
      [{ ...saved, paramGroups: [null as never] }, text("group 0 has no parameters, the optimizer's 2")],
      [{ ...saved, state: { 0: null as never } }, text('the state of parameter 0 is null, expected a record of tensors')],
      [{ ...saved, state: { 0: { momentumBuffer: [1] as never } } }, text('momentumBuffer of parameter 0 is an array, expected a tensor')],
      [{ ...saved, paramGroups: [{ ...group, lr: -1 }] }, new ArgumentError('SGD: lr must be a number ≥ 0, got -1')],
    ];
    for (const [state, error] of cases) expect(() => optimizer.loadStateDict(state)).toThrow(error);
    const after = [optimizer.paramGroups[0]!.lr, ...Object.values(optimizer.stateDict().state).map((s) => s.momentumBuffer!.data())];
    expect(after).toEqual(before);
  });

  test('is owned: a scope does not free it, dispose does', () => {
    const params = start();
    const before = memory();
    const optimizer = new optim.SGD(params, options);
    follow(optimizer, params, 1, 2);
    const velocities = Object.values(optimizer.stateDict().state).map((s) => s.momentumBuffer!);
    expect(velocities.map((v) => v.numel)).toEqual([6, 5]);
    optimizer.zeroGrad();
    expect(memory().bytes - before.bytes).toBe(88);
    optimizer.dispose();
    expect(memory().bytes).toBe(before.bytes);
  });
});

describe('an optimizer of one’s own', () => {
  type Group = optim.ParamGroup & { weights: number[]; words: string[]; more: object | null; target: unknown };

  /** p ← p − weights[0] · g. It has no learning rate. */
  class Own extends optim.Optimizer<Group> {
    constructor(params: readonly Tensor[], options: Partial<Group> = {}) {
      super(params, { weights: [0.5, 2], words: ['a', 'z'], more: { depth: 1 }, target: undefined } as never, options);
    }

    protected override checkGroup(): void {}

    protected override update(ready: readonly optim.Ready<Group>[]): void {
      for (const { group, param, grad } of ready) param.copy_(param.sub(grad.mul(group.weights[0]!)));
    }
  }

  test('needs no learning rate, and no momentum; schedules of the momentum refuse it', () => {
    const p = ones([1], { requiresGrad: true });
    const optimizer = new Own([p]);
    p.grad = ones([1]);
    optimizer.step();
    expect(p.item()).toBe(0.5);
    const options = { baseLr: 0, maxLr: 1 };
    expect(() => new optim.CyclicLR(optimizer, options)).toThrow(
      new ArgumentError('CyclicLR: Own has no momentum to cycle; set cycleMomentum: false'),
    );
  });

  test('its state names the parameter that appears twice', () => {
    const optimizer = new Own([1, 2, 3].map((n) => ones([n], { requiresGrad: true })));
    const { state, paramGroups } = optimizer.stateDict();
    expect(() => optimizer.loadStateDict({ state, paramGroups: [{ ...paramGroups[0]!, params: [5, 3, 3] }] })).toThrow(
      new StateDictError('loadStateDict: the state does not fit Own: parameter 3 appears twice in its groups'),
    );
  });

  test('options in its state have the kinds of its own: arrays as long, of the same kinds; no tensors', () => {
    const optimizer = new Own([ones([1], { requiresGrad: true })]);
    const { state, paramGroups } = optimizer.stateDict();
    const load = (options: object) => () => optimizer.loadStateDict({ state, paramGroups: [{ ...paramGroups[0]!, ...options }] });
    for (const [options, problem] of [
      [{ weights: [1] }, 'weights of group 0 is an array, expected an array like [0.5,2]'],
      [{ words: 'a' }, 'words of group 0 is a string, expected an array like [a,z]'],
      [{ words: ['a', 1] }, 'words of group 0 is an array, expected an array like [a,z]'],
      [{ words: ['a'] }, 'words of group 0 is an array, expected an array like [a,z]'],
      [{ more: zeros([1]) }, 'more of group 0 is an object, expected an object'],
      [{ target: zeros([1]) }, 'target of group 0 is an object, expected undefined'],
    ] as const)
      expect(load(options)).toThrow(new StateDictError(`loadStateDict: the state does not fit Own: ${problem}`));
    load({ weights: [1, 3], words: ['b', 'c'], more: null, target: 3 })();
    expect(optimizer.paramGroups[0]).toMatchObject({ weights: [1, 3], words: ['b', 'c'], more: null, target: 3 });
  });

  test('a step that fails leaves its state as it was, also where it converts it to another dtype', () => {
    /** Sums gradients and their squares; fails, as where memory runs out, once both states exist. */
    class Sums extends Own {
      fails = false;

      protected override update(ready: readonly optim.Ready<Group>[]): void {
        const writes = ready.map(
          ({ param, grad }) => [this.stateOf(param, 'sum').tensor, this.stateOf(param, 'squares').tensor, grad] as const,
        );
        if (this.fails) throw new Error('the memory is full');
        for (const [sum, squares, grad] of writes) {
          sum.copy_(sum.add(grad));
          squares.copy_(squares.add(grad.square()));
        }
      }
    }
    const model = new nn.Linear(2, 1, { bias: false });
    const optimizer = new Sums(model.parameters());
    const step = (fails: boolean): void =>
      scope(() => {
        model.weight.grad = tensor([[2, 2]], { dtype: model.weight.dtype as 'float32' });
        optimizer.fails = fails;
        if (fails) expect(() => optimizer.step()).toThrow(new Error('the memory is full'));
        else optimizer.step();
        model.weight.grad = null;
      });
    const before = memory().tensors;
    step(true);
    expect([optimizer.stateDict().state, memory().tensors - before]).toEqual([{}, 0]);
    step(false);
    const first = optimizer.stateDict().state[0]!;
    model.to('float64');
    step(true);
    const kept = optimizer.stateDict().state[0]!;
    expect([kept.sum, kept.squares]).toEqual([first.sum, first.squares]);
    expect([kept.sum!.toArray(), kept.squares!.toArray(), kept.sum!.dtype]).toEqual([[[2, 2]], [[4, 4]], 'float32']);
    step(false);
    const last = optimizer.stateDict().state[0]!;
    expect([last.sum!.toArray(), last.squares!.toArray(), last.sum!.dtype]).toEqual([[[4, 4]], [[8, 8]], 'float64']);
    expect([first.sum!.isReleased, memory().tensors - before]).toEqual([true, 2]);
    optimizer.dispose();
    model.dispose();
  });
});
