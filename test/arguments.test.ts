/** Arguments that only plain JavaScript can pass. They throw an error that names them before any tensor is made. */
import { describe, expect, test } from 'vitest';
import * as chainrule from 'chainrule';
import * as nn from 'chainrule/nn';
import * as functional from 'chainrule/nn/functional';
import * as data from 'chainrule/data';
import { DataLoader, syntheticCifar } from 'chainrule/data';
import * as files from 'chainrule/io';
import * as optimizers from 'chainrule/optim';
import { refuses as throws } from './support/refuses.ts';

// The library's exports without the types of their arguments, as plain JavaScript sees them.
type Functions = Readonly<Record<string, (...args: unknown[]) => unknown>>;
type Classes = Readonly<Record<string, new (...args: unknown[]) => unknown>>;
const c = chainrule as unknown as Functions;
const F = functional as unknown as Functions;
const io = files as unknown as Functions;
const layers = nn as unknown as Classes;
const optim = optimizers as unknown as Classes;
const file = '/nonexistent/x.safetensors';
const { ArgumentError, AutogradError, DTypeError, ShapeError, StateDictError, defineOp, ones, tensor } = chainrule;

const x = ones([2, 3]);
const one = ones([2]);
const mask = x.gt(0);
const image = ones([1, 2, 4, 4]);
const w = ones([3, 2, 3, 3]);
const p = ones([2], { requiresGrad: true });
const labels = tensor([0, 1], { dtype: 'int32' });
const m = x as unknown as Functions;

const refuses = (act: () => unknown, message: string, kind: new (message: string) => Error = ArgumentError): void =>
  throws(act, kind, message);

describe('options', () => {
  test.each([
    [() => m.sum!(1, { keepDim: true }), "sum: unknown option 'keepDim'; the options are keepdim"],
    [() => m.prod!(1, true), 'prod: expected an object of options (keepdim), got a boolean'],
    [() => m.mean!(1, { keepDim: true }), "mean: unknown option 'keepDim'; the options are keepdim"],
    [() => m.std!(1, { unbiased: false }), "std: unknown option 'unbiased'; the options are correction, keepdim"],
    [() => m.var!(1, { unbiased: false }), "var: unknown option 'unbiased'; the options are correction, keepdim"],
    [() => m.logsumexp!(1, true), 'logsumexp: expected an object of options (keepdim), got a boolean'],
    [() => m.norm!(2, 1, { dim: 1 }), "norm: unknown option 'dim'; the options are keepdim"],
    [() => m.any!(1, true), 'any: expected an object of options (keepdim), got a boolean'],
    [() => m.all!(1, null), 'all: expected an object of options (keepdim), got null'],
    [() => m.amax!(1, { keepDim: true }), "amax: unknown option 'keepDim'; the options are keepdim"],
    [() => m.argmax!(1, true), 'argmax: expected an object of options (keepdim), got a boolean'],
    [() => m.max!(1, true), 'max: expected an object of options (keepdim), got a boolean'],
    [() => c.tensor!([1], 'float64'), 'tensor: expected an object of options (dtype, requiresGrad, label, shape), got a string'],
    [() => c.tensor!([1], null), 'tensor: expected an object of options (dtype, requiresGrad, label, shape), got null'],
    [() => c.zeros!([1], { device: 'cpu' }), "zeros: unknown option 'device'; the options are dtype, requiresGrad, label"],
    [() => c.onesLike!(x, 'int32'), 'onesLike: expected an object of options (dtype, requiresGrad, label), got a string'],
    [() => c.arange!(0, 1, 1, 'int32'), 'arange: expected an object of options (dtype, requiresGrad, label), got a string'],
    [() => c.randn!([1], { seed: 0 }), "randn: unknown option 'seed'; the options are dtype, requiresGrad, generator"],
    [() => c.rand!([1], 3), 'rand: expected an object of options (dtype, requiresGrad, generator), got a number'],
    [() => c.randint!(0, 2, [1], 'int32'), 'randint: expected an object of options (generator), got a string'],
    [() => c.randperm!(2, 3), 'randperm: expected an object of options (generator), got a number'],
    [() => c.pad!(x, [1, 1], { mode: 'reflect' }), "pad: unknown option 'mode'; the options are value"],
    [() => F.conv2d!(image, w, null, 2), 'conv2d: expected an object of options (stride, padding, dilation, groups), got a number'],
    [
      () => F.maxPool2d!(image, 2, 2),
      'maxPool2d: expected an object of options (stride, padding, dilation, ceilMode, returnIndices), got a number',
    ],
    [() => F.gelu!(x, 'tanh'), 'gelu: expected an object of options (approximate), got a string'],
    [() => F.mseLoss!(x, x, 'sum'), 'mseLoss: expected an object of options (reduction), got a string'],
    [() => new layers.Linear!(3, 4, false), 'Linear: expected an object of options (bias, dtype, generator), got a boolean'],
    [
      () => new layers.Conv2d!(3, 4, 3, 1),
      'Conv2d: expected an object of options (stride, padding, dilation, groups, bias, dtype, generator), got a number',
    ],
    [() => new optim.EMA!([p], 0.9), 'EMA: expected an object of options (decay), got a number'],
    [
      () => new optim.SGD!([p], 0.1),
      'SGD: expected an object of options (lr, momentum, dampening, nesterov, weightDecay, maximize), got a number',
    ],
    [
      () => c.grad!(p, p, { create_graph: true }),
      "grad: unknown option 'create_graph'; the options are retainGraph, createGraph, gradOutputs, allowUnused",
    ],
    [
      () => (p as unknown as Functions).backward!(one, { retain_graph: true }),
      "backward: unknown option 'retain_graph'; the options are retainGraph, createGraph",
    ],
    [
      () => c.gradcheck!((t: unknown) => t, p, { epsilon: 1 }),
      "gradcheck: unknown option 'epsilon'; the options are eps, atol, rtol, nondetTol, fastMode, checkUndefinedGrad, seed, maxResamples, raise",
    ],
    [
      () => new DataLoader(syntheticCifar(), { suffle: true } as never),
      "DataLoader: unknown option 'suffle'; the options are batchSize, shuffle, sampler, dropLast, seed, transform, batchTransform, prefetch, workers, shard",
    ],
    [() => syntheticCifar({ size: 3 } as never), "syntheticCifar: unknown option 'size'; the options are split, length, seed, context"],
  ] as [() => unknown, string][])('%#: %s', (act, message) => chainrule.scope(() => refuses(act, message)));
});

describe('arguments that are no tensor, no dim or no module', () => {
  test.each([
    [() => m.matmul!(2), 'matmul: b must be a tensor, got a number'],
    [() => m.mv!([1, 2, 3]), 'mv: b must be a tensor, got an array'],
    [() => m.outer!(undefined), 'outer: b must be a tensor, got undefined'],
    [() => m.prelu!(0.2), 'prelu: w must be a tensor, got a number'],
    [() => m.indexSelect!(0, [1]), 'indexSelect: index must be a tensor, got an array'],
    [() => m.scatterAdd!(0, labels), 'scatterAdd: src must be a tensor, got undefined'],
    [() => m.maskedFill!(mask, '1'), 'maskedFill: expected a tensor or a number, got a string'],
    [() => c.pad!(null, [1, 1]), 'pad: x must be a tensor, got null'],
    [() => c.cat!(x, x), 'cat: expected an array, got an object; write cat([…])'],
    [() => c.zerosLike!(3), 'zerosLike: x must be a tensor, got a number'],
    [() => c.full!([2]), 'full: expected a number as value, got undefined'],
    [() => c.grad!(p, [3]), 'grad: input 0 must be a tensor, got a number'],
    [() => (p as unknown as Functions).backward!(3), 'backward: gradient must be a tensor, got a number'],
    [() => (p as unknown as Functions).registerHook!(3), 'registerHook: expected a function, got a number'],
    [() => F.linear!(x), 'linear: w must be a tensor, got undefined'],
    [() => F.conv2d!(image, w, { stride: 2 }), 'conv2d: b must be a tensor, got an object'],
    [() => F.convTranspose2d!(image), 'convTranspose2d: w must be a tensor, got undefined'],
    [() => F.avgPool2d!(null, 2), 'avgPool2d: x must be a tensor, got null'],
    [() => F.batchNorm!(3), 'batchNorm: x must be a tensor, got a number'],
    [() => F.layerNorm!(x, '3'), 'layerNorm: expected an array, got a string; write layerNorm([…])'],
    [() => F.embedding!(labels), 'embedding: weight must be a tensor, got undefined'],
    [() => F.crossEntropy!(x), 'crossEntropy: target must be a tensor, got undefined'],
    [() => F.crossEntropy!(x, labels, { weight: [1, 1, 1] }), 'crossEntropy: weight must be a tensor, got an array'],
    [() => F.l1Loss!(x, 3), 'l1Loss: target must be a tensor, got a number'],
    [() => m.sum!('1'), 'sum: expected an array, got a string; write sum([…])'],
    [() => m.flip!(), 'flip: expected an array, got undefined; write flip([…])'],
    [() => m.split!('1'), 'split: expected an array, got a string; write split([…])'],
    [() => new layers.Sequential!([new nn.ReLU()]), 'Sequential: layer 0 must be a module, got an array'],
    [() => new layers.Sequential!(nn.ReLU), 'Sequential: layer 0 must be a module, got a function'],
    [() => F.maxPool2d!(image), 'maxPool2d: kernel must be a whole number ≥ 1 or a pair of them, got undefined'],
    [() => new layers.Conv2d!(3, 4), 'Conv2d: kernel must be a whole number ≥ 1 or a pair of them, got undefined'],
    [() => F.adaptiveAvgPool2d!(image), 'adaptiveAvgPool2d: size must be a whole number ≥ 0 or a pair of them, got undefined'],
    [() => F.adaptiveAvgPool2d!(image, '2'), "adaptiveAvgPool2d: size must be a whole number ≥ 0 or a pair of them, got '2'"],
    [() => c.einsum!('ij,j->i', x, [1, 2, 3]), 'einsum: operand 1 must be a tensor, got an array'],
    [() => (nn as unknown as Functions).buffer!(3), 'buffer: data must be a tensor, got a number'],
    [() => new layers.Parameter!(null), 'Parameter: data must be a tensor, got null'],
    [() => Object.assign(p, { grad: 3 }), 'grad: value must be a tensor, got a number'],
    [() => Object.assign(p, { grad: undefined }), 'grad: value must be a tensor, got undefined'],
    [() => io.saveSafetensors!(file, { a: 3 }), 'saveSafetensors: a must be a tensor, got a number'],
    [() => io.saveSafetensors!(file, 3), 'saveSafetensors: expected a record of tensors, got a number'],
    [() => io.saveSafetensors!(file, x), 'saveSafetensors: expected a record of tensors, got one tensor'],
    [() => io.saveSafetensors!(file, [x]), 'saveSafetensors: expected a record of tensors, got an array'],
    [() => io.tensorsToBytes!(new Map([['x', x]])), 'tensorsToBytes: expected a record of tensors, got an object'],
    [() => io.tensorsToBytes!({ x }, { meta: {} }), "tensorsToBytes: unknown option 'meta'; the options are metadata"],
    [() => c.grad!(3, p), 'grad: output must be a tensor, got a number'],
    [() => c.grad!(p, undefined), 'grad: input 0 must be a tensor, got undefined'],
    [() => c.grad!(p, p, { gradOutputs: 3 }), 'grad: gradient must be a tensor, got a number'],
    [() => c.jacobian!(() => x, null), 'jacobian: inputs must be a tensor, or an array or record of tensors'],
    [() => c.hessian!(() => x, 3), 'hessian: inputs must be a tensor, or an array or record of tensors'],
    [() => (optimizers as unknown as Functions).clipGradValue!([3], 1), 'clipGradValue: parameter 0 must be a tensor, got a number'],
    [() => (optimizers as unknown as Functions).clipGradNorm!(3, 1), 'clipGradNorm: parameter 0 must be a tensor, got a number'],
    [() => (optimizers as unknown as Functions).clipGradNorm!([p, null], 1), 'clipGradNorm: parameter 1 must be a tensor, got null'],
    [() => new optim.SGD!(null, { lr: 1 }), 'SGD: expected parameters or groups of them, such as model.parameters(), got object'],
    [() => new optim.StepLR!(3, { stepSize: 1 }), 'StepLR: expected an optimizer, got a number'],
    [() => new optim.OneCycleLR!(undefined, { maxLr: 1, totalSteps: 9 }), 'OneCycleLR: expected an optimizer, got undefined'],
    [() => new optim.ReduceLROnPlateau!(null), 'ReduceLROnPlateau: expected an optimizer, got null'],
  ] as [() => unknown, string][])('%#: %s', (act, message) => chainrule.scope(() => refuses(act, message)));

  test('null dims mean all dims, as None does in PyTorch', () => {
    expect((m.sum!(null, { keepdim: true }) as chainrule.Tensor).toArray()).toEqual([[6]]);
  });

  test('an int32 tensor with a gradient leaves nothing behind', () => {
    const message = 'tensor: only float32 and float64 tensors have gradients, this one is int32';
    refuses(() => tensor([1], { dtype: 'int32', requiresGrad: true }), message, DTypeError);
    refuses(() => ones([1], { dtype: 'bool', requiresGrad: true }), message.replace('tensor', 'ones').replace('int32', 'bool'), DTypeError);
  });
});

describe('values outside their range', () => {
  test.each(['batchNorm', 'layerNorm', 'groupNorm', 'rmsNorm'])('%s refuses an eps that is NaN, negative or a string', (op) => {
    const rest = { batchNorm: [], layerNorm: [4], groupNorm: [1], rmsNorm: [4] }[op]!;
    for (const eps of [Number.NaN, -1e-5, '1e-5'])
      chainrule.scope(() =>
        refuses(
          () => F[op]!(image, ...rest, { eps, ...(op === 'batchNorm' && { training: true }) }),
          `${op}: eps must be a number ≥ 0, got ${typeof eps === 'string' ? `'${eps}'` : eps}`,
        ),
      );
  });

  test.each([Number.NaN, Infinity, '1', undefined])('LambdaLR refuses the factor %s, and its state is unchanged', (bad) => {
    const sgd = new optimizers.SGD([{ params: [p] }, { params: [one] }], { lr: 0.5 });
    const lrLambda = [(t: number) => 1 / (t + 1), (t: number) => (t < 2 ? 1 : (bad as number))];
    const schedule = new optimizers.LambdaLR(sgd, { lrLambda });
    schedule.step();
    const before = [schedule.stateDict(), sgd.paramGroups.map((g) => g.lr)];
    refuses(
      () => schedule.step(),
      `LambdaLR: lrLambda(2) must be a number that is finite, got ${typeof bad === 'string' ? `'${bad}'` : bad}`,
    );
    expect([schedule.stateDict(), sgd.paramGroups.map((g) => g.lr)]).toEqual(before);
  });
});

test('a model in a template string is its summary', () => {
  const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
  expect(`${model}`).toBe(model.summary());
  expect(`${model}`).toContain('Linear');
  model.dispose();
});

describe('booleans are true or false', () => {
  const loader = (options: object): unknown => new DataLoader(syntheticCifar({ length: 2 }), options);
  const linear = new nn.Linear(2, 2);

  test.each([
    [() => loader({ shuffle: 'false' }), "DataLoader: shuffle must be true or false, got 'false'"],
    [() => loader({ dropLast: 0 }), 'DataLoader: dropLast must be true or false, got 0'],
    [() => new optim.SGD!([p], { lr: 0.1, maximize: 'false' }), "SGD: maximize must be true or false, got 'false'"],
    [() => new optim.SGD!([{ params: [p], nesterov: 0 }], { lr: 0.1 }), 'SGD: nesterov must be true or false, got 0'],
    [() => new optim.AdamW!([p], { amsgrad: 1 }), 'AdamW: amsgrad must be true or false, got 1'],
    [() => new layers.Linear!(2, 2, { bias: null }), 'Linear: bias must be true or false, got null'],
    [() => new layers.BatchNorm2d!(2, { affine: 'no' }), "BatchNorm2d: affine must be true or false, got 'no'"],
    [() => c.ones!([2], { requiresGrad: 'no' }), "ones: requiresGrad must be true or false, got 'no'"],
    [() => m.sum!(1, { keepdim: 1 }), 'sum: keepdim must be true or false, got 1'],
    [() => F.dropout!(x, 0.5, { training: 'false' }), "dropout: training must be true or false, got 'false'"],
    [
      () => (p as unknown as Functions).backward!(one, { retainGraph: 'false' }),
      "backward: retainGraph must be true or false, got 'false'",
    ],
    [() => c.memory!({ resetPeak: 1 }), 'memory: resetPeak must be true or false, got 1'],
    [
      () => linear.loadStateDict(linear.stateDict(), { strict: 'false' } as never),
      "loadStateDict: strict must be true or false, got 'false'",
    ],
    [() => linear.train('false' as never), "train: mode must be true or false, got 'false'"],
  ] as [() => unknown, string][])('%#: %s', (act, message) => chainrule.scope(() => refuses(act, message)));
});

/** The same for a call that makes arguments of its own, in a scope, which frees them. */
const throwsText = (act: () => unknown, message: string | RegExp, kind: new (message: string) => Error = ArgumentError): void =>
  chainrule.scope(() => {
    let error: unknown;
    try {
      act();
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(kind);
    if (typeof message === 'string') expect((error as Error).message).toBe(message);
    else expect((error as Error).message).toMatch(message);
  });

describe('options that PyTorch spells otherwise', () => {
  const linear = new nn.Linear(2, 2);
  const w2 = ones([2, 2]);
  const { init } = nn as unknown as { readonly init: Functions };
  const { transforms } = data as unknown as { readonly transforms: Functions };
  const state = linear.stateDict();

  test.each([
    [() => new layers.Parameter!(one, { requires_grad: false }), "Parameter: unknown option 'requires_grad'; the options are requiresGrad"],
    [() => new layers.Parameter!(one, false), 'Parameter: expected an object of options (requiresGrad), got a boolean'],
    [() => (nn as unknown as Functions).buffer!(one, false), 'buffer: expected an object of options (persistent), got a boolean'],
    [
      () => init.kaimingUniform_!(w2, Math.sqrt(5)),
      'kaimingUniform_: expected an object of options (a, mode, nonlinearity, generator), got a number',
    ],
    [() => init.kaimingNormal_!(w2, { mode: 'fan_in' }), "kaimingNormal_: mode must be 'fanIn' or 'fanOut', got 'fan_in'"],
    [() => init.normal_!(w2, 0, 1, chainrule.defaultGenerator), 'normal_: expected an object of options (generator), got a generator'],
    [() => init.uniform_!(w2, 0, 1, { generator: 3 }), 'uniform_: generator must be a generator, got a number'],
    [() => init.uniform_!(w2, { low: 0 }), 'uniform_: low must be a number, got an object'],
    [() => linear.loadStateDict(state, false as never), 'loadStateDict: expected an object of options (strict, rename), got a boolean'],
    [() => linear.loadStateDict(state, { stric: false } as never), "loadStateDict: unknown option 'stric'; the options are strict, rename"],
    [
      () => (data as unknown as Functions).loadMnist!('/x', { training: false }),
      "loadMnist: unknown option 'training'; the options are split, train",
    ],
    [
      () => (data as unknown as Functions).loadCifar10!('/x', { training: false }),
      "loadCifar10: unknown option 'training'; the options are split, train",
    ],
    [() => transforms.randomCrop!(32, { pading: 4 }), "randomCrop: unknown option 'pading'; the options are padding, fill"],
    [() => transforms.randomCrop!(32, 4), 'randomCrop: expected an object of options (padding, fill), got a number'],
    [() => transforms.normalize!(), 'normalize: mean must be a number, or an array with one for each channel, got undefined'],
    [() => transforms.normalize!(0.5), 'normalize: std must be a number, or an array with one for each channel, got undefined'],
    [() => transforms.normalize!([0, '1'], 1), 'normalize: mean must be a number, or an array with one for each channel, got a string'],
    [() => c.profile!(() => 1, { warmup: 3 }), 'profile: there are no options, got an object'],
    [() => c.graph!(p.sum(), { dot: true }), "graph: unknown option 'dot'; the options are names"],
    [
      () => (linear as unknown as Functions).summary!([1, 2], { depth: 1 }),
      'summary: expected at most 1 argument, got 2; the last is an object',
    ],
    [() => F.relu!(x, true), 'relu: there are no options, got a boolean'],
    [() => F.softmax!(x, 1, { dtype: 'float64' }), 'softmax: there are no options, got an object'],
    [() => new layers.ReLU!({ inplace: true }), 'ReLU: there are no options, got an object'],
    [() => new layers.LeakyReLU!({ negativeSlope: 0.2 }), 'LeakyReLU: negativeSlope must be a number, got an object'],
    [() => new layers.GELU!('tanh'), 'GELU: gelu: expected an object of options (approximate), got a string'],
    [
      () => new layers.Upsample!({ scale_factor: 2 }),
      "Upsample: interpolate: unknown option 'scale_factor'; the options are size, scaleFactor, mode, alignCorners",
    ],
    [() => new layers.MSELoss!('sum'), 'MSELoss: mseLoss: expected an object of options (reduction), got a string'],
    [() => defineOp({ name: 'mine', forward: () => x, backwards: () => [] } as never), /^defineOp: unknown option 'backwards'/],
  ] as [() => unknown, string | RegExp][])('%#: %s', throwsText);

  test('a list of tensors maps over a function, which then gets an index and the list', () => {
    expect(chainrule.scope(() => [one, one].map(F.relu!)).length).toBe(2);
  });
});

describe('values that nothing else would read', () => {
  test.each([
    [() => F.crossEntropy!(x, labels, { ignoreIndex: 1.5 }), 'crossEntropy: ignoreIndex must be a whole number, got 1.5'],
    [() => F.nllLoss!(x, labels, { ignoreIndex: Number.NaN }), 'nllLoss: ignoreIndex must be a whole number, got NaN'],
    ...['BatchNorm1d', 'BatchNorm2d', 'GroupNorm', 'InstanceNorm2d', 'LayerNorm', 'RMSNorm'].map((name) => {
      const without = { dtype: 'int32', [/Layer|RMS/.test(name) ? 'elementwiseAffine' : 'affine']: false };
      return [
        () => new layers[name]!(...(name === 'GroupNorm' ? [1, 2] : [2]), without),
        new RegExp(`^${name}: dtype must be float32 or float64, got 'int32'$`),
        DTypeError,
      ];
    }),
    [
      () => defineOp({ name: 'mine', forward: () => x, backward: 'x' } as never),
      'defineOp: backward of mine must be a function, got a string',
    ],
    [() => defineOp({ name: 'mine', forward: () => x, save: {} } as never), 'defineOp: save of mine must be a function, got an object'],
    [() => defineOp({ name: 'mine', forward: () => x, broadcasts: 1 } as never), 'defineOp: broadcasts must be true or false, got 1'],
  ] as [() => unknown, string | RegExp, (new (message: string) => Error)?][])('%#: %s', (act, message, kind) =>
    throwsText(act, message, kind),
  );

  test('states of schedulers', () => {
    const sgd = new optimizers.SGD([p], { lr: 0.5 });
    const schedule = new optimizers.StepLR(sgd, { stepSize: 1 });
    const wrong = { lastEpoch: 1, baseLrs: { length: 1 }, lastLr: [1] };
    const misfit = 'loadStateDict: the state does not fit';
    throwsText(
      () => schedule.loadStateDict(wrong as never),
      `${misfit} StepLR: expected lastEpoch ≥ 0, 1 baseLrs and 1 lastLr, got 1, an object and 1`,
      StateDictError,
    );
    const plateau = new optimizers.ReduceLROnPlateau(sgd);
    const state = plateau.stateDict();
    for (const [change, problem] of [
      [{ numBadEpochs: Number.NaN }, 'numBadEpochs is NaN, no whole number ≥ 0'],
      [{ lastEpoch: 1.5 }, 'lastEpoch is 1.5, no whole number ≥ 0'],
      [{ best: Number.NaN }, 'best is NaN and cooldownCounter 0'],
      [{ cooldownCounter: -1 }, 'best is Infinity and cooldownCounter -1'],
    ] as const)
      throwsText(() => plateau.loadStateDict({ ...state, ...change }), `${misfit} ReduceLROnPlateau: ${problem}`, StateDictError);
    expect(plateau.stateDict()).toEqual(state);
  });
});

describe('custom operations', () => {
  const gives = (forward: unknown, backward: unknown) => defineOp({ name: 'mine', forward, backward } as never) as () => chainrule.Tensor;
  const missing =
    'backward of mine: no gradient for argument 0; it must return an array with one for each argument, null where there is none';
  const same = (_: unknown, t: chainrule.Tensor): unknown => t;

  test.each([
    ['an empty array', () => []],
    ['a tensor', (g: unknown) => g],
    ['numbers', () => [1]],
  ])('a backward that returns %s', (_, backward) => {
    const leaf = ones([2], { requiresGrad: true });
    const y = (gives(same, backward) as (t: unknown) => chainrule.Tensor)(leaf).sum();
    expect(() => y.backward()).toThrow(new AutogradError(missing));
    expect(leaf.grad).toBeNull();
  });

  test('a specification without a name or a forward', () => {
    refuses(() => c.defineOp!({ forward: same }), 'defineOp: name must be a string, got undefined');
    refuses(() => c.defineOp!({ name: 3, forward: same }), 'defineOp: name must be a string, got a number');
    refuses(() => c.defineOp!({ name: 'mine' }), 'defineOp: forward of mine must be a function, got undefined');
  });

  test('a forward that returns no tensor', () => {
    refuses(() => (gives(() => 3, null) as (t: unknown) => unknown)(x), 'mine: forward must return a tensor, got a number');
    refuses(() => (gives(() => undefined, null) as (t: unknown) => unknown)(x), 'mine: forward must return a tensor, got undefined');
  });

  test.each([
    [
      'of JavaScript',
      () => (undefined as unknown as { readonly x: number }).x,
      TypeError,
      "Cannot read properties of undefined (reading 'x')",
    ],
    ['of the library', () => ones([2]).add(ones([3])), ShapeError, 'add: shapes [2] and [3] do not broadcast (2 against 3)'],
    [
      'that is not an Error',
      () => {
        // A user may throw anything.
        // oxlint-disable-next-line typescript/only-throw-error
        throw 'a text';
      },
      AutogradError,
      'a text was thrown',
    ],
  ] as const)('an error %s in backward names the op, once, also in the stack', (_, backward, kind, message) => {
    const op = gives(same, backward) as (t: unknown) => chainrule.Tensor;
    const leaf = ones([2], { requiresGrad: true });
    const y = op(op(leaf)).sum();
    let error: unknown;
    try {
      y.backward();
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toBe(`backward of mine: ${message}`);
    expect((error as Error).stack).toContain(`backward of mine: ${message}`);
    expect(leaf.grad).toBeNull();
  });
});

describe('backward with options only', () => {
  test('retains the graph, as error texts propose', () => {
    const leaf = ones([2], { requiresGrad: true });
    const y = leaf.square().sum();
    y.backward({ retainGraph: true });
    y.backward();
    expect(leaf.grad!.toArray()).toEqual([4, 4]);
    leaf.grad = null;
    const z = leaf.square().sum();
    for (const step of chainrule.backwardSteps(z, { retainGraph: true })) void step;
    for (const step of chainrule.backwardSteps(z)) void step;
    expect(leaf.grad!.toArray()).toEqual([4, 4]);
  });

  test('checks them', () => {
    const message = "backward: unknown option 'retain_graph'; the options are retainGraph, createGraph";
    throwsText(() => (p.sum() as unknown as Functions).backward!({ retain_graph: true }), message);
    const ofSteps = "backwardSteps: unknown option 'retain_graph'; the options are retainGraph, createGraph, names";
    throwsText(() => c.backwardSteps!(p.sum(), { retain_graph: true }), ofSteps);
    throwsText(
      () => (p.sum() as unknown as Functions).backward!({ retainGraph: true }, { createGraph: true }),
      'backward: gradient must be a tensor, got an object',
    );
    throwsText(() => (p.sum() as unknown as Functions).backward!({ createGraph: 1 }), 'backward: createGraph must be true or false, got 1');
    throwsText(() => c.grad!(p.sum(), p, { retainGraph: 'no' }), "grad: retainGraph must be true or false, got 'no'");
    throwsText(() => c.grad!(p.sum(), p, { allowUnused: 'no' }), "grad: allowUnused must be true or false, got 'no'");
  });
});

test('layers compute in the dtype of their parameters: another one is refused, not converted', () => {
  const double = (shape: number[]): chainrule.Tensor => ones(shape, { dtype: 'float64' });
  chainrule.scope(() => {
    const linear = 'linear: x is float64, w float32; they must be equal, convert one with .to()';
    throwsText(() => F.linear!(double([2, 3]), ones([4, 3])), linear, DTypeError);
    throwsText(
      () => F.linear!(x, ones([4, 3]), double([4])),
      'linear: x is float32, b float64; they must be equal, convert one with .to()',
      DTypeError,
    );
    throwsText(() => F.linear!(tensor([[1, 2, 3]], { dtype: 'int32' }), ones([4, 3])), linear.replace('float64', 'int32'), DTypeError);
    throwsText(() => F.prelu!(double([2, 3]), ones([1])), 'prelu: x is float64, w float32; they must be equal', DTypeError);
    const conv = 'conv2d: x and w must have the same float dtype, got float64 and float32';
    throwsText(() => F.conv2d!(double([1, 2, 4, 4]), w), conv, DTypeError);
    throwsText(
      () => F.layerNorm!(double([2, 3]), 3, { weight: ones([3]) }),
      'layerNorm: x is float64, weight float32; they must be equal',
      DTypeError,
    );
    const model = new nn.Sequential(new nn.Linear(3, 4));
    expect(() => model.forward(double([2, 3]))).toThrow(new DTypeError(`0 (Linear): ${linear}`));
    expect(model.to('float64').forward(double([2, 3])).dtype).toBe('float64');
    model.dispose();
  });
});

describe('a forward without return', () => {
  class Forgetful extends nn.Module {
    forward(t: chainrule.Tensor): chainrule.Tensor {
      void t.relu();
      return undefined as unknown as chainrule.Tensor;
    }
  }
  const none = (): chainrule.Tensor => undefined as unknown as chainrule.Tensor;

  test.each([
    [
      () => new nn.Sequential(new nn.ReLU(), new Forgetful()).forward(x),
      'Sequential: sequential: forward of layer 1 (Forgetful) must return a tensor, got undefined',
    ],
    [() => F.crossEntropy!(new Forgetful().forward(x), labels), 'crossEntropy: x must be a tensor, got undefined'],
    [
      () => chainrule.gradcheck(none, p.to('float64')),
      'gradcheck: the function must return a tensor or an array of tensors, got undefined',
    ],
    [() => chainrule.jacobian(none, p), 'jacobian: the function must return a tensor, got undefined'],
    [() => chainrule.recompute(none), 'recompute: the function must return a tensor, got undefined'],
    [() => c.jacobian!(p, none), 'jacobian: fn must be a function, got a tensor'],
  ] as [() => unknown, string][])('%#: %s', throwsText);
});
