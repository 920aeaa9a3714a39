/** Arguments that only plain JavaScript can pass. They throw an error that names them before any tensor is made. */
import { describe, expect, test } from 'vitest';
import * as chainrule from 'chainrule';
import * as nn from 'chainrule/nn';
import * as functional from 'chainrule/nn/functional';
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
const { ArgumentError, AutogradError, DTypeError, defineOp, ones, tensor } = chainrule;

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
      "DataLoader: unknown option 'suffle'; the options are batchSize, shuffle, dropLast, seed, transform",
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
    [() => F.adaptiveAvgPool2d!(image, '2'), 'adaptiveAvgPool2d: size must be a whole number ≥ 0 or a pair of them, got "2"'],
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
          `${op}: eps must be a number ≥ 0, got ${eps}`,
        ),
      );
  });

  test.each([Number.NaN, Infinity, '1', undefined])('LambdaLR refuses the factor %s, and its state is unchanged', (bad) => {
    const sgd = new optimizers.SGD([{ params: [p] }, { params: [one] }], { lr: 0.5 });
    const lrLambda = [(t: number) => 1 / (t + 1), (t: number) => (t < 2 ? 1 : (bad as number))];
    const schedule = new optimizers.LambdaLR(sgd, { lrLambda });
    schedule.step();
    const before = [schedule.stateDict(), sgd.paramGroups.map((g) => g.lr)];
    refuses(() => schedule.step(), `LambdaLR: lrLambda(2) must be a number that is finite, got ${bad}`);
    expect([schedule.stateDict(), sgd.paramGroups.map((g) => g.lr)]).toEqual(before);
  });
});

test('a model in a template string is its summary', () => {
  const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
  expect(`${model}`).toBe(model.summary());
  expect(`${model}`).toContain('Linear');
  model.dispose();
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
    const y = (gives(same, backward) as (t: unknown) => chainrule.Tensor)(p).sum();
    expect(() => y.backward()).toThrow(new AutogradError(missing));
    expect(p.grad).toBeNull();
  });

  test('a forward that returns no tensor', () => {
    refuses(() => (gives(() => 3, null) as (t: unknown) => unknown)(x), 'mine: forward must return a tensor, got a number');
    refuses(() => (gives(() => undefined, null) as (t: unknown) => unknown)(x), 'mine: forward must return a tensor, got undefined');
  });
});
