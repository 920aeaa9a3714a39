/**
 * gradcheck's probes beyond single elements: determinism, linearity in the incoming gradient, single outputs, shapes, fast mode.
 */
import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  DTypeError,
  GradcheckError,
  Generator,
  defineOp,
  gradcheck,
  gradgradcheck,
  manualSeed,
  ones,
  rand,
  randn,
  tensor,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';

const leaf = { dtype: 'float64', requiresGrad: true } as const;
const report = { raise: false } as const;

/** y = x² with any backward. */
const squareWith = (backward: (g: Tensor, x: Tensor) => Tensor): ((x: Tensor) => Tensor) =>
  defineOp({ name: 'square', forward: (_, x: Tensor) => x.square(), save: (_, [x]) => ({ x }), backward: (g, { x }) => [backward(g, x)] });

describe('determinism', () => {
  test('a forward that draws numbers of its own', () => {
    const generator = new Generator(1);
    const { ok, problems } = gradcheck((a) => a.mul(rand([2], { dtype: 'float64', generator })), tensor([1, 2], leaf), report);
    expect(ok).toBe(false);
    expect(problems[0]).toMatch(
      /^output 0: two evaluations at one point differ by [\d.]+ at \[\d\] \(nondetTol 0\)\. Random numbers must come from the default generator, whose state is the same every time$/,
    );
    expect(() => gradcheck((a) => a.mul(rand([2], { dtype: 'float64', generator })), tensor([1, 2], leaf))).toThrow(GradcheckError);
  });

  test('NaN now and then', () => {
    let calls = 0;
    // The fifth evaluation repeats the fourth, after the analysis and two steps.
    const { problems } = gradcheck((a) => a.mul(++calls === 5 ? NaN : 1), tensor([1], leaf), report);
    expect(problems[0]).toMatch(/^output 0: two evaluations at one point differ by Infinity at \[0\] \(nondetTol 0\)/);
  });

  test('a nondeterministic backward, within nondetTol and beyond', () => {
    const generator = new Generator(1);
    const noisy = squareWith((g, x) =>
      g
        .mul(x)
        .mul(2)
        .mul(rand([2], { dtype: 'float64', generator }).mul(1e-9).add(1)),
    );
    const found = gradcheck((a) => noisy(a), tensor([1, 2], leaf), report);
    expect(found.failures).toEqual([]);
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]).toMatch(/^input 0: two backwards differ by \d\S+e-\d+ at \[\d\] \(nondetTol 0\)$/);
    expect(gradcheck((a) => noisy(a), tensor([1, 2], leaf), { nondetTol: 1e-6 }).ok).toBe(true);
  });
});

describe('linear in the incoming gradient', () => {
  test('a backward that ignores it', () => {
    const op = squareWith((_, x) => x.mul(2));
    const { problems, diagnosis } = gradcheck((a) => op(a), tensor([1, 3], leaf), report);
    expect(problems).toEqual(['input 0: backward is not linear in the incoming gradient g: for 0 · g it gives 2 at [0], for g 2']);
    expect(diagnosis).toEqual(['input 0: backward ignores the incoming gradient g']);
  });

  test('one that adds a constant', () => {
    const op = squareWith((g, x) => g.mul(x).mul(2).add(1));
    const { diagnosis, problems } = gradcheck((a) => op(a), tensor([1, 3], leaf), report);
    expect(problems[0]).toMatch(/^input 0: backward is not linear in the incoming gradient g: for 0 · g it gives 1 at \[0\], for g -?\d/);
    expect(diagnosis).toEqual(['input 0: backward adds something that does not depend on the incoming gradient g']);
  });

  test('one that takes its absolute value is right for a positive one, and caught', () => {
    const op = squareWith((g, x) => g.abs().mul(x).mul(2));
    const { ok, problems, diagnosis } = gradcheck((a) => op(a), tensor(3, leaf), report);
    expect(ok).toBe(false);
    expect(problems[0]).toMatch(/^input 0: backward is not linear in the incoming gradient g: for -2 · g it gives /);
    expect(diagnosis).toEqual([]);
  });

  test('an infinite slope is no failure of linearity', () => {
    const { problems } = gradcheck((a) => a.sqrt(), tensor([0, 1], leaf), report);
    expect(problems).toEqual([]);
  });
});

describe('several outputs', () => {
  test('each alone, the others undefined', () => {
    expect(gradcheck((a) => [a.exp(), a.sum(), a.detach()], tensor([1, 2], leaf)).ok).toBe(true);
  });

  test('a graph whose gradient depends on the outputs chosen', () => {
    // A hook on a shared node gets the sum of the gradients from all its uses.
    const f = (a: Tensor): Tensor[] => {
      const y = a.mul(1);
      y.registerHook((g) => g.clamp(-1, 1));
      return [y, y.mul(1)];
    };
    const x = tensor([1, 2, 3, 4], leaf);
    const found = gradcheck(f, x, report);
    expect(found.problems.join('\n')).toMatch(
      /input 0: the gradients of each output alone, the others undefined, add up to -?[\d.]+ at \[\d\]; together they give -?[\d.]+/,
    );
    expect(gradcheck(f, x, { ...report, checkUndefinedGrad: false }).problems.join('\n')).not.toMatch(/alone/);
  });
});

describe('shapes and dtypes of gradients', () => {
  const mul = defineOp({
    name: 'mul',
    forward: (_, a: Tensor, b: Tensor) => a.mul(b),
    save: (_, [a, b]) => ({ a, b }),
    backward: (g, { a, b }) => [g.mul(b), g.mul(a)],
  });

  test('a gradient that is not summed over broadcast dims', () => {
    const inputs = [ones([2, 3], leaf), ones([3], leaf)];
    const { ok, problems, diagnosis, inputs: rows } = gradcheck((a, b) => mul(a, b), inputs, report);
    expect({ ok, rows }).toEqual({ ok: false, rows: [] });
    expect(problems).toEqual(['backward of mul: the gradient of argument 1 is float64 [2,3], the argument float64 [3]']);
    expect(diagnosis).toEqual([
      "argument 1 of mul: the gradient is not summed over the dims along which the argument was broadcast; defineOp's broadcasts: true does that",
    ]);
    expect(() => gradcheck((a, b) => mul(a, b), inputs)).toThrow(
      new GradcheckError(
        [
          'gradcheck: failed (eps 1e-6, atol 1e-5, rtol 0.001, seed 0)',
          'problems:',
          `  ${problems[0]}`,
          'diagnosis:',
          `  ${diagnosis[0]}`,
        ].join('\n'),
      ),
    );
  });

  test('a transposed one, and one of another dtype', () => {
    const transposes = defineOp({ name: 't', forward: (_, x: Tensor) => x.transpose(0, 1), backward: (g) => [g] });
    expect(gradcheck((a) => transposes(a), ones([2, 3], leaf), report).diagnosis).toEqual(['argument 0 of t: the gradient is transposed']);
    const casts = defineOp({ name: 'c', forward: (_, x: Tensor) => x.mul(2), backward: (g) => [g.mul(2).to('float32')] });
    expect(gradcheck((a) => casts(a), ones([2], leaf), report).diagnosis).toEqual([
      'argument 0 of c: the gradient must be cast back to float64',
    ]);
  });

  test('other errors of the function are rethrown', () => {
    expect(() => gradcheck((a) => a.reshape([7]), ones([2], leaf), report)).toThrow(/^reshape: /);
  });
});

describe('fastMode', () => {
  test('evaluates twice an input, whatever its size', () => {
    let calls = 0;
    const f = (a: Tensor): Tensor => {
      calls++;
      return a.tanh();
    };
    const { ok, checked, worst } = gradcheck(f, randn([1000], leaf), { fastMode: true });
    expect({ ok, checked, index: worst!.index }).toEqual({ ok: true, checked: 1, index: null });
    // One evaluation for the analysis, two for the steps, two for the probes.
    expect(calls).toBe(5);
  });

  test('finds the same errors as the slow mode, and then checks every element', () => {
    const half = squareWith((g, x) => g.mul(x));
    const found = gradcheck((a, b) => half(a).mul(b), [randn([3], leaf), randn([3], leaf)], { ...report, fastMode: true });
    expect(found.inputs.map((r) => [r.checked, r.wrong])).toEqual([
      [3, 3],
      [1, 0],
    ]);
    expect(found.diagnosis).toEqual(['input 0: the gradient is 0.5 times the right one: a factor 2 is missing']);
    expect(String(found)).toMatch(/^gradcheck: 3 of 4 gradients are wrong \(eps 1e-6, atol 1e-5, rtol 0\.001, seed 0, fastMode\)\n/);
  });

  test('of large inputs the projection alone is reported', () => {
    const half = squareWith((g, x) => g.mul(x));
    const found = gradcheck((a) => half(a), randn([5000], leaf), { ...report, fastMode: true });
    expect(found.failures.map((f) => f.index)).toEqual([null]);
    expect(String(found)).toMatch(/\n {2}input 0 {2}\[5000\] +1 +1 {2}projection /);
  });

  test.runIf(process.env.CHAINRULE_LONG === '1')('checks inputs of 200,000 elements', () => {
    expect(gradcheck((a) => a.square(), randn([200_000], leaf), { fastMode: true })).toMatchObject({ ok: true, checked: 1 });
  });

  test('kinks, empty inputs and second order', () => {
    expect(gradcheck((a) => a.relu(), tensor([0, 1], leaf), { fastMode: true }).resampled).toBeGreaterThan(0);
    expect(gradcheck((a) => a.exp(), ones([0], leaf), { fastMode: true })).toMatchObject({ ok: true, checked: 0 });
    expect(gradgradcheck((a) => a.exp(), tensor([0.5, 1], leaf), { fastMode: true }).checked).toBe(2);
  });
});

describe('ties', () => {
  test('are not reported if an element changes branch along the common direction', () => {
    expect(gradcheck((a) => a.relu().add(a.amax()), tensor([0, 1, 1], leaf)).problems).toEqual([]);
  });

  test('gradients that add up to too little are wrong too', () => {
    const nobody = defineOp({
      name: 'amax',
      forward: (_, x: Tensor) => x.amax(),
      save: (_, [x], [y]) => ({ x, y }),
      backward: (g, { x, y }) => [x.eq(y).to(x.dtype).mul(g).div(x.eq(y).sum().to('float64').square())],
      branch: ([x], [y]) => x.eq(y),
    });
    const found = gradcheck((a) => nobody(a), tensor([3, 3], leaf), report);
    expect(found.ok).toBe(false);
    expect(found.problems[0]).toMatch(
      /^at the kink beside input 0 \[0\]: where all elements move alike no branch changes and the slope is -?[\d.]+, but the gradients add up to -?[\d.]+$/,
    );
    expect(found.diagnosis).toEqual([]);
  });
});

describe('modules', () => {
  const model = (): nn.Sequential => {
    manualSeed(1);
    return new nn.Sequential(
      new nn.Conv2d(2, 3, 3, { padding: 1 }),
      new nn.BatchNorm2d(3, { momentum: null }),
      new nn.ReLU(),
      new nn.Dropout(0.3),
      new nn.Flatten(),
      new nn.Linear(48, 2),
    );
  };

  test('every parameter, by name; running statistics and the generator stay as they were', () => {
    const net = model().to('float64');
    const x = randn([2, 2, 4, 4], { dtype: 'float64' });
    const before = Object.entries(net.stateDict()).map(([name, t]) => [name, t.data()]);
    const loss = net.forward(x).sum();
    // In evaluation mode the graph saves the running statistics.
    const evaluated = net.eval().forward(x).sum();
    net.train();
    const between = Object.entries(net.stateDict()).map(([name, t]) => [name, t.data()]);
    expect(between).not.toEqual(before);
    const found = gradcheck(net, x);
    expect(found.inputs.map((r) => [r.name, r.label, r.checked])).toEqual(net.namedParameters().map(([name, p]) => [name, name, p.numel]));
    expect(Object.entries(net.stateDict()).map(([name, t]) => [name, t.data()])).toEqual(between);
    expect(gradgradcheck(net, x, { fastMode: true }).ok).toBe(true);
    // Graphs that saved parameters and statistics stay valid, as the versions are restored.
    loss.backward();
    evaluated.backward();
  });

  test('inputs that require a gradient are checked too', () => {
    const net = new nn.Linear(3, 2).to('float64');
    expect(gradcheck(net, randn([2, 3], leaf)).inputs.map((r) => r.name)).toEqual(['input 0', 'weight', 'bias']);
  });

  test('a frozen parameter is not', () => {
    const net = new nn.Linear(3, 2).to('float64');
    net.bias!.requiresGrad_(false);
    expect(gradcheck(net, randn([2, 3], { dtype: 'float64' })).inputs.map((r) => r.name)).toEqual(['weight']);
  });

  test('a wrong gradient is named by the parameter’s path', () => {
    class Scale extends nn.Module {
      readonly scale = new nn.Parameter(tensor([1, 2], { dtype: 'float64' }));
      forward(x: Tensor): Tensor {
        return x.mul(squareWith((g, s) => g.mul(s))(this.scale));
      }
    }
    const net = new nn.Sequential(new nn.Linear(2, 2).to('float64'), new Scale());
    const found = gradcheck(net, randn([3, 2], { dtype: 'float64' }), report);
    expect(found.diagnosis).toEqual(['1.scale: the gradient is 0.5 times the right one: a factor 2 is missing']);
    expect(String(found)).toMatch(/\n {2}1\.scale {3}\[2\] +2 +2 {2}\[\d\] /);
    expect(String(found)).toMatch(/\n {2}1\.scale \[0\]: analytic /);
  });

  test('accepts any object with namedParameters and forward', () => {
    const w = tensor([1, 2], leaf);
    const f = { forward: (x: Tensor) => x.mul(w), namedParameters: (): [string, Tensor][] => [['w', w]] };
    expect(gradcheck(f, ones([2], { dtype: 'float64' })).inputs.map((r) => r.name)).toEqual(['w']);
  });

  test('float32 throws, with the name', () => {
    expect(() => gradcheck(model(), ones([2, 2, 4, 4], { dtype: 'float64' }))).toThrow(
      new DTypeError(
        "gradcheck: parameter '0.weight' [3,2,3,3] is float32; finite differences need float64: convert the module with .to('float64')",
      ),
    );
    expect(() => gradcheck(model().to('float64'), ones([2, 2, 4, 4]))).toThrow(
      new DTypeError("gradcheck: input 0 [2,2,4,4] is float32; finite differences need float64: use .to('float64')"),
    );
  });
});

test('options out of range', () => {
  expect(() => gradcheck((a) => a, ones([2], leaf), { nondetTol: -1 })).toThrow(ArgumentError);
});
