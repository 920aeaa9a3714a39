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
    expect(String(graph(z))).toMatch(/^#1 = leaf .*\n#2 = exp\(#1\) .* \(freed\)\n#3 = mul\(#2\)/);
    expect(graph(z).nodes[1]!.value).toBeNull();
  });

  test('a tensor without history is one constant', () => {
    expect(String(graph(tensor([true, false], { label: 'mask' })))).toBe('mask = constant   bool [2]   [true, false]');
    expect(graph(noGrad(() => ones([2], leaf).exp())).nodes).toMatchObject([{ name: '#1', op: 'constant', inputs: [] }]);
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
