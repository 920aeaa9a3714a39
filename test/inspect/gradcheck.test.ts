import { describe, expect, test } from 'vitest';
import {
  AutogradError,
  DTypeError,
  GradcheckError,
  cat,
  defineOp,
  gradcheck,
  gradgradcheck,
  manualSeed,
  maximum,
  memory,
  ones,
  profile,
  rand,
  randn,
  scope,
  tensor,
  where,
  type Tensor,
} from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { defaultGenerator } from '../../src/autograd/index.ts';

const leaf = { dtype: 'float64', requiresGrad: true } as const;

/** y = x², with the wrong gradient ∂x = g · x: half the right one. */
const halfSquare = defineOp({
  name: 'halfSquare',
  forward: (k, x: Tensor) => {
    const y = x.detach().clone();
    k.unary('square', x, y);
    return y;
  },
  save: (_, [x]) => ({ x }),
  backward: (g, { x }) => [g.mul(x)],
});

/** y = x² with a gradient that is right but constant: no second derivative. */
const flatSquare = defineOp({
  name: 'flatSquare',
  forward: (k, x: Tensor) => {
    const y = x.detach().clone();
    k.unary('square', x, y);
    return y;
  },
  save: (_, [x]) => ({ x }),
  backward: (g, { x }) => [g.mul(x.detach().mul(2))],
});

describe('the report', () => {
  test('counts elements and names the one closest to its tolerance', () => {
    const x = tensor([1, 2], leaf);
    const report = gradcheck((a) => a.square(), x);
    expect(report).toMatchObject({ ok: true, checked: 2, resampled: 0, kink: null, failures: [] });
    expect(report.inputs).toEqual([{ input: 0, name: 'input 0', label: null, shape: [2], checked: 2, wrong: 0, worst: report.worst }]);
    expect(report.worst!.error).toBeLessThan(report.worst!.tolerance);
  });

  test('a wrong gradient throws, with input, index and both values', () => {
    const x = tensor([1, 2], leaf);
    const w = tensor([[2, 0]], { ...leaf, label: 'w' });
    expect(() => gradcheck((a, b) => a.mul(halfSquare(b)), [x, w])).toThrow(
      new GradcheckError(
        [
          'gradcheck: 1 of 4 gradients are wrong (eps 1e-6, atol 1e-5, rtol 0.001, seed 0)',
          '               shape  checked  wrong  worst at   analytic    numeric  error  tolerance',
          '  input 0      [2]          2      0  [0]       -3.258727  -3.258727      0     0.0033',
          "  input 1 'w'  [1,2]        2      1  [0,0]     -1.629363  -3.258727    1.6     0.0033",
          'incoming gradient g, random: analytic and numeric are derivatives of Σ g·y:',
          '  output 0 [1,2]: -0.8146817, -1.221371',
          'diagnosis:',
          "  input 1 'w': the gradient is 0.5 times the right one: a factor 2 is missing",
        ].join('\n'),
      ),
    );
  });

  test('the incoming gradient is 1 where the output is one number', () => {
    const x = tensor(-0.5, leaf);
    const report = gradcheck((a) => a.square(), x);
    expect(report.worst).toMatchObject({ analytic: -1, index: [] });
    expect(report.worst!.numeric).toBeCloseTo(-1, 8);
    expect(report.gradOutputs).toEqual([{ output: 0, shape: [], g: new Float64Array([1]) }]);
    expect(String(report)).not.toContain('incoming gradient');
    expect(gradcheck((a) => a.square().sum(0, { keepdim: true }), tensor([1, 2], leaf)).gradOutputs[0]).toMatchObject({ shape: [1] });
  });

  test('the incoming gradient is random elsewhere, and printed', () => {
    const f = (a: Tensor): Tensor[] => [a.square(), a.detach(), a.sum()];
    const report = gradcheck(f, tensor([1, 2], leaf), { seed: 3 });
    expect(report.gradOutputs.map(({ output, shape }) => [output, shape])).toEqual([
      [0, [2]],
      [2, []],
    ]);
    const [first, second] = report.gradOutputs.map(({ g }) => [...g]);
    for (const g of [...first!, ...second!]) expect(Math.abs(Math.abs(g) - 1)).toBeLessThanOrEqual(0.5);
    // Both elements: ∂/∂x Σ g·x² + h·Σx = 2 g x + h.
    report.elements.forEach((e, i) => expect(e.analytic).toBeCloseTo(2 * first![i]! * (i + 1) + second![0]!, 12));
    expect(String(report)).toMatch(
      /\nincoming gradient g, random: analytic and numeric are derivatives of Σ g·y:\n {2}output 0 \[2\]: -?[\d.]+, -?[\d.]+\n {2}output 2 \[\]: -?[\d.]+$/,
    );
    expect(String(gradcheck((a) => a.exp(), ones([10], leaf)))).toMatch(/output 0 \[10\]: (-?[\d.]+(, )?){8} … and 2 more$/);
  });

  test('elements holds every compared element, failures the wrong ones', () => {
    const x = tensor([[1, 2]], leaf);
    const report = gradcheck((a, b) => a.mul(halfSquare(b)), [x, tensor([3, 0], leaf)], { raise: false });
    expect(report.elements.map(({ input, index, error, tolerance }) => [input, index, error <= tolerance])).toEqual([
      [0, [0, 0], true],
      [0, [0, 1], true],
      [1, [0], false],
      [1, [1], true],
    ]);
    expect(report.failures).toEqual([report.elements[2]]);
  });

  test('raise: false returns the failures', () => {
    const x = tensor([1, 2], leaf);
    const report = gradcheck((a) => halfSquare(a), x, { raise: false });
    expect(report.ok).toBe(false);
    expect(report.failures.map((f) => [f.input, f.index])).toEqual([
      [0, [0]],
      [0, [1]],
    ]);
    for (const f of report.failures) expect(f.numeric / f.analytic).toBeCloseTo(2, 6);
    expect(report.worst).toEqual(report.failures[1]);
  });

  test('lists eight of many failures', () => {
    const report = gradcheck((a) => halfSquare(a), ones([10], leaf), { raise: false });
    expect(String(report).split('wrong:\n')[1]!.split('\n')).toHaveLength(9);
    expect(String(report)).toMatch(/\n {2}… and 2 more$/);
  });

  test('NaN is wrong', () => {
    expect(gradcheck((a) => a.log(), tensor([-1], leaf), { raise: false })).toMatchObject({ ok: false, checked: 1 });
  });

  test('an input that outputs do not depend on has numeric gradients of 0', () => {
    expect(gradcheck((a) => a.exp(), [tensor([1], leaf), tensor([2], leaf)]).checked).toBe(2);
  });

  test('a dependency that detach() hides is found', () => {
    expect(gradcheck((a) => a.mul(a.detach()), tensor([3], leaf), { raise: false }).ok).toBe(false);
  });
});

describe('errors', () => {
  test('float32', () => {
    expect(() => gradcheck((a) => a.exp(), ones([2, 3], { requiresGrad: true }))).toThrow(
      new DTypeError("gradcheck: input 0 [2,3] is float32; finite differences need float64: use .to('float64')"),
    );
    expect(() => gradgradcheck((a) => a.exp(), ones([2], { requiresGrad: true }))).toThrow(
      new DTypeError("gradgradcheck: input 0 [2] is float32; finite differences need float64: use .to('float64')"),
    );
  });

  test('nothing to differentiate', () => {
    expect(() => gradcheck((a) => a.exp(), ones([2], { dtype: 'float64' }))).toThrow(
      new AutogradError('gradcheck: no input requires a gradient; make one with { requiresGrad: true }'),
    );
    expect(() => gradcheck((a) => a.detach(), ones([2], leaf))).toThrow(
      new AutogradError('gradcheck: no output of the function requires a gradient: it does not depend on the inputs, or was detached'),
    );
  });

  test('options out of range', () => {
    expect(() => gradcheck((a) => a, ones([2], leaf), { eps: 0 })).toThrow(
      'gradcheck: eps must be > 0, atol, rtol, nondetTol and maxResamples ≥ 0; got 0, 0.00001, 0.001, 0 and 20',
    );
  });
});

describe('kinks', () => {
  const kinks: [string, (x: Tensor) => Tensor, number[]][] = [
    ['relu at 0', (x) => x.relu(), [0, 1]],
    ['abs beside 0', (x) => x.abs(), [-3e-7, 1]],
    ['clamp at its bound', (x) => x.clamp(-1, 1), [1, 0]],
    ['amax at a tie', (x) => x.amax(), [2, 2]],
    ['maximum at a tie', (x) => maximum(x, x.mul(2).sub(1)), [1, 3]],
    ['max pool at a tie', (x) => F.maxPool2d(x.reshape([1, 1, 1, 2]), [1, 2]), [5, 5]],
    ['where that chooses by x', (x) => where(x.gt(0), x.square(), x), [0, 2]],
  ];
  for (const [name, f, values] of kinks) {
    test(`${name}: the point moves away`, () => {
      const x = tensor(values, leaf);
      const report = gradcheck((a) => f(a), x);
      expect(report.ok).toBe(true);
      expect(report.resampled).toBeGreaterThan(0);
      expect([...x.data()]).toEqual(values);
      expect(String(report)).toMatch(/moved away from kinks \d+ times?/);
    });
  }

  test('equal elements are no kink for softmax: which maximum it subtracts makes no difference', () => {
    const x = tensor([1, 1], leaf);
    expect(gradcheck((a) => a.softmax(0), x).resampled).toBe(0);
    expect(gradgradcheck((a) => a.softmax(0), x).resampled).toBe(0);
  });

  test('afterwards operations with kinks compute no branches, also when it throws', () => {
    const x = tensor([1, -2], leaf);
    expect(() => gradcheck((a) => a.relu().mul(a.detach()), x)).toThrow(GradcheckError);
    expect(profile(() => x.relu()).rows.map((row) => row.op)).toEqual(['relu']);
  });

  test('without a point away from kinks, no gradient is called wrong', () => {
    const x = tensor([1, 0], leaf);
    expect(() => gradcheck((a) => a.relu(), x, { maxResamples: 0 })).toThrow(
      new GradcheckError(
        'gradcheck: nothing can be said: a kink lies within 1e-6 of every point tried; the last beside input 0 [1]. ' +
          'Give other values, a smaller eps or a larger maxResamples',
      ),
    );
    expect(gradcheck((a) => a.relu(), x, { maxResamples: 0, raise: false })).toMatchObject({
      ok: false,
      checked: 0,
      failures: [],
      kink: { name: 'input 0', index: [1] },
    });
  });
});

describe('inputs', () => {
  test('strided leaves are moved in place', () => {
    const base = randn([3, 4], { dtype: 'float64' });
    const x = base.transpose(0, 1).requiresGrad_();
    const y = randn([2, 6], { dtype: 'float64' }).slice(1, 1, null, 2).requiresGrad_();
    expect(gradcheck((a, b) => [a.matmul(a.transpose(0, 1)).tanh(), b.exp()], [x, y]).checked).toBe(12 + 6);
  });

  test('elements that share memory are moved one by one', () => {
    const x = tensor([[1], [2]], { dtype: 'float64' })
      .expand([2, 3])
      .requiresGrad_();
    const y = tensor([1, 2], leaf);
    const z = y.detach().requiresGrad_();
    expect(gradcheck((a, b, c) => [a.square(), b.mul(c)], [x, y, z]).checked).toBe(6 + 2 + 2);
  });

  test('the same tensor twice is two inputs', () => {
    const x = tensor([1, 2], leaf);
    expect(gradcheck((a, b) => a.mul(b), [x, x]).checked).toBe(4);
    const { failures } = gradcheck((a, b) => halfSquare(a).add(b), [x, x], { raise: false });
    expect(failures.map((f) => f.input)).toEqual([0, 0]);
  });

  test('results of operations are accepted as inputs', () => {
    const x = tensor([1, 2], leaf).exp();
    expect(gradcheck((a) => a.log(), x).checked).toBe(2);
    // Their own graph is not consumed.
    x.sum().backward();
  });

  test('parameters reached by closure', () => {
    const w = tensor([1, 2], leaf);
    expect(gradcheck(() => w.square(), w).checked).toBe(2);
    expect(() => gradcheck(() => halfSquare(w), w)).toThrow(GradcheckError);
    expect(gradgradcheck(() => w.square(), w).ok).toBe(true);
  });

  test('int32 and bool inputs are passed unchanged', () => {
    const x = randn([3, 4], leaf);
    const target = tensor([1, 0, 3], { dtype: 'int32' });
    expect(gradcheck((a, t) => F.crossEntropy(a, t), [x, target]).checked).toBe(12);
  });

  test('zero elements', () => {
    expect(gradcheck((a) => cat([a, a]), ones([0, 2], leaf))).toMatchObject({ ok: true, checked: 0, worst: null });
  });
});

describe('no side effects', () => {
  test('memory, values, gradients, versions and the generator are as before', () => {
    manualSeed(7);
    const x = randn([4], leaf);
    const loss = x.square().sum();
    scope(() => x.square().sum().backward());
    const [values, gradient, before, state] = [x.data(), x.grad!.data(), memory(), defaultGenerator.stateDict()];
    gradcheck((a) => F.dropout(a.tanh(), 0.5), x);
    gradgradcheck((a) => F.dropout(a.tanh(), 0.5), x);
    expect(memory().tensors).toBe(before.tensors);
    expect(memory().bytes).toBe(before.bytes);
    expect(x.data()).toEqual(values);
    expect(x.grad!.data()).toEqual(gradient);
    expect(defaultGenerator.stateDict()).toEqual(state);
    // The graph that saved x stays valid, as values and version of x are restored.
    loss.backward();
  });

  test('a condition that where() reports as its branch stays alive', () => {
    const c = tensor([true, false]);
    gradcheck((a) => where(c, a, 0), tensor([1, 2], leaf));
    expect([...c.data()]).toEqual([1, 0]);
  });

  test('also when the function throws', () => {
    const x = tensor([1, 2], leaf);
    // A recorded operation frees the results that earlier tests left readable.
    scope(() => x.exp());
    const before = memory();
    let calls = 0;
    const state = defaultGenerator.stateDict();
    const f = (a: Tensor): Tensor => {
      rand([2]);
      if (++calls === 3) throw new Error('stop');
      return a.exp();
    };
    expect(() => gradcheck((a) => f(a), x)).toThrow('stop');
    expect([...x.data()]).toEqual([1, 2]);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    expect(defaultGenerator.stateDict()).toEqual(state);
  });
});

describe('gradgradcheck', () => {
  test('finds a second derivative that is missing although the first is right', () => {
    const x = tensor([1, 2], leaf);
    expect(gradcheck((a) => flatSquare(a), x).ok).toBe(true);
    expect(() => gradgradcheck((a) => flatSquare(a), x)).toThrow(
      /^gradgradcheck: 2 of 4 gradients are wrong [^]*\n {2}input 0: the gradient is zero everywhere/,
    );
  });

  test('checks the gradients of the outputs too', () => {
    const report = gradgradcheck((a, b) => [a.mul(b), a.exp()], [tensor([1, 2], leaf), tensor(3, leaf)]);
    expect(report.checked).toBe(2 + 1 + 2 + 2);
  });

  test('a function with a gradient inside', () => {
    const x = tensor([0.5, 1], leaf);
    expect(gradgradcheck((a) => a.square().mul(a), x).ok).toBe(true);
  });
});
