import { readFileSync } from 'node:fs';
import { Generator, cat, grad, gradcheck, gradgradcheck, manualSeed, ones, randn, scope, tensor, zeros, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fill, wave } from './fixture.ts';

// Outputs, gradients, buffers and state dicts of layers are PyTorch's: the fixture that test/fixtures/make-layers.py wrote.

interface Step {
  readonly y: readonly (readonly [shape: number[], values: number[]])[];
  readonly grads: readonly number[][];
}

interface Case {
  readonly name: keyof typeof nn;
  readonly args: readonly unknown[];
  /** Null for layers without options. */
  readonly options: object | null;
  readonly shapes: readonly number[][];
  readonly steps: readonly Step[];
  readonly state: Readonly<Record<string, number[]>>;
  readonly buffers: Readonly<Record<string, number[]>>;
}

interface MaskCase {
  readonly masks: Readonly<
    Record<'attn_mask' | 'key_padding_mask', [dtype: 'bool' | 'float64', shape: number[], values: number[]] | undefined>
  >;
  readonly y: number[];
  readonly grads: number[][];
}

const { cases, masks } = JSON.parse(readFileSync(new URL('../fixtures/layers.json', import.meta.url), 'utf8')) as {
  cases: Case[];
  masks: MaskCase[];
};

type AnyModule = nn.Module & { forward(...xs: Tensor[]): unknown };

const tensorsOf = (value: unknown): Tensor[] => (Array.isArray(value) ? value.flatMap(tensorsOf) : [value as Tensor]);

function make({ name, args, options }: Case): AnyModule {
  const isFunction = name === 'Upsample' || options === null;
  const given = isFunction ? options : { ...options, dtype: 'float64' };
  return Reflect.construct(Reflect.get(nn, name) as new () => AnyModule, given === null ? args : [...args, given]) as AnyModule;
}

function checkStep(module: AnyModule, { shapes }: Case, step: number, { y: wanted, grads }: Step): void {
  const xs = shapes.map((s, k) => wave(s, { k: step + 2 * k, requiresGrad: true }));
  const ys = tensorsOf(module instanceof nn.LSTM && xs.length === 3 ? module.forward(xs[0]!, [xs[1]!, xs[2]!]) : module.forward(...xs));
  expect(ys.map((y) => y.shape)).toEqual(wanted.map(([shape]) => shape));
  ys.forEach((y, j) => expectClose(y, wanted[j]![1]));
  const gradOutputs = ys.map((y, j) => wave([...y.shape], { k: 3 + j }));
  const found = grad(ys, [...xs, ...module.parameters()], { gradOutputs });
  expect(found.length).toBe(grads.length);
  found.forEach((g, i) => expectClose(g, grads[i]!));
}

describe('agrees with PyTorch', () => {
  test.each(cases.map((c, i) => [`${i}: ${c.name} ${JSON.stringify(c.args)} ${JSON.stringify(c.options)}`, c] as const))('%s', (_, c) => {
    scope(() => {
      const module = fill(make(c));
      const state = module.stateDict();
      expect(Object.fromEntries(Object.entries(state).map(([k, t]) => [k, t.shape]))).toEqual(c.state);
      [0, 1, 9].forEach((step, i) => checkStep(step === 9 ? module.eval() : module, c, step, c.steps[i]!));
      for (const [name, values] of Object.entries(c.buffers)) expectClose(state[name]!, values);
      module.dispose();
    });
  });
});

describe('MultiheadAttention', () => {
  test.each(masks.map((c, i) => [`${i}: ${Object.keys(c.masks).join(', ')}`, c] as const))('masks as PyTorch’s %s', (_, c) => {
    scope(() => {
      const module = fill(new nn.MultiheadAttention(4, 2, { dtype: 'float64' }));
      const [q, kv] = [wave([2, 3, 4], { requiresGrad: true }), wave([2, 5, 4], { k: 2, requiresGrad: true })];
      const [attnMask, keyPaddingMask] = (['attn_mask', 'key_padding_mask'] as const).map((name) => {
        const given = c.masks[name];
        return given === undefined ? null : tensor(given[2], { shape: given[1], dtype: given[0] });
      }) as [Tensor | null, Tensor | null];
      const y = module.forward(q, kv, kv, { attnMask, keyPaddingMask });
      expectClose(y, c.y);
      const found = grad(y, [q, kv, ...module.parameters()], { gradOutputs: wave([2, 3, 4], { k: 3 }) });
      found.forEach((g, i) => expectClose(g, c.grads[i]!));
      module.dispose();
    });
  });

  test('isCausal is a triangular mask, and what is later has no influence', () => {
    scope(() => {
      const module = new nn.MultiheadAttention(6, 3, { dtype: 'float64' });
      const x = wave([1, 4, 6]);
      const y = module.forward(x, x, x, { isCausal: true });
      const later = ones([4, 4]).triu(1).to('bool');
      expectClose(module.forward(x, x, x, { attnMask: later }), y.data(), 1e-15);
      expectClose(module.forward(x.slice(1, 0, 2), undefined, undefined, { isCausal: true }), y.slice(1, 0, 2).data(), 1e-14);
      module.dispose();
    });
  });

  test('drops weights in training only, by its generator', () => {
    scope(() => {
      const module = new nn.MultiheadAttention(4, 2, { dropout: 0.5, generator: new Generator(1) });
      const x = randn([2, 3, 4]);
      expect(module.forward(x).toArray()).not.toEqual(module.forward(x).toArray());
      module.eval();
      expect(module.forward(x).toArray()).toEqual(module.forward(x).toArray());
      module.dispose();
    });
  });

  test('names what is wrong', () => {
    scope(() => {
      const module = new nn.MultiheadAttention(4, 2);
      const x = zeros([2, 3, 4]);
      const says = (act: () => unknown, message: string): void => expect(act).toThrow(message);
      says(() => new nn.MultiheadAttention(4, 3), 'MultiheadAttention: embedDim 4 does not divide into 3 heads');
      says(
        () => module.forward(zeros([3, 4])),
        'multiheadAttention: query must be [N,L,4], key and value [N,S,4] (query [3,4], key [3,4], value [3,4])',
      );
      says(() => module.forward(x, x, zeros([2, 2, 4])), 'multiheadAttention: query must be [N,L,4], key and value [N,S,4]');
      const wrong = zeros([2, 2], { dtype: 'bool' });
      says(() => module.forward(x, x, x, { attnMask: wrong }), 'multiheadAttention: attnMask must be [3,3] or [4,3,3], got [2,2]');
      says(() => module.forward(x, x, x, { keyPaddingMask: wrong }), 'multiheadAttention: keyPaddingMask must be [2,3], got [2,2]');
      says(
        () => module.forward(x, x, x, { keyPaddingMask: zeros([2, 3]) }),
        'multiheadAttention: keyPaddingMask must be bool, got float32',
      );
      module.dispose();
    });
  });
});

describe('scaledDotProductAttention', () => {
  test('a query without keys gives 0, and finite gradients', () => {
    scope(() => {
      const [q, k, v] = [0, 1, 2].map((n) => wave([1, 3, 2], { k: n, requiresGrad: true })) as [Tensor, Tensor, Tensor];
      const attnMask = tensor([
        [true, false, true],
        [false, false, false],
        [true, true, true],
      ]);
      const y = F.scaledDotProductAttention(q, k, v, { attnMask });
      expect(y.select(1, 1).toArray()).toEqual([[0, 0]]);
      for (const g of grad(y.sum(), [q, k, v])) expect(g.isfinite().all().item()).toBe(1);
    });
  });

  test('names what is wrong', () => {
    scope(() => {
      const x = zeros([2, 3, 4]);
      const says = (options: object, message: string): void =>
        expect(() => F.scaledDotProductAttention(x, x, x, options)).toThrow(`scaledDotProductAttention: ${message}`);
      says({ attnMask: zeros([3, 3], { dtype: 'bool' }), isCausal: true }, 'give either attnMask or isCausal');
      says({ attnMask: zeros([3, 3], { dtype: 'int32' }) }, 'attnMask must be bool or float32, got int32');
      says({ attnMask: zeros([5, 1, 3, 3], { dtype: 'bool' }) }, 'attnMask [5,1,3,3] does not broadcast to the scores [2,3,3]');
      expect(() => F.scaledDotProductAttention(x, zeros([2, 3, 5]), x)).toThrow(
        'scaledDotProductAttention: q must be [B…,L,D], k [B…,S,D] and v [B…,S,E] (q [2,3,4], k [2,3,5], v [2,3,4])',
      );
      expect(() => F.scaledDotProductAttention(x, x.to('float64'), x)).toThrow(
        'scaledDotProductAttention: q, k and v must have the same float dtype, got float32, float64 and float32',
      );
    });
  });
});

describe('CBAM and ScSE', () => {
  test.each([nn.CBAM, nn.ScSE])('$name: gradients of both orders', (Block) => {
    scope(() => {
      const module = fill(new Block(4, { reduction: 2, dtype: 'float64' }));
      const inputs = [wave([2, 4, 3, 2], { requiresGrad: true }), ...module.parameters()];
      const fn = (x: Tensor): Tensor => module.forward(x);
      expect(gradcheck(fn, inputs).ok).toBe(true);
      expect(gradgradcheck(fn, inputs).ok).toBe(true);
      module.dispose();
    });
  });

  test('recordExcitations finds the scales of their channels', () => {
    const net = new nn.Sequential(new nn.CBAM(4, { reduction: 2 }), new nn.ScSE(4));
    const found = nn.recordExcitations(net, [[ones([2, 4, 3, 3]), tensor([0, 1], { dtype: 'int32' })]]);
    expect(found.map(({ block }) => block)).toEqual(['0.channel', '1.channel']);
    net.dispose();
  });

  test('name what is wrong', () => {
    scope(() => {
      expect(() => new nn.CBAM(16, { kernelSize: 4 })).toThrow('CBAM: kernelSize must be odd, got 4');
      expect(() => new nn.ScSE(4, { reduction: 0 })).toThrow('ScSE: reduction must be a whole number ≥ 1, got 0');
      expect(() => new nn.CBAM(16).forward(ones([1, 4, 2, 2]))).toThrow('cbam: x has 4 channels, expected 16 (x [1,4,2,2])');
      expect(() => new nn.ScSE(16).forward(ones([4, 2, 2]))).toThrow('scSE: x must be [N,C,H,W] with 16 channels, got [4,2,2]');
    });
  });
});

describe('GRU and LSTM', () => {
  test.each([nn.GRU, nn.LSTM])('$name: gradients of both orders', (Recurrent) => {
    scope(() => {
      const module = new Recurrent(2, 2, { numLayers: 2, bidirectional: true, dtype: 'float64' });
      const last = (x: Tensor): Tensor => module.forward(x)[0];
      const x = wave([1, 3, 2], { requiresGrad: true });
      expect(gradcheck(last, x).ok).toBe(true);
      expect(gradgradcheck(last, x).ok).toBe(true);
      module.dispose();
    });
  });

  test('a sequence in two parts gives what it gives at once', () => {
    scope(() => {
      const module = new nn.LSTM(2, 3, { numLayers: 2, dtype: 'float64' });
      const x = wave([2, 6, 2]);
      const [whole, [h, c]] = module.forward(x);
      const [first, state] = module.forward(x.slice(1, 0, 4));
      const [second, [lastH, lastC]] = module.forward(x.slice(1, 4), state);
      expect(cat([first, second], 1).toArray()).toEqual(whole.toArray());
      expect([lastH.toArray(), lastC.toArray()]).toEqual([h.toArray(), c.toArray()]);
      module.dispose();
    });
  });

  test('dropout acts between the layers, in training', () => {
    scope(() => {
      const module = new nn.GRU(2, 4, { numLayers: 2, dropout: 0.5, generator: new Generator(2) });
      const x = randn([2, 3, 2]);
      expect(module.forward(x)[0].toArray()).not.toEqual(module.forward(x)[0].toArray());
      module.eval();
      expect(module.forward(x)[0].toArray()).toEqual(module.forward(x)[0].toArray());
      module.dispose();
    });
  });

  test('the summary counts its products', () => {
    const module = new nn.GRU(2, 3);
    expect(module.summary([4, 5, 2])).toMatch(/GRU +\[4,5,3\] +63 +900/);
    module.dispose();
  });

  test('name what is wrong', () => {
    scope(() => {
      const [gru, lstm] = [new nn.GRU(2, 3), new nn.LSTM(2, 3)];
      const says = (act: () => unknown, message: string): void => expect(act).toThrow(message);
      says(() => gru.forward(zeros([2, 2])), 'gru: x must be [N,T,2] with T ≥ 1, got [2,2]');
      says(() => gru.forward(zeros([2, 0, 2])), 'gru: x must be [N,T,2] with T ≥ 1, got [2,0,2]');
      says(() => gru.forward(zeros([2, 4, 2]), zeros([1, 2, 4])), 'gru: h must be [1,2,3], got [1,2,4]');
      says(() => gru.forward(zeros([2, 4, 2], { dtype: 'float64' })), 'gru: x is float64, the weights of GRU float32; they must be equal');
      says(() => lstm.forward(zeros([2, 4, 2]), zeros([1, 2, 3]) as never), 'lstm: state must be a list of h and c');
      says(() => lstm.forward(zeros([2, 4, 2]), [zeros([1, 2, 3]), zeros([1, 1, 3])]), 'lstm: c must be [1,2,3], got [1,1,3]');
      says(
        () => new nn.GRU(2, 3, { dropout: 0.5 }),
        'GRU: dropout acts between layers, and there is one; give numLayers or leave dropout out',
      );
      says(() => new nn.LSTM(2, 0), 'LSTM: hiddenSize must be a whole number ≥ 1, got 0');
      gru.dispose();
      lstm.dispose();
    });
  });
});

describe('convolutions, norms and pools name what is wrong', () => {
  const x = (...shape: number[]): Tensor => zeros(shape);
  test.each<[act: () => unknown, message: string]>([
    [() => F.conv1d(x(3, 2), x(1, 2, 1)), 'conv1d: x has 3 channels, w expects 2 (x [1,3,2], w [1,2,1])'],
    [() => F.conv1d(x(2), x(1, 2, 1)), 'conv1d: x must be [N,C,L] or [C,L], got [2]'],
    [() => F.conv1d(x(1, 2, 3), x(1, 2, 1, 1)), 'conv1d: x must be [N,C,L] or [C,L] and w [O,C/groups,K] (x [1,2,3], w [1,2,1,1])'],
    [
      () => F.conv1d(x(1, 2, 3), x(1, 2, 4)),
      'conv1d: the dilated kernel is longer than the padded input: output [0] (x [1,2,3], w [1,2,4])',
    ],
    [() => F.conv1d(x(1, 2, 3), x(1, 2, 2), null, { padding: 'same', stride: 2 }), "conv1d: padding 'same' needs stride 1, got 2"],
    [
      () => F.conv1d(x(1, 2, 3), x(1, 2, 2), null, { padding: -1 }),
      "conv1d: padding must be a whole number ≥ 0, 'same' or 'valid', got -1",
    ],
    [() => new nn.Conv1d(3, 4, 2, { groups: 2 }), 'Conv1d: 3 input and 4 output channels must divide into 2 groups'],
    [() => new nn.ConvTranspose2d(3, 4, 2, { groups: 2 }), 'ConvTranspose2d: 3 input and 4 output channels must divide into 2 groups'],
    [() => new nn.BatchNorm1d(3).forward(x(2, 3, 4, 4)), 'batchNorm1d: x must be [N,C] or [N,C,L] with 3 channels, got [2,3,4,4]'],
    [() => new nn.BatchNorm1d(3).forward(x(2, 4)), 'batchNorm1d: x must be [N,C] or [N,C,L] with 3 channels, got [2,4]'],
    [() => new nn.InstanceNorm2d(3).forward(x(2, 3, 4)), 'instanceNorm2d: x must be [N,C,H,W] with 3 channels, got [2,3,4]'],
    [() => F.instanceNorm(x(2, 3, 1, 1)), 'instanceNorm: more than 1 value per channel of an image is needed (x [2,3,1,1])'],
    [
      () => F.instanceNorm(x(2, 3, 4), { useInputStats: false }),
      'instanceNorm: runningMean and runningVar are needed when useInputStats is false',
    ],
    [() => F.adaptiveMaxPool2d(x(1, 2, 3, 3), 0), 'adaptiveMaxPool2d: size must be'],
    [() => F.adaptiveMaxPool2d(x(1, 2, 0, 3), 1), 'adaptiveMaxPool2d: nothing to pool in x [1,2,0,3]'],
    [() => F.huberLoss(x(2), x(2), { delta: 0 }), 'huberLoss: delta must be above 0, got 0'],
    [() => F.interpolate(x(1, 1, 2, 2), { size: 3, alignCorners: true }), "interpolate: alignCorners needs mode 'bilinear'"],
    [() => F.interpolate(x(1, 1, 2), { size: 3, mode: 'bilinear' }), "interpolate: x must be [N,C,H,W] for mode 'bilinear', got [1,1,2]"],
    [() => x(2, 0).norm(3.5, 1).sum().item() || x(2, 0).norm(-1, 1), 'amin: nothing to choose from along dims [1] of x [2,0]'],
  ])('%#: %s', (act, message) => {
    expect(() => scope(act)).toThrow(message);
  });
});

test('normalisations of images without channels are empty', () => {
  const x = zeros([2, 0, 3, 3]);
  for (const y of [F.instanceNorm(x), F.groupNorm(x, 1), F.batchNorm(x, { training: true })]) expect(y.shape).toEqual(x.shape);
});

test('norm of any p neither overflows nor underflows', () => {
  scope(() => {
    for (const scale of [1e30, 1e-30]) {
      const x = tensor([3, -4, 12]).mul(scale).detach().requiresGrad_();
      for (const p of [0.5, 3, 7.5, -2]) {
        const want = [3, 4, 12].map((v) => v ** p).reduce((a, b) => a + b) ** (1 / p);
        const y = x.norm(p);
        expect(Math.abs(y.item() / scale / want - 1)).toBeLessThan(1e-6);
        const wanted = [3, -4, 12].map((v) => Math.sign(v) * (Math.abs(v) / want) ** (p - 1));
        expectClose(grad(y, x), wanted, 1e-6);
      }
    }
  });
});

test('the multiply-adds of a transposed convolution are those of its pixels', () => {
  const layer = new nn.ConvTranspose2d(2, 6, 3, { stride: 2, groups: 2 });
  expect(layer.summary([1, 2, 4, 5])).toMatch(/ConvTranspose2d +\[1,6,9,11\] +60 +1,080/);
  layer.dispose();
});

describe('module.requiresGrad_', () => {
  test('freezes the tree, and an optimizer leaves what is frozen as it is', () => {
    manualSeed(1);
    const net = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Linear(4, 2));
    const [body, norm, head] = net as Iterable<nn.Layer> as unknown as [nn.Linear, nn.BatchNorm1d, nn.Linear];
    expect(body.requiresGrad_(false)).toBe(body);
    norm.requiresGrad_(false);
    const before = Array.from(body.weight.data());
    const optimizer = new SGD(net.parameters(), { lr: 0.1 });
    F.mseLoss(net.forward(randn([5, 3])), randn([5, 2])).backward();
    optimizer.step();
    expect([body.weight.grad, norm.weight!.grad, head.weight.grad === null]).toEqual([null, null, false]);
    expect(Array.from(body.weight.data())).toEqual(before);
    expect(norm.num_batches_tracked!.item()).toBe(1);
    net.requiresGrad_();
    expect(net.parameters().every((p) => p.requiresGrad)).toBe(true);
    net.dispose();
  });

  test('takes true and false only', () => {
    const layer = new nn.Linear(2, 2);
    expect(() => layer.requiresGrad_('no' as never)).toThrow("requiresGrad_: flag must be true or false, got 'no'");
    layer.dispose();
  });
});
