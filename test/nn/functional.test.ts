import { DTypeError, Generator, ArgumentError, ShapeError, memory, ones, randn, scope, tensor, zeros, type Tensor } from 'chainrule';
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
