/** The behaviour of backward and grad apart from formulas: accumulation, retained graphs, hooks, atomic commits, deep graphs, higher orders. */
import { describe, expect, it } from 'vitest';
import { ArgumentError, type Tensor, backwardSteps, defineOp, grad, graph, memory, noGrad, ones, randn, scope, tensor } from 'chainrule';

const leaf = (values: number[]): Tensor => tensor(values, { requiresGrad: true, dtype: 'float64' });

describe('backward', () => {
  it('accumulates over calls and over uses, in the leaf’s strides', () =>
    scope(() => {
      const x = leaf([1, 2]);
      x.mul(x).add(x).sum().backward();
      expect(x.grad!.toArray()).toEqual([3, 5]);
      x.sum().backward();
      expect(x.grad!.toArray()).toEqual([4, 6]);
      x.grad = null;
      x.sum().backward();
      expect(x.grad!.toArray()).toEqual([1, 1]);
      expect(x.grad!.strides).toEqual(x.strides);
    }));

  it('makes an expanded gradient contiguous', () =>
    scope(() => {
      const x = leaf([1, 2, 3]);
      x.sum().backward();
      const other = x.grad!;
      expect(other.isContiguous()).toBe(true);
      noGrad(() => other.add_(1));
      expect(x.grad!.toArray()).toEqual([2, 2, 2]);
    }));

  it('does not accumulate in place into a gradient that two leaves share', () =>
    scope(() => {
      const a = leaf([1]);
      const b = leaf([2]);
      a.add(b).sum().backward();
      a.mul(3).sum().backward();
      expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([[4], [1]]);
    }));

  it('retainGraph retains the graph for another backward', () =>
    scope(() => {
      const x = leaf([3]);
      const y = x.square().sum();
      y.backward(null, { retainGraph: true });
      y.backward();
      expect(x.grad!.toArray()).toEqual([12]);
    }));

  it('takes a gradient for an output that is not a scalar, and does not change it', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const g = tensor([10, 100], { dtype: 'float64' });
      x.add(x).backward(g);
      expect(x.grad!.toArray()).toEqual([20, 200]);
      expect(g.toArray()).toEqual([10, 100]);
    }));

  it('casts the gradient back to the dtype of the input', () =>
    scope(() => {
      const x = tensor([1.5], { requiresGrad: true });
      const y = leaf([2]).mul(x);
      expect(y.dtype).toBe('float64');
      y.sum().backward();
      expect([x.grad!.dtype, x.grad!.toArray()]).toEqual(['float32', [2]]);
    }));

  it('consumes unused heads and logged sums, but no other ancestors', () =>
    scope(() => {
      const w = leaf([2]);
      const u = leaf([3]);
      const h = w.mul(5);
      const v = u.mul(7);
      const head = h.mul(v).sum();
      h.sum().backward();
      expect(() => head.backward()).toThrow('consumed');
      v.sum().backward();
      expect([w.grad!.toArray(), u.grad!.toArray()]).toEqual([[5], [7]]);
    }));

  it('retainGrad sets grad of a result; hooks receive and replace gradients', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const h = x.mul(3).retainGrad();
      const seen: unknown[] = [];
      h.registerHook((g) => {
        seen.push(g.toArray());
        return g.mul(10);
      });
      const remove = x.registerHook(() => {
        throw new Error('removed hooks are not called');
      });
      remove();
      h.sum().backward();
      expect(seen).toEqual([[1, 1]]);
      expect(x.grad!.toArray()).toEqual([30, 30]);
      expect(h.grad!.toArray()).toEqual([10, 10]);
    }));

  it('a hook that throws leaves every grad unchanged, frees all gradients of the walk, and consumes the graph', () => {
    const x = leaf([1, 2]);
    const w = leaf([3, 4]);
    x.mul(2).sum().backward();
    const before = memory();
    const h = x.mul(w);
    w.registerHook(() => {
      throw new Error('no');
    });
    const y = h.sum();
    expect(() => y.backward()).toThrow('no');
    expect([x.grad!.toArray(), w.grad]).toEqual([[2, 2], null]);
    expect(() => y.backward()).toThrow('consumed');
    x.mul(2).sum().dispose();
    h.dispose();
    expect(memory().bytes).toBe(before.bytes);
    x.dispose();
    w.dispose();
  });

  it('rejects an operation’s backward that returns a gradient of the wrong shape, and names the gradient', () =>
    scope(() => {
      const wrong = defineOp({ name: 'wrong', forward: (_, x: Tensor) => x.mul(2), backward: (g) => [g.sum()] });
      const x = leaf([1, 2]);
      expect(() => wrong(x).sum().backward()).toThrow(
        'backward of wrong: the gradient of argument 0 is float64 [], the argument float64 [2]',
      );
      expect(x.grad).toBe(null);
    }));

  it('a write during backward is detected, and no grad changes', () =>
    scope(() => {
      const [x, c] = [leaf([1, 2]), tensor([3, 4], { dtype: 'float64' })];
      const changed = "backward: mul saved a tensor [2] ('b') that was changed in place afterwards (it was at version 0, now 1)";
      const h = x.mul(c);
      const y = h.mul(2).sum();
      h.registerHook(() => noGrad(() => void c.zero_()));
      expect(() => y.backward()).toThrow(changed);
      const w = x.mul(c).sum();
      const writeSaved = (): void => {
        for (const step of backwardSteps(w)) if (step.op === 'sum') noGrad(() => c.zero_());
      };
      expect(writeSaved).toThrow('was changed in place afterwards');
      expect(x.grad).toBe(null);
    }));

  it('a hook must return a tensor or nothing', () =>
    scope(() => {
      const x = leaf([1, 2]);
      x.registerHook(() => 3 as never);
      expect(() => x.mul(2).sum().backward()).toThrow(new ArgumentError('hook of leaf: result must be a tensor, got a number'));
      expect(x.grad).toBe(null);
    }));

  it('a hook must not run backward on the same graph or dispose of it', () =>
    scope(() => {
      const x = leaf([2]);
      const h = x.mul(3);
      const y = h.mul(1).sum();
      h.registerHook(() => y.backward());
      expect(() => y.backward()).toThrow('belongs to a graph that an earlier backward has consumed');
      expect(x.grad).toBe(null);
      const z = x.mul(3).mul(1).sum();
      for (const step of backwardSteps(z)) if (step.op === 'sum') z.dispose();
      expect(x.grad!.toArray()).toEqual([3]);
      const w = x.mul(3).mul(1).sum();
      const scoped = (): void => {
        let it!: ReturnType<typeof backwardSteps>;
        scope(() => {
          const v = x.mul(3).mul(1).sum();
          it = backwardSteps(v);
          it.next();
        });
        it.next();
      };
      expect(scoped).toThrow('was freed in the middle of this walk');
      w.backward();
      expect(x.grad!.toArray()).toEqual([6]);
    }));

  it('a gradient that a hook kept or returned remains owned by the user', () =>
    scope(() => {
      const x = leaf([1, 2]);
      let kept!: Tensor;
      const remove = x.registerHook((g) => {
        kept = g.keep();
      });
      x.mul(3).sum().backward();
      remove();
      x.mul(3).sum().backward();
      expect([kept.toArray(), x.grad!.toArray()]).toEqual([
        [3, 3],
        [6, 6],
      ]);
      const mine = tensor([5, 5], { dtype: 'float64' });
      x.registerHook(() => mine);
      x.grad = null;
      x.mul(3).sum().backward();
      x.sum().backward();
      expect([mine.toArray(), x.grad!.toArray()]).toEqual([
        [5, 5],
        [10, 10],
      ]);
      kept.dispose();
    }));

  it('retainGrad keeps value and gradient until the scope ends, also of a 0-d result', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const s = x.sum().retainGrad();
      const h = x.mul(s).retainGrad();
      h.sum().backward();
      x.mul(2);
      expect([s.item(), s.grad!.item(), h.toArray(), h.grad!.toArray()]).toEqual([3, 3, [3, 6], [1, 1]]);
    }));

  it('a grad that was disposed of counts as null, and an error changes no other leaf', () =>
    scope(() => {
      const [a, b] = [leaf([1]), leaf([2])];
      a.mul(b).sum().backward();
      a.grad!.dispose();
      expect(a.grad).toBe(null);
      a.mul(b).sum().backward();
      expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([[2], [2]]);
    }));

  it('switching gradients off and on does not affect live graphs', () =>
    scope(() => {
      const x = leaf([3]);
      const y = x.square().sum();
      x.requiresGrad_(false).requiresGrad_(true);
      expect(grad(y, x).toArray()).toEqual([6]);
    }));

  it('a write to a disposed 0-d constant does not change the saved tensor', () =>
    scope(() => {
      const s = tensor(3, { dtype: 'float64' });
      const x = leaf([1, 1]);
      const y = x.mul(s);
      s.dispose();
      s.add_(1);
      y.sum().backward();
      expect([s.item(), x.grad!.toArray()]).toEqual([4, [3, 3]]);
    }));

  it('grad with respect to an intermediate leaves the graph of its inputs for another backward', () =>
    scope(() => {
      const x = leaf([2]);
      const h = x.square();
      const g = grad(h.mul(5).sum(), h);
      h.backward(g);
      expect(x.grad!.toArray()).toEqual([20]);
    }));

  it('dispose of a head leaves owned ancestors for other heads, and errors about the rest name dispose', () =>
    scope(() => {
      const x = leaf([2]);
      const h = x.square().keep();
      h.mean().dispose();
      h.sum().backward();
      expect(x.grad!.toArray()).toEqual([4]);
      h.dispose();
      const k = x.square();
      k.mean().dispose();
      expect(() => k.sum().backward()).not.toThrow('an earlier backward');
      expect(() => k.mul(x)).toThrow('belongs to a graph that dispose() has consumed');
    }));

  it('differentiates a chain of 100,000 nodes', () =>
    scope(() => {
      const x = leaf([1]);
      let y: Tensor = x;
      for (let i = 0; i < 100_000; i++) y = y.add(x);
      y.sum().backward();
      expect(x.grad!.toArray()).toEqual([100_001]);
    }));

  it('differentiates a chain of 25,000 nodes with createGraph, and the more than 100,000 of its gradient again', () =>
    scope(() => {
      const x = leaf([1]);
      let y: Tensor = x;
      for (let i = 1; i < 25_000; i++) y = y.mul(x);
      const g = grad(y.sum(), x, { createGraph: true });
      expect(graph(g).nodes.length).toBeGreaterThan(99_000);
      expect(g.item()).toBe(25_000);
      expect(grad(g.sum(), x).item()).toBe(25_000 * 24_999);
    }));

  it('differentiates 30 doublings by visiting each node once instead of each path', () =>
    scope(() => {
      const x = leaf([1]);
      let y: Tensor = x;
      for (let i = 0; i < 30; i++) y = y.add(y);
      y.sum().backward();
      expect(x.grad!.toArray()).toEqual([2 ** 30]);
    }));
});

describe('an operation whose forward, save or backward throws', () => {
  const broken = (part: 'forward' | 'save' | 'backward'): ((x: Tensor) => Tensor) => {
    const fail = (now: string): void => {
      if (now === part) throw new Error(`${part} throws`);
    };
    return defineOp({
      name: 'broken',
      forward: (_, x: Tensor) => {
        const y = x.mul(2);
        fail('forward');
        return y;
      },
      save: (_, [x]) => {
        fail('save');
        return { x };
      },
      backward: (g, { x }) => {
        const dx = g.mul(x);
        fail('backward');
        return [dx];
      },
    });
  };

  it.each(['forward', 'save', 'backward'] as const)('%s: leaves memory, gradients and graph as they were', (part) => {
    const x = leaf([1, 2]);
    const h = x.mul(3);
    const before = memory();
    scope(() => {
      expect(() => broken(part)(h).sum().backward(null, { retainGraph: true })).toThrow(`${part} throws`);
    });
    expect([memory().bytes, memory().tensors, x.grad]).toEqual([before.bytes, before.tensors, null]);
    h.sum().backward();
    expect(x.grad!.toArray()).toEqual([3, 3]);
    x.dispose();
  });
});

describe('higher orders', () => {
  it('x⁵ has the derivatives 5x⁴, 20x³, 60x², 120x, 120', () =>
    scope(() => {
      const x = leaf([2]);
      let y = x.pow(5).sum();
      const found: number[] = [];
      for (let order = 1; order <= 5; order++) {
        const g = grad(y, x, { createGraph: true });
        found.push(g.sum().item());
        y = g.sum();
      }
      expect(found).toEqual([80, 160, 240, 240, 120]);
    }));

  it('createGraph records gradients, and accumulates them out of place', () =>
    scope(() => {
      const x = leaf([3]);
      x.pow(3).sum().backward(null, { createGraph: true });
      const first = x.grad!;
      expect(first.requiresGrad).toBe(true);
      x.mul(2).sum().backward();
      expect([x.grad!.toArray(), first === x.grad]).toEqual([[29], false]);
    }));

  it('also with createGraph, every grad has its own memory in its leaf’s order', () =>
    scope(() => {
      const [a, b] = [leaf([1, 2]), leaf([3, 4])];
      a.add(b)
        .mul(tensor([3, 4]))
        .sum()
        .backward(null, { createGraph: true });
      noGrad(() => a.grad!.mul_(2));
      expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([
        [6, 8],
        [3, 4],
      ]);
      const c = leaf([1, 2]);
      c.sum().backward(null, { createGraph: true });
      expect(c.grad!.strides).toEqual([1]);
      const m = ones([2, 3], { requiresGrad: true });
      m.transpose(0, 1).exp().sum().backward(null, { createGraph: true });
      expect(m.grad!.strides).toEqual(m.strides);
    }));

  it('checks the number of gradOutputs', () =>
    scope(() => {
      const x = leaf([1]);
      const [y, z] = [x.mul(2).sum(), x.mul(3).sum()];
      expect(() => grad([y, z], x, { gradOutputs: ones([], { dtype: 'float64' }) })).toThrow(
        'grad: 1 gradOutputs for 2 outputs; give one for each, null where it is 1',
      );
    }));

  it('a gradient penalty has the right gradient', () =>
    scope(() => {
      const x = leaf([1, -2]);
      const w = leaf([0.5, 0.25]);
      const y = w.mul(x).tanh().sum();
      const g = grad(y, x, { createGraph: true });
      g.square().sum().backward();
      // d/dw Σ (w (1 − tanh² wx))²
      const expected = [1, -2].map((xi, i) => {
        const wi = [0.5, 0.25][i]!;
        const t = Math.tanh(wi * xi);
        const s = 1 - t * t;
        return 2 * wi * s * (s - 2 * wi * xi * t * s);
      });
      w.grad!.data().forEach((v, i) => expect(v).toBeCloseTo(expected[i]!, 12));
    }));

  it('leaves nothing behind without createGraph', () => {
    const x = leaf([1, 2]);
    const before = memory();
    const g = scope(() => grad(x.square().sum(), x));
    expect(memory().tensors).toBe(before.tensors + 1);
    g.dispose();
    expect(memory().bytes).toBe(before.bytes);
    x.dispose();
  });

  it('an operation whose forward is written with tensors behaves like a built-in one', () =>
    scope(() => {
      const cube = defineOp({
        name: 'cube',
        forward: (_, x: Tensor) => x.mul(x).mul(x),
        save: (_, [x]) => ({ x }),
        backward: (g, { x }) => [g.mul(x.square()).mul(3)],
      });
      const x = leaf([2, -1]);
      const g = grad(cube(x).sum(), x, { createGraph: true });
      expect(g.toArray()).toEqual([12, 3]);
      expect(grad(g.sum(), x).toArray()).toEqual([12, -6]);
    }));

  it('gradients of float32 tensors are float32, with and without grad mode', () =>
    scope(() => {
      const x = randn([3], { requiresGrad: true });
      expect(grad(x.exp().sum(), x).dtype).toBe('float32');
      expect(grad(x.exp().sum(), x, { createGraph: true, gradOutputs: ones([]) }).dtype).toBe('float32');
    }));
});
