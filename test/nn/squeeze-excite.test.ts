import { readFileSync } from 'node:fs';
import {
  ArgumentError,
  ShapeError,
  StateDictError,
  gradcheck,
  gradgradcheck,
  memory,
  noGrad,
  ones,
  scope,
  tensor,
  zeros,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { expectClose, fill, wave } from './fixture.ts';

// Channel attention against PyTorch: test/fixtures/make-se.py.

interface GateCase {
  channels: number;
  shape: number[];
  options: { activation?: string } & Record<string, unknown>;
  keys: Record<string, number[]>;
  y: number[];
  dx: number[];
  grads: number[][];
}

interface LoadingCase {
  name: 'plain' | 'torchvision' | 'timm' | 'timm EfficientNet';
  keys: Record<string, number[]>;
  y: number[];
  modelKeys: Record<string, number[]>;
  modelY: number[];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/se.json', import.meta.url), 'utf8')) as {
  squeezeExcite: GateCase[];
  eca: GateCase[];
  effectiveSE: GateCase[];
  loading: LoadingCase[];
};

afterEach(() => {
  vi.restoreAllMocks();
});

const ACTIVATIONS = { ReLU: nn.ReLU, SiLU: nn.SiLU, Tanh: nn.Tanh };

function squeezeExcite(channels: number, { activation, ...options }: GateCase['options']): nn.SqueezeExcite {
  const layer = activation === undefined ? {} : { activation: new ACTIVATIONS[activation as 'ReLU']() };
  return new nn.SqueezeExcite(channels, { ...options, ...layer, dtype: 'float64' });
}

const KINDS = [
  ['SqueezeExcite', fixture.squeezeExcite, squeezeExcite],
  ['ECA', fixture.eca, (c: number, options: object) => new nn.ECA(c, { ...options, dtype: 'float64' })],
  ['EffectiveSE', fixture.effectiveSE, (c: number, options: object) => new nn.EffectiveSE(c, { ...options, dtype: 'float64' })],
] as const;

describe.each(KINDS)('%s', (_, cases, make) => {
  test.each(cases.map((c) => [`${c.channels} channels, ${JSON.stringify(c.options)}`, c] as const))(
    'keys, output and gradients as PyTorch’s within 1e-10 (float64): %s',
    (__, c) => {
      scope(() => {
        const module: nn.ChannelGate = fill(make(c.channels, c.options));
        expect(Object.fromEntries(Object.entries(module.stateDict()).map(([k, t]) => [k, t.shape]))).toEqual(c.keys);
        const x = wave(c.shape, { requiresGrad: true });
        const y = module.forward(x);
        expectClose(y, c.y);
        y.backward(wave(c.shape, { k: 3 }));
        expectClose(x.grad!, c.dx);
        module.parameters().forEach((p, i) => expectClose(p.grad!, c.grads[i]!));
        module.dispose();
      });
    },
  );

  test.each(cases.map((c) => [`${c.channels} channels, ${JSON.stringify(c.options)}`, c] as const).filter(([, c]) => c.channels < 100))(
    'gradients of first and second order, also of its parameters, against differences: %s',
    (__, c) => {
      scope(() => {
        const module: nn.ChannelGate = fill(make(c.channels, c.options));
        const inputs = [wave([2, c.channels, 2, 2], { requiresGrad: true }), ...module.parameters()];
        const fn = (x: Tensor): Tensor => module.forward(x);
        expect(gradcheck(fn, inputs)).toMatchObject({ ok: true });
        expect(gradgradcheck(fn, inputs)).toMatchObject({ ok: true });
        module.dispose();
      });
    },
  );
});

describe('hidden channels', () => {
  test('C < r leaves one channel, with a warning', () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    expect(new nn.SqueezeExcite(8).stateDict()['fc.0.weight']!.shape).toEqual([1, 8]);
    expect(warn.mock.calls).toEqual([
      [
        'SqueezeExcite: 8 channels over reduction 16 leave no hidden channel, so one is taken; ' +
          'a smaller reduction or hiddenChannels says how many there should be',
      ],
    ]);
  });

  test('no warning where hiddenChannels is given or there are enough channels', () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    expect(new nn.SqueezeExcite(8, { hiddenChannels: 1 }).stateDict()['fc.0.weight']!.shape).toEqual([1, 8]);
    expect(new nn.SqueezeExcite(17).stateDict()['fc.0.weight']!.shape).toEqual([1, 17]);
    expect(warn).not.toHaveBeenCalled();
  });
});

describe('loading weights of other libraries', () => {
  const OPTIONS = {
    plain: { bias: true },
    torchvision: { bias: true },
    timm: { bias: true },
    'timm EfficientNet': { bias: true, activation: new nn.SiLU() },
  };
  const make = (name: LoadingCase['name']): nn.SqueezeExcite =>
    new nn.SqueezeExcite(8, { reduction: 4, dtype: 'float64', ...OPTIONS[name] });

  /** The weights of the script's `fill`, as a state dict. */
  function stateOf(keys: Record<string, number[]>): Record<string, Tensor> {
    return Object.fromEntries(
      Object.entries(keys).map(([name, shape], k) => {
        const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
        const options = shape.length > 1 ? { scale: fanIn ** -0.5 * 1.5 } : { scale: 0.1, offset: name.endsWith('weight') ? 1 : 0 };
        return [name, wave(shape, { k, ...options })];
      }),
    );
  }

  test.each(fixture.loading)('$name: its state gives its outputs', ({ name, keys, y }) => {
    scope(() => {
      const se = make(name);
      expect(se.loadStateDict(stateOf(keys))).toEqual({ missing: [], unexpected: [] });
      expectClose(se.forward(wave([2, 8, 3, 2])), y);
      se.dispose();
    });
  });

  test.each(fixture.loading)('$name: also deep inside a larger model', ({ name, modelKeys, modelY }) => {
    scope(() => {
      const model = new nn.Sequential(new nn.Conv2d(3, 8, 3, { dtype: 'float64' }), new nn.Sequential(new nn.ReLU(), make(name)));
      model.loadStateDict(stateOf(modelKeys));
      expectClose(model.forward(wave([2, 3, 4, 4])), modelY);
      model.dispose();
    });
  });

  test('after rename, under both names of a shared module, without a memory leak', () => {
    scope(() => {
      const { keys, y } = fixture.loading[1]!;
      const se = make('torchvision');
      const shared = new nn.Sequential(new nn.ReLU(), se, se);
      const state = stateOf(keys);
      const before = memory().bytes;
      const under = (prefix: string) => Object.fromEntries(Object.entries(state).map(([k, t]) => [`${prefix}.${k}`, t]));
      shared.loadStateDict(under('attention'), { rename: (k) => k.replace('attention', '2') });
      expect(memory().bytes).toBe(before);
      expectClose(se.forward(wave([2, 8, 3, 2])), y);
      expect(shared.loadStateDict({ ...under('1'), ...under('2') })).toEqual({ missing: [], unexpected: [] });
      se.dispose();
    });
  });

  test('a state that does not match is refused, and changes nothing', () => {
    scope(() => {
      const se = new nn.SqueezeExcite(8, { reduction: 4 });
      const before = Array.from(se.parameters()[0]!.data());
      const refusal = (what: string) => new StateDictError(`loadStateDict: the state does not fit SqueezeExcite: ${what}`);
      const state = { 'fc1.weight': zeros([2, 8, 1, 1]), 'fc2.weight': zeros([8, 2, 1, 1]) };
      expect(() => se.loadStateDict({ ...state, 'fc1.bias': zeros([2]) })).toThrow(refusal('unexpected fc1.bias'));
      expect(() => se.loadStateDict({ ...state, 'fc2.weight': zeros([8, 2, 3, 1]) })).toThrow(
        refusal('fc2.weight has shape [8,2,3,1] in the state, [8,2] in the module'),
      );
      expect(() => se.loadStateDict({ ...state, 'fc2.weight': 1 as unknown as Tensor })).toThrow(
        refusal('fc2.weight is a number in the state, expected a tensor'),
      );
      expect(() => se.loadStateDict({ 'fc1.weight': state['fc1.weight'] })).toThrow(refusal('missing fc.2.weight'));
      expect(Array.from(se.parameters()[0]!.data())).toEqual(before);
      // Only squeeze-and-excitation accepts 1×1 convolutions for linear layers.
      expect(() => new nn.Linear(8, 2, { bias: false }).loadStateDict({ weight: zeros([2, 8, 1, 1]) })).toThrow(
        'weight has shape [2,8,1,1] in the state, [2,8] in the module',
      );
    });
  });
});

describe('errors', () => {
  test('of the options', () => {
    const gates = "gate must be 'sigmoid', 'hardsigmoid', 'tanh' or 'relu', got 'softmax'";
    const softmax = { gate: 'softmax' as 'relu' };
    expect(() => new nn.SqueezeExcite(16, softmax)).toThrow(new ArgumentError(`SqueezeExcite: ${gates}`));
    expect(() => new nn.ECA(16, softmax)).toThrow(new ArgumentError(`ECA: ${gates}`));
    expect(() => new nn.EffectiveSE(16, softmax)).toThrow(new ArgumentError(`EffectiveSE: ${gates}`));
    expect(() => new nn.SqueezeExcite(16, { squeeze: 'sum' as 'max' })).toThrow(
      new ArgumentError("SqueezeExcite: squeeze must be 'avg', 'max' or 'avg+max', got 'sum'"),
    );
    expect(() => new nn.SqueezeExcite(16, { reduction: 0.5 })).toThrow(
      new ArgumentError('SqueezeExcite: reduction must be a whole number ≥ 1, got 0.5'),
    );
    expect(() => new nn.SqueezeExcite(8, { hiddenChannels: 0 })).toThrow(
      new ArgumentError('SqueezeExcite: hiddenChannels must be a whole number ≥ 1, got 0'),
    );
    const misspelt = { gat: 'relu' } as object;
    expect(() => new nn.SqueezeExcite(16, misspelt)).toThrow(
      new ArgumentError(
        "SqueezeExcite: unknown option 'gat'; the options are reduction, hiddenChannels, bias, squeeze, activation, gate, dtype, generator",
      ),
    );
    expect(() => new nn.ECA(16, misspelt)).toThrow(
      new ArgumentError("ECA: unknown option 'gat'; the options are kernelSize, gamma, beta, gate, dtype, generator"),
    );
    expect(() => new nn.EffectiveSE(16, misspelt)).toThrow(
      new ArgumentError("EffectiveSE: unknown option 'gat'; the options are gate, dtype, generator"),
    );
    expect(() => new nn.ECA(16, { kernelSize: 4 })).toThrow(new ArgumentError('ECA: kernelSize must be odd, got 4'));
    expect(() => new nn.ECA(16, { gamma: 0 })).toThrow(new ArgumentError('ECA: kernelSize must be a whole number ≥ 1, got Infinity'));
    expect(() => new nn.ECA(0)).toThrow(new ArgumentError('ECA: channels must be a whole number ≥ 1, got 0'));
    expect(() => new nn.EffectiveSE(1.5)).toThrow(new ArgumentError('EffectiveSE: channels must be a whole number ≥ 1, got 1.5'));
  });

  test.each([
    ['SqueezeExcite: squeezeExcite', new nn.SqueezeExcite(16)],
    ['ECA: eca', new nn.ECA(16)],
    ['EffectiveSE: effectiveSE', new nn.EffectiveSE(16)],
  ])('of the input: %s', (name, module: nn.ChannelGate) => {
    expect(() => module.forward(zeros([2, 8, 4, 4]))).toThrow(new ShapeError(`${name}: x has 8 channels, expected 16 (x [2,8,4,4])`));
    expect(() => module.forward(zeros([2, 16]))).toThrow(new ShapeError(`${name}: x must be [N,C,H,W], got [2,16]`));
  });
});

test('excite must return one number per channel, else the error names the shapes', () => {
  class PerImage extends nn.ChannelGate {
    override excite(x: Tensor): Tensor {
      return x.mean([1, 2, 3]);
    }
  }
  const message = 'PerImage: scaleChannels: x must be [N,C,H,W] and s [N,C] (x [2,3,1,1], s [2])';
  expect(() => new PerImage(3).forward(zeros([2, 3, 1, 1]))).toThrow(new ShapeError(message));
});

describe('recordExcitations', () => {
  /** Scales channels by numbers taken from x, so that the recorded values are known. */
  class Own extends nn.ChannelGate {
    override excite(x: Tensor): Tensor {
      return x.mean([2, 3]);
    }
  }

  const batch = (means: number[][], labels: number[]): [Tensor, Tensor] => [
    tensor(means).reshape([means.length, 2, 1, 1]),
    tensor(labels, { dtype: 'int32' }),
  ];
  const batches = () => [
    batch(
      [
        [1, 2],
        [3, 6],
      ],
      [0, 0],
    ),
    batch([[5, 7]], [2]),
  ]; // prettier-ignore

  test('means and deviations of every gate, channel and class, and no class without images', () => {
    scope(() => {
      const model = new nn.Sequential(new nn.Identity(), new Own(2), new nn.Sequential(new Own(2)));
      const [first, second] = nn.recordExcitations(model, batches()) as [nn.Excitation, nn.Excitation];
      expect([first.block, second.block]).toEqual(['1', '2.0']);
      expect(first.mean.dtype).toBe('float64');
      expect(first.mean.toArray()).toEqual([
        [2, 4],
        [NaN, NaN],
        [5, 7],
      ]); // prettier-ignore
      expect(first.std.toArray()).toEqual([
        [1, 2],
        [NaN, NaN],
        [0, 0],
      ]); // prettier-ignore
      expect(second.mean.toArray()).toEqual([
        [5, 20],
        [NaN, NaN],
        [25, 49],
      ]); // prettier-ignore
      expect(nn.recordExcitations(model, batches(), { numClasses: 5 })[0]!.mean.shape).toEqual([5, 2]);
    });
  });

  test('200,000 images in one batch', () => {
    scope(() => {
      const model = new nn.Sequential(new Own(2));
      const images = 200_000;
      const x = ones([images, 2, 1, 1]);
      const labels = tensor(new Int32Array(images).fill(1));
      expect(nn.recordExcitations(model, [[x, labels]])[0]!.mean.toArray()).toEqual([
        [NaN, NaN],
        [1, 1],
      ]);
    });
  });

  test('the gate’s values are the block’s, in evaluation mode; modes, hooks and memory are as before', () => {
    scope(() => {
      const se = fill(new nn.SqueezeExcite(2, { reduction: 1, activation: new nn.Sequential(new nn.ReLU(), new nn.Dropout(0.9)) }));
      const model = new nn.Sequential(new nn.BatchNorm2d(2), se).train();
      se.eval();
      const given = batches();
      const statistics = model.stateDict()['0.running_mean']!.toArray();
      const before = memory().bytes;
      scope(() => {
        const [recorded] = nn.recordExcitations(model, [given[1]!]);
        const x = given[1]![0];
        const y = noGrad(() => model.eval().forward(x));
        expectClose(recorded!.mean.select(0, 2), [y.data()[0]! / x.data()[0]!, y.data()[1]! / x.data()[1]!], 1e-5);
      });
      model.train();
      expect(model.stateDict()['0.running_mean']!.toArray()).toEqual(statistics);
      expect(memory().bytes).toBe(before);

      const calls = vi.spyOn(se, 'excite');
      model.forward(given[0]![0]);
      expect(calls).toHaveBeenCalledTimes(1);
      se.dispose();
      model.dispose();
    });
  });

  test('restores modes also when a batch fails; errors name what is missing', () => {
    scope(() => {
      const own = new Own(2);
      const model = new nn.Sequential(own).train();
      own.training = false;
      expect(() => nn.recordExcitations(model, [[zeros([1, 3, 1, 1]), zeros([1], { dtype: 'int32' })]])).toThrow(
        new ShapeError('0 (Own): channelGate: x has 3 channels, expected 2 (x [1,3,1,1])'),
      );
      expect([model.training, own.training]).toEqual([true, false]);
      expect(() => nn.recordExcitations(new nn.Sequential(new Own(2)), batches(), { numClasses: 2 })).toThrow(
        new ArgumentError('recordExcitations: labels must be classes 0 … 1, got 2'),
      );
      expect(() => nn.recordExcitations(model, [])).toThrow(new ArgumentError('recordExcitations: the loader gave no batch'));
      expect(() => nn.recordExcitations(new nn.Identity(), batches())).toThrow(
        new ArgumentError('recordExcitations: Identity has no ChannelGate, such as SqueezeExcite'),
      );
    });
  });
});
