import { DTypeError, Generator, ArgumentError, ShapeError, memory, ones, pad, randn, scope, tensor, zeros, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';
import { expectClose, fixture, wave } from './fixture.ts';
import { refuses } from '../support/refuses.ts';

describe('PyTorch’s values and gradients within 1e-10 (float64)', () => {
  const run = (op: string, xs: Tensor[], { kernel, size, ...options }: Record<string, never>): Tensor => {
    const [x, w, b] = xs as [Tensor, Tensor, Tensor | undefined];
    switch (op) {
      case 'conv2d':
        return F.conv2d(x, w, b, options);
      case 'linear':
        return F.linear(x, w, b);
      case 'maxPool2d':
        return F.maxPool2d(x, kernel!, options);
      case 'avgPool2d':
        return F.avgPool2d(x, kernel!, options);
      default:
        return F.adaptiveAvgPool2d(x, size!);
    }
  };
  test.each(fixture.functional.map((c) => [`${c.op} ${JSON.stringify(c.shapes)} ${JSON.stringify(c.options)}`, c] as const))(
    '%s',
    (_, c) => {
      scope(() => {
        const xs = c.shapes.map((s, k) => wave(s, { k, requiresGrad: true }));
        const y = run(c.op, xs, c.options as Record<string, never>);
        expect(y.shape).toEqual(c.shape);
        expectClose(y, c.y);
        y.backward(wave(c.shape, { k: 3 }));
        xs.forEach((x, i) => expectClose(x.grad!, c.grads[i]!));
      });
    },
  );
});

describe('errors', () => {
  const x = zeros([8, 3, 32, 32]);
  const cases: [string, () => unknown, new (m: string) => Error, string][] = [
    [
      'channels',
      () => F.conv2d(x, zeros([16, 4, 3, 3])),
      ShapeError,
      'conv2d: x has 3 channels, w expects 4 (x [8,3,32,32], w [16,4,3,3])',
    ],
    ['rank', () => F.conv2d(zeros([3, 3]), zeros([16, 4, 3, 3])), ShapeError, 'conv2d: x must be [N,C,H,W] or [C,H,W], got [3,3]'],
    ['bias', () => F.conv2d(x, zeros([16, 3, 3, 3]), zeros([3])), ShapeError, 'conv2d: b must be [16] (w [16,3,3,3], b [3])'],
    [
      'stride',
      () => F.conv2d(x, zeros([16, 3, 3, 3]), null, { stride: 0 }),
      ArgumentError,
      'conv2d: stride must be a whole number ≥ 1 or a pair of them, got 0',
    ],
    [
      'same',
      () => F.conv2d(x, zeros([1, 3, 3, 3]), null, { padding: 'same', stride: 2 }),
      ArgumentError,
      "conv2d: padding 'same' needs stride 1, got [2,2]",
    ],
    ['features', () => F.linear(zeros([8, 3]), zeros([2, 4])), ShapeError, 'linear: x has 3 features, w expects 4 (x [8,3], w [2,4])'],
    [
      'linear bias',
      () => F.linear(zeros([8, 4]), zeros([2, 4]), zeros([4])),
      ShapeError,
      'linear: b must be [2] (x [8,4], w [2,4], b [4])',
    ],
    [
      'pool padding',
      () => F.maxPool2d(x, 2, { padding: 2 }),
      ArgumentError,
      'maxPool2d: padding must be at most half the kernel, got padding [2,2] and kernel [2,2]',
    ],
    ['divisor', () => F.avgPool2d(x, 2, { divisorOverride: 0 }), ArgumentError, 'avgPool2d: divisorOverride must not be 0, got 0'],
    [
      'one value',
      () => F.batchNorm(zeros([1, 4, 1, 1]), { training: true }),
      ShapeError,
      'batchNorm: training needs more than 1 value per channel, got 1 (x [1,4,1,1])',
    ],
    ['momentum', () => F.batchNorm(x, { momentum: -1 }), ArgumentError, 'batchNorm: momentum must be a number ≥ 0, got -1'],
    ['statistics', () => F.batchNorm(x), ArgumentError, 'batchNorm: runningMean and runningVar are needed when training is false'],
    [
      'scale',
      () => F.batchNorm(x, { weight: ones([4]), training: true }),
      ShapeError,
      'batchNorm: weight must be [3] (x [8,3,32,32], weight [4])',
    ],
    [
      'dtypes',
      () => F.batchNorm(x, { weight: ones([3], { dtype: 'float64' }), training: true }),
      DTypeError,
      'batchNorm: x is float32, weight float64; they must be equal',
    ],
    ['p', () => F.dropout(x, 1.5), ArgumentError, 'dropout: p must be from 0 to 1, got 1.5'],
    ['integers', () => F.dropout(tensor([1], { dtype: 'int32' })), DTypeError, 'dropout: x must be float32 or float64, got int32'],
  ];
  // The scope frees the tensors that prepare the operands.
  test.each(cases)('%s', (_, run, type, message) => refuses(() => scope(run), type, message));

  test('running statistics do not change when batch norm throws', () => {
    const [runningMean, runningVar] = [zeros([4]), ones([4])];
    expect(() => F.batchNorm(zeros([1, 4, 1, 1]), { training: true, runningMean, runningVar })).toThrow(ShapeError);
    expect(() => F.batchNorm(zeros([2, 4, 1, 1]), { training: true, runningMean, runningVar, bias: ones([3]) })).toThrow(ShapeError);
    expect([...runningMean.data(), ...runningVar.data()]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });
});

describe('dropout', () => {
  const x = ones([64, 50]);

  test('drops a share p within 5 standard deviations, scales the rest by 1/(1 − p), and has that mask as gradient', () => {
    scope(() => {
      const p = 0.3;
      const xs = ones([64, 50], { requiresGrad: true });
      const y = F.dropout(xs, p, { generator: new Generator(7) });
      const values = [...y.data()];
      expect(new Set(values)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
      const dropped = values.filter((v) => v === 0).length / values.length;
      expect(Math.abs(dropped - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / values.length));
      y.sum().backward();
      expect([...xs.grad!.data()]).toEqual(values);
    });
  });

  test('one seed draws one mask for every memory order; the next draw has another mask', () => {
    scope(() => {
      const g = new Generator(3);
      const first = F.dropout(x, 0.5, { generator: g }).data();
      const second = F.dropout(x, 0.5, { generator: g }).data();
      const again = F.dropout(ones([50, 64]).transpose(0, 1), 0.5, { generator: new Generator(3) }).data();
      expect(again).toEqual(first);
      expect(second).not.toEqual(first);
    });
  });

  test('p = 0 and evaluation return x itself, p = 1 zeros', () => {
    scope(() => {
      expect(F.dropout(x, 0)).toBe(x);
      expect(F.dropout(x, 0.5, { training: false })).toBe(x);
      expect(F.dropout(x, 1).amax().item()).toBe(0);
    });
  });
});

test('a call allocates nothing but its result', () => {
  scope(() => {
    const image = randn([2, 3, 4, 4], { requiresGrad: true });
    const before = memory().tensors;
    const results = [F.maxPool2d(image, 2), F.batchNorm(image, { training: true }), F.dropout(image)];
    expect(memory().tensors - before).toBeGreaterThanOrEqual(3);
    for (const r of results) r.dispose();
    // A recorded operation frees tensors that dispose left readable: on the reference kernels, those of batch norm's definition.
    image.neg().dispose();
    expect(memory().tensors).toBe(before);
  });
});

describe('scaledDotProductAttention', () => {
  const draw = (...shape: number[]): Tensor => randn(shape, { dtype: 'float64' });

  test('isCausal is the mask of the keys up to the query, whatever the batch and the sizes', () =>
    scope(() => {
      const [q, k, v] = [draw(2, 3, 4, 5), draw(2, 3, 6, 5), draw(2, 3, 6, 7)];
      const attnMask = ones([4, 6]).tril().gt(0);
      const y = F.scaledDotProductAttention(q, k, v, { isCausal: true });
      expectClose(y, [...F.scaledDotProductAttention(q, k, v, { attnMask }).data()]);
      expect(y.shape).toEqual([2, 3, 4, 7]);
      // The first query attends to the first key alone.
      expectClose(y.select(2, 0), [...v.select(2, 0).data()]);
    }));

  test('dropout draws from the given generator', () =>
    scope(() => {
      const [q, k, v] = [draw(4, 5), draw(6, 5), draw(6, 7)];
      const y = (seed: number): number[] => [
        ...F.scaledDotProductAttention(q, k, v, { dropoutP: 0.5, generator: new Generator(seed) }).data(),
      ];
      expect(y(1)).toEqual(y(1));
      expect(y(1)).not.toEqual(y(2));
    }));

  const op = 'scaledDotProductAttention';
  test.each([
    [
      'a query of one dim',
      () => [ones([5]), ones([6, 5]), ones([6, 7])],
      ShapeError,
      `${op}: q must be [B…,L,D], k [B…,S,D] and v [B…,S,E] (q [5], k [6,5], v [6,7])`,
    ],
    [
      'keys and values of two numbers',
      () => [ones([4, 5]), ones([6, 5]), ones([5, 7])],
      ShapeError,
      `${op}: q must be [B…,L,D], k [B…,S,D] and v [B…,S,E] (q [4,5], k [6,5], v [5,7])`,
    ],
    [
      'two dtypes',
      () => [ones([4, 5]), ones([6, 5]), ones([6, 7], { dtype: 'float64' })],
      DTypeError,
      `${op}: q, k and v must have the same float dtype, got float32, float32 and float64`,
    ],
    [
      'batches that differ',
      () => [ones([2, 4, 5]), ones([3, 6, 5]), ones([6, 7])],
      ShapeError,
      `${op}: shapes [2] and [3] and [] do not broadcast (2 against 3)`,
    ],
  ] as const)('refuses %s', (_, make, kind, message) =>
    refuses(() => scope(() => F.scaledDotProductAttention(...(make() as [Tensor, Tensor, Tensor]))), kind, message),
  );
});

describe('conv1d', () => {
  test.each([
    [1, 3],
    [2, 3],
    [1, 4],
    [3, 2],
  ])("with padding 'same', dilation %i and %i taps is as long as x, and conv2d's row", (dilation, taps) =>
    scope(() => {
      const [x, w] = [randn([2, 3, 9], { dtype: 'float64' }), randn([4, 3, taps], { dtype: 'float64' })];
      const y = F.conv1d(x, w, null, { padding: 'same', dilation });
      expect(y.shape).toEqual([2, 4, 9]);
      const row = F.conv2d(x.unsqueeze(2), w.unsqueeze(2), null, { padding: 'same', dilation: [1, dilation] });
      expectClose(y, [...row.data()]);
    }),
  );

  test("with padding 'valid' pads nothing, down to an output of one", () =>
    scope(() => {
      expect(F.conv1d(ones([1, 2, 5]), ones([1, 2, 3]), null, { padding: 'valid' }).toArray()).toEqual([[[6, 6, 6]]]);
      expect(F.conv1d(ones([1, 2, 5]), ones([1, 2, 5])).toArray()).toEqual([[[10]]]);
    }));
});

test('output padding of whole strides is rows and columns of zeros after x', () =>
  scope(() => {
    const [x, w] = [randn([1, 2, 3, 3]), randn([2, 3, 3, 3])];
    const y = F.convTranspose2d(x, w, null, { dilation: 2, outputPadding: 1 });
    const padded = F.convTranspose2d(pad(x, [0, 1, 0, 1]), w, null, { dilation: 2 });
    expectClose(y, [...padded.data()]);
    const text = (n: number): string =>
      `convTranspose2d: outputPadding must be smaller than stride or dilation, got [${n},${n}], stride [1,1], dilation [2,2]`;
    refuses(() => F.convTranspose2d(x, w, null, { dilation: 2, outputPadding: 2 }), ArgumentError, text(2));
    const strided = "conv2d: padding 'same' needs stride 1, got [1,2]";
    const v = w.transpose(0, 1);
    refuses(() => F.conv2d(x, v, null, { padding: 'same', stride: [1, 2] }), ArgumentError, strided);
  }));

test('adaptive pools keep a size that is null', () =>
  scope(() => {
    const x = randn([2, 3, 4, 6]);
    for (const pool of [F.adaptiveAvgPool2d, F.adaptiveMaxPool2d] as const)
      expect([pool(x, null).shape, pool(x, [null, 2]).shape, pool(x, [3, null]).shape]).toEqual([
        [2, 3, 4, 6],
        [2, 3, 4, 2],
        [2, 3, 3, 6],
      ]);
    const [y, index] = F.adaptiveMaxPool2d(x, 2, { returnIndices: true });
    expect([...x.flatten(2).gather(2, index.flatten(2)).data()]).toEqual([...y.data()]);
  }));

describe('losses at their borders', () => {
  const double = (...values: number[]): Tensor => tensor(values, { dtype: 'float64', requiresGrad: true });
  const zero = tensor([0], { dtype: 'float64' });

  test('huberLoss is δ (|d| − δ/2) beyond δ, and d² / 2 within', () =>
    scope(() => {
      const [x, target] = [double(3, -3, 1), zeros([3], { dtype: 'float64' })];
      expect(F.huberLoss(x, target, { delta: 2, reduction: 'none' }).toArray()).toEqual([4, 4, 0.5]);
    }));

  test('smoothL1Loss with β = 0 is |d|, with gradient 0 at 0', () =>
    scope(() => {
      const x = double(0);
      const loss = F.smoothL1Loss(x, zero, { beta: 0 });
      loss.backward();
      expect([loss.item(), x.grad!.item()]).toEqual([0, 0]);
    }));

  const logits = ones([2, 3]);
  const shares = ones([2, 3]).div(3);
  const classes = tensor([0, 2], { dtype: 'int32' });
  test.each([
    [
      'ignoreIndex 0 with probabilities',
      () => F.crossEntropy(logits, shares, { ignoreIndex: 0 }),
      'crossEntropy: ignoreIndex 0 needs class indices, target holds probabilities',
    ],
    [
      'negative smoothing',
      () => F.crossEntropy(logits, classes, { labelSmoothing: -0.1 }),
      'crossEntropy: labelSmoothing must be from 0 to 1, got -0.1',
    ],
    ['delta 0', () => F.huberLoss(logits, shares, { delta: 0 }), 'huberLoss: delta must be above 0, got 0'],
    [
      'a negative probability',
      () => F.binaryCrossEntropy(tensor([-0.5]), tensor([1])),
      'binaryCrossEntropy: x must be probabilities from 0 to 1, got -0.5; for logits there is binaryCrossEntropyWithLogits',
    ],
  ])('refuse %s', (_, act, message) => refuses(() => scope(() => void act()), ArgumentError, message));
});

describe('normalisation at its borders', () => {
  const x = randn([2, 3, 4]);
  const mean = zeros([3]);

  test.each([
    ['batchNorm', (o: object) => F.batchNorm(x, o), 'training is false'],
    ['instanceNorm', (o: object) => F.instanceNorm(x, { ...o, useInputStats: false }), 'useInputStats is false'],
  ])('%s without one of the running statistics is refused', (name, norm, when) => {
    for (const given of [{ runningMean: mean }, { runningVar: mean }, {}])
      refuses(() => scope(() => norm(given)), ArgumentError, `${name}: runningMean and runningVar are needed when ${when}`);
  });

  test('a normalizedShape of no dims, or of more than x has, is refused', () => {
    const text = (shape: string): string =>
      `layerNorm: normalizedShape must be the last sizes of x, at least one, got ${shape} (x [2,3,4])`;
    refuses(() => scope(() => F.layerNorm(x, [])), ShapeError, text('[]'));
    refuses(() => scope(() => F.layerNorm(x, [1, 2, 3, 4])), ShapeError, text('[1,2,3,4]'));
  });

  test('rmsNorm adds the distance from 1 to the next number of its dtype', () =>
    scope(() => {
      const small = 1e-4;
      for (const [dtype, eps] of [
        ['float32', 2 ** -23],
        ['float64', 2 ** -52],
      ] as const)
        expect(F.rmsNorm(tensor([small, small], { dtype }), 2).data()[0]).toBeCloseTo(small / Math.sqrt(small ** 2 + eps), 6);
    }));
});
