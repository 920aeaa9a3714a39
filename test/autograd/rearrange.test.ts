/** Errors, dtypes and default sizes of reductions, views, joining, indexing and products. */
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  type ChainruleError,
  DTypeError,
  ShapeError,
  type Tensor,
  argmax,
  cat,
  einsum,
  maximum,
  ones,
  pad,
  scope,
  stack,
  tensor,
  where,
  zeros,
} from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { refuses } from '../support/refuses.ts';

type Kind = new (message: string) => ChainruleError;

describe('errors', () => {
  const a = ones([2, 3]);
  const v = ones([3]);
  const one = tensor(1);
  const two = ones([2]);
  const tall = ones([3, 3]);
  const mask = a.gt(0);
  const three = zeros([3, 1], { dtype: 'int32' });
  const [flat, single, column] = [three.flatten(), three.slice(0, 0, 1), ones([3, 1])];
  const none = zeros([0, 2]);
  const noLabels = zeros([0], { dtype: 'int32' });
  const bits = zeros([1, 9], { dtype: 'bool' });
  const wide = zeros([2, 9]);
  const i = tensor([[0, 1, 5]], { dtype: 'int32' });
  const labels = tensor([0, 2, -1], { dtype: 'int32' });
  const huge = tensor([2 ** 30, 2 ** 30], { dtype: 'int32' });
  const wrong = undefined as unknown as number;
  const cases: [string, () => unknown, Kind, string][] = [
    ['prod', () => a.prod(2), ShapeError, 'prod: dim 2 is out of range for 2 dims (expected -2 to 1)'],
    ['prod of int32', () => huge.prod(), DTypeError, `prod: ${2 ** 60} does not fit int32; convert the tensor with .to('float32') first`],
    [
      'cumsum of int32',
      () => huge.cumsum(0),
      DTypeError,
      `cumsum: ${2 ** 31} does not fit int32; convert the tensor with .to('float32') first`,
    ],
    ['norm p', () => a.norm(NaN), ArgumentError, 'norm: p must be a number, got NaN'],
    ['norm p that is a text', () => a.norm('2' as never), ArgumentError, "norm: p must be a number, got '2'"],
    ['var', () => a.var(0, { correction: '1' as never }), ArgumentError, "var: correction must be a number, got '1'"],
    ['argmax of a number', () => argmax(3 as never), ArgumentError, 'argmax: x must be a tensor, got a number'],
    ['norm of int32', () => huge.norm(), DTypeError, "norm: expected float32 or float64, got int32; convert with .to('float32')"],
    ['max of nothing', () => none.max(0), ShapeError, 'argmax: nothing to choose from along dim 0 of x [0,2]'],
    ['max without dim', () => a.max(wrong), ShapeError, 'max: dim undefined is out of range for 2 dims (expected -2 to 1)'],
    ['unflatten', () => a.unflatten(1, [2, 2]), ShapeError, 'unflatten: shape [3] has 3 elements, which do not fit [2,2]'],
    ['unflatten 0-d', () => one.unflatten(0, [1]), ShapeError, 'unflatten: a 0-d tensor has no dim 0'],
    ['movedim', () => a.movedim([0, 1], 1), ShapeError, 'movedim: source [0,1] and destination [1] must be equally many dims, each once'],
    ['broadcastTo', () => a.broadcastTo([3, 3]), ShapeError, 'broadcastTo: x [2,3] does not broadcast to [3,3]'],
    ['repeat', () => a.repeat([2]), ArgumentError, 'repeat: counts must be whole numbers ≥ 0, one a dim of x [2,3], got [2]'],
    ['split', () => a.split([1, 1], 1), ShapeError, 'split: sizes [1,1] do not add up to 3, dim 1 of x [2,3]'],
    ['split size', () => a.split(0), ArgumentError, 'split: size must be a whole number ≥ 1, got 0'],
    ['chunk', () => a.chunk(0), ArgumentError, 'chunk: chunks must be a whole number ≥ 1, got 0'],
    ['unbind', () => one.unbind(), ShapeError, 'unbind: a 0-d tensor has no dim 0'],
    ['flip', () => a.flip([0, 0]), ShapeError, 'flip: dim 0 appears twice'],
    ['roll', () => a.roll([1, 2], 0), ArgumentError, 'roll: shifts [1,2] must be whole numbers, one a dim of [0]'],
    ['tril', () => v.tril(), ShapeError, 'tril: x [3] needs at least 2 dims'],
    ['triu', () => a.triu(0.5), ArgumentError, 'triu: diagonal must be a whole number, got 0.5'],
    [
      'scatterAdd index',
      () => a.scatterAdd(1, i, a),
      ShapeError,
      'scatterAdd: index 5 at position 2 is out of range for 3 (expected 0 to 2)',
    ],
    [
      'scatterAdd shapes',
      () => wide.scatterAdd(1, i, v),
      ShapeError,
      'scatterAdd: index [1,3] must fit into src [3], and into x [2,9] but along dim 1',
    ],
    ['scatterAdd of bool', () => bits.scatterAdd(1, i, bits), DTypeError, "scatterAdd: bool does not add up; convert with .to('int32')"],
    ['scatterAdd dtypes', () => wide.scatterAdd(1, i, i), DTypeError, 'scatterAdd: x is float32, src int32; convert one with .to()'],
    [
      'indexSelect',
      () => a.indexSelect(1, i),
      ShapeError,
      'indexSelect: index must have 1 dim, and 1 element where x is 0-d (x [2,3], index [1,3])',
    ],
    [
      'indexSelect 0-d',
      () => one.indexSelect(0, labels),
      ShapeError,
      'indexSelect: index must have 1 dim, and 1 element where x is 0-d (x [], index [3])',
    ],
    [
      'indexSelect index',
      () => a.indexSelect(0, labels),
      ShapeError,
      'indexSelect: index 2 at position 1 is out of range for 2 (expected 0 to 1)',
    ],
    ['oneHot', () => F.oneHot(labels), ShapeError, 'oneHot: index -1 at position 2 is out of range for 3 (expected 0 to 2)'],
    [
      'oneHot of floats',
      () => F.oneHot(v),
      DTypeError,
      "oneHot: indices must be int32, got float32; make them with { dtype: 'int32' } or convert with .to('int32')",
    ],
    ['oneHot classes', () => F.oneHot(labels, 0), ArgumentError, 'oneHot: numClasses must be a whole number ≥ 1, got 0'],
    ['oneHot of nothing', () => F.oneHot(noLabels), ArgumentError, 'oneHot: an empty index has no largest class; give numClasses'],
    ['reshape with a hole', () => a.reshape([-1, 4]), ShapeError, 'reshape: shape [2,3] has 6 elements, which do not fit [-1,4]'],
    ['a hole of any size', () => none.reshape([-1, 0]), ShapeError, 'reshape: shape [0,2] has 0 elements, which do not fit [-1,0]'],
    ['flatten', () => a.flatten(1, 0), ShapeError, 'flatten: start dim 1 comes after end dim 0 (x [2,3])'],
    ['permute too many', () => a.permute([0, 1, 1]), ShapeError, 'permute: dims [0,1,1] must name each dim of x [2,3] once'],
    [
      'movedim twice',
      () => a.movedim([0, 0], [0, 1]),
      ShapeError,
      'movedim: source [0,0] and destination [0,1] must be equally many dims, each once',
    ],
    [
      'movedim to one',
      () => a.movedim([0, 1], [0, 0]),
      ShapeError,
      'movedim: source [0,1] and destination [0,0] must be equally many dims, each once',
    ],
    [
      'repeat by a half',
      () => a.repeat([2, 0.5]),
      ArgumentError,
      'repeat: counts must be whole numbers ≥ 0, one a dim of x [2,3], got [2,0.5]',
    ],
    ['cat of nothing', () => cat([]), ArgumentError, 'cat: give at least one tensor'],
    ['cat of ranks', () => cat([a, two], 1), ShapeError, 'cat: shapes [2,3], [2] must agree in all dims but 1, of at least 1'],
    ['cat 0-d', () => cat([one, one]), ShapeError, 'cat: shapes [], [] must agree in all dims but 0, of at least 1'],
    ['stack of nothing', () => stack([]), ArgumentError, 'stack: give at least one tensor'],
    ['add_ of floats', () => labels.add_(v), DTypeError, 'add_: the result would be float32, which does not fit the int32 target'],
    ['add_ of bool', () => bits.add_(1), DTypeError, "add_: a bool tensor holds no numbers; convert it with .to('int32') first"],
    ['copy_ of more', () => v.copy_(a), ShapeError, 'copy_: operand [2,3] does not broadcast to the target [3]'],
    ['slice of 0-d', () => one.slice(0), ShapeError, 'slice: a 0-d tensor has no dim to slice'],
    ['select before the first', () => a.select(1, -4), ShapeError, 'select: index -4 is out of range for dim 1 of x [2,3]'],
    ['select a half', () => a.select(1, 0.5), ShapeError, 'select: index 0.5 is out of range for dim 1 of x [2,3]'],
    [
      'pad three dims',
      () => pad(a, [0, 0, 0, 0, 1, 1]),
      ArgumentError,
      'pad: padding must be pairs of whole numbers for at most 2 dims, got [0,0,0,0,1,1]',
    ],
    ['pad by a half', () => pad(a, [1, 0.5]), ArgumentError, 'pad: padding must be pairs of whole numbers for at most 2 dims, got [1,0.5]'],
    [
      'gather rank',
      () => a.gather(1, flat),
      ShapeError,
      "gather: index [3] must have the rank of x [2,3], and sizes at most x's but along dim 1",
    ],
    [
      'gather sizes',
      () => a.gather(1, three),
      ShapeError,
      "gather: index [3,1] must have the rank of x [2,3], and sizes at most x's but along dim 1",
    ],
    [
      'scatterAdd rank',
      () => wide.scatterAdd(1, flat, v),
      ShapeError,
      'scatterAdd: index [3] must fit into src [3], and into x [2,9] but along dim 1',
    ],
    [
      'scatterAdd rank of src',
      () => a.scatterAdd(1, single, v),
      ShapeError,
      'scatterAdd: index [1,1] must fit into src [3], and into x [2,3] but along dim 1',
    ],
    [
      'scatterAdd beyond x',
      () => a.scatterAdd(1, three, tall),
      ShapeError,
      'scatterAdd: index [3,1] must fit into src [3,3], and into x [2,3] but along dim 1',
    ],
    [
      'scatterAdd beyond src',
      () => tall.scatterAdd(1, three, a),
      ShapeError,
      'scatterAdd: index [3,1] must fit into src [2,3], and into x [3,3] but along dim 1',
    ],
    ['two numbers', () => maximum(1 as never, 2), DTypeError, 'maximum: at least one operand must be a tensor'],
    [
      'where of numbers',
      () => where(mask, 1, 2),
      DTypeError,
      'where: a or b must be a tensor, so that the result has its dtype; use full([], a, { dtype })',
    ],
    ['clamp without bounds', () => a.clamp(null), DTypeError, 'clamp: give at least one bound'],
    ['prelu', () => F.prelu(a, column), ShapeError, 'prelu: x has 3 channels, w must be [1] or [3] (x [2,3], w [3,1])'],
    ['expand by a half', () => two.expand([0.5, 2]), ShapeError, 'expand: every size must be a whole number ≥ 0, got shape [0.5,2]'],
    ['expand to less than nothing', () => two.expand([-2, 2]), ShapeError, 'expand: x [2] does not broadcast to [-2,2]'],
    ['expand a new dim by -1', () => two.expand([-1, 2]), ShapeError, 'expand: x [2] does not broadcast to [-1,2]'],
    ['mv', () => a.mv(a), ShapeError, 'mv: a must have 2 dims and b 1 (a [2,3], b [2,3]); use matmul'],
    ['dot', () => v.dot(a), ShapeError, 'dot: a must have 1 dims and b 1 (a [3], b [2,3]); use matmul'],
    ['outer', () => a.outer(v), ShapeError, 'outer: a must have 1 dims and b 1 (a [2,3], b [3]); use matmul'],
    [
      'einsum',
      () => einsum('i;j', a),
      ArgumentError,
      'einsum: "i;j" must be letters, commas, at most one "..." a term and at most one "->" (operands [2,3])',
    ],
    ['einsum count', () => einsum('ij,j', a), ArgumentError, 'einsum: "ij,j" is for 2 operands, got 1 (operands [2,3])'],
    [
      'einsum dims',
      () => einsum('i,j', a, v),
      ArgumentError,
      'einsum: "i,j" does not name the dims of operand 0 by "i" (operands [2,3], [3])',
    ],
    [
      'einsum ellipsis',
      () => einsum('i...jk', a),
      ArgumentError,
      'einsum: "i...jk" does not name the dims of operand 0 by "i...jk" (operands [2,3])',
    ],
    ['einsum sizes', () => einsum('ij,i', a, v), ArgumentError, 'einsum: "ij,i" gives "i" two sizes, 2 and 3 (operands [2,3], [3])'],
    [
      'einsum result',
      () => einsum('ij->k', a),
      ArgumentError,
      'einsum: "ij->k" must have labels of the operands in its result, each once (operands [2,3])',
    ],
  ];
  it.each(cases)('%s', (_, act, kind, message) => refuses(act, kind, message));

  const along: Readonly<Record<string, (dim: number) => unknown>> = {
    ...Object.fromEntries(
      (
        [
          'sum',
          'mean',
          'prod',
          'var',
          'std',
          'amax',
          'amin',
          'argmax',
          'argmin',
          'max',
          'min',
          'logsumexp',
          'any',
          'all',
          'cumsum',
        ] as const
      ).map((name) => [name, (dim: number) => a[name](dim)]),
    ),
    norm: (dim) => a.norm(2, dim),
    softmax: (dim) => a.softmax(dim),
    logSoftmax: (dim) => a.logSoftmax(dim),
    sort: (dim) => a.sort(dim),
    argsort: (dim) => a.argsort(dim),
    topk: (dim) => a.topk(1, dim),
    flatten: (dim) => a.flatten(dim),
    unflatten: (dim) => a.unflatten(dim, [1, 2]),
    squeeze: (dim) => a.squeeze(dim),
    permute: (dim) => a.permute([0, dim]),
    transpose: (dim) => a.transpose(dim, 0),
    movedim: (dim) => a.movedim(dim, 0),
    slice: (dim) => a.slice(dim),
    select: (dim) => a.select(dim, 0),
    flip: (dim) => a.flip(dim),
    roll: (dim) => a.roll(1, dim),
    split: (dim) => a.split(1, dim),
    chunk: (dim) => a.chunk(2, dim),
    unbind: (dim) => a.unbind(dim),
    gather: (dim) => a.gather(dim, i),
    scatterAdd: (dim) => a.scatterAdd(dim, i, a),
    indexSelect: (dim) => a.indexSelect(dim, labels),
    cat: (dim) => cat([a, a], dim),
  };
  it.each(Object.entries(along))('a dim that %s does not have', (name, act) => {
    for (const dim of [2, -3, 0.5])
      refuses(() => act(dim), ShapeError, `${name}: dim ${dim} is out of range for 2 dims (expected -2 to 1)`);
  });

  it('a dim that a new one cannot be put before', () => {
    refuses(() => a.unsqueeze(3), ShapeError, 'unsqueeze: dim 3 is out of range for 3 dims (expected -3 to 2)');
    refuses(() => stack([a, a], 3), ShapeError, 'stack: dim 3 is out of range for 3 dims (expected -3 to 2)');
    refuses(() => a.transpose(0, 2), ShapeError, 'transpose: dim 2 is out of range for 2 dims (expected -2 to 1)');
    refuses(() => a.flatten(0, 2), ShapeError, 'flatten: dim 2 is out of range for 2 dims (expected -2 to 1)');
    refuses(() => a.movedim(0, 2), ShapeError, 'movedim: dim 2 is out of range for 2 dims (expected -2 to 1)');
  });
});

it('what has no or one dim keeps its elements', () => {
  scope(() => {
    const one = tensor(7);
    expect([one.flatten().shape, one.transpose(0, -1).item(), one.contiguous().item()]).toEqual([[1], 7, 7]);
    expect([ones([2, 3, 4]).flatten(1, 1).shape, ones([2, 3, 4]).flatten(-2).shape]).toEqual([
      [2, 3, 4],
      [2, 12],
    ]);
  });
});

describe('int32 and bool', () => {
  const n = tensor(
    [
      [1, -2, 3],
      [4, 0, 6],
    ],
    { dtype: 'int32' },
  );
  const read = (t: Tensor): unknown[] => [t.dtype, t.toArray()];
  it('prod', () => expect(read(n.prod(1))).toEqual(['int32', [-6, 0]]));
  it('cumsum', () =>
    expect(read(n.cumsum(-1))).toEqual([
      'int32',
      [
        [1, -1, 2],
        [4, 4, 10],
      ],
    ]));
  it('cumsum of bool', () =>
    expect(read(n.gt(0).cumsum(0))).toEqual([
      'int32',
      [
        [1, 0, 1],
        [2, 0, 2],
      ],
    ]));
  it('max', () =>
    expect(n.max(1).map(read)).toEqual([
      ['int32', [3, 6]],
      ['int32', [2, 2]],
    ]));
  it('all', () => expect(read(n.all(1))).toEqual(['bool', [1, 0]]));
  it('any of bool', () => expect(read(n.lt(0).any(0))).toEqual(['bool', [0, 1, 0]]));
  it('logsumexp', () => expect(n.logsumexp().dtype).toBe('float32'));
  it('tril', () =>
    expect(read(n.tril())).toEqual([
      'int32',
      [
        [1, 0, 0],
        [4, 0, 0],
      ],
    ]));
  it('flip of bool', () =>
    expect(read(n.gt(0).flip(1))).toEqual([
      'bool',
      [
        [1, 0, 1],
        [1, 0, 1],
      ],
    ]));
  it('roll', () =>
    expect(read(n.roll(1, 1))).toEqual([
      'int32',
      [
        [3, 1, -2],
        [6, 4, 0],
      ],
    ]));
  it('scatterAdd', () => {
    const index = tensor([[2, 2]], { dtype: 'int32' });
    expect(read(n.scatterAdd(1, index, tensor([[10, 20]], { dtype: 'int32' })))).toEqual([
      'int32',
      [
        [1, -2, 33],
        [4, 0, 6],
      ],
    ]);
  });
  it('oneHot', () => {
    const labels = tensor([[1], [0]], { dtype: 'int32' });
    expect(read(F.oneHot(labels))).toEqual(['int32', [[[0, 1]], [[1, 0]]]]);
    expect(F.oneHot(labels, 5).shape).toEqual([2, 1, 5]);
  });
});

it('parts are views', () => {
  const x = ones([4, 2]);
  for (const part of [x.split(3)[1]!, x.chunk(2)[1]!, x.unbind()[3]!]) expect(part.storage).toBe(x.storage);
});
