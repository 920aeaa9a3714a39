import {
  ArgumentError,
  Generator,
  ShapeError,
  eye,
  manualSeed,
  memory,
  noGrad,
  ones,
  randn,
  rand,
  scope,
  tensor,
  zeros,
  type FloatDType,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';
import { expectClose, fill, fixture, wave } from './fixture.ts';

describe('SqueezeExcite', () => {
  const { keys, small, large } = fixture.squeezeExcite;

  test('PyTorch’s outputs and gradients within 1e-10 (float64)', () => {
    scope(() => {
      const se = fill(new nn.SqueezeExcite(8, { reduction: 4, dtype: 'float64' }));
      const x = wave([2, 8, 3, 3], { requiresGrad: true });
      const y = se.forward(x);
      expectClose(y, small.y);
      y.backward(wave([2, 8, 3, 3], { k: 3 }));
      expectClose(x.grad!, small.dx);
      se.parameters().forEach((p, i) => expectClose(p.grad!, small.grads[i]!));
      se.dispose();
    });
  });

  test.each<[FloatDType, number]>([
    ['float64', 1e-10],
    ['float32', 5e-6],
  ])('on [16,64,32,32] from PyTorch’s state dict: %s within %f', (dtype, tolerance) => {
    scope(() => {
      const state = Object.fromEntries(
        Object.entries(keys).map(([name, shape], k) => [name, wave(shape, { k, scale: shape[1]! ** -0.5 * 1.5 })]),
      );
      const se = new nn.SqueezeExcite(64, { dtype });
      expect(se.loadStateDict(state)).toEqual({ missing: [], unexpected: [] });
      const y = noGrad(() => se.forward(wave([16, 64, 32, 32], { dtype })));
      expect(y.shape).toEqual([16, 64, 32, 32]);
      expectClose(
        y.data().filter((_, i) => i % 20011 === 0),
        large.every,
        tolerance,
      );
      const means = y.mean([2, 3]).data();
      expectClose(
        means.filter((_, i) => i % 8 === 0),
        large.means,
        tolerance,
      );
      se.dispose();
    });
  });

  test('its state-dict keys are those of the PyTorch module', () => {
    const se = new nn.SqueezeExcite(64);
    expect(Object.fromEntries(Object.entries(se.stateDict()).map(([k, t]) => [k, t.shape]))).toEqual(keys);
    expect(Object.keys(new nn.SqueezeExcite(64, { bias: true }).stateDict())).toEqual([
      'fc.0.weight',
      'fc.0.bias',
      'fc.2.weight',
      'fc.2.bias',
    ]);
    expect(new nn.SqueezeExcite(8, { hiddenChannels: 3 }).stateDict()['fc.0.weight']!.shape).toEqual([3, 8]);
  });

  test('squeeze, gate and activation have the effect that their names promise', () => {
    scope(() => {
      const x = wave([2, 4, 3, 3], { dtype: 'float32' });
      const y = (options: nn.SqueezeExciteOptions): Tensor => fill(new nn.SqueezeExcite(4, { reduction: 2, ...options })).forward(x);
      const formula = (z: Tensor, act: (h: Tensor) => Tensor, gate: (h: Tensor) => Tensor): Tensor => {
        const { fc } = fill(new nn.SqueezeExcite(4, { reduction: 2 }));
        const [w1, , w2] = [...fc] as [nn.Linear, nn.Layer, nn.Linear];
        return x.mul(gate(w2.forward(act(w1.forward(z)))).reshape([2, 4, 1, 1]));
      };
      const [mean, max] = [x.mean([2, 3]), x.amax([2, 3])];
      const [relu, sigmoid] = [(h: Tensor) => h.relu(), (h: Tensor) => h.sigmoid()];
      expectClose(y({}), formula(mean, relu, sigmoid).data(), 1e-6);
      expectClose(y({ squeeze: 'max' }), formula(max, relu, sigmoid).data(), 1e-6);
      expectClose(y({ squeeze: 'avg+max' }), formula(mean.add(max), relu, sigmoid).data(), 1e-6);
      expectClose(y({ gate: 'tanh' }), formula(mean, relu, (h) => h.tanh()).data(), 1e-6);
      expectClose(y({ gate: 'relu' }), formula(mean, relu, relu).data(), 1e-6);
      expectClose(y({ gate: 'hardsigmoid' }), formula(mean, relu, (h) => h.add(3).clamp(0, 6).div(6)).data(), 1e-6);
      expectClose(y({ activation: new nn.Tanh() }), formula(mean, (h) => h.tanh(), sigmoid).data(), 1e-6);
    });
  });

  test('errors name both numbers and the remedy', () => {
    expect(() => new nn.SqueezeExcite(16, { gate: 'softmax' as 'relu' })).toThrow(
      new ArgumentError("SqueezeExcite: gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got 'softmax'"),
    );
    expect(() => new nn.SqueezeExcite(8, { hiddenChannels: 0 })).toThrow('SqueezeExcite: hiddenChannels must be a whole number ≥ 1, got 0');
    expect(() => new nn.SqueezeExcite(16).forward(zeros([2, 8, 4, 4]))).toThrow(
      new ShapeError('SqueezeExcite: squeezeExcite: x has 8 channels, expected 16 (x [2,8,4,4])'),
    );
    expect(() => new nn.SqueezeExcite(16).forward(zeros([2, 16]))).toThrow('SqueezeExcite: squeezeExcite: x must be [N,C,H,W], got [2,16]');
  });
});

describe('activations', () => {
  test.each([
    ['LeakyReLU', new nn.LeakyReLU(0.2), (x: Tensor) => F.leakyRelu(x, 0.2)],
    ['ELU', new nn.ELU(0.5), (x: Tensor) => F.elu(x, 0.5)],
    ['GELU', new nn.GELU(), (x: Tensor) => F.gelu(x)],
    ['GELU by tanh', new nn.GELU({ approximate: 'tanh' }), (x: Tensor) => F.gelu(x, { approximate: 'tanh' })],
    ['Softplus', new nn.Softplus({ beta: 2 }), (x: Tensor) => F.softplus(x, { beta: 2 })],
    ['SiLU', new nn.SiLU(), F.silu],
    ['Mish', new nn.Mish(), F.mish],
    ['Hardsigmoid', new nn.Hardsigmoid(), F.hardsigmoid],
    ['Hardswish', new nn.Hardswish(), F.hardswish],
    ['LogSigmoid', new nn.LogSigmoid(), F.logSigmoid],
    ['Softmax', new nn.Softmax(1), (x: Tensor) => F.softmax(x, 1)],
    ['LogSoftmax', new nn.LogSoftmax(-1), (x: Tensor) => F.logSoftmax(x, -1)],
    ['ReLU', new nn.ReLU(), F.relu],
    ['Tanh', new nn.Tanh(), F.tanh],
    ['Sigmoid', new nn.Sigmoid(), F.sigmoid],
  ] as [string, nn.Layer, (x: Tensor) => Tensor][])('%s equals its function and has no state', (_, layer, f) => {
    scope(() => {
      const x = wave([2, 3], { scale: 4 });
      expect([...layer.forward(x).data()]).toEqual([...f(x).data()]);
      expect(layer.stateDict()).toEqual({});
    });
  });
});

describe('PReLU', () => {
  test('one slope of 0.25, or one per channel; they are trained', () => {
    scope(() => {
      expect(new nn.PReLU().weight.toArray()).toEqual([0.25]);
      const layer = new nn.PReLU(3, { init: 0.5, dtype: 'float64' });
      expect([Object.keys(layer.stateDict()), layer.weight.dtype, layer.weight.toArray()]).toEqual([
        ['weight'],
        'float64',
        [0.5, 0.5, 0.5],
      ]);
      const x = wave([2, 3, 2], { scale: 4 });
      expect([...layer.forward(x).data()]).toEqual([...F.prelu(x, layer.weight).data()]);
      layer.forward(x).sum().backward();
      const negative = x.clamp(null, 0).sum([0, 2]);
      expectClose(layer.weight.grad!, negative.data());
      expect(() => new nn.PReLU(0)).toThrow(new ArgumentError('PReLU: numParameters must be a whole number ≥ 1, got 0'));
      layer.dispose();
    });
  });
});

describe('BatchNorm2d', () => {
  test.each(fixture.batchNorm.map((c) => [JSON.stringify(c.options), c] as const))(
    'PyTorch’s statistics, outputs and gradients within 1e-10 (float64): %s',
    (_, c) => {
      scope(() => {
        const bn = fill(new nn.BatchNorm2d(3, { ...c.options, dtype: 'float64' }));
        c.training.forEach((batch, step) => {
          const x = wave([2, 3, 2, 2], { k: step, scale: 1 + step, offset: step, requiresGrad: true });
          const y = bn.forward(x);
          expectClose(y, batch.y);
          y.backward(wave([2, 3, 2, 2], { k: 3 }));
          expectClose(x.grad!, batch.dx);
        });
        bn.eval();
        bn.zeroGrad();
        const x = wave([2, 3, 2, 2], { k: 9, requiresGrad: true });
        const y = bn.forward(x);
        expectClose(y, c.evaluated);
        y.backward(wave([2, 3, 2, 2], { k: 3 }));
        expectClose(x.grad!, c.dx);
        bn.parameters().forEach((p, i) => expectClose(p.grad!, c.grads[i]!));
        const state = bn.stateDict();
        expect(Object.keys(state)).toEqual(Object.keys(c.state));
        for (const [name, want] of Object.entries(c.state)) expectClose(state[name]!, want);
        bn.dispose();
      });
    },
  );

  test('num_batches_tracked is int32 [], counts training batches, and does not change when a forward throws', () => {
    scope(() => {
      const bn = new nn.BatchNorm2d(2);
      const count = bn.num_batches_tracked!;
      expect([count.dtype, count.shape]).toEqual(['int32', []]);
      bn.forward(randn([2, 2, 3, 3]));
      expect(() => bn.forward(randn([1, 2, 1, 1]))).toThrow(
        'BatchNorm2d: batchNorm: training needs more than 1 value per channel, got 1 (x [1,2,1,1])',
      );
      expect(() => bn.forward(randn([1, 3, 2, 2]))).toThrow('BatchNorm2d: batchNorm2d: x must be [N,C,H,W] with 2 channels, got [1,3,2,2]');
      bn.eval().forward(randn([2, 2, 3, 3]));
      expect(count.item()).toBe(1);
      bn.dispose();
    });
  });

  test('replacing a buffer by a plain tensor throws and names copy_', () => {
    const bn = new nn.BatchNorm2d(2);
    const before = bn.running_mean;
    expect(() => (bn.running_mean = zeros([2]))).toThrow(
      new ArgumentError(
        'BatchNorm2d.running_mean is a buffer: write into it with running_mean.copy_(t) under noGrad, or put nn.buffer(t) in its place',
      ),
    );
    expect(bn.running_mean).toBe(before);
    bn.running_mean = nn.buffer(ones([2]));
    expect(bn.stateDict().running_mean!.toArray()).toEqual([1, 1]);
  });
});

describe('the other layers', () => {
  test('equal their functions', () => {
    scope(() => {
      const x = randn([2, 4, 6, 6]);
      expect(new nn.Conv2d(4, 6, [3, 2], { stride: 2, padding: 1, groups: 2 }).forward(x).shape).toEqual([2, 6, 3, 4]);
      expect(new nn.Conv2d(4, 6, 3, { padding: 'same' }).forward(x.select(0, 0)).shape).toEqual([6, 6, 6]);
      expect(new nn.MaxPool2d(3, { stride: 1 }).forward(x).shape).toEqual([2, 4, 4, 4]);
      expect(new nn.AvgPool2d(2).forward(x).shape).toEqual([2, 4, 3, 3]);
      expect(new nn.AdaptiveAvgPool2d([null, 2]).forward(x).shape).toEqual([2, 4, 6, 2]);
      expect(new nn.Flatten().forward(x).shape).toEqual([2, 144]);
      expect(new nn.Flatten(0, 1).forward(x).shape).toEqual([8, 6, 6]);
      expect(new nn.Identity().forward(x)).toBe(x);
      const v = tensor([-2, 0, 1]);
      expect(new nn.ReLU().forward(v).toArray()).toEqual([0, 0, 1]);
      expectClose(new nn.Tanh().forward(v), [-2, 0, 1].map(Math.tanh), 1e-6);
      expectClose(
        new nn.Sigmoid().forward(v),
        [-2, 0, 1].map((u) => 1 / (1 + Math.exp(-u))),
        1e-6,
      );
    });
  });

  test('Dropout drops in training only, by the default generator or its own', () => {
    scope(() => {
      const x = ones([1000]);
      const drop = new nn.Dropout(0.5);
      manualSeed(5);
      const first = drop.forward(x).data();
      manualSeed(5);
      expect(drop.forward(x).data()).toEqual(first);
      expect(new nn.Dropout(0.5, { generator: new Generator(5) }).forward(x).data()).toEqual(first);
      expect(drop.eval().forward(x)).toBe(x);
      expect(() => new nn.Dropout(-1)).toThrow('Dropout: p must be from 0 to 1, got -1');
    });
  });

  test('Sequential iterates, counts and indexes its layers', () => {
    const layers = [new nn.ReLU(), new nn.Identity(), new nn.Tanh()];
    const s = new nn.Sequential(...layers);
    expect([...s]).toEqual(layers);
    expect(s.length).toBe(3);
    expect([s[0], s.at(-1), s.at(3)]).toEqual([layers[0], layers[2], undefined]);
    expect(s.namedChildren().map(([name]) => name)).toEqual(['0', '1', '2']);
  });

  test('Sequential under noGrad frees the outputs of its layers in this call, and nothing else', () => {
    class Residual extends nn.Sequential {
      override forward(x: Tensor): Tensor {
        const h = x.mul(2);
        return super.forward(h).add(h);
      }
    }
    class Twice extends nn.Module {
      forward(x: Tensor): Tensor {
        return x.mul(2);
      }
    }
    const layers = (): nn.Layer[] => [new nn.Identity(), new Twice(), new nn.Identity(), new Twice(), new Twice()];
    noGrad(() => {
      expect(new Residual(...layers()).forward(tensor([1])).toArray()).toEqual([18]);
      expect(new nn.Sequential(new Residual(...layers()), new Residual()).forward(tensor([1])).toArray()).toEqual([72]);
    });
  });

  test('sizes are checked', () => {
    expect(() => new nn.Linear(0, 2)).toThrow('Linear: inFeatures must be a whole number ≥ 1, got 0');
    expect(() => new nn.Conv2d(3, 4, 3, { groups: 2 })).toThrow('Conv2d: 3 input and 4 output channels must divide into 2 groups');
    expect(() => new nn.Conv2d(3, 4, 0)).toThrow('Conv2d: kernel must be a whole number ≥ 1 or a pair of them, got 0');
  });
});

describe('initialisation', () => {
  /** Expects draws from U(−k, k): bounds, and mean and standard deviation within 5 standard errors. */
  const expectUniform = (t: Tensor, k: number): void => {
    const values = Array.from(t.data());
    const n = values.length;
    const mean = values.reduce((a, b) => a + b, 0) / n;
    const std = Math.sqrt(values.reduce((a, b) => a + b * b, 0) / n);
    expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(Math.fround(k));
    expect(Math.abs(mean)).toBeLessThan((5 * k) / Math.sqrt(3 * n));
    // The standard deviation of n uniform numbers has a relative standard error of √(0.2 / n).
    expect(Math.abs(std / (k / Math.sqrt(3)) - 1)).toBeLessThan(5 * Math.sqrt(0.2 / n));
  };

  test('Linear and Conv2d: U(−k, k), k = 1/√fanIn', () => {
    manualSeed(1);
    const linear = new nn.Linear(64, 100);
    expectUniform(linear.weight, 1 / 8);
    expectUniform(linear.bias!, 1 / 8);
    const conv = new nn.Conv2d(16, 40, [3, 2], { groups: 2 });
    expectUniform(conv.weight, 1 / Math.sqrt(48));
    expectUniform(conv.bias!, 1 / Math.sqrt(48));
  });

  test('kaiming and xavier: PyTorch’s bounds and deviations', () => {
    manualSeed(2);
    const w = zeros([50, 20, 3, 3]);
    expectUniform(nn.init.kaimingUniform_(w, { a: Math.sqrt(5) }), 1 / Math.sqrt(180));
    expectUniform(nn.init.kaimingUniform_(w, { nonlinearity: 'relu', mode: 'fanOut' }), Math.sqrt(6 / 450));
    expectUniform(nn.init.xavierUniform_(w, 2), 2 * Math.sqrt(6 / (180 + 450)));
    expectUniform(nn.init.uniform_(w, -2, 2), 2);
    const deviation = (t: Tensor): number => t.std().item();
    expect(deviation(nn.init.kaimingNormal_(w, { nonlinearity: 'relu' })) / Math.sqrt(2 / 180)).toBeCloseTo(1, 1);
    expect(deviation(nn.init.xavierNormal_(w)) / Math.sqrt(2 / 630)).toBeCloseTo(1, 1);
    expect(deviation(nn.init.normal_(w, 3, 0.5)) / 0.5).toBeCloseTo(1, 1);
    expect(nn.init.ones_(w).mean().item()).toBe(1);
    expect(nn.init.zeros_(w).mean().item()).toBe(0);
    expect((['linear', 'conv2d', 'sigmoid', 'tanh', 'relu', 'selu'] as const).map((n) => nn.init.calculateGain(n))).toEqual([
      1,
      1,
      1,
      5 / 3,
      Math.SQRT2,
      3 / 4,
    ]);
    expect(() => nn.init.calculateGain('swish' as 'relu')).toThrow(new ArgumentError("calculateGain: unknown nonlinearity 'swish'"));
    expect(nn.init.calculateGain('leakyRelu', 0.2)).toBe(Math.sqrt(2 / 1.04));
    expect(() => nn.init.kaimingUniform_(zeros([3]))).toThrow('calculateFan: a weight needs at least 2 dims, got shape [3]');
  });

  test('truncNormal_: the normal distribution between its bounds', () => {
    manualSeed(3);
    const w = zeros([200, 100]);
    const check = (mean: number, std: number, a: number, b: number, moments: [number, number]): void => {
      const t = nn.init.truncNormal_(w, mean, std, a, b);
      const n = t.numel;
      expect([t.amin().item() >= Math.fround(a), t.amax().item() <= Math.fround(b)]).toEqual([true, true]);
      expect(Math.abs(t.mean().item() - moments[0])).toBeLessThan((5 * moments[1]) / Math.sqrt(n));
      expect(Math.abs(t.std().item() / moments[1] - 1)).toBeLessThan(5 / Math.sqrt(2 * n));
    };
    // Mean and deviation by the formula μ + σ (φ(α) − φ(β)) / Z, …, α and β the bounds in deviations from the mean.
    check(0, 1, -2, 2, [0, 0.8796256610342398]);
    check(1, 2, 0, 2, [1, 0.5677645800886548]);
    check(0, 0.02, -2, 2, [0, 0.02]);
    check(0, 1, 1, Infinity, [1.5251352761609812, 0.44620361447476947]);
  });

  test('eye_ and dirac_ pass their input through', () => {
    scope(() => {
      const m = nn.init.eye_(ones([2, 3]));
      expect(m.toArray()).toEqual([
        [1, 0, 0],
        [0, 1, 0],
      ]);
      const x = wave([2, 4, 5, 6]);
      const w = nn.init.dirac_(ones([4, 4, 3, 3], { dtype: 'float64' }));
      expectClose(F.conv2d(x, w, null, { padding: 1 }), x.data());
      // Two groups of two channels each.
      const grouped = nn.init.dirac_(ones([4, 2, 3, 3], { dtype: 'float64' }), 2);
      expectClose(F.conv2d(x, grouped, null, { padding: 1, groups: 2 }), x.data());
      // As torch.nn.init.dirac_: further outputs are 0, even kernels have their centre at ⌊k/2⌋.
      const uneven = nn.init.dirac_(ones([3, 2, 4]));
      expect([...uneven.data()].flatMap((v, i) => (v === 0 ? [] : [[i, v]]))).toEqual([
        [2, 1],
        [14, 1],
      ]);
      expect(() => nn.init.eye_(ones([2]))).toThrow(new ShapeError('eye_: expected 2 dims, got shape [2]'));
      expect(() => nn.init.dirac_(ones([3, 2]))).toThrow(
        new ShapeError('dirac_: expected 3 to 5 dims, the first a multiple of 1 groups, got shape [3,2]'),
      );
      expect(() => nn.init.dirac_(ones([3, 2, 3]), 2)).toThrow(
        new ShapeError('dirac_: expected 3 to 5 dims, the first a multiple of 2 groups, got shape [3,2,3]'),
      );
    });
  });

  test('orthogonal_: rows, or columns where there are fewer, are orthogonal and of length gain', () => {
    scope(() => {
      for (const dtype of ['float64', 'float32'] as const) {
        for (const shape of [
          [3, 5],
          [64, 64],
          [40, 7],
          [4, 2, 3, 3],
          [20, 2, 1, 3],
          [1, 4],
          [4, 1],
          [0, 3],
        ]) {
          const t = zeros(shape, { dtype });
          expect(nn.init.orthogonal_(t, 1.5)).toBe(t);
          const m = t.flatten(1).to('float64');
          const [wide, k] = m.size(0) <= m.size(1) ? [m, m.size(0)] : [m.transpose(0, 1), m.size(1)];
          expectClose(wide.matmul(wide.transpose(0, 1)), eye(k).mul(2.25).data(), dtype === 'float64' ? 1e-12 : 1e-6);
        }
      }
      const draw = (): number[] => [...nn.init.orthogonal_(zeros([3, 4]), 1, { generator: new Generator(5) }).data()];
      expect(draw()).toEqual(draw());
      // Uniform over all such matrices: every element has mean 0 and variance 1/4.
      const first = Array.from({ length: 400 }, () =>
        scope(() =>
          nn.init
            .orthogonal_(zeros([3, 4]))
            .select(0, 1)
            .data(),
        ),
      );
      for (let d = 0; d < 4; d++) {
        expect(Math.abs(first.reduce((s, q) => s + q[d]!, 0) / 400)).toBeLessThan(0.1);
        expect(Math.abs(first.reduce((s, q) => s + q[d]! ** 2, 0) / 400 - 0.25)).toBeLessThan(0.05);
      }
      expect(() => nn.init.orthogonal_(zeros([3]))).toThrow(new ShapeError('orthogonal_: expected at least 2 dims, got shape [3]'));
    });
  });

  test('one seed determines the model; float32 is float64 rounded; an own generator leaves the default one unchanged', () => {
    const values = (dtype: FloatDType): number[] => {
      manualSeed(11);
      return new nn.Conv2d(3, 8, 3, { dtype }).parameters().flatMap((p) => Array.from(p.data()));
    };
    expect(values('float32')).toEqual(values('float64').map(Math.fround));
    expect(values('float64')).not.toEqual(values('float32'));
    manualSeed(11);
    const own = new nn.Linear(3, 4, { generator: new Generator(1) });
    expect(rand([3]).data()).toEqual((manualSeed(11), rand([3]).data()));
    expect(own.weight.data()).not.toEqual(new nn.Linear(3, 4, { generator: new Generator(2) }).weight.data());
  });

  test('creating and disposing of a layer leaves memory as it was', () => {
    const before = memory();
    for (const layer of [new nn.SqueezeExcite(64), new nn.BatchNorm2d(8), new nn.Conv2d(3, 4, 3)]) layer.dispose();
    expect(memory().bytes).toBe(before.bytes);
    expect(memory().tensors).toBe(before.tensors);
  });
});
