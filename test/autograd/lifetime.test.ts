/** How long tensors and graphs live, at the borders of scopes, graphs and loops. */
import {
  ArgumentError,
  InPlaceError,
  ReleasedError,
  defineOp,
  grad,
  memory,
  noGrad,
  ones,
  recompute,
  scope,
  scoped,
  tensor,
  type Tensor,
  zip,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';

const leaf = (values: number[]): Tensor => tensor(values, { dtype: 'float64', requiresGrad: true });

/** Runs a test in a scope, and expects that it leaves no tensor and no byte. */
const leavesNothing = (run: () => void): (() => void) => {
  return () => {
    const { tensors, bytes } = memory();
    scope(run);
    expect(memory()).toMatchObject({ tensors, bytes });
  };
};

describe('scopes', () => {
  test(
    'a result whose graph backward has consumed inside stays alive outside',
    leavesNothing(() => {
      const x = leaf([1, 2]);
      const y = scope(() => {
        const inner = x.mul(3);
        inner.sum().backward();
        return inner;
      });
      x.mul(2).exp();
      expect(y.toArray()).toEqual([3, 6]);
    }),
  );

  test(
    'results that are disposed of in a long scope leave nothing, and their graphs neither',
    leavesNothing(() => {
      const x = leaf([1, 2]);
      const counts = Array.from({ length: 1000 }, () => {
        const h = x.exp();
        const y = h.mul(2);
        h.dispose();
        y.dispose();
        return memory().tensors;
      });
      expect(Math.max(...counts.slice(2)) - counts[2]!).toBe(0);
    }),
  );

  test(
    'an intermediate result that is disposed of is freed with the scope, though its graph was alive in it',
    leavesNothing(() => {
      const x = leaf([1, 2]);
      for (let i = 0; i < 1000; i++) {
        const h = x.exp();
        h.mul(2);
        h.dispose();
      }
    }),
  );

  test(
    'results are found in arrays, records, Map and Set at any depth, and not in instances of classes',
    leavesNothing(() => {
      class Box {
        readonly t = ones([1]);
      }
      const { map, bare, box } = scope(() => ({
        map: new Map<unknown, unknown>([[ones([1]), [new Set([ones([2])])]]]),
        bare: Object.assign(Object.create(null) as object, { t: ones([3]) }),
        box: new Box(),
      }));
      const [[key, [set]]] = [...map] as [[Tensor, [Set<Tensor>]]];
      expect([key, ...set, bare.t].map((t) => t.toArray())).toEqual([[1], [1, 1], [1, 1, 1]]);
      expect(() => box.t.toArray()).toThrow(ReleasedError);
    }),
  );

  test('scoped and zip count to a whole number, end with the shorter, and refuse what they cannot walk', () => {
    expect([...scoped(0), ...scoped(2)]).toEqual([0, 1]);
    const ended: string[] = [];
    function* source(length: number): Generator<number> {
      try {
        for (let i = 0; i < length; i++) yield i;
      } finally {
        ended.push(`${length}`);
      }
    }
    expect([...zip(source(3), source(2))]).toEqual([
      [0, 0],
      [1, 1],
    ]);
    for (const _ of zip(source(4), source(5))) break;
    expect(ended).toEqual(['2', '3', '4', '5']);
    expect([...zip([1, 2], [3])]).toEqual([[1, 3]]);
    for (const [wrong, got] of [
      [-1, '-1'],
      [0.5, '0.5'],
      [NaN, 'NaN'],
      [null, 'null'],
      [{}, 'an object'],
    ] as [number, string][]) {
      expect(() => scoped(wrong)).toThrow(new ArgumentError(`scoped: expected a whole number ≥ 0 or an iterable, got ${got}`));
    }
    for (const wrong of [undefined, 5] as unknown as number[][]) {
      const message = `zip: expected two iterables, got ${wrong === undefined ? 'undefined' : 'a number'}`;
      expect(() => zip(wrong, [1])).toThrow(new ArgumentError(message));
      expect(() => zip([1], wrong)).toThrow(new ArgumentError(message));
    }
    const calls = {
      scope: () => scope(() => 1, ...([{}] as unknown as [])),
      noGrad: () => noGrad(() => 1, ...([{}] as unknown as [])),
      scoped: () => scoped(1, ...([{}] as unknown as [])),
      zip: () => zip([1], [1], ...([{}] as unknown as [])),
    };
    for (const [name, call] of Object.entries(calls)) {
      expect(call).toThrow(new ArgumentError(`${name}: there are no options, got an object`));
    }
  });

  test('break ends the iterable of a scoped loop', () => {
    const ended: string[] = [];
    function* source(): Generator<number> {
      try {
        yield 1;
        yield 2;
      } finally {
        ended.push('source');
      }
    }
    for (const i of scoped(source())) if (i === 1) break;
    expect(ended).toEqual(['source']);
    for (const i of scoped(source())) expect(i).toBeGreaterThan(0);
    expect(ended).toEqual(['source', 'source']);
  });
});

describe('graphs', () => {
  test(
    'a disposed intermediate result still has the right derivatives of first and second order',
    leavesNothing(() => {
      const x = leaf([2]);
      const h = x.square();
      const z = h.mul(h).sum();
      h.dispose();
      const dx = grad(z, x, { createGraph: true });
      expect(dx.toArray()).toEqual([32]);
      expect(grad(dx.sum(), x).toArray()).toEqual([48]);
    }),
  );

  test(
    'a result of an earlier graph stays readable while another walk records',
    leavesNothing(() => {
      const x = leaf([1, 2]);
      const z = x.mul(x).mul(x).sum();
      const y = x.mul(2);
      y.sum().backward();
      const read: unknown[] = [];
      x.registerHook(() => void read.push(y.toArray()));
      grad(z, x, { createGraph: true });
      expect([read, y.toArray()]).toEqual([[[2, 4]], [2, 4]]);
    }),
  );

  test(
    'a kept result that is used in thousands of graphs lists those that live',
    leavesNothing(() => {
      const h = leaf([1, 2]).exp().keep();
      for (let i = 0; i < 5000; i++) h.mul(2).dispose();
      expect(h.node!.users.length).toBeLessThan(100);
      const y = h.mul(2);
      expect(h.node!.users).toContain(y.node);
      y.sum().backward();
      h.dispose();
    }),
  );

  test(
    'a disposed result serves the graph that still uses it, however many others have come and gone',
    leavesNothing(() => {
      const x = leaf([0, 0]);
      const h = x.exp();
      const y = h.mul(3).sum();
      for (let i = 0; i < 100; i++) h.mul(2).dispose();
      h.dispose();
      y.backward();
      expect(x.grad!.toArray()).toEqual([3, 3]);
    }),
  );

  test(
    'a kept result that is used in thousands of scopes holds nothing of the graphs made there',
    leavesNothing(() => {
      const h = leaf([1, 2]).exp().keep();
      for (let i = 0; i < 5000; i++) {
        scope(() => {
          const a = h.mul(2);
          a.mul(3);
          a.dispose();
        });
      }
      const { ring } = h.node!.tape!;
      let claims = 0;
      for (let claim = ring.next; claim !== ring; claim = claim.next) claims++;
      expect(claims).toBeLessThan(100);
      h.dispose();
    }),
  );

  test(
    'recompute of the argument itself, without recording, leaves the argument alive',
    leavesNothing(() => {
      const h = ones([2]);
      const y = noGrad(() => recompute((t: Tensor) => t, h));
      h.exp();
      expect([h.toArray(), y.toArray()]).toEqual([
        [1, 1],
        [1, 1],
      ]);
    }),
  );
});

describe('backward', () => {
  const sum3 = defineOp({
    name: 'sum3',
    forward: (_, a: Tensor, b: Tensor, c: Tensor) => a.add(b).add(c),
    backward: (g) => {
      const t = g.mul(2);
      return [t, t, g];
    },
  });

  test(
    'an operation may return one gradient for several arguments, and its own',
    leavesNothing(() => {
      const [a, b, c] = [leaf([1]), leaf([2]), leaf([3])] as const;
      sum3(a, b, c).add(a).mul(5).sum().backward();
      expect([a, b, c].map((t) => t.grad!.toArray())).toEqual([[15], [10], [5]]);
      a.grad!.fill_(0);
      expect(b.grad!.toArray()).toEqual([10]);
      sum3(a, a, a).sum().backward();
      expect(a.grad!.toArray()).toEqual([5]);
    }),
  );

  test.each([
    ['permuted', (t: Tensor) => t.permute([2, 0, 1])],
    ['row-major', (t: Tensor) => t],
    ['transposed', (t: Tensor) => t.transpose(0, 2)],
  ])('the gradient of a %s leaf has its strides', (_, arrange) =>
    scope(() => {
      const x = arrange(ones([2, 3, 4]))
        .detach()
        .requiresGrad_();
      x.mul(x).sum().backward();
      expect(x.grad!.strides).toEqual(x.strides);
      x.exp().sum().backward();
      expect(x.grad!.strides).toEqual(x.strides);
    }),
  );

  test('a variance with a correction of n and more is infinite', () =>
    scope(() => {
      const x = tensor([1, 2]);
      expect([2, 3].map((correction) => x.var(undefined, { correction }).item())).toEqual([Infinity, Infinity]);
      expect(x.std(0, { correction: 3 }).item()).toBe(Infinity);
    }));

  test.each([
    ['forward', 1, 0, [0, 0, 1, 2, 3, 4, 5]],
    ['backward', 0, 1, [1, 2, 3, 4, 5, 6, 6]],
  ])('copy_ between overlapping parts of one tensor: %s', (_, to, from, expected) =>
    scope(() => {
      const t = tensor([0, 1, 2, 3, 4, 5, 6]);
      t.slice(0, to, to + 6).copy_(t.slice(0, from, from + 6));
      expect(t.toArray()).toEqual(expected);
      const u = tensor([0, 1, 2, 3, 4, 5, 6]);
      u.slice(0, to, to + 6).add_(u.slice(0, from, from + 6));
      expect(u.toArray()).toEqual(to === 1 ? [0, 1, 3, 5, 7, 9, 11] : [1, 3, 5, 7, 9, 11, 6]);
    }),
  );
});

describe('a graph that saved a tensor throws after a write to it', () => {
  const w = leaf([3, 3]).keep();

  /** Expects that a graph which has saved `t` throws after `write`. */
  const noticed = (t: Tensor, write: () => void): void => {
    const loss = ones([], { dtype: t.dtype, requiresGrad: true }).mul(t).sum();
    write();
    expect(() => loss.backward()).toThrow(InPlaceError);
  };

  test('by backward, which accumulates into grad', () =>
    scope(() => {
      w.mul(2).sum().backward();
      noticed(w.grad!, () => w.mul(2).sum().backward());
      w.grad = null;
    }));

  test.each([
    ['SGD', () => new optim.SGD([w], { lr: 0.1, momentum: 0.9 })],
    ['Adam', () => new optim.Adam([w], { lr: 0.1, amsgrad: true } as never)],
    ['AdamW', () => new optim.AdamW([w], { lr: 0.1 })],
  ] as const)('by %s, in the parameter and in the optimizer’s state', (_, make) =>
    scope(() => {
      const optimizer = make();
      const train = (): void => {
        w.mul(2).sum().backward();
        optimizer.step();
      };
      train();
      noticed(w, train);
      const states = Object.values(optimizer.stateDict().state).flatMap((s) => Object.values(s));
      const tensors = states.filter((s): s is Tensor => typeof s === 'object' && s.dtype === 'float64' && s.ndim > 0);
      expect(tensors.length).toBeGreaterThan(0);
      for (const t of tensors) noticed(t, train);
      optimizer.dispose();
      w.grad = null;
    }),
  );

  test('by batch norm in training, in its running statistics', () =>
    scope(() => {
      const bn = new nn.BatchNorm2d(2);
      const x = tensor([1, 2, 3, 4], { shape: [2, 2, 1, 1] });
      for (const t of [bn.running_mean!, bn.running_var!]) noticed(t, () => bn.forward(x));
      bn.dispose();
    }));

  test('by EMA, clipping and loadStateDict', () =>
    scope(() => {
      const ema = new optim.EMA([w]);
      noticed(ema.stateDict().averages[0]!, () => ema.update());
      noticed(w, () => ema.copyTo());
      w.mul(2).sum().backward();
      noticed(w.grad!, () => void optim.clipGradNorm([w], 0.1));
      noticed(w.grad!, () => optim.clipGradValue([w], 0.01));
      const layer = new nn.Linear(2, 2);
      noticed(layer.weight, () => void layer.loadStateDict(new nn.Linear(2, 2).stateDict()));
      noticed(layer.weight, () => void nn.init.zeros_(layer.weight));
      noticed(layer.weight, () => void layer.to('float64'));
      for (const t of [ema, layer]) t.dispose();
      w.grad = null;
    }));
});
