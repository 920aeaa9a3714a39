/** The operations that users expect exist under PyTorch's names in camelCase: as methods, as exports, or in F. */
import * as chainrule from 'chainrule';
import { cat, einsum, maximum, minimum, pad, pow, scope, stack, tensor, where, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';

const words = (s: string): string[] => s.trim().split(/\s+/);

const METHODS = words(`
  neg abs sign reciprocal square sqrt rsqrt exp expm1 log log1p sin cos tanh sigmoid logSigmoid softplus relu leakyRelu prelu elu gelu
  silu mish hardsigmoid hardswish erf floor ceil round clamp add sub mul div pow maximum minimum eq ne lt le gt ge
  logicalAnd logicalOr logicalNot isnan isfinite maskedFill
  sort argsort topk nonzero maskedSelect
  sum mean prod var std amax amin max min argmax argmin logsumexp norm any all cumsum softmax logSoftmax
  reshape view flatten unflatten transpose permute movedim expand broadcastTo repeat squeeze unsqueeze slice select split chunk unbind
  flip roll tril triu gather scatterAdd indexSelect contiguous clone detach to
  matmul mv dot outer add_ mul_ zero_ copy_ fill_`);

const EXPORTS = words('cat stack where pad einsum maximum minimum multinomial pow argmax argmin');

const FUNCTIONAL = words(`
  linear conv1d conv2d convTranspose2d maxPool2d avgPool2d adaptiveAvgPool2d adaptiveMaxPool2d globalAvgPool2d globalMaxPool2d interpolate
  batchNorm instanceNorm layerNorm groupNorm rmsNorm scaledDotProductAttention dropout dropout2d stochasticDepth embedding oneHot
  relu leakyRelu prelu elu gelu silu mish softplus hardsigmoid hardswish sigmoid logSigmoid tanh softmax logSoftmax
  crossEntropy nllLoss binaryCrossEntropy binaryCrossEntropyWithLogits mseLoss l1Loss huberLoss smoothL1Loss`);

const typeOf = (home: object, name: string): string => typeof Reflect.get(home, name);

describe('there is', () => {
  const t = tensor([1]);
  test.each(METHODS)('x.%s', (name) => expect(typeOf(t, name)).toBe('function'));
  test.each(EXPORTS)('%s', (name) => expect(typeOf(chainrule, name)).toBe('function'));
  test.each(FUNCTIONAL)('F.%s', (name) => expect(typeOf(F, name)).toBe('function'));
});

test('a method that is also in F is the same operation', () => {
  scope(() => {
    const x = tensor([[-1.5, 0.5, 4]], { dtype: 'float64' });
    const both = words('relu leakyRelu elu gelu silu mish softplus hardsigmoid hardswish sigmoid logSigmoid tanh');
    for (const name of both) {
      const [method, f] = [Reflect.get(x, name), Reflect.get(F, name)] as [() => Tensor, (x: Tensor) => Tensor];
      expect([...method.call(x).data()]).toEqual([...f(x).data()]);
    }
    expect(x.leakyRelu(0.5).toArray()).toEqual([[-0.75, 0.5, 4]]);
    expect(x.prelu(tensor([2], { dtype: 'float64' })).toArray()).toEqual([[-3, 0.5, 4]]);
    expect(x.gelu({ approximate: 'tanh' }).data()).toEqual(F.gelu(x, { approximate: 'tanh' }).data());
  });
});

test('operands that may be a tensor or a number may be either on both sides', () => {
  scope(() => {
    const [a, b] = [tensor([1, 2, 3]), tensor([3, 2, 1])];
    expect(pow(2, a).toArray()).toEqual([2, 4, 8]);
    expect(pow(a, 2).toArray()).toEqual([1, 4, 9]);
    expect(pow(a, b).toArray()).toEqual([1, 4, 3]);
    expect(a.clamp(b, 2.5).toArray()).toEqual([2.5, 2, 2.5]);
    expect(maximum(2, a).toArray()).toEqual([2, 2, 3]);
    expect(minimum(a, b).toArray()).toEqual([1, 2, 1]);
    expect(where(a.gt(b), a, 0).toArray()).toEqual([0, 0, 3]);
    expect(a.maskedFill(a.gt(b), tensor(9)).toArray()).toEqual([1, 2, 9]);
  });
});

test('negative indices and dims, steps, several dims, and keepdim', () => {
  scope(() => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(x.select(-1, -1).toArray()).toEqual([3, 6]);
    expect(x.slice(-1, -3, null, 2).toArray()).toEqual([
      [1, 3],
      [4, 6],
    ]);
    expect(x.sum([0, -1], { keepdim: true }).toArray()).toEqual([[21]]);
    expect(x.max(-1)[1].toArray()).toEqual([2, 2]);
    expect([x.argmax().shape, x.argmax(undefined, { keepdim: true }).toArray(), x.argmin(0, { keepdim: true }).shape]).toEqual([
      [],
      [[5]],
      [1, 3],
    ]);
    expect(x.movedim(-1, 0).shape).toEqual([3, 2]);
    expect(cat([x, x], -1).shape).toEqual([2, 6]);
    expect(stack([x, x], -1).shape).toEqual([2, 3, 2]);
    expect(pad(x, [1, 0]).shape).toEqual([2, 4]);
    expect(einsum('ij->j', x).toArray()).toEqual([5, 7, 9]);
  });
});
