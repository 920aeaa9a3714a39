/**
 * Public functions, methods, layers and losses leave their result and nothing else: in plain loops and in scopes, recorded or not,
 * and where they throw.
 */
import * as chainrule from 'chainrule';
import { memory, noGrad, ones, scope, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isTensor } from '../../src/autograd/index.ts';
import { addInstrumentation } from '../../src/autograd/instrumentation.ts';
import { Draw } from '../support/arbitraries.ts';
import { holds } from '../support/properties.ts';
import { TABLE } from '../support/table.ts';

type Calls = Readonly<Record<string, () => unknown>>;

const SHORT = process.env.CHAINRULE_KERNELS === 'reference' ? 1 : 2;
const CASES = process.env.CHAINRULE_LONG === '1' ? 100 : SHORT;
/** Calls of each function. What one of them leaves shows in all. */
const CALLS = process.env.CHAINRULE_LONG === '1' ? 16 : 3;

/** Tensors that the function of a line makes itself in each call: index constants, and arguments and results of other functions. */
const MADE_BY_THE_LINE: Readonly<Record<string, number>> = Object.fromEntries([
  ...['pow, whole exponent', 'where', 'maskedFill', 'gather', 'scatterUnchecked', 'scatterAdd', 'indexSelect', 'maskedSelect'].map(
    (name) => [name, 2],
  ),
  ...['hardsigmoid', 'hardswish', 'cast', 'max', 'min', 'sort', 'topk', 'rmsNorm', 'binaryCrossEntropy'].map((name) => [name, 1]),
  ...['crossEntropy', 'nllLoss', 'one input on two paths'].map((name) => [name, 2]),
  ...Object.entries({ batchNorm: 5, 'relu of batchNorm': 6, embedding: 11 }),
]) as Record<string, number>;

/** Lines that call several functions: where the second fails, what the first returned is left. */
const SEVERAL_CALLS = new Set([...Object.keys(MADE_BY_THE_LINE), 'several outputs', 'global pools', 'a gradient inside the function']);

/** A constant under grad has no gradient. */
const NEEDS_GRADIENTS = new Set(['a gradient inside the function']);

const parameter = ones([2], { requiresGrad: true });

/** The next recorded operation frees what backward has consumed. */
const recordSomething = (): void => parameter.mul(1).dispose();

/** Returns the tensors among results. */
const tensorsOf = (results: unknown): Tensor[] => [results].flat(2).filter(isTensor);

/** Backward through all results that require a gradient, as a training step does it. Then disposes of the results. */
function finish(results: readonly Tensor[], inputs: readonly Tensor[]): void {
  const losses = results.filter((y) => y.requiresGrad).map((y) => y.sum());
  if (losses.length > 0) losses.reduce((a, b) => a.add(b)).backward();
  for (const x of inputs) x.grad = null;
  for (const y of results) if (!y.isOwned) y.dispose();
  recordSomething();
}

/** Returns how many tensors `act` leaves. */
function left(act: () => void): number {
  const before = memory().tensors;
  act();
  return memory().tensors - before;
}

/** Calls `act` for 0, 1, 2, … until it returns true: each time the operation of that number throws in its forward. */
function withFailures(act: (attempt: () => unknown) => void, call: () => unknown): void {
  for (let failing = 0, done = false; !done; failing++) {
    let count = 0;
    act(() => {
      const remove = addInstrumentation({
        starting: () => {
          if (count++ === failing) throw new Error('injected');
        },
        computed: () => {},
        recorded: () => {},
        visited: () => {},
      });
      try {
        const result = call();
        done = true;
        return result;
      } catch (e) {
        if ((e as Error).message.endsWith('injected')) return [];
        throw e;
      } finally {
        remove();
      }
    });
  }
}

/** Draws a line's case; returns the call, and its inputs as leaves that the test owns. */
function leaves(line: (typeof TABLE)[number], g: fc.GeneratorValue, requiresGrad: boolean) {
  const { fn, inputs } = line.draw(new Draw(g));
  const xs = inputs.map((sample) => scope(() => sample.tensor().detach()).keep());
  if (requiresGrad) for (const x of xs) x.requiresGrad_();
  return { xs, call: (): Tensor[] => tensorsOf(fn(...xs)) };
}

describe('each line of the gradient table leaves its results', () => {
  test.each(TABLE)('$name', (line) => {
    const allowed = MADE_BY_THE_LINE[line.name] ?? 0;
    const property = fc.property(fc.gen(), fc.boolean(), fc.boolean(), (g, requiresGrad, scoped) => {
      if (!requiresGrad && NEEDS_GRADIENTS.has(line.name)) return;
      const { xs, call } = leaves(line, g, requiresGrad);
      const calls = (): void => {
        const n = left(() => {
          for (let i = 0; i < CALLS; i++)
            finish(
              call().filter((y) => !xs.includes(y)),
              xs,
            );
        });
        if (n > allowed * CALLS) throw new Error(`${line.name}: ${CALLS} calls left ${n} tensors, grad: ${requiresGrad}`);
      };
      if (scoped) scope(calls);
      else calls();
      for (const x of xs) x.dispose();
    });
    holds(property, CASES * 2);
  });
});

describe('each line of the gradient table leaves nothing where an operation inside it fails', () => {
  test.each(TABLE.filter((line) => !SEVERAL_CALLS.has(line.name)))('$name', (line) => {
    const property = fc.property(fc.gen(), fc.boolean(), (g, requiresGrad) => {
      const { xs, call } = leaves(line, g, requiresGrad);
      withFailures((attempt) => {
        const n = left(() =>
          finish(
            (attempt() as Tensor[]).filter((y) => !xs.includes(y)),
            xs,
          ),
        );
        if (n > 0) throw new Error(`${line.name}: ${n} tensors are left after a failure, grad: ${requiresGrad}`);
      }, call);
      for (const x of xs) x.dispose();
    });
    holds(property, CASES);
  });
});

// — what the table does not have: functions without a gradient, other arguments, layers and losses —

const own = <T extends Tensor>(t: T): T => t.keep();
const x = own(
  tensor([
    [-1.5, 0.5, 2],
    [0, 3, -0.25],
  ]),
);
const y = own(
  tensor([
    [0.5, 0.5, 2],
    [1, -3, 0.25],
  ]),
);
const v = own(tensor([0.5, -1, 2]));
const scalar = own(tensor(2));
const square = own(tensor([true, false, false, false], { shape: [2, 2] }));
const weights = own(tensor([1, 0, 3]));
const ints = own(
  tensor(
    [
      [1, 2, 3],
      [0, 1, 2],
    ],
    { dtype: 'int32' },
  ),
);
const labels = own(tensor([2, 0], { dtype: 'int32' }));
const mask = own(
  tensor([
    [true, false, true],
    [false, false, true],
  ]),
);
const image = own(ones([2, 4, 4, 4]));
const single = own(ones([4, 4, 4]));
const sequence = own(ones([2, 4, 5]));

const FUNCTIONS: Calls = {
  ...Object.fromEntries(
    (['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'logicalAnd', 'logicalOr'] as const).flatMap((name): [string, () => unknown][] => [
      [name, () => x[name](y)],
      [`${name} of a number`, () => ints[name](1)],
    ]),
  ),
  ...Object.fromEntries(
    (['logicalNot', 'isnan', 'isfinite', 'sign', 'floor', 'ceil', 'round', 'argmax', 'argmin', 'any', 'all'] as const).flatMap(
      (name): [string, () => unknown][] => [
        [name, () => x[name]()],
        [`${name} of int32`, () => ints[name]()],
      ],
    ),
  ),
  'argmax of dim 1': () => x.argmax(1, { keepdim: true }),
  'max of dim 1': () => x.max(1),
  'max of a scalar': () => scalar.max(0),
  'sum of int32': () => ints.sum(0),
  'prod of int32': () => ints.prod(),
  'cumsum of int32': () => ints.cumsum(1),
  'gelu of int32': () => ints.gelu(),
  'softmax of int32': () => ints.softmax(0),
  'add of int32 and float32': () => ints.add(x),
  'matmul of float64': () => x.transpose(0, 1).to('float64').matmul(x),
  detach: () => x.detach(),
  data: () => mask.data(),
  'gather of a vector': () => v.gather(0, ints.select(0, 1).keep()),
  'where of numbers': () => chainrule.where(mask, 1, x),
  'F.oneHot': () => F.oneHot(labels),
  'F.conv2d of an image': () => F.conv2d(single, ones([2, 4, 3, 3]).keep(), v.slice(0, 0, 2).keep()),
  'F.maxPool2d with indices': () => F.maxPool2d(image, 2, { returnIndices: true }),
  'F.batchNorm': () => F.batchNorm(image, { training: true }),
  'F.instanceNorm': () => F.instanceNorm(image),
  'F.adaptiveMaxPool2d': () => F.adaptiveMaxPool2d(image, 3),
  'F.adaptiveMaxPool2d with indices': () => F.adaptiveMaxPool2d(image, 3, { returnIndices: true }),
  'F.interpolate, bilinear': () => F.interpolate(image, { size: 3, mode: 'bilinear' }),
  'F.scaledDotProductAttention': () => F.scaledDotProductAttention(x, y, x, { attnMask: square }),
  'F.huberLoss': () => F.huberLoss(x, y),
  'norm of any p': () => x.norm(3, 0),
  sort: () => x.sort(1),
  argsort: () => x.argsort(0),
  topk: () => x.topk(2, 1),
  nonzero: () => mask.nonzero(),
  maskedSelect: () => x.maskedSelect(mask),
  multinomial: () => chainrule.multinomial(weights, 2, { replacement: true }),
  'pow of int32': () => ints.pow(2),
  'F.crossEntropy with ignoreIndex': () => F.crossEntropy(x, labels, { ignoreIndex: 0 }),
  'F.linear of a vector': () => F.linear(v, x),
  allclose: () => chainrule.allclose(x, y, { equalNan: true }),
  equal: () => chainrule.equal(x, y),
  jacobian: () => chainrule.jacobian((t: Tensor) => t.gelu(), x),
  hessian: () => chainrule.hessian((t: Tensor) => t.gelu().sum(), v),
  hvp: () => Object.values(chainrule.hvp((t: Tensor) => t.gelu().sum(), v, v)),
  jvp: () => Object.values(chainrule.jvp((t: Tensor) => t.gelu(), v, v)),
  vjp: () => Object.values(chainrule.vjp((t: Tensor) => t.gelu(), v, v)),
  valueAndGrad: () => Object.values(chainrule.valueAndGrad((t: Tensor) => t.gelu().sum(), v)),
  recompute: () => chainrule.recompute((t: Tensor) => t.gelu(), x),
  'recompute without recording': () => noGrad(() => chainrule.recompute((t: Tensor) => t, x)),
  gradcheck: () =>
    void chainrule.gradcheck(
      (t: Tensor) => t.gelu().sum(),
      scope(() => v.to('float64').detach().requiresGrad_().keep()),
    ),
  clipGradNorm: () => optim.clipGradNorm([parameter], 1, { normType: 3 }),
};

/** The number of tensors that a call above makes and keeps for itself as an argument. */
const KEPT: Readonly<Record<string, number>> = { 'gather of a vector': 1, 'F.conv2d of an image': 2, gradcheck: 1, 'matmul of float64': 2 };

/** Methods that make no tensors, write in place, or are tested with the tapes. */
const NO_OPERATIONS = new Set(
  'size sizes isContiguous requiresGrad_ adoptGrad registerHook retainGrad item toArray toString toJSON keep checkReadable checkWritable '
    .concat('dispose free leaveTape adoptIntoScope leaveScopes replace attach backward add_ mul_ zero_ copy_ fill_ constructor')
    .split(' '),
);

test('all methods of a tensor and all functions of nn/functional are in the gradient table or in the list', () => {
  const methods = Object.entries(Object.getOwnPropertyDescriptors(chainrule.Tensor.prototype))
    .filter(([, d]) => typeof d.value === 'function')
    .map(([name]) => name);
  const tested = new Set([
    ...TABLE.flatMap((line) => [line.name, ...(line.covers ?? [])]).map((name) =>
      name.replace(/^variance$/, 'var').replace(/^cast$/, 'to'),
    ),
    ...Object.keys(FUNCTIONS).map((name) => name.replace('F.', '').split(' ')[0]!),
  ]);
  const all = [...methods, ...Object.keys(F)].filter((name) => !NO_OPERATIONS.has(name));
  expect(all.filter((name) => !tested.has(name))).toEqual([]);
});

describe('each function leaves its results', () => {
  test.each(Object.entries(FUNCTIONS))('%s', (name, call) => {
    const inputs = [x, y, v, scalar, ints, image, single];
    for (const floats of [[], [x, y, v, scalar, image, single]]) {
      for (const t of floats) t.requiresGrad_();
      const allowed = (KEPT[name] ?? 0) * CALLS;
      const n = left(() => {
        for (let i = 0; i < CALLS; i++)
          finish(
            tensorsOf(call()).filter((t) => !inputs.includes(t)),
            inputs,
          );
      });
      for (const t of floats) t.requiresGrad_(false);
      expect(n).toBeLessThanOrEqual(allowed);
    }
  });
});

/** A gate of a user's own. */
class OwnGate extends nn.ChannelGate {
  excite(images: Tensor): Tensor {
    return images.amax([2, 3]);
  }
}

type Layers = Readonly<Record<string, () => readonly [module: nn.Module, ...inputs: Tensor[]]>>;

const LAYERS: Layers = {
  ReLU: () => [new nn.ReLU(), x],
  Tanh: () => [new nn.Tanh(), x],
  Sigmoid: () => [new nn.Sigmoid(), x],
  LeakyReLU: () => [new nn.LeakyReLU(), x],
  ELU: () => [new nn.ELU(), x],
  GELU: () => [new nn.GELU(), x],
  SiLU: () => [new nn.SiLU(), x],
  Mish: () => [new nn.Mish(), x],
  Softplus: () => [new nn.Softplus(), x],
  LogSigmoid: () => [new nn.LogSigmoid(), x],
  Hardsigmoid: () => [new nn.Hardsigmoid(), x],
  Hardswish: () => [new nn.Hardswish(), x],
  Softmax: () => [new nn.Softmax(0), x],
  LogSoftmax: () => [new nn.LogSoftmax(0), x],
  MaxPool2d: () => [new nn.MaxPool2d(2), single],
  AvgPool2d: () => [new nn.AvgPool2d(2), single],
  AdaptiveAvgPool2d: () => [new nn.AdaptiveAvgPool2d(1), single],
  AdaptiveMaxPool2d: () => [new nn.AdaptiveMaxPool2d(1), single],
  Upsample: () => [new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), image],
  Flatten: () => [new nn.Flatten(), image],
  Identity: () => [new nn.Identity(), image],
  Dropout: () => [new nn.Dropout(), x],
  Dropout2d: () => [new nn.Dropout2d(), image],
  StochasticDepth: () => [new nn.StochasticDepth(0.5, 'row'), image],
  PReLU: () => [new nn.PReLU(4), image],
  Linear: () => [new nn.Linear(3, 2), x],
  Conv2d: () => [new nn.Conv2d(4, 2, 3, { padding: 'same' }), single],
  Conv1d: () => [new nn.Conv1d(4, 2, 2, { padding: 'same' }), sequence],
  ConvTranspose2d: () => [new nn.ConvTranspose2d(4, 2, 3), single],
  Embedding: () => [new nn.Embedding(4, 2, { paddingIdx: 0 }), ints],
  BatchNorm1d: () => [new nn.BatchNorm1d(4), sequence],
  InstanceNorm2d: () => [new nn.InstanceNorm2d(4, { affine: true, trackRunningStats: true }), image],
  BatchNorm2d: () => [new nn.BatchNorm2d(4), image],
  GroupNorm: () => [new nn.GroupNorm(2, 4), image],
  LayerNorm: () => [new nn.LayerNorm(3), x],
  RMSNorm: () => [new nn.RMSNorm(3), x],
  SqueezeExcite: () => [new nn.SqueezeExcite(4, { reduction: 2, squeeze: 'avg+max' }), image],
  ECA: () => [new nn.ECA(4), image],
  EffectiveSE: () => [new nn.EffectiveSE(4), image],
  CBAM: () => [new nn.CBAM(4, { reduction: 2, kernelSize: 3 }), image],
  ScSE: () => [new nn.ScSE(4), image],
  ChannelGate: () => [new OwnGate(4), image],
  MultiheadAttention: () => [new nn.MultiheadAttention(5, 5, { dropout: 0.5 }), sequence],
  GRU: () => [new nn.GRU(5, 3, { numLayers: 2, bidirectional: true, dropout: 0.5 }), sequence],
  LSTM: () => [new nn.LSTM(5, 3, { numLayers: 2, bidirectional: true, dropout: 0.5 }), sequence],
  Sequential: () => [new nn.Sequential(new nn.Sequential(new nn.GELU(), new nn.Identity()), new nn.Flatten(), new nn.Tanh()), image],
  CrossEntropyLoss: () => [new nn.CrossEntropyLoss({ weight: v, labelSmoothing: 0.1 }), x, labels],
  NLLLoss: () => [new nn.NLLLoss({ weight: v, ignoreIndex: 0 }), x, labels],
  BCELoss: () => [new nn.BCELoss({ weight: v }), own(x.sigmoid()), own(y.sigmoid())],
  BCEWithLogitsLoss: () => [new nn.BCEWithLogitsLoss({ posWeight: v }), x, y],
  MSELoss: () => [new nn.MSELoss(), x, y],
  L1Loss: () => [new nn.L1Loss(), x, y],
  HuberLoss: () => [new nn.HuberLoss(), x, y],
  SmoothL1Loss: () => [new nn.SmoothL1Loss(), x, y],
};

describe('layers and losses', () => {
  test('all of nn are here', () => {
    const classes = Object.entries(nn).filter(([, c]) => typeof c === 'function' && c.prototype instanceof nn.Module);
    expect(Object.keys(LAYERS).sort()).toEqual(classes.map(([name]) => name).sort());
  });

  const modes = [
    { name: 'frozen weights', freeze: true, training: false },
    { name: 'evaluation', freeze: false, training: false },
    { name: 'training', freeze: false, training: true },
  ] as const;
  test.each(Object.keys(LAYERS).flatMap((name) => modes.map((mode) => [name, mode.name, mode] as const)))('%s: %s', (name, _, mode) => {
    const [module, ...inputs] = LAYERS[name]!();
    module.train(mode.training);
    const params = module.parameters();
    if (mode.freeze) for (const p of params) p.requiresGrad_(false);
    const call = (): unknown => (module as unknown as { forward: (...args: unknown[]) => unknown }).forward(...inputs);
    const run = (attempt: () => unknown): void =>
      finish(
        tensorsOf(attempt()).filter((t) => !inputs.includes(t)),
        params,
      );
    expect(
      left(() => {
        for (let i = 0; i < CALLS; i++) run(call);
      }),
    ).toBe(0);
    scope(() => {
      expect(left(() => run(call))).toBe(0);
    });
    withFailures((attempt) => expect(left(() => run(attempt))).toBe(0), call);
    module.dispose();
  });
});

describe('a layer of layers', () => {
  const notes: Tensor[] = [];
  class Remembers extends nn.Module {
    forward(t: Tensor): Tensor {
      notes.push(t.mul(2));
      return t.exp();
    }
  }
  beforeEach(() => void notes.splice(0));
  afterEach(() => {
    for (const t of notes) t.dispose();
    recordSomething();
  });

  test('frees no tensor of a user’s layer or hook', () => {
    const net = new nn.Sequential(new nn.ReLU(), new Remembers(), new nn.ReLU());
    net.forward(x).dispose();
    const gate = new nn.EffectiveSE(4);
    gate.gate.registerForwardHook((_module, _args, output) => void notes.push((output as Tensor).detach()));
    gate.forward(image).dispose();
    expect(notes[1]!.shape).toEqual([2, 4, 1, 1]);
    gate.dispose();
    expect(notes[0]!.toArray()).toEqual([
      [0, 1, 4],
      [0, 6, 0],
    ]);
  });

  test('frees no activation that was made outside, or that a hook reads after a recorded forward', () => {
    const outside = tensor([1, -2, 3]);
    class Constant extends nn.Module {
      forward(): Tensor {
        return outside;
      }
    }
    new nn.Sequential(new Constant(), new nn.ReLU()).forward(x).dispose();
    expect(outside.toArray()).toEqual([1, -2, 3]);
    const first = new nn.Linear(3, 2);
    const seen: Tensor[] = [];
    first.registerForwardHook((_module, _args, output) => void seen.push(output as Tensor));
    const result = new nn.Sequential(first, new nn.ReLU()).forward(outside);
    expect(seen[0]!.relu().toArray()).toEqual(result.toArray());
    for (const made of [result, outside, first]) made.dispose();
  });

  test('frees nothing that a layer has kept where a later one throws', () => {
    const kept: Tensor[] = [];
    class Keeps extends nn.Module {
      forward(t: Tensor): Tensor {
        kept.push(t.mul(2).keep(), t.exp().keep());
        return kept[0]!;
      }
    }
    class Throws extends nn.Module {
      forward(): Tensor {
        throw new Error('mine');
      }
    }
    const leaf = tensor([0, 1], { requiresGrad: true });
    expect(() => new nn.Sequential(new Keeps(), new Throws()).forward(leaf)).toThrow('mine');
    expect(kept.map((t) => t.toArray())).toEqual([
      [0, 2],
      [1, Math.fround(Math.E)],
    ]);
    for (const made of [...kept, leaf]) made.dispose();
  });
});

describe('an operation of a user’s own', () => {
  const scaled = chainrule.defineOp({
    name: 'scaled',
    forward: (_, t: Tensor) => t.exp().mul(2).add(1),
    save: (_, [t]) => ({ slope: t.exp().mul(2) }),
    backward: (g, { slope }) => [g.mul(slope)],
  });

  test('leaves its result, also where its functions compute with tensors', () => {
    const t = tensor([0, 1], { requiresGrad: true });
    const n = left(() => {
      for (let i = 0; i < CALLS; i++) finish([scaled(t)], []);
      t.grad = null;
      for (let i = 0; i < CALLS; i++) noGrad(() => scaled(t)).dispose();
    });
    expect(n).toBe(0);
    scaled(t).sum().backward();
    expect(t.grad!.toArray()).toEqual([2, Math.fround(2 * Math.E)]);
    t.dispose();
  });

  test('frees no tensor that its functions keep', () => {
    let kept: Tensor | null = null;
    const caching = chainrule.defineOp({
      name: 'caching',
      forward: (_, t: Tensor) => {
        kept = t.mul(2).keep();
        return kept.add(1);
      },
      backward: (g) => [g.mul(2)],
    });
    const t = tensor([0, 1]);
    const y = caching(t);
    expect([y.toArray(), kept!.toArray()]).toEqual([
      [1, 3],
      [0, 2],
    ]);
    for (const made of [t, y, kept!]) made.dispose();
  });

  test('leaves nothing where save throws', () => {
    const broken = chainrule.defineOp({
      name: 'broken',
      forward: (_, t: Tensor) => t.exp(),
      save: (_, [t]) => {
        t.mul(2);
        throw new Error('mine');
      },
      backward: (g) => [g],
    });
    const t = tensor([0, 1], { requiresGrad: true });
    recordSomething();
    expect(left(() => expect(() => broken(t)).toThrow('mine'))).toBe(0);
    t.dispose();
  });
});

test('a plain loop neither grows the memory nor warns', () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const pages = memory().pages;
  for (let i = 0; i < 3000; i++) F.layerNorm(x, 3).dispose();
  expect(memory().pages).toBe(pages);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});
