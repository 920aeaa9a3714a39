/** The behaviour of backward and grad apart from formulas: accumulation, retained graphs, hooks, atomic commits, deep graphs, higher orders. */
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  AutogradError,
  type Tensor,
  backwardSteps,
  defineOp,
  grad,
  graph,
  memory,
  noGrad,
  ones,
  randn,
  recompute,
  scope,
  tensor,
} from 'chainrule';

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

  it('with createGraph does not change the given gradient either', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const g = tensor([10, 100], { dtype: 'float64' });
      x.add(x).backward(g, { createGraph: true });
      expect([x.grad!.toArray(), g.toArray()]).toEqual([
        [20, 200],
        [10, 100],
      ]);
    }));

  it('does not write to a tensor that an operation’s backward returns again and again', () =>
    scope(() => {
      const slope = tensor([2, 3], { dtype: 'float64' });
      const op = defineOp({ name: 'op', forward: (_, x: Tensor) => x.mul(slope), backward: () => [slope] });
      const x = leaf([1, 1]);
      op(x).add(op(x)).sum().backward();
      expect([x.grad!.toArray(), slope.toArray()]).toEqual([
        [4, 6],
        [2, 3],
      ]);
    }));

  it('a gradient that retainGrad keeps does not change when its input receives another', () =>
    scope(() => {
      const x = leaf([1, 1]);
      const k = x.mul(3);
      const h = x.add(1).retainGrad();
      k.sum().add(h.mul(2).sum()).backward();
      expect([h.grad!.toArray(), x.grad!.toArray()]).toEqual([
        [2, 2],
        [5, 5],
      ]);
    }));

  it('a gradient that was kept while it accumulated does not change', () =>
    scope(() => {
      const x = leaf([1, 1]);
      const y = x.mul(3).sum().add(x.mul(2).sum());
      let kept: Tensor | null = null;
      for (const step of backwardSteps(y)) {
        for (const { accumulated } of step.inputs) kept ??= accumulated?.keep() ?? null;
      }
      expect([kept!.toArray(), x.grad!.toArray()]).toEqual([
        [2, 2],
        [5, 5],
      ]);
      kept!.dispose();
    }));

  it('is in the memory order of its leaf where a use permutes some of the dims', () =>
    scope(() => {
      const m = ones([2, 3, 4], { requiresGrad: true });
      m.transpose(1, 2).exp().sum().backward();
      expect(m.grad!.strides).toEqual(m.strides);
    }));

  it('frees gradients and saved tensors as it goes', () => {
    const x = ones([1000], { requiresGrad: true });
    const before = memory().bytes;
    let y: Tensor = x;
    for (let i = 0; i < 20; i++) {
      const [last, half] = [y, y.mul(0.5)];
      y = half.exp();
      half.dispose();
      if (last !== x) last.dispose();
    }
    const loss = y.sum();
    const recorded = memory().bytes;
    const live: number[] = [];
    for (const step of backwardSteps(loss)) if (step.op === 'exp') live.push(memory().bytes - recorded);
    // 20 results of exp are saved, of 4000 bytes each; beside them no more than three gradients are live.
    live.forEach((bytes, i) => expect(bytes).toBeLessThanOrEqual(12_000 - 4000 * i));
    x.mul(1).dispose();
    expect(memory().bytes - before).toBe(4000);
    x.dispose();
  });

  it('results of operations without a derivative require no gradient', () =>
    scope(() => {
      const x = leaf([-1.5, 2.5]);
      for (const y of [x.sign(), x.floor(), x.ceil(), x.round(), x.detach(), x.gt(0).to('float64'), x.isnan()])
        expect([y.requiresGrad, y.isLeaf]).toEqual([false, true]);
    }));

  it('an operation that refuses a freed argument frees nothing: results of the consumed graph stay readable', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const gone = x.detach();
      gone.dispose();
      const h = x.mul(2);
      h.sum().backward();
      expect(() => x.mul(gone)).toThrow('was freed by dispose()');
      expect(h.toArray()).toEqual([2, 4]);
    }));

  it('skips leaves that were disposed of', () =>
    scope(() => {
      const [x, w] = [leaf([1, 2]), leaf([3, 4])];
      const y = x.mul(w).sum();
      w.dispose();
      const before = memory().tensors;
      y.backward();
      x.mul(1).dispose();
      expect([x.grad!.toArray(), w.grad]).toEqual([[3, 4], null]);
      // x.grad is new; of x · w and its sum, the second lives on as a number.
      expect(memory().tensors).toBe(before - 1);
    }));

  it('a view of a saved constant whose own handle is gone can be written to afterwards', () =>
    scope(() => {
      const c = tensor([3, 4]);
      const v = c.slice(0, 0, 1);
      const x = tensor([1, 2], { requiresGrad: true });
      const y = x.mul(c).sum();
      c.dispose();
      y.backward();
      expect([x.grad!.toArray(), v.fill_(9).toArray()]).toEqual([[3, 4], [9]]);
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

  it('a hook must return a gradient of the shape and dtype that it got', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const got = (what: string): string => `hook of leaf: returned ${what} for a gradient float64 [2]`;
      const remove = x.registerHook((g) => g.sum());
      expect(() => x.mul(2).sum().backward()).toThrow(got('float64 []'));
      remove();
      x.registerHook((g) => g.to('float32'));
      expect(() => x.mul(2).sum().backward()).toThrow(got('float32 [2]'));
      expect(x.grad).toBe(null);
    }));

  it('rejects a gradient of another dtype than the tensor', () =>
    scope(() => {
      const y = leaf([1, 2]).mul(2);
      expect(() => y.backward(ones([2]))).toThrow('backward: the gradient is float32 [2], the tensor float64 [2]; they must be equal');
    }));

  it('rejects an operation’s backward that returns too few gradients, or one of another dtype', () =>
    scope(() => {
      const [x, w] = [leaf([1, 2]), leaf([3, 4])];
      const few = defineOp({ name: 'few', forward: (_, a: Tensor, b: Tensor) => a.mul(b), backward: (g) => [g] });
      expect(() => few(x, w).sum().backward()).toThrow('backward of few: no gradient for argument 1; it must return an array');
      const cast = defineOp({ name: 'cast', forward: (_, a: Tensor) => a.mul(2), backward: (g) => [g.to('float32')] });
      expect(() => cast(x).sum().backward()).toThrow(
        'backward of cast: the gradient of argument 0 is float32 [2], the argument float64 [2]',
      );
    }));

  it('an error in an operation’s backward names the operation once, also where recompute runs it, and whatever is thrown', () =>
    scope(() => {
      const failing = (thrown: unknown): ((x: Tensor) => Tensor) =>
        defineOp({
          name: 'failing',
          forward: (_, x: Tensor) => x.mul(2),
          backward: () => {
            throw thrown;
          },
        });
      const x = leaf([1, 2]);
      const inner = failing(new Error('boom'));
      expect(() =>
        recompute((t) => inner(t), x)
          .sum()
          .backward(),
      ).toThrow(/^backward of failing: boom$/);
      expect(() => failing('boom')(x).sum().backward()).toThrow(new AutogradError('backward of failing: boom was thrown'));
      expect(() => failing(null)(x).sum().backward()).toThrow(new AutogradError('backward of failing: null was thrown'));
      const reason = { code: 3 };
      expect(() => failing(reason)(x).sum().backward()).toThrow(expect.objectContaining({ cause: reason }));
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

  it('grad with respect to a tensor and to what it was computed from, of several outputs, some of which depend on none', () =>
    scope(() => {
      const a = leaf([7]);
      const c = a.sum();
      const x = leaf([2]);
      const h = x.square();
      const found = grad([c, h.mul(5).sum(), x.sum()], [h, x]);
      expect(found.map((g) => g.toArray())).toEqual([[5], [21]]);
    }));

  it('grad walks only what leads to the inputs: other hooks are not called, and other graphs stay', () =>
    scope(() => {
      const x = leaf([2]);
      const w = leaf([3]);
      w.registerHook(() => {
        throw new Error('not asked for');
      });
      const k = w.square();
      expect(grad(x.mul(k).sum(), x).toArray()).toEqual([9]);
      expect(grad(k.sum(), k).toArray()).toEqual([1]);
    }));

  it('grad returns a gradient of its own where the given one passes through unchanged', () =>
    scope(() => {
      const x = leaf([1, 2]);
      const [y, z] = [x.mul(3).sum(), x.add(1)];
      const g = tensor([10, 100], { dtype: 'float64' });
      const found = grad([y, z], [z, y], { gradOutputs: [null, g] });
      found[0]!.zero_();
      expect([found[1]!.toArray(), g.toArray()]).toEqual([1, [10, 100]]);
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
      expect(() => k.mul(x)).toThrow(
        'mul: the argument [1] (result of square) belongs to a graph that dispose() has consumed, and another argument still wants a gradient. ' +
          'detach() it if it is a constant here, or dispose of it later',
      );
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

  it('second derivatives of a fused operation: softmax of two elements is σ(a − b)', () =>
    scope(() => {
      const x = leaf([0.3, -0.4]);
      const g = grad(x.softmax(0).select(0, 0), x, { createGraph: true });
      const s = 1 / (1 + Math.exp(-0.7));
      const second = s * (1 - s) * (1 - 2 * s);
      grad(g.select(0, 0), x)
        .data()
        .forEach((v, i) => expect(v).toBeCloseTo(i === 0 ? second : -second, 14));
    }));

  it('the grad that a backward with createGraph leaves can be differentiated', () =>
    scope(() => {
      const x = leaf([2, 3]);
      x.pow(3).sum().backward(null, { createGraph: true });
      expect(grad(x.grad!.sum(), x).toArray()).toEqual([12, 18]);
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
