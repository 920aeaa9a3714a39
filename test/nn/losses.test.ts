/** Losses and embeddings: PyTorch's values and gradients to 1e-10, exact errors, and the modules of each. */
import { readFileSync } from 'node:fs';
import { ArgumentError, DTypeError, ShapeError, full, grad, ones, randn, scope, tensor, zeros, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';
import { expectClose, wave } from './fixture.ts';
import { refuses } from '../support/refuses.ts';

// The fixtures of test/fixtures/make-losses.py.

type Value = number | 'nan' | 'inf' | '-inf';
type Written =
  | { readonly wave: [shape: number[], k: number, scale: number, offset: number]; readonly leaf?: boolean }
  | { readonly data: Value[]; readonly leaf?: boolean }
  | { readonly int: number[]; readonly shape: number[] };
interface Packed {
  readonly shape: number[];
  readonly data: Value[];
}
interface Entry {
  readonly op: string;
  readonly args: readonly Written[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly result: Packed;
  readonly grads: readonly Packed[];
}

const entries = JSON.parse(readFileSync(new URL('../fixtures/losses.json', import.meta.url), 'utf8')) as Entry[];
const functions = F as unknown as Record<string, (...args: unknown[]) => Tensor>;

const SPECIAL: Record<string, number> = { nan: NaN, inf: Infinity, '-inf': -Infinity };
const numberOf = (v: Value): number => (typeof v === 'number' ? v : SPECIAL[v]!);

function made(a: Written): Tensor {
  if ('int' in a) return tensor(a.int, { shape: a.shape, dtype: 'int32' });
  const requiresGrad = a.leaf === true;
  if ('data' in a) return tensor(a.data.map(numberOf), { dtype: 'float64', requiresGrad });
  const [shape, k, scale, offset] = a.wave;
  return wave(shape, { k, scale, offset, requiresGrad });
}

/** Expects equal shapes, NaN and infinities in the same places, and the rest within 1e-10 of the largest. */
function agrees(got: Tensor, want: Packed): void {
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [Array.from(got.data()), want.data.map(numberOf)];
  const scale = Math.max(1, ...b.filter(Number.isFinite).map(Math.abs));
  const close = b.every((v, i) => (Number.isFinite(v) ? Math.abs(a[i]! - v) <= 1e-10 * scale : Object.is(a[i], v)));
  expect(close ? b : a).toEqual(b);
}

const written = (v: unknown): v is Written => typeof v === 'object' && v !== null;
const brief = (v: unknown): string =>
  JSON.stringify(v, (_, a: unknown) => (written(a) && 'wave' in a ? `[${a.wave[0].join()}]` : written(a) && 'int' in a ? a.int : a));

describe('as in PyTorch', () => {
  const ops = [...new Set(entries.map((e) => e.op))];
  test.each(ops)('%s', (op) => {
    const cases = entries.filter((e) => e.op === op);
    expect(cases.length).toBeGreaterThanOrEqual(10);
    for (const entry of cases) {
      scope(() => {
        const args = entry.args.map(made);
        const options = Object.fromEntries(Object.entries(entry.options).map(([k, v]) => [k, written(v) ? made(v) : v]));
        try {
          const y = functions[op]!(...args, options);
          agrees(y, entry.result);
          const leaves = args.filter((a) => a.requiresGrad);
          grad(y.mul(wave([...y.shape])).sum(), leaves).forEach((g, i) => agrees(g, entry.grads[i]!));
        } catch (e) {
          throw new Error(`${op}(${brief(entry.args)}, ${brief(entry.options)})`, { cause: e });
        }
      });
    }
  });
});

describe('errors', () => {
  const x = zeros([8, 10]);
  const int = (shape: number[], value = 0): Tensor => tensor(new Int32Array(shape.reduce((a, b) => a * b, 1)).fill(value), { shape });
  const t = int([8]);
  const cases: [string, () => unknown, new (m: string) => Error, string][] = [
    [
      'float classes',
      () => F.crossEntropy(x, zeros([8])),
      DTypeError,
      "crossEntropy: target must hold class indices as int32, got float32; make it with { dtype: 'int32' }",
    ],
    ['integer logits', () => F.nllLoss(int([8, 10]), t), DTypeError, 'nllLoss: x must be float32 or float64, got int32'],
    [
      'a number',
      () => F.crossEntropy(tensor(1), tensor(1, { dtype: 'int32' })),
      ShapeError,
      'crossEntropy: x must be [K], [N,K] or [N,K,…]: N samples, K classes, got []',
    ],
    [
      'samples',
      () => F.crossEntropy(x, int([7])),
      ShapeError,
      "crossEntropy: target must be [8], x's shape without its classes (x [8,10], target [7])",
    ],
    [
      'spatial',
      () => F.nllLoss(zeros([2, 3, 4, 5]), int([2, 4])),
      ShapeError,
      "nllLoss: target must be [2,4,5], x's shape without its classes (x [2,3,4,5], target [2,4])",
    ],
    [
      'no batch',
      () => F.crossEntropy(zeros([3]), int([1])),
      ShapeError,
      "crossEntropy: target must be [], x's shape without its classes (x [3], target [1])",
    ],
    [
      'class',
      () => F.crossEntropy(x, int([8], 10)),
      ShapeError,
      'crossEntropy: index 10 at position 0 is out of range for 10 (expected 0 to 9)',
    ],
    [
      'a negative class that is not ignored',
      () => F.nllLoss(x, int([8], -100), { ignoreIndex: -1 }),
      ShapeError,
      'nllLoss: index -100 at position 0 is out of range for 10 (expected 0 to 9)',
    ],
    [
      'no classes',
      () => F.crossEntropy(zeros([8, 0]), int([8], -100)),
      ShapeError,
      'crossEntropy: index -100 at position 0 is out of range for 0 (expected 0 to -1)',
    ],
    [
      'weight',
      () => F.crossEntropy(x, t, { weight: ones([9]) }),
      ShapeError,
      'crossEntropy: x has 10 classes, weight must be [10] (x [8,10], weight [9])',
    ],
    [
      'smoothing',
      () => F.crossEntropy(x, t, { labelSmoothing: 1.5 }),
      ArgumentError,
      'crossEntropy: labelSmoothing must be from 0 to 1, got 1.5',
    ],
    [
      'ignored probabilities',
      () => F.crossEntropy(x, x, { ignoreIndex: 1 }),
      ArgumentError,
      'crossEntropy: ignoreIndex 1 needs class indices, target holds probabilities',
    ],
    [
      'reduction',
      () => F.nllLoss(x, t, { reduction: 'max' as 'sum' }),
      ArgumentError,
      "nllLoss: reduction must be 'none', 'mean' or 'sum', got 'max'",
    ],
    ...(['mseLoss', 'l1Loss', 'smoothL1Loss', 'binaryCrossEntropy', 'binaryCrossEntropyWithLogits'] as const).map(
      (name): [string, () => unknown, new (m: string) => Error, string] => [
        `${name}: shapes`,
        () => functions[name]!(zeros([4]), zeros([4, 1])),
        ShapeError,
        `${name}: x [4] and target [4,1] must have the same shape`,
      ],
    ),
    ['beta', () => F.smoothL1Loss(x, x, { beta: -1 }), ArgumentError, 'smoothL1Loss: beta must be at least 0, got -1'],
    [
      'no probability',
      () => F.binaryCrossEntropy(tensor([0.5, 1.5]), zeros([2])),
      ArgumentError,
      'binaryCrossEntropy: x must be probabilities from 0 to 1, got 1.5; for logits there is binaryCrossEntropyWithLogits',
    ],
    [
      'NaN',
      () => F.binaryCrossEntropy(tensor([NaN]), zeros([1])),
      ArgumentError,
      'binaryCrossEntropy: x must be probabilities from 0 to 1, got NaN; for logits there is binaryCrossEntropyWithLogits',
    ],
    [
      'integer probabilities',
      () => F.binaryCrossEntropy(t, t),
      DTypeError,
      "binaryCrossEntropy: expected float32 or float64, got int32; convert with .to('float32')",
    ],
    [
      'factors',
      () => F.binaryCrossEntropy(zeros([4]), zeros([4]), { weight: ones([3, 4]) }),
      ShapeError,
      'binaryCrossEntropy: weight [3,4] does not broadcast to [4]',
    ],
    [
      'factors of the positive',
      () => F.binaryCrossEntropyWithLogits(zeros([4]), zeros([4]), { posWeight: ones([3]) }),
      ShapeError,
      'binaryCrossEntropyWithLogits: posWeight [3] does not broadcast to [4]',
    ],
    [
      'index',
      () => F.embedding(tensor([0, 3], { dtype: 'int32' }), zeros([3, 2])),
      ShapeError,
      'embedding: index 3 at position 1 is out of range for 3 (expected 0 to 2)',
    ],
    [
      'float indices',
      () => F.embedding(zeros([2]), zeros([3, 2])),
      DTypeError,
      "embedding: indices must be int32, got float32; make them with { dtype: 'int32' } or convert with .to('int32')",
    ],
    ['table', () => F.embedding(t, zeros([3])), ShapeError, 'embedding: weight must be [V,D], got [3]'],
    [
      'padding',
      () => F.embedding(t, zeros([3, 2]), { paddingIdx: -4 }),
      ArgumentError,
      'embedding: paddingIdx -4 names none of the 3 rows',
    ],
  ];
  // The scope frees the tensors that prepare the operands.
  test.each(cases)('%s', (_, run, type, message) => refuses(() => scope(run), type, message));
});

describe('weights have the dtype of x, as parameters of layers have', () => {
  const [single, double] = (['float32', 'float64'] as const).map((dtype) => (k: number) => full([k], 0.5, { dtype })) as [
    (k: number) => Tensor,
    (k: number) => Tensor,
  ];
  const int = (k: number): Tensor => full([k], 1, { dtype: 'int32' });
  const classes = (): Tensor => zeros([], { dtype: 'int32' });
  const losses: readonly (readonly [op: string, option: string, f: (x: Tensor, w: Tensor) => Tensor])[] = [
    ['crossEntropy', 'weight', (x, weight) => F.crossEntropy(x, classes(), { weight })],
    ['crossEntropy', 'weight', (x, weight) => F.crossEntropy(x, x.softmax(0), { weight })],
    ['nllLoss', 'weight', (x, weight) => F.nllLoss(x, classes(), { weight })],
    ['binaryCrossEntropy', 'weight', (x, weight) => F.binaryCrossEntropy(x, x, { weight })],
    ['binaryCrossEntropyWithLogits', 'weight', (x, weight) => F.binaryCrossEntropyWithLogits(x, x, { weight })],
    ['binaryCrossEntropyWithLogits', 'posWeight', (x, posWeight) => F.binaryCrossEntropyWithLogits(x, x, { posWeight })],
  ];

  test.each(losses)('%s: %s', (op, option, f) => {
    scope(() => {
      const message = (x: string, w: string): DTypeError =>
        new DTypeError(`${op}: x is ${x}, ${option} ${w}; ${option} must be ${x}, convert it with .to()`);
      expect(() => f(single(3), double(3))).toThrow(message('float32', 'float64'));
      expect(() => f(double(3), single(3))).toThrow(message('float64', 'float32'));
      expect(() => f(single(3), int(3))).toThrow(message('float32', 'int32'));
      expect([f(single(3), single(3)).dtype, f(double(3), double(3)).dtype]).toEqual(['float32', 'float64']);
    });
  });

  test('int32 logits are computed in float32', () => {
    scope(() => {
      const f = (weight: Tensor): Tensor => F.binaryCrossEntropyWithLogits(int(2), int(2), { weight });
      expect(f(single(2)).dtype).toBe('float32');
      expect(() => f(double(2))).toThrow(
        new DTypeError('binaryCrossEntropyWithLogits: x is int32, weight float64; weight must be float32, convert it with .to()'),
      );
    });
  });
});

describe('the functions', () => {
  test('float32 returns float32, and targets of another dtype are converted', () => {
    scope(() => {
      const [x, bits] = [randn([4]), tensor([0, 1, 1, 0], { dtype: 'int32' })];
      for (const t of [bits, bits.to('bool'), bits.to('float64')]) {
        expect(F.binaryCrossEntropy(x.sigmoid(), t).dtype).toBe('float32');
        expectClose(F.binaryCrossEntropyWithLogits(x, t), F.binaryCrossEntropy(x.sigmoid(), t).data(), 1e-6);
      }
      expect(F.crossEntropy(randn([4, 3]), bits, { labelSmoothing: 0.1, weight: ones([3]) }).dtype).toBe('float32');
    });
  });

  test('ignoring nothing, weights of 1 and one-hot probabilities change nothing', () => {
    scope(() => {
      const [x, t] = [randn([5, 3], { dtype: 'float64' }), tensor([0, 2, 1, 1, 2], { dtype: 'int32' })];
      const plain = F.crossEntropy(x, t).data();
      expectClose(F.crossEntropy(x, t, { weight: ones([3], { dtype: 'float64' }) }), plain);
      expectClose(F.crossEntropy(x, F.oneHot(t, 3).to('float64')), plain);
      expectClose(F.nllLoss(x.logSoftmax(1), t), plain);
      // Ignored samples have no effect.
      const some = tensor([0, -100, 1, -100, 2], { dtype: 'int32' });
      const kept = tensor([0, 2, 4], { dtype: 'int32' });
      expectClose(F.crossEntropy(x, some), F.crossEntropy(x.indexSelect(0, kept), some.indexSelect(0, kept)).data());
    });
  });
});

describe('modules', () => {
  const [x, int] = [wave([4, 3]), tensor([0, 2, -1, 1], { dtype: 'int32' })];
  const [weight, posWeight] = [tensor([1, 2, 3], { dtype: 'float64' }), tensor([2, 2, 1], { dtype: 'float64' })];
  const t = wave([4, 3], { k: 2 }).sigmoid();
  const cases: [string, nn.Criterion<object>, () => Tensor, Tensor, Tensor][] = [
    [
      'CrossEntropyLoss',
      new nn.CrossEntropyLoss({ weight, ignoreIndex: -1, labelSmoothing: 0.1 }),
      () => F.crossEntropy(x, int, { weight, ignoreIndex: -1, labelSmoothing: 0.1 }),
      x,
      int,
    ],
    ['NLLLoss', new nn.NLLLoss({ weight, ignoreIndex: -1 }), () => F.nllLoss(x, int, { weight, ignoreIndex: -1 }), x, int],
    ['BCELoss', new nn.BCELoss({ weight }), () => F.binaryCrossEntropy(t, t, { weight }), t, t],
    ['BCEWithLogitsLoss', new nn.BCEWithLogitsLoss({ posWeight }), () => F.binaryCrossEntropyWithLogits(x, t, { posWeight }), x, t],
    ['MSELoss', new nn.MSELoss(), () => F.mseLoss(x, t), x, t],
    ['L1Loss', new nn.L1Loss({ reduction: 'sum' }), () => F.l1Loss(x, t, { reduction: 'sum' }), x, t],
    ['SmoothL1Loss', new nn.SmoothL1Loss({ beta: 0.1 }), () => F.smoothL1Loss(x, t, { beta: 0.1 }), x, t],
  ];
  test.each(cases)('%s is its function', (_, module, f, input, target) => {
    scope(() => {
      expect([...module.forward(input, target).data()]).toEqual([...f().data()]);
    });
  });

  test('weights are buffers: `to` converts them, and a scope does not free them', () => {
    const made = scope(() => [new nn.CrossEntropyLoss({ weight: tensor([1, 2, 3]) })])[0]!;
    expect(made.options.weight!.toArray()).toEqual([1, 2, 3]);
    expect(Object.keys(made.stateDict())).toEqual(['weight']);
    made.to('float64');
    expect(made.options.weight!.dtype).toBe('float64');
    expect(Object.keys(new nn.BCEWithLogitsLoss({ posWeight, weight }).stateDict())).toEqual(['pos_weight', 'weight']);
    made.dispose();
  });

  test('Embedding: N(0, 1), the padding row 0 and without gradient', () => {
    scope(() => {
      const layer = new nn.Embedding(200, 50, { paddingIdx: -1 });
      expect(layer.paddingIdx).toBe(199);
      const rows = layer.weight.slice(0, 0, 199);
      expect(Math.abs(rows.mean().item())).toBeLessThan(5 / Math.sqrt(9950));
      expect(Math.abs(rows.std().item() - 1)).toBeLessThan(5 / Math.sqrt(2 * 9950));
      expect(layer.weight.select(0, 199).abs().amax().item()).toBe(0);
      const y = layer.forward(
        tensor(
          [
            [3, 199],
            [3, 0],
          ],
          { dtype: 'int32' },
        ),
      );
      expect(y.shape).toEqual([2, 2, 50]);
      expect(y.select(0, 1).select(0, 0).toArray()).toEqual(layer.weight.select(0, 3).toArray());
      y.sum().backward();
      expect([3, 199, 0, 1].map((i) => layer.weight.grad!.select(0, i).mean().item())).toEqual([2, 0, 1, 0]);
      expect(Object.keys(layer.stateDict())).toEqual(['weight']);
      expect(new nn.Embedding(2, 3, { dtype: 'float64' }).weight.dtype).toBe('float64');
      expect(() => new nn.Embedding(0, 3)).toThrow(new ArgumentError('Embedding: numEmbeddings must be a whole number ≥ 1, got 0'));
      expect(() => new nn.Embedding(4, 3, { paddingIdx: 4 })).toThrow(
        new ArgumentError('Embedding: paddingIdx 4 names none of the 4 rows'),
      );
      layer.dispose();
    });
  });
});
