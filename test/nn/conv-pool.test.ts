import {
  ArgumentError,
  DTypeError,
  ShapeError,
  allclose,
  grad,
  manualSeed,
  noGrad,
  ones,
  rand,
  randn,
  scope,
  tensor,
  zeros,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';
import { expectClose, wave } from './fixture.ts';
import { refuses } from '../support/refuses.ts';

// Errors, layers and edge cases. PyTorch's values and gradients are in test/autograd/parity-conv-pool.test.ts.

type ErrorCase = [name: string, run: () => unknown, type: new (m: string) => Error, message: string];

function throws(cases: readonly ErrorCase[]): void {
  // The scope frees the tensors that prepare the operands.
  test.each(cases)('%s', (_, run, type, message) => refuses(() => scope(run), type, message));
}

const x = zeros([2, 4, 5, 5]);

describe('errors of convolutions', () => {
  const w = zeros([4, 2, 3, 3]);
  const t = (options: F.ConvTranspose2dOptions, image = x): Tensor => F.convTranspose2d(image, w, null, options);
  throws([
    ['channels', () => t({}, zeros([1, 3, 5, 5])), ShapeError, 'convTranspose2d: x has 3 channels, w expects 4 (x [1,3,5,5], w [4,2,3,3])'],
    [
      'groups',
      () => t({ groups: 3 }),
      ShapeError,
      'convTranspose2d: 4 input channels do not divide into 3 groups (x [2,4,5,5], w [4,2,3,3], groups 3)',
    ],
    ['no group', () => t({ groups: 0 }), ArgumentError, 'convTranspose2d: groups must be a whole number ≥ 1, got 0'],
    ['rank', () => t({}, zeros([5, 5])), ShapeError, 'convTranspose2d: x must be [N,C,H,W] or [C,H,W], got [5,5]'],
    [
      'rank of w',
      () => F.convTranspose2d(x, zeros([4, 2])),
      ShapeError,
      'convTranspose2d: x must be [N,C,H,W] or [C,H,W] and w [C,O/groups,KH,KW] (x [2,4,5,5], w [4,2])',
    ],
    [
      'rank of w, same',
      () => F.conv2d(x, zeros([4]), null, { padding: 'same' }),
      ShapeError,
      'conv2d: x must be [N,C,H,W] or [C,H,W] and w [O,C/groups,KH,KW] (x [2,4,5,5], w [4])',
    ],
    ['bias', () => F.convTranspose2d(x, w, zeros([2]), { groups: 2 }), ShapeError, 'convTranspose2d: b must be [4] (w [4,2,3,3], b [2])'],
    [
      'dtype of the bias',
      () => F.conv2d(x, zeros([3, 4, 1, 1]), zeros([3], { dtype: 'float64' })),
      DTypeError,
      'conv2d: w is float32, b float64; they must be equal',
    ],
    [
      'dtypes',
      () => t({}, zeros([2, 4, 5, 5], { dtype: 'int32' })),
      DTypeError,
      'convTranspose2d: x and w must have the same float dtype, got int32 and float32',
    ],
    [
      'output padding',
      () => t({ stride: [2, 3], outputPadding: 2 }),
      ArgumentError,
      'convTranspose2d: outputPadding must be smaller than stride or dilation, got [2,2], stride [2,3], dilation [1,1]',
    ],
    ['nothing left', () => t({ padding: 4 }), ShapeError, 'convTranspose2d: x is too small: output [-1,-1] (x [2,4,5,5], w [4,2,3,3])'],
    [
      'no pixels',
      () => t({ dilation: 3 }, zeros([2, 4, 0, 5])),
      ShapeError,
      'convTranspose2d: x is too small: output [6,11] (x [2,4,0,5], w [4,2,3,3])',
    ],
    ['padding', () => t({ padding: -1 }), ArgumentError, 'convTranspose2d: padding must be a whole number ≥ 0 or a pair of them, got -1'],
    [
      'three numbers',
      () => t({ stride: [1, 2, 3] as never }),
      ArgumentError,
      'convTranspose2d: stride must be a whole number ≥ 1 or a pair of them, got [1,2,3]',
    ],
    [
      'a word',
      () => F.conv2d(x, zeros([3, 4, 1, 1]), null, { padding: 'full' as 'same' }),
      ArgumentError,
      "conv2d: padding must be a whole number ≥ 0 or a pair of them, got 'full'",
    ],
    ['no kernel', () => F.conv2d(x, zeros([3, 4, 0, 1])), ShapeError, 'conv2d: the kernel is empty (x [2,4,5,5], w [3,4,0,1])'],
    [
      'no output',
      () => F.conv2d(x, zeros([0, 4, 1, 1])),
      ShapeError,
      'conv2d: 0 output channels do not divide into 1 groups (x [2,4,5,5], w [0,4,1,1])',
    ],
    [
      'a large kernel',
      () => F.conv2d(x, zeros([3, 4, 4, 3]), null, { padding: [0, 1], dilation: 2 }),
      ShapeError,
      'conv2d: the dilated kernel is larger than the padded input: output [-1,3] (x [2,4,5,5], w [3,4,4,3])',
    ],
  ]);
});

describe('errors of pools and interpolation', () => {
  const sizes = 'interpolate: every size must be a whole number ≥ 1, got';
  throws([
    ['rank', () => F.maxPool2d(zeros([4, 4]), 2), ShapeError, 'maxPool2d: x must be [N,C,H,W] or [C,H,W], got [4,4]'],
    ['no pixels', () => F.maxPool2d(zeros([2, 3, 0, 4]), 3, { padding: 1 }), ShapeError, 'maxPool2d: nothing to pool in x [2,3,0,4]'],
    ['no channels', () => F.avgPool2d(zeros([2, 0, 4, 4]), 2), ShapeError, 'avgPool2d: nothing to pool in x [2,0,4,4]'],
    [
      'a large window',
      () => F.maxPool2d(x, [2, 6]),
      ShapeError,
      'maxPool2d: the window [2,6] is larger than the padded input (x [2,4,5,5]): output [2,0]',
    ],
    [
      'a large dilation',
      () => F.maxPool2d(x, 3, { dilation: 4 }),
      ShapeError,
      'maxPool2d: the window [3,3] is larger than the padded input (x [2,4,5,5]): output [-1,-1]',
    ],
    [
      'stride',
      () => F.avgPool2d(x, 2, { stride: [1, 0] }),
      ArgumentError,
      'avgPool2d: stride must be a whole number ≥ 1 or a pair of them, got [1,0]',
    ],
    [
      'padding',
      () => F.avgPool2d(x, 2, { padding: -1 }),
      ArgumentError,
      'avgPool2d: padding must be a whole number ≥ 0 or a pair of them, got -1',
    ],
    [
      'half the kernel',
      () => F.avgPool2d(x, [3, 2], { padding: [2, 1] }),
      ArgumentError,
      'avgPool2d: padding must be at most half the kernel, got padding [2,1] and kernel [3,2]',
    ],
    [
      'integers',
      () => F.maxPool2d(zeros([1, 4, 4], { dtype: 'int32' }), 2),
      DTypeError,
      "maxPool2d: expected float32 or float64, got int32; convert with .to('float32')",
    ],
    [
      'size',
      () => F.adaptiveAvgPool2d(x, [-1, 2]),
      ArgumentError,
      'adaptiveAvgPool2d: size must be a whole number ≥ 0 or a pair of them, got [-1,2]',
    ],
    ['no rows', () => F.adaptiveAvgPool2d(zeros([2, 3, 0, 4]), 2), ShapeError, 'adaptiveAvgPool2d: nothing to pool in x [2,3,0,4]'],
    ['both', () => F.interpolate(x, { size: 2, scaleFactor: 2 }), ArgumentError, 'interpolate: give either size or scaleFactor'],
    ['neither', () => F.interpolate(x), ArgumentError, 'interpolate: give either size or scaleFactor'],
    [
      'mode',
      () => F.interpolate(x, { size: 2, mode: 'bicubic' as 'nearest' }),
      ArgumentError,
      "interpolate: mode must be 'nearest' or 'bilinear', got 'bicubic'",
    ],
    [
      'too many sizes',
      () => F.interpolate(x, { size: [1, 2, 3] }),
      ShapeError,
      'interpolate: x must be [N,C,…] and [1,2,3] name its dims after C (x [2,4,5,5])',
    ],
    [
      'no dims',
      () => F.interpolate(zeros([2, 3]), { size: 2 }),
      ShapeError,
      'interpolate: x must be [N,C,…] and [] name its dims after C (x [2,3])',
    ],
    ['size 0', () => F.interpolate(x, { size: [0, 2] }), ShapeError, `${sizes} [0,2] for x [2,4,5,5]`],
    ['a small factor', () => F.interpolate(x, { scaleFactor: 0.1 }), ShapeError, `${sizes} [0,0] for x [2,4,5,5]`],
    ['a negative factor', () => F.interpolate(x, { scaleFactor: -1 }), ShapeError, `${sizes} [-5,-5] for x [2,4,5,5]`],
    ['no channels to resize', () => F.interpolate(zeros([2, 0, 3, 3]), { size: 2 }), ShapeError, `${sizes} [2,2] for x [2,0,3,3]`],
  ]);
});

describe('errors of normalisations', () => {
  const last = 'normalizedShape must be the last sizes of x, at least one, got';
  throws([
    ['other sizes', () => F.layerNorm(x, [4, 5]), ShapeError, `layerNorm: ${last} [4,5] (x [2,4,5,5])`],
    ['no sizes', () => F.layerNorm(x, []), ShapeError, `layerNorm: ${last} [] (x [2,4,5,5])`],
    ['too many', () => F.rmsNorm(zeros([3]), [1, 3]), ShapeError, `rmsNorm: ${last} [1,3] (x [3])`],
    [
      'weight',
      () => F.layerNorm(x, [5, 5], { weight: ones([5]) }),
      ShapeError,
      'layerNorm: weight must be [5,5] (x [2,4,5,5], weight [5])',
    ],
    [
      'dtype',
      () => F.rmsNorm(x, 5, { weight: ones([5], { dtype: 'float64' }) }),
      DTypeError,
      'rmsNorm: x is float32, weight float64; they must be equal',
    ],
    ['integers', () => F.layerNorm(zeros([2], { dtype: 'int32' }), 2), DTypeError, 'layerNorm: x must be float32 or float64, got int32'],
    ['channels', () => F.groupNorm(x, 3), ShapeError, 'groupNorm: 4 channels do not divide into 3 groups (x [2,4,5,5])'],
    ['groups', () => F.groupNorm(x, 0), ArgumentError, 'groupNorm: numGroups must be a whole number ≥ 1, got 0'],
    ['rank', () => F.groupNorm(zeros([4]), 2), ShapeError, 'groupNorm: x must be [N,C,…], got [4]'],
    ['bias', () => F.groupNorm(x, 2, { bias: ones([2]) }), ShapeError, 'groupNorm: bias must be [4] (x [2,4,5,5], bias [2])'],
    ['one value', () => F.groupNorm(zeros([1, 3]), 3), ShapeError, 'groupNorm: more than 1 value per group is needed, got 1 (x [1,3])'],
  ]);
});

describe('a misspelt option throws and lists the valid ones', () => {
  const conv = 'stride, padding, dilation, groups';
  const layer = 'bias, dtype, generator';
  const nll = 'reduction, weight, ignoreIndex';
  const unknown = (op: string, options: string): string => `${op}: unknown option 'strid'; the options are ${options}`;
  const typo = { strid: 2 } as object;
  throws([
    ['conv2d', () => F.conv2d(x, zeros([1, 4, 1, 1]), null, typo), ArgumentError, unknown('conv2d', conv)],
    ['Conv2d', () => new nn.Conv2d(1, 2, 3, typo), ArgumentError, unknown('Conv2d', `${conv}, ${layer}`)],
    ['Linear', () => new nn.Linear(1, 2, typo), ArgumentError, unknown('Linear', layer)],
    [
      'BatchNorm2d',
      () => new nn.BatchNorm2d(2, typo),
      ArgumentError,
      unknown('BatchNorm2d', 'eps, momentum, affine, trackRunningStats, dtype'),
    ],
    ['LayerNorm', () => new nn.LayerNorm(2, typo), ArgumentError, unknown('LayerNorm', 'eps, elementwiseAffine, bias, dtype')],
    [
      'MaxPool2d, when it is called',
      () => new nn.MaxPool2d(2, typo).forward(x),
      ArgumentError,
      `MaxPool2d: ${unknown('maxPool2d', 'stride, padding, dilation, ceilMode, returnIndices')}`,
    ],
    ['groupNorm', () => F.groupNorm(x, 2, typo), ArgumentError, unknown('groupNorm', 'weight, bias, eps')],
    ['mseLoss', () => F.mseLoss(x, x, typo), ArgumentError, unknown('mseLoss', 'reduction')],
    ['l1Loss', () => F.l1Loss(x, x, typo), ArgumentError, unknown('l1Loss', 'reduction')],
    ['smoothL1Loss', () => F.smoothL1Loss(x, x, typo), ArgumentError, unknown('smoothL1Loss', 'reduction, beta')],
    ['crossEntropy', () => F.crossEntropy(x, x, typo), ArgumentError, unknown('crossEntropy', `${nll}, labelSmoothing`)],
    ['nllLoss', () => F.nllLoss(x, x, typo), ArgumentError, unknown('nllLoss', nll)],
    ['binaryCrossEntropy', () => F.binaryCrossEntropy(x, x, typo), ArgumentError, unknown('binaryCrossEntropy', 'reduction, weight')],
    [
      'binaryCrossEntropyWithLogits',
      () => F.binaryCrossEntropyWithLogits(x, x, typo),
      ArgumentError,
      unknown('binaryCrossEntropyWithLogits', 'reduction, weight, posWeight'),
    ],
    [
      'CrossEntropyLoss, when it is called',
      () => new nn.CrossEntropyLoss(typo).forward(x, x),
      ArgumentError,
      `CrossEntropyLoss: ${unknown('crossEntropy', `${nll}, labelSmoothing`)}`,
    ],
    ['dropout', () => F.dropout(x, 0.5, typo), ArgumentError, unknown('dropout', 'training, generator')],
    ['dropout2d', () => F.dropout2d(x, 0.5, typo), ArgumentError, unknown('dropout2d', 'training, generator')],
    ['stochasticDepth', () => F.stochasticDepth(x, 0.5, 'row', typo), ArgumentError, unknown('stochasticDepth', 'training, generator')],
    ['Dropout', () => new nn.Dropout(0.5, typo), ArgumentError, unknown('Dropout', 'generator')],
    ['StochasticDepth', () => new nn.StochasticDepth(0.5, 'row', typo), ArgumentError, unknown('StochasticDepth', 'generator')],
    [
      'embedding',
      () => F.embedding(zeros([1], { dtype: 'int32' }), zeros([2, 2]), typo),
      ArgumentError,
      unknown('embedding', 'paddingIdx'),
    ],
    ['Embedding', () => new nn.Embedding(2, 2, typo), ArgumentError, unknown('Embedding', 'paddingIdx, dtype, generator')],
    ['PReLU', () => new nn.PReLU(1, typo), ArgumentError, unknown('PReLU', 'init, dtype')],
    ['gelu', () => F.gelu(x, typo), ArgumentError, unknown('gelu', 'approximate')],
    ['softplus', () => F.softplus(x, typo), ArgumentError, unknown('softplus', 'beta, threshold')],
  ]);

  test('an undefined option takes its default', () => {
    scope(() => {
      expect(F.avgPool2d(x, 2, { stride: undefined } as object).shape).toEqual([2, 4, 2, 2]);
    });
  });
});

describe('edge cases follow PyTorch', () => {
  test('the last NaN of a window wins, in every layout', () => {
    scope(() => {
      for (const channels of [1, 2, 4, 16, 19]) {
        const image = tensor([1, NaN, 2, NaN, 5, NaN], { shape: [1, 1, 1, 6] }).expand([1, channels, 1, 6]);
        for (const view of [image, image.movedim(1, -1).contiguous().movedim(-1, 1)]) {
          const [y, index] = F.maxPool2d(view, [1, 5], { returnIndices: true });
          expect([...y.data()]).toEqual(new Array(2 * channels).fill(NaN).slice(0, y.numel));
          expect(new Set(index.data())).toEqual(new Set([3]));
        }
      }
    });
  });

  test('indices are int32 and count h · W + w, for images without a batch too', () => {
    scope(() => {
      const image = tensor([0, 5, 1, 9, 2, 3, 4, 8, 7], { shape: [1, 3, 3] });
      const [y, index] = F.maxPool2d(image, 2, { stride: 1, returnIndices: true });
      expect([y.toArray(), index.toArray(), index.dtype]).toEqual([
        [
          [
            [9, 5],
            [9, 8],
          ],
        ],
        [
          [
            [3, 1],
            [3, 7],
          ],
        ],
        'int32',
      ]);
    });
  });

  test('batch norm of an empty batch does not change the running statistics', () => {
    scope(() => {
      const [runningMean, runningVar] = [zeros([3]), ones([3])];
      const y = F.batchNorm(zeros([0, 3, 2, 2]), { training: true, runningMean, runningVar });
      expect([y.shape, runningMean.toArray(), runningVar.toArray()]).toEqual([
        [0, 3, 2, 2],
        [0, 0, 0],
        [1, 1, 1],
      ]);
    });
  });

  test('a list of one number stands for both dims', () => {
    scope(() => {
      expect(F.avgPool2d(x, [2] as never, { padding: [1] as never }).shape).toEqual([2, 4, 3, 3]);
    });
  });
});

describe('layers', () => {
  const dtype = 'float64';
  const layers: [name: string, layer: nn.Layer, f: (x: Tensor) => Tensor, keys: Record<string, number[]>][] = [
    ['LayerNorm', new nn.LayerNorm(5, { dtype }), (v) => F.layerNorm(v, 5), { weight: [5], bias: [5] }],
    [
      'LayerNorm without bias',
      new nn.LayerNorm([5, 5], { dtype, bias: false, eps: 0.1 }),
      (v) => F.layerNorm(v, [5, 5], { eps: 0.1 }),
      { weight: [5, 5] },
    ],
    ['LayerNorm without parameters', new nn.LayerNorm(5, { elementwiseAffine: false }), (v) => F.layerNorm(v, 5), {}],
    ['RMSNorm', new nn.RMSNorm([5, 5], { dtype }), (v) => F.rmsNorm(v, [5, 5]), { weight: [5, 5] }],
    ['RMSNorm without weight', new nn.RMSNorm(5, { elementwiseAffine: false, eps: 1 }), (v) => F.rmsNorm(v, 5, { eps: 1 }), {}],
    ['GroupNorm', new nn.GroupNorm(2, 4, { dtype }), (v) => F.groupNorm(v, 2), { weight: [4], bias: [4] }],
    ['GroupNorm without parameters', new nn.GroupNorm(4, 4, { affine: false, eps: 0.5 }), (v) => F.groupNorm(v, 4, { eps: 0.5 }), {}],
    ['Upsample', new nn.Upsample({ scaleFactor: [2, 1.5] }), (v) => F.interpolate(v, { size: [10, 7] }), {}],
    ['MaxPool2d', new nn.MaxPool2d(2, { dilation: 2, ceilMode: true }), (v) => F.maxPool2d(v, 2, { dilation: 2, ceilMode: true }), {}],
    [
      'AvgPool2d',
      new nn.AvgPool2d(2, { padding: 1, countIncludePad: false }),
      (v) => F.avgPool2d(v, 2, { padding: 1, countIncludePad: false }),
      {},
    ],
  ];

  test.each(layers)('%s is its function, with PyTorch’s keys', (_, layer, f, keys) => {
    scope(() => {
      const v = wave([2, 4, 5, 5]);
      expectClose(layer.forward(v), f(v).data(), 1e-12);
      expect(Object.fromEntries(Object.entries(layer.stateDict()).map(([k, t]) => [k, t.shape]))).toEqual(keys);
    });
  });

  test('weight and bias are both applied', () => {
    scope(() => {
      const v = wave([2, 4, 5, 5]);
      const norms = [new nn.LayerNorm([4, 5, 5], { dtype }), new nn.RMSNorm([4, 5, 5], { dtype }), new nn.GroupNorm(2, 4, { dtype })];
      for (const norm of norms) {
        const [plain, shape] = [norm.forward(v), norm.weight!.ndim === 1 ? [4, 1, 1] : [4, 5, 5]];
        noGrad(() => norm.weight!.copy_(wave([...norm.weight!.shape], { k: 1 })));
        if (norm.bias !== null) noGrad(() => norm.bias!.copy_(wave([...norm.bias!.shape], { k: 2 })));
        const want = plain.mul(norm.weight!.reshape(shape)).add(norm.bias?.reshape(shape) ?? 0);
        expectClose(norm.forward(v), want.data(), 1e-12);
      }
    });
  });

  const three = new nn.LayerNorm(3);
  throws([
    [
      'GroupNorm',
      () => new nn.GroupNorm(3, 4),
      ArgumentError,
      `GroupNorm: numChannels / numGroups must be a whole number ≥ 1, got ${4 / 3}`,
    ],
    ['LayerNorm', () => new nn.LayerNorm([3, 0]), ArgumentError, 'LayerNorm: every size must be a whole number ≥ 1, got 0'],
    [
      'LayerNorm, forward',
      () => three.forward(x),
      ShapeError,
      'LayerNorm: layerNorm: normalizedShape must be the last sizes of x, at least one, got [3] (x [2,4,5,5])',
    ],
  ]);
});

test('group norm returns channels-last images for channels-last images', () => {
  scope(() => {
    const image = randn([2, 4, 3, 3]).movedim(1, -1).contiguous().movedim(-1, 1);
    expect(F.groupNorm(image, 2).strides).toEqual(image.strides);
  });
});

test.each(['row-major', 'channels-last'] as const)(
  'batch norm and scaled channels keep %s images as they are, and so do their gradients',
  (layout) => {
    scope(() => {
      manualSeed(5);
      const rowMajor = randn([3, 4, 5, 6]);
      const inLayout = (t: Tensor): Tensor => (layout === 'row-major' ? t : t.movedim(1, -1).contiguous().movedim(-1, 1));
      const x = inLayout(rowMajor).requiresGrad_(true);
      const s = rand([3, 4], { requiresGrad: true });
      class Fixed extends nn.ChannelGate {
        excite = (): Tensor => s;
      }
      const g = randn([3, 4, 5, 6]);
      for (const f of [(t: Tensor) => F.batchNorm(t, { training: true }), (t: Tensor) => new Fixed(4).forward(t)]) {
        const y = f(x);
        const [dx] = grad(y, [x], { gradOutputs: inLayout(g), retainGraph: true });
        expect([y.strides, dx!.strides]).toEqual([x.strides, x.strides]);
        // A gradient in the other layout gives the same numbers.
        const [other] = grad(y, [x], { gradOutputs: layout === 'row-major' ? g.movedim(1, -1).contiguous().movedim(-1, 1) : g });
        const [want] = grad(f(rowMajor.requiresGrad_(true)), [rowMajor], { gradOutputs: g });
        expect(allclose(dx!, want!, { atol: 1e-5 })).toBe(true);
        expect(allclose(other!, want!, { atol: 1e-5 })).toBe(true);
      }
    });
  },
);
