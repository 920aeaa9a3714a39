/**
 * Changes between a forward and its replay, or within the forward: backward of recompute is right, or it throws. It is never silently wrong.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  AutogradError,
  Generator,
  InPlaceError,
  type Tensor,
  defineOp,
  grad,
  manualSeed,
  noGrad,
  ones,
  rand,
  randn,
  recompute,
  scope,
  setConvAlgorithm,
  tensor,
  zeros,
} from 'chainrule';
import { init } from 'chainrule/distributed';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { isTensor } from '../../src/autograd/index.ts';
import { Draw } from '../support/arbitraries.ts';
import { LAYERS } from '../support/public-calls.ts';
import { TABLE } from '../support/table.ts';

afterEach(() => setConvAlgorithm('auto'));

const CHANGED = new AutogradError(
  'backward of recompute: the second call of the function computes something else than the first: a tensor that it reads was written to ' +
    '(also within the function), or a mode or an option such as eval() or p has changed. Change it after backward, or make it an argument',
);

const leaf = (...values: number[]): Tensor => tensor(values, { requiresGrad: true });

describe('backward of recompute throws where the second call would compute something else', () => {
  test('averages of the weights in use within the function', () => {
    manualSeed(1);
    const model = new nn.Linear(3, 2);
    const ema = new optim.EMA(model.parameters(), { decay: 0.5 });
    noGrad(() => model.parameters().forEach((p) => p.mul_(3)));
    ema.update();
    const x = randn([4, 3], { requiresGrad: true });
    const y = recompute((t) => ema.use(() => model.forward(t)), x);
    expect(() => y.sum().backward()).toThrow(CHANGED);
    expect(x.grad).toBeNull();
    // As without recompute. Around both passes it is right.
    const plain = ema.use(() => model.forward(x));
    expect(() => plain.sum().backward()).toThrow(InPlaceError);
    const gradOf = (call: (f: (t: Tensor) => Tensor) => Tensor): number[] => {
      x.grad = null;
      ema.use(() =>
        call((t) => model.forward(t).square())
          .sum()
          .backward(),
      );
      return [...x.grad!.data()];
    };
    expect(gradOf((f) => recompute(f, x))).toEqual(gradOf((f) => f(x)));
    const outside = ema.use(() => recompute((t) => model.forward(t), x).keep());
    expect(() => outside.sum().backward()).toThrow(InPlaceError);
  });

  test('averages that are only added, which no node saves', () => {
    const [w, x] = [leaf(1, 2), leaf(3, 4)];
    const ema = new optim.EMA([w], { decay: 0 });
    noGrad(() => w.mul_(2));
    const y = recompute((t) => ema.use(() => t.add(w)).square(), x);
    expect(() => y.sum().backward()).toThrow(CHANGED);
  });

  test('a tensor read twice, with a write between', () => {
    const [x, c] = [leaf(3), tensor([1])];
    const y = recompute((t) => {
      const before = t.mul(c);
      noGrad(() => c.add_(1));
      return before.add(t.mul(c));
    }, x);
    expect(() => y.sum().backward()).toThrow(CHANGED);
  });

  test('a constant of the closure that is written to', () => {
    const [x, c] = [leaf(2), tensor([3])];
    const y = recompute((t) => t.mul(c), x);
    c.fill_(10);
    expect(() => y.sum().backward()).toThrow(CHANGED);
  });

  test('a constant that a write passes on to a tensor made in the function', () => {
    const [x, c] = [leaf(1, 2), tensor([3, 4])];
    for (const make of [
      (): Tensor => noGrad(() => zeros([2]).add_(c)),
      (): Tensor => noGrad(() => zeros([2]).copy_(c)),
      (): Tensor => noGrad(() => c.exp().mul_(c)),
    ]) {
      const y = recompute((t) => t.mul(make()), x);
      c.add_(1);
      expect(() => y.sum().backward()).toThrow(CHANGED);
    }
  });

  test('another tensor, number or array in the place of the one read', () => {
    const x = leaf(1, 2);
    for (const [a, b] of [
      [tensor([3, 4]), tensor([3, 5])],
      [
        [3, 4],
        [3, 5],
      ],
      [3, 5],
      [leaf(3, 4), leaf(3, 4)],
    ] as const) {
      let c: unknown = a;
      const read = (): Tensor => (Array.isArray(c) ? tensor(c) : (c as Tensor));
      const y = recompute((t) => t.mul(read()), x);
      c = b;
      expect(() => y.sum().backward()).toThrow(CHANGED);
    }
  });

  test('modes, probabilities and statistics of layers', () => {
    manualSeed(3);
    const x = randn([4, 4, 6, 6], { requiresGrad: true });
    const dropout = new nn.Dropout(0.5);
    const norm = new nn.BatchNorm2d(4);
    const model = new nn.Sequential(dropout, norm);
    const after = (change: () => void): (() => void) => {
      model.train();
      const y = recompute((t) => model.forward(t), x);
      change();
      return () => y.sum().backward();
    };
    expect(after(() => model.eval())).toThrow(CHANGED);
    expect(after(() => dropout.eval())).toThrow(CHANGED);
    expect(after(() => norm.eval())).toThrow(CHANGED);
    expect(after(() => Object.assign(dropout, { p: 0.25 }))).toThrow(CHANGED);
    expect(after(() => Object.assign(norm, { eps: 0.25 }))).toThrow(CHANGED);
    model.eval();
    const evaluated = recompute((t) => model.forward(t), x);
    norm.train();
    norm.forward(x.detach());
    norm.eval();
    expect(() => evaluated.sum().backward()).toThrow(CHANGED);
    expect([x.grad, norm.weight!.grad]).toEqual([null, null]);
  });

  test('a part that is recorded in one of the calls only', () => {
    const [x, w] = [leaf(1, 2), leaf(3, 4)];
    let isFrozen = false;
    const detached = recompute((t) => t.mul(isFrozen ? w.detach() : w), x);
    const unrecorded = recompute((t) => t.mul(isFrozen ? noGrad(() => w.mul(1)) : w.mul(1)), x);
    isFrozen = true;
    for (const y of [detached, unrecorded]) expect(() => y.sum().backward()).toThrow(CHANGED);
  });

  test('another algorithm of convolution', () => {
    manualSeed(6);
    const x = randn([2, 4, 8, 8], { requiresGrad: true });
    const conv = new nn.Conv2d(4, 4, 3, { padding: 1 });
    const y = recompute((t) => conv.forward(t).square(), x);
    setConvAlgorithm('direct');
    expect(() => y.sum().backward()).toThrow(CHANGED);
  });

  test('in a nested call, and under createGraph', () => {
    const [x, c] = [leaf(1, 2), tensor([3, 4])];
    const y = recompute((t) => recompute((u) => u.mul(c).square(), t).mul(2), x);
    const z = recompute((t) => t.mul(c).square(), x);
    c.add_(1);
    expect(() => y.sum().backward()).toThrow(CHANGED);
    expect(() => z.sum().backward(null, { createGraph: true })).toThrow(CHANGED);
  });
});

describe('backward of recompute is right', () => {
  /** The gradients of `params` with and without recompute, where `change` happens between forward and backward. */
  function both(params: readonly Tensor[], fn: (x: Tensor) => Tensor, x: Tensor, change: () => void, restore = (): void => {}): unknown[] {
    return [fn, (t: Tensor) => recompute(fn, t)].map((call) => {
      manualSeed(4);
      const y = call(x);
      change();
      for (const p of params) p.grad = null;
      y.sum().backward();
      restore();
      return params.map((p) => p.grad?.toArray() ?? null);
    });
  }

  test('where the function writes statistics of its own, in any form', () => {
    const [x, w, mean] = [leaf(1, 2), leaf(3, 4), zeros([2])];
    let steps = 0;
    const fn = (t: Tensor): Tensor => {
      const h = t.mul(w);
      steps++;
      noGrad(() => {
        mean.copy_(mean.mul(1 - 1 / steps).add(h.mul(1 / steps)));
        mean.mul_(0.5).add_(h);
      });
      return h.square();
    };
    const [plain, again] = both([x, w], fn, x, () => noGrad(() => mean.add_(1)));
    expect(again).toEqual(plain);
  });

  test('where it writes a tensor and then reads it', () => {
    const [x, c] = [leaf(1, 2), tensor([3, 4])];
    const [plain, again] = both(
      [x],
      (t) => t.mul(noGrad(() => c.copy_(tensor([5, 6])))),
      x,
      () => {},
    );
    expect(again).toEqual(plain);
  });

  test('where batch norm averages all batches equally', () => {
    manualSeed(5);
    const x = randn([3, 2], { requiresGrad: true });
    const norm = new nn.BatchNorm1d(2, { momentum: null });
    norm.forward(x.detach());
    const [plain, again] = both(
      [x, norm.weight!],
      (t) => norm.forward(t).square(),
      x,
      () => norm.forward(randn([3, 2])),
    );
    expect(again).toEqual(plain);
  });

  test('where a layer that is made in the function keeps its tensors', () => {
    const x = randn([2, 3], { requiresGrad: true });
    const generator = new Generator(3);
    const fn = (t: Tensor): Tensor => {
      const inner = new nn.Linear(3, 2, { generator });
      const kept = tensor([1, 2]).keep();
      const y = inner
        .forward(t)
        .mul(kept)
        .mul(rand([2]))
        .square();
      return y;
    };
    const [plain, again] = [false, true].map((isAgain) => {
      generator.manualSeed(3);
      manualSeed(1);
      x.grad = null;
      (isAgain ? recompute(fn, x) : fn(x)).sum().backward();
      return x.grad!.toArray();
    });
    expect(again).toEqual(plain);
  });

  test('where states are loaded: into older tensors once, into those made in the function each time', () => {
    const [x, w] = [leaf(1, 2, 3), tensor([7, 8, 9], { requiresGrad: true })];
    const ema = new optim.EMA([w], { decay: 0 });
    noGrad(() => w.mul_(2));
    const state = { weight: tensor([[1, 2, 3]]), bias: tensor([4]) };
    const fn = (t: Tensor): Tensor => {
      ema.copyTo();
      const own = new nn.Linear(3, 1);
      own.loadStateDict(state);
      return own.forward(t.mul(w)).square();
    };
    const y = recompute(fn, x);
    const { version } = w.storage;
    y.sum().backward();
    expect(w.storage.version).toBe(version);
    const found = [x.grad!.toArray(), w.grad!.toArray()];
    [x.grad, w.grad] = [null, null];
    fn(x).sum().backward();
    expect(found).toEqual([x.grad!.toArray(), w.grad!.toArray()]);
  });

  test('where sums over a group are written: into an older tensor once, into one made in the function each time', () => {
    const group = init();
    const [x, total] = [leaf(1, 2), tensor([0, 0])];
    const sums: number[][] = [];
    const fn = (t: Tensor): Tensor => {
      const own = noGrad(() => {
        group.reduceShards([t.detach(), t.detach()], total);
        group.allReduce(total);
        group.broadcast(total);
        return group.reduceShards([t.detach(), t.detach()], zeros([2]));
      });
      sums.push([...own.data()]);
      return t.mul(own).mul(total);
    };
    const y = recompute(fn, x);
    expect(total.toArray()).toEqual([2, 4]);
    const { version } = total.storage;
    y.sum().backward();
    expect([sums, total.storage.version]).toEqual([
      [
        [2, 4],
        [2, 4],
      ],
      version,
    ]);
    expect(x.grad!.toArray()).toEqual([4, 16]);
  });

  test('where grad mode is off around backward, a parameter is frozen, or a constant is made a parameter', () => {
    const [x, w, c] = [leaf(1, 2), leaf(3, 4), tensor([5, 6])];
    const fn = (t: Tensor): Tensor => t.mul(w).mul(c).square();
    const [plain, again] = both(
      [x, w],
      fn,
      x,
      () => w.requiresGrad_(false),
      () => w.requiresGrad_(true),
    );
    expect(again).toEqual(plain);
    expect(w.requiresGrad).toBe(true);
    const [plainArgument, asArgument] = both(
      [x, w],
      (t) => fn(t),
      w,
      () => w.requiresGrad_(false),
      () => w.requiresGrad_(true),
    );
    expect(asArgument).toEqual(plainArgument);
    const y = recompute(fn, x);
    x.grad = null;
    c.requiresGrad_();
    noGrad(() => y.backward(ones([2])));
    expect([x.grad!.toArray(), c.grad]).toEqual([[450, 2304], null]);
  });

  test('with views, lists, options and operations of the user', () => {
    const [x, w] = [leaf(1, 2, 3, 4), leaf(1, 2)];
    const scaled = defineOp({
      name: 'scaled',
      forward: (k, t: Tensor, by: { readonly factor: number }) => {
        const y = t.clone();
        k.fill(by.factor, y);
        return y;
      },
      save: (_, [, by]) => ({ by }),
      backward: (g, { by }) => [g.mul(by.factor), null],
    });
    const fn = (t: Tensor): Tensor => {
      const [a, b] = [t.reshape([2, 2]).select(0, 0), t.slice(0, 2, 4)];
      return scaled(F.softplus(a.mul(w).add(b), { beta: 2 }), { factor: 3 }).mul(b);
    };
    const [plain, again] = both([x, w], fn, x, () => {});
    expect(again).toEqual(plain);
  });
});

describe('backward of recompute takes nothing unchanged for changed', () => {
  const draws = fc.sample(fc.gen(), { numRuns: 2, seed: 21 });

  test.each(TABLE.map((line) => [line.name, line] as const))('%s', (_, line) => {
    for (const g of draws) {
      scope(() => {
        const { fn, inputs } = line.draw(new Draw(g));
        const xs = inputs.map((sample) => sample.tensor().detach().requiresGrad_());
        const total = (...args: Tensor[]): Tensor => {
          const y = fn(...args);
          const parts = (isTensor(y) ? [y] : y).filter((t) => t.requiresGrad).map((t) => t.square().sum());
          return parts.reduce((a, b) => a.add(b));
        };
        const gradients = (call: () => Tensor): unknown => {
          manualSeed(7);
          return grad(call(), xs, { allowUnused: true }).map((t) => t?.data() ?? null);
        };
        expect(gradients(() => recompute(total, ...xs))).toEqual(gradients(() => total(...xs)));
      });
    }
  });

  test.each(LAYERS)('a layer: %s', (_, make, inputs) => {
    scope(() => {
      const layer = make();
      const args = inputs().map((x) => (x.dtype === 'float32' && x.isLeaf ? x.detach().requiresGrad_() : x));
      const call = (...xs: Tensor[]): Tensor => {
        const y: unknown = (layer as nn.Module & { forward(...given: Tensor[]): unknown }).forward(...xs);
        return (Array.isArray(y) ? (y as Tensor[])[0]! : (y as Tensor)).square().sum();
      };
      const leaves = [...args.filter((x) => x.requiresGrad), ...layer.parameters()];
      const found = [call, (...xs: Tensor[]) => recompute(call, ...xs)].map((f) => {
        manualSeed(7);
        for (const t of leaves) t.grad = null;
        const y = f(...args);
        if (y.requiresGrad) y.backward();
        return leaves.map((t) => t.grad?.data() ?? null);
      });
      expect(found[1]).toEqual(found[0]);
      layer.dispose();
    });
  });
});
