import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  AutogradError,
  Generator,
  GraphConsumedError,
  InPlaceError,
  type Tensor,
  defaultGenerator,
  grad,
  gradcheck,
  gradgradcheck,
  manualSeed,
  memory,
  noGrad,
  rand,
  randn,
  recompute,
  scope,
  scoped,
  tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';

/** How a net calls its parts: directly, or with recompute. */
type Call = (fn: (x: Tensor) => Tensor, x: Tensor) => Tensor;
const plainly: Call = (fn, x) => fn(x);
const again: Call = (fn, x) => recompute(fn, x);

/** Two parts of convolution, batch norm, ReLU and dropout. */
function block(generator: Generator): nn.Sequential {
  const half = (from: number): nn.Layer[] => [
    new nn.Conv2d(from, 4, 3, { padding: 1 }),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Dropout(0.3, { generator }),
  ];
  return new nn.Sequential(...half(3), ...half(4));
}

/** Trains for two steps, the second after some other random draws. Returns losses, gradients, buffers and the generators' states. */
function train(call: Call): unknown {
  manualSeed(5);
  const own = new Generator(9);
  const model = block(own);
  const head = new nn.Linear(4, 3);
  const seen: unknown[] = [];
  for (const _ of scoped(2)) {
    void _;
    const x = randn([4, 3, 6, 6]);
    const loss = F.crossEntropy(head.forward(call((t) => model.forward(t), x).mean([2, 3])), tensor([0, 1, 2, 0], { dtype: 'int32' }));
    rand([3]);
    for (const p of [...model.parameters(), ...head.parameters()]) p.grad = null;
    loss.backward();
    seen.push(loss.item(), ...model.parameters().map((p) => p.grad!.data()), ...model.buffers().map((b) => b.data()));
    seen.push(defaultGenerator.stateDict(), own.stateDict());
  }
  return seen;
}

describe('recompute', () => {
  test('is bitwise identical: values, gradients, running statistics and random states', () => {
    const plain = train(plainly);
    expect(train(again)).toEqual(plain);
    // recompute within recompute, three deep.
    expect(train((fn, x) => recompute((t) => recompute((u) => recompute(fn, u), t), x))).toEqual(plain);
  });

  test('holds the activations of one part at a time', () => {
    const parts = Array.from(
      { length: 8 },
      () => new nn.Sequential(...Array.from({ length: 4 }, () => [new nn.Linear(16, 16), new nn.Tanh()]).flat()),
    );
    const peak = (call: Call): number =>
      scope(() => {
        let x = rand([512, 16]);
        memory({ resetPeak: true });
        const before = memory().bytes;
        for (const part of parts) x = call((t) => part.forward(t), x);
        x.sum().backward();
        return memory().peakBytes - before;
      });
    peak(plainly);
    const [plain, less] = [peak(plainly), peak(again)];
    // 64 activations without recompute; with it, 8 results, and 8 activations of one part with their gradients.
    expect(less).toBeLessThan(plain * 0.4);
    for (const part of parts) part.dispose();
  });

  test('passes gradients to tensors that the function reads from its closure, once for each use', () => {
    const w = tensor([2, 3], { requiresGrad: true });
    const x = tensor([5, 7], { requiresGrad: true });
    // w is an argument and is read from the closure as well. x is an argument twice.
    recompute((a, b, c) => a.mul(w).mul(b).mul(c), w.mul(1), x, x)
      .sum()
      .backward();
    expect([w.grad!.toArray(), x.grad!.toArray()]).toEqual([
      [2 * 2 * 25, 2 * 3 * 49],
      [2 * 4 * 5, 2 * 9 * 7],
    ]);
    w.grad = null;
    recompute((a) => a.mul(w), w)
      .sum()
      .backward();
    expect(w.grad!.toArray()).toEqual([4, 6]);
    w.grad = null;
    recompute(() => w.square())
      .sum()
      .backward();
    expect(w.grad!.toArray()).toEqual([4, 6]);
    expect(grad(recompute((a, k) => a.mul(k), w, 3).sum(), w).toArray()).toEqual([3, 3]);
    expect(grad(recompute((a, c) => a.mul(c), w, tensor([1, 2])).sum(), w).toArray()).toEqual([1, 2]);
  });

  test('calls the function again with the same arguments, of whatever type and number', () => {
    const w = tensor([2, 3], { requiresGrad: true });
    const x = tensor([5, 7], { requiresGrad: true });
    const first = tensor([1], { dtype: 'int32' });
    const product = (...factors: Tensor[]): Tensor => factors.reduce((a, b) => a.mul(b), w);
    recompute(product, x, x).sum().backward();
    expect([w.grad!.toArray(), x.grad!.toArray()]).toEqual([
      [25, 49],
      [20, 42],
    ]);
    const picked = (t: Tensor, mask: Tensor | null, at: Tensor): Tensor => (mask === null ? t : t.mul(mask)).indexSelect(0, at);
    for (const [mask, expected] of [
      [null, [0, 1]],
      [tensor([4, 4]), [0, 4]],
    ] as const) {
      expect(grad(recompute(picked, x, mask, first).sum(), x).toArray()).toEqual(expected);
    }
  });

  test('an argument that the result does not depend on gets no gradient', () => {
    const [w, unused] = [tensor([2, 3], { requiresGrad: true }), tensor([5, 7], { requiresGrad: true })];
    recompute((a, b) => a.mul(b.numel), w, unused)
      .sum()
      .backward();
    expect([w.grad!.toArray(), unused.grad]).toEqual([[2, 2], null]);
  });

  test('has derivatives of any order, also where an argument depends on what the function reads', () => {
    manualSeed(1);
    const w = randn([3], { dtype: 'float64', requiresGrad: true });
    const x = randn([3], { dtype: 'float64', requiresGrad: true });
    const f = (p: Tensor, q: Tensor): Tensor => recompute((u, v) => u.mul(v).sin().mul(p), p.square(), q);
    expect(gradcheck(f, [w, x]).ok).toBe(true);
    expect(gradgradcheck(f, [w, x]).ok).toBe(true);
    const nested = (p: Tensor, q: Tensor): Tensor => recompute((u) => recompute((v) => v.mul(q).exp(), u).mul(p), p.mul(q));
    expect(gradcheck(nested, [w, x]).ok).toBe(true);
    expect(gradgradcheck(nested, [w, x]).ok).toBe(true);
    const third = (call: Call): number[] => {
      const y = call((t) => t.mul(w).tanh(), x.mul(w));
      const g1 = grad(y.sum(), [x, w], { createGraph: true });
      const g2 = grad(g1[0]!.mul(g1[1]!).sum(), [x, w], { createGraph: true });
      return grad(g2[0]!.mul(g2[1]!).sum(), [x, w]).flatMap((g) => [...g.data()]);
    };
    const [a, b] = [third(plainly), third(again)];
    a.forEach((v, i) => expect(b[i]).toBeCloseTo(v, 10));
  });

  test('backward can be repeated with retainGraph only', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    const y = recompute((a) => a.square(), w).sum();
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(w.grad!.toArray()).toEqual([4, 8]);
    expect(() => y.backward()).toThrow(GraphConsumedError);
  });

  test('records nothing without grad mode', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    expect(noGrad(() => recompute((a) => a.mul(2), w)).requiresGrad).toBe(false);
    expect(recompute((a) => a.mul(2), tensor([1])).requiresGrad).toBe(false);
    expect(recompute((a) => a.detach(), w).requiresGrad).toBe(false);
    expect(recompute((a) => a.gt(1), w).toArray()).toEqual([0, 1]);
    expect(recompute((a) => a, w).isLeaf).toBe(false);
  });

  test('in the second call, writes only to tensors made in that call', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    const count = tensor(0, { dtype: 'int32' });
    let calls = 0;
    const y = recompute((a) => {
      calls++;
      noGrad(() => count.add_(1));
      const mine = noGrad(() => tensor([1, 1]).fill_(3).mul_(2));
      return a.mul(mine);
    }, w);
    expect([calls, count.item()]).toEqual([1, 1]);
    y.sum().backward();
    expect([calls, count.item(), w.grad!.toArray()]).toEqual([2, 1, [6, 6]]);
    count.fill_(7);
    expect(count.item()).toBe(7);
  });

  test('detects writes before backward to arguments, leaves and constants of the closure', () => {
    const x = tensor([2], { requiresGrad: true });
    const written = (c: Tensor, y: Tensor): (() => void) => {
      noGrad(() => c.mul_(10));
      return () => y.sum().backward();
    };
    scope(() => {
      const [argument, leaf, constant] = [tensor([3]), tensor([3], { requiresGrad: true }), tensor([3])];
      const ofArgument = recompute((t, c) => t.mul(c), x, argument);
      const ofLeaf = recompute((t) => t.mul(leaf), x);
      const ofConstant = recompute((t) => t.mul(constant), x);
      expect(written(argument, ofArgument)).toThrow(InPlaceError);
      expect(written(leaf, ofLeaf)).toThrow(InPlaceError);
      expect(written(constant, ofConstant)).toThrow('computes something else than the first');
      expect(x.grad).toBeNull();
    });
    x.dispose();
  });

  test('throws for functions that it could not differentiate, and leaves nothing behind', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    // A recorded operation frees tensors that earlier calls of backward left readable.
    w.mul(1).dispose();
    const before = memory();
    scope(() => {
      const h = w.mul(2);
      expect(() => recompute((a) => a.mul(h), w)).toThrow(
        new AutogradError(
          'recompute: the function reads the result [2] of mul, which is no argument. Pass it: recompute((x, …) => …, x, …)',
        ),
      );
      expect(() => recompute(() => 3 as unknown as Tensor)).toThrow(
        new ArgumentError('recompute: the function must return a tensor, got a number'),
      );
      const x = tensor([1, 2]);
      const y = recompute((a, b) => a.mul(b), w, x);
      x.add_(1);
      expect(() => y.sum().backward()).toThrow(InPlaceError);
      let calls = 0;
      const failing = recompute((a) => {
        if (++calls > 1) throw new Error('the second time');
        return a.square();
      }, w).sum();
      expect(() => failing.backward()).toThrow('the second time');
      expect(w.grad).toBeNull();
      // Modes are unchanged.
      x.add_(1);
      expect([x.toArray(), w.mul(1).requiresGrad]).toEqual([[3, 4], true]);
    });
    expect([memory().bytes, memory().tensors]).toEqual([before.bytes, before.tensors]);
  });
});

test('a function that seeds a generator does so once: the second call leaves it as it is by then', () => {
  const own = new Generator(1);
  const seeding = (x: Tensor): Tensor => {
    manualSeed(9);
    own.loadStateDict({ seed: 4, draws: 7 });
    return x.mul(rand([3])).add(rand([3], { generator: own }));
  };
  /** Two draws after the forward, one after the backward, and the gradient. */
  const run = (call: Call): number[][] => {
    manualSeed(2);
    own.manualSeed(3);
    const x = tensor([1, 2, 3], { requiresGrad: true });
    const y = call(seeding, x);
    const before = [rand([2]), rand([2], { generator: own })];
    y.square().sum().backward();
    const after = [rand([2]), rand([2], { generator: own })];
    return [...before, ...after, x.grad!].map((t) => [...t.data()]);
  };
  expect(run(again)).toEqual(run(plainly));
  // Also where calls nest, and the inner one seeds.
  expect(run((fn, x) => recompute((a) => recompute(fn, a).mul(1), x))).toEqual(run(plainly));
  // And where the second call throws.
  let calls = 0;
  const x = tensor([1], { requiresGrad: true });
  const y = recompute((a) => {
    manualSeed(9);
    if (++calls === 2) throw new RangeError('mine');
    return a.mul(2);
  }, x);
  manualSeed(6);
  const state = defaultGenerator.stateDict();
  expect(() => y.backward()).toThrow(new RangeError('backward of recompute: mine'));
  expect(defaultGenerator.stateDict()).toEqual(state);
});
