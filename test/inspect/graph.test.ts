import { describe, expect, test } from 'vitest';
import {
  AutogradError,
  GraphConsumedError,
  ReleasedError,
  backwardSteps,
  graph,
  memory,
  noGrad,
  ones,
  randn,
  scope,
  tensor,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';

const leaf = { dtype: 'float64', requiresGrad: true } as const;

/** loss = Σ (x w + b)² for x = 2, w = −3, b = 1 … 5 */
function example(): { x: Tensor; w: Tensor; b: Tensor; loss: Tensor } {
  const x = tensor(2, { ...leaf, label: 'x' });
  const w = tensor(-3, { ...leaf, label: 'w' });
  const b = tensor([1, 2, 3, 4, 5], leaf);
  const y = x.mul(w).add(b).square();
  y.label = 'y';
  const loss = y.sum();
  loss.label = 'loss';
  return { x, w, b, loss };
}

describe('graph', () => {
  test('lists the nodes, inputs before their users', () => {
    const { x, loss } = example();
    const { nodes } = graph(loss);
    expect(nodes.map((n) => [n.name, n.op, n.label, n.shape, n.inputs.map((i) => i.name)])).toEqual([
      ['x', 'leaf', 'x', [], []],
      ['w', 'leaf', 'w', [], []],
      ['#3', 'leaf', null, [5], []],
      ['#4', 'mul', null, [], ['x', 'w']],
      ['#5', 'add', null, [5], ['#4', '#3']],
      ['y', 'square', 'y', [5], ['#5']],
      ['loss', 'sum', 'loss', [], ['y']],
    ]);
    expect(nodes[0]!.value).toBe(x);
    expect(nodes[3]!.value!.item()).toBe(-6);
    expect([...graph(loss)]).toHaveLength(7);
    expect(nodes.every((n) => n.grad === null && !n.consumed && n.dtype === 'float64')).toBe(true);
  });

  test('prints like a program', () => {
    const { x, loss } = example();
    expect(String(graph(loss))).toBe(
      [
        'x    = leaf          float64 []    2',
        'w    = leaf          float64 []    -3',
        '#3   = leaf          float64 [5]   [1, 2, 3, 4, …]',
        '#4   = mul(x, w)     float64 []    -6',
        '#5   = add(#4, #3)   float64 [5]   [-5, -4, -3, -2, …]',
        'y    = square(#5)    float64 [5]   [25, 16, 9, 4, …]',
        'loss = sum(y)        float64 []    55',
      ].join('\n'),
    );
    loss.backward(null, { retainGraph: true });
    expect(String(graph(loss)).split('\n')[0]).toBe('x    = leaf          float64 []    2                     grad 90');
    expect(String(graph(x))).toBe('x = leaf   float64 []   2   grad 90');
  });

  test('after backward only the root is left', () => {
    const { loss } = example();
    loss.backward();
    expect(String(graph(loss))).toBe('loss = sum(… consumed by backward)   float64 []   55');
    expect(graph(loss).nodes).toMatchObject([{ op: 'sum', inputs: [], consumed: true }]);
  });

  test('marks freed values', () => {
    const x = ones([2], leaf);
    const y = x.exp();
    const z = y.mul(3);
    y.dispose();
    expect(String(graph(z))).toMatch(/^#1 = leaf .*\n#2 = exp\(#1\) .* \(freed\)\n#3 = mul\(#2, 3\)/);
    expect(graph(z).nodes[1]!.value).toBeNull();
  });

  test('a tensor without history is one constant', () => {
    expect(String(graph(tensor([true, false], { label: 'mask' })))).toBe('mask = constant   bool [2]   [true, false]');
    expect(graph(noGrad(() => ones([2], leaf).exp())).nodes).toMatchObject([{ name: '#1', op: 'constant', inputs: [] }]);
  });

  test('shows constants: numbers where they are used, tensors as nodes', () => {
    const x = tensor([1, 2], { ...leaf, label: 'x' });
    const mask = tensor([0, 1], { dtype: 'float64', label: 'mask' });
    const offset = tensor([[5], [6]], { dtype: 'float64' });
    const y = x.mul(3).mul(mask).add(offset).sub(mask).pow(-0.5).clamp(0, null);
    expect(String(graph(y))).toBe(
      [
        'x    = leaf            float64 [2]     [1, 2]',
        '#2   = mul(x, 3)       float64 [2]     [3, 6]',
        'mask = constant        float64 [2]     [0, 1]',
        '#4   = mul(#2, mask)   float64 [2]     [0, 6]',
        '#5   = constant        float64 [2,1]   [5, 6]',
        '#6   = add(#4, #5)     float64 [2,2]   [5, 11, 6, 12]',
        '#7   = sub(#6, mask)   float64 [2,2]   [5, 10, 6, 11]',
        '#8   = pow(#7, -0.5)   float64 [2,2]   [0.4472136, 0.31622777, 0.40824829, 0.30151134]',
        '#9   = clamp(#8, 0)    float64 [2,2]   [0.4472136, 0.31622777, 0.40824829, 0.30151134]',
      ].join('\n'),
    );
    const constants = graph(y).nodes.filter((n) => n.op === 'constant');
    expect(constants.map((n) => [n.name, n.shape, n.value!.toArray()])).toEqual([
      ['3', [], 3],
      ['mask', [2], [0, 1]],
      ['#5', [2, 1], [[5], [6]]],
      ['-0.5', [], -0.5],
      ['0', [], 0],
    ]);
    expect(
      graph(y)
        .nodes.find((n) => n.name === '#2')!
        .inputs.map((n) => n.name),
    ).toEqual(['x', '3']);
    expect(graph(x.mul(3)).toDot()).toContain('  n2 [shape=plain, label="3"];');
    expect(graph(x.mul(mask)).toDot()).toContain('  n2 [shape=plain, label="mask\\nfloat64 [2]\\n[0, 1]"];');
  });

  test('a constant does not live longer than before', () => {
    const x = ones([64], leaf);
    scope(() => void x.exp());
    const before = memory();
    const c = ones([64], { dtype: 'float64' });
    const y = x.add(c);
    c.dispose();
    expect(String(graph(y))).toMatch(/#2 = constant +float64 \[64\] +\(freed\)/);
    y.sum().backward();
    x.grad = null;
    scope(() => void x.exp());
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  test('shows a constant that was cast from the memory that backward reads', () => {
    scope(() => {
      const x = tensor([1, -2], leaf);
      const y = x.mul(x.gt(0));
      const [, mask] = graph(y).nodes;
      expect(mask).toMatchObject({ op: 'constant', dtype: 'float64', name: '#2' });
      expect(mask!.value!.toArray()).toEqual([1, 0]);
      expect(mask!.value).toBe(mask!.value);
      expect(String(graph(y))).toMatch(/#2 = constant +float64 \[2\] +\[1, 0\]\n#3 = mul\(#1, #2\)/);
      y.sum().backward();
      expect(mask!.value!.toArray()).toEqual([1, 0]);
      expect(x.grad!.toArray()).toEqual([1, 0]);
    });
    const x = tensor([1, -2], leaf);
    scope(() => void x.exp());
    const before = memory();
    scope(() => void String(graph(x.mul(x.gt(0)))));
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  test('names parameters and buffers by their path in a module', () => {
    scope(() => {
      const layers = [new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2, { bias: false })];
      const model = new nn.Sequential(...layers);
      const loss = model.forward(ones([5, 3])).sum();
      const g = graph(loss, { names: model });
      const leaves = g.nodes.filter((n) => n.op === 'leaf').map((n) => n.name);
      expect(leaves.toSorted()).toEqual(['0.bias', '0.weight', '2.weight']);
      expect(leaves.toSorted()).toEqual(
        model
          .namedParameters()
          .map(([path]) => path)
          .toSorted(),
      );
      const steps = [...backwardSteps(loss, { names: model })];
      expect(
        steps
          .filter((s) => s.op === 'leaf')
          .map((s) => s.name)
          .toSorted(),
      ).toEqual(leaves.toSorted());
      expect(steps.map((s) => s.name)).toEqual(
        g.nodes
          .filter((n) => n.op !== 'constant')
          .map((n) => n.name)
          .toReversed(),
      );
    });
    const text = 'graph: names must be a module, got an array';
    expect(() => graph(ones([1], leaf), { names: [] as never })).toThrow(text);
    expect(() => backwardSteps(ones([1], leaf), { names: [] as never })).toThrow(`backwardSteps${text.slice('graph'.length)}`);
  });

  test('after retainGrad() it shows data and gradient of every node, after backward too', () => {
    scope(() => {
      const { x, w, b, loss } = example();
      const g = graph(loss).retainGrad();
      loss.backward();
      expect(String(g)).toBe(
        [
          'x    = leaf          float64 []    2                     grad 90',
          'w    = leaf          float64 []    -3                    grad -60',
          '#3   = leaf          float64 [5]   [1, 2, 3, 4, …]       grad [-10, -8, -6, -4, …]',
          '#4   = mul(x, w)     float64 []    -6                    grad -30',
          '#5   = add(#4, #3)   float64 [5]   [-5, -4, -3, -2, …]   grad [-10, -8, -6, -4, …]',
          'y    = square(#5)    float64 [5]   [25, 16, 9, 4, …]     grad [1, 1, 1, 1, …]',
          'loss = sum(y)        float64 []    55                    grad 1',
        ].join('\n'),
      );
      expect(g.nodes.map((n) => n.grad!.data()[0])).toEqual([90, -60, -10, -30, -10, 1, 1]);
      expect(g.nodes.map((n) => n.consumed)).toEqual([false, false, false, true, true, true, true]);
      expect([x.grad, w.grad, b.grad]).toEqual(g.nodes.slice(0, 3).map((n) => n.grad));
      expect(() => graph(loss).retainGrad()).toThrow(
        new GraphConsumedError('retainGrad: loss is consumed by backward. Call this before backward'),
      );
    });
  });

  test('what retainGrad() retains is freed with the scope', () => {
    const x = randn([8], leaf);
    scope(() => void x.exp());
    const before = memory();
    for (const steps of [true, false]) {
      scope(() => {
        const y = x.exp().mul(x).sum();
        graph(y).retainGrad();
        if (steps) for (const step of backwardSteps(y)) void step;
        else y.backward();
      });
      x.grad = null;
      expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    }
  });

  test('labels that are not unique get a number', () => {
    const a = tensor(1, { ...leaf, label: 'a' });
    const b = tensor(2, { ...leaf, label: 'a' });
    expect(graph(a.add(b)).nodes.map((n) => n.name)).toEqual(['a#1', 'a#2', '#3']);
  });

  test('a deep graph, and a node that is used twice', () => {
    scope(() => {
      let y = tensor(1, leaf);
      for (let i = 0; i < 20_000; i++) y = y.add(y);
      expect(graph(y).nodes).toHaveLength(20_001);
    });
  });

  test('prints DOT', () => {
    const x = tensor([1, 2], { ...leaf, label: 'the "x"' });
    const y = x.mul(x).sum();
    y.label = 'y';
    expect(graph(y).toDot()).toBe(
      [
        'digraph {',
        '  rankdir=TB;',
        '  n1 [shape=ellipse, label="the \\"x\\"\\nfloat64 [2]\\n[1, 2]"];',
        '  n2 [shape=box, label="mul\\nfloat64 [2]\\n[1, 4]"];',
        '  n1 -> n2;',
        '  n1 -> n2;',
        '  n3 [shape=box, label="y = sum\\nfloat64 []\\n5"];',
        '  n2 -> n3;',
        '}',
      ].join('\n'),
    );
  });
});

describe('the vector–Jacobian product of a node', () => {
  test('is what backward passes on, for constants null', () => {
    scope(() => {
      const x = randn([3, 4], leaf);
      const w = randn([4], leaf);
      const y = x
        .mul(2)
        .add(w)
        .softmax(1)
        .matmul(randn([4, 2], { dtype: 'float64' }))
        .maximum(0.1)
        .sum();
      const nodes = new Map(graph(y).nodes.map((n) => [n.name, n]));
      const edges = [...nodes.values()].flatMap((n) => n.inputs.filter((i) => i.op !== 'constant')).length;
      let compared = 0;
      for (const step of backwardSteps(y, { retainGraph: true })) {
        const node = nodes.get(step.name)!;
        const grads = node.vjp(step.grad);
        expect(grads.length).toBe(node.inputs.length);
        const passed = grads.filter((_, i) => node.inputs[i]!.op !== 'constant');
        expect(passed.map((g) => g!.data())).toEqual(step.inputs.map((i) => i.grad!.data()));
        expect(grads.filter((_, i) => node.inputs[i]!.op === 'constant').every((g) => g === null)).toBe(true);
        compared += passed.length;
      }
      expect(compared).toBe(edges);
      expect(edges).toBeGreaterThan(6);
    });
  });

  test('without a gradient, the local derivatives', () => {
    const { loss } = example();
    const nodes = new Map(graph(loss).nodes.map((n) => [n.name, n]));
    expect(
      nodes
        .get('#4')!
        .vjp()
        .map((g) => g!.item()),
    ).toEqual([-3, 2]);
    expect(nodes.get('x')!.vjp()).toEqual([]);
    expect(graph(ones([1])).nodes[0]!.vjp()).toEqual([]);
    expect(() => nodes.get('y')!.vjp()).toThrow('vjp: the tensor has shape [5], and only a scalar has an implied gradient of 1');
    expect(() => nodes.get('y')!.vjp(ones([5]))).toThrow('vjp: the gradient is float32 [5], the tensor float64 [5]; they must be equal');
    expect(() => nodes.get('y')!.vjp(1 as never)).toThrow('vjp: g must be a tensor, got a number');
  });

  test('changes nothing, and its results are the caller’s', () => {
    const { x, loss } = example();
    const node = graph(loss).nodes[4]!;
    const g = ones([5], { dtype: 'float64' });
    const before = memory();
    const [a, b] = node.vjp(g);
    expect(b!.data()).toEqual(g.data());
    b!.fill_(7);
    expect(g.data()[0]).toBe(1);
    expect(a!.item()).toBe(5);
    a!.dispose();
    b!.dispose();
    expect(memory().tensors).toBe(before.tensors);
    expect(x.grad).toBeNull();
    loss.backward();
    expect(x.grad!.item()).toBe(90);
    expect(() => node.vjp(g)).toThrow(GraphConsumedError);
  });
});

describe('backwardSteps', () => {
  test('yields the steps of the walk, newest node first', () => {
    const { loss, x, w } = example();
    expect([...backwardSteps(loss)].map(String)).toEqual([
      'loss = sum(y) receives 1, passes [1, 1, 1, 1, …] to y',
      'y = square(#5) receives [1, 1, 1, 1, …], passes [-10, -8, -6, -4, …] to #5',
      '#5 = add(#4, #3) receives [-10, -8, -6, -4, …], passes -30 to #4, [-10, -8, -6, -4, …] to #3',
      '#4 = mul(x, w) receives -30, passes 90 to x, -60 to w',
      '#3 receives [-10, -8, -6, -4, …]: a leaf, so it goes to #3.grad',
      'w receives -60: a leaf, so it goes to w.grad',
      'x receives 90: a leaf, so it goes to x.grad',
    ]);
    expect(w.grad!.item()).toBe(-60);
    expect(x.grad!.item()).toBe(90);
  });

  test('gives readable gradients that the user need not free', () => {
    const { x, w, loss } = example();
    scope(() => {
      for (const step of backwardSteps(loss)) {
        if (step.op !== 'mul') continue;
        expect(step).toMatchObject({ name: '#4', label: null, shape: [] });
        expect(step.grad.item()).toBe(-30);
        expect(step.inputs.map((i) => [i.name, i.op, i.label, i.grad!.item()])).toEqual([
          ['x', 'leaf', 'x', 90],
          ['w', 'leaf', 'w', -60],
        ]);
      }
    });
    expect([x.grad!.item(), w.grad!.item()]).toEqual([90, -60]);
  });

  test('shows constants, and what has accumulated where paths meet', () => {
    const x = tensor(3, { ...leaf, label: 'x' });
    const h = x.mul(2);
    h.label = 'h';
    const y = h.square().add(h);
    y.label = 'y';
    const sums: unknown[] = [];
    const texts: string[] = [];
    for (const step of backwardSteps(y)) {
      texts.push(String(step));
      for (const { name, grad, accumulated } of step.inputs) {
        if (name === 'h') sums.push([accumulated?.item() ?? null, grad!.item()]);
      }
    }
    expect(sums).toEqual([
      [null, 1],
      [1, 12],
    ]);
    expect(texts.find((text) => text.startsWith('h '))).toBe('h = mul(x, 2) receives 13, passes 26 to x');
  });

  test('is the engine’s own walk: bitwise identical to backward, with a gradient and retainGraph', () => {
    const run = (go: (y: Tensor, g: Tensor) => void): ArrayLike<number>[] => {
      const x = tensor(
        [
          [0.1, 0.2, 0.3],
          [0.4, 0.5, 0.6],
        ],
        leaf,
      );
      const y = x.matmul(x.transpose(0, 1)).softmax(1).mul(x.sum());
      const g = tensor(
        [
          [1, -2],
          [3, 0.5],
        ],
        { dtype: 'float64' },
      );
      go(y, g);
      go(y, g);
      return [x.grad!.data()];
    };
    const options = { retainGraph: true };
    expect(
      run((y, g) => {
        for (const step of backwardSteps(y, g, options)) void step;
      }),
    ).toEqual(run((y, g) => y.backward(g, options)));
  });

  test('left early, it commits no gradient and consumes the graph', () => {
    const { x, w, b, loss } = example();
    for (const step of backwardSteps(loss)) if (step.op === 'leaf') break;
    expect([x.grad, w.grad, b.grad]).toEqual([null, null, null]);
    expect(() => loss.backward()).toThrow(GraphConsumedError);
  });

  test('frees all memory, finished or not', () => {
    const x = randn([8], leaf);
    // A recorded operation frees the results that earlier tests left readable.
    scope(() => x.exp());
    const before = memory();
    for (const early of [true, false]) {
      scope(() => {
        for (const step of backwardSteps(x.exp().mul(x).sum())) if (early && step.op === 'exp') break;
      });
      x.grad = null;
      expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    }
  });

  test('gradients of earlier steps are freed', () => {
    const { loss } = example();
    const kept: Tensor[] = [];
    for (const step of backwardSteps(loss)) kept.push(step.grad);
    expect(() => kept[1]!.data()).toThrow(ReleasedError);
  });

  test('does nothing before the first step, and throws what backward throws', () => {
    const { loss } = example();
    const unused = backwardSteps(loss);
    loss.backward();
    expect(() => unused.next()).toThrow(GraphConsumedError);
    expect(() => backwardSteps(ones([2])).next()).toThrow(AutogradError);
  });
});

test.runIf(process.env.CHAINRULE_LONG === '1')('a graph of 150,000 nodes has a text', () => {
  scope(() => {
    let y: Tensor = tensor(1, leaf);
    for (let i = 0; i < 150_000; i++) y = y.neg();
    expect(String(graph(y)).split('\n').length).toBe(150_001);
  });
});
