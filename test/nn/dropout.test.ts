/** Dropout by element, channel and sample: masks, drop rates, scaling, and the cases without dropout. */
import { ArgumentError, Generator, ShapeError, grad, manualSeed, memory, ones, scope, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';

type Options = F.DropoutOptions;

/** Each kind, with the shape of its mask for x. */
const kinds: [string, (x: Tensor, p: number, o?: Options) => Tensor, number[], number[]][] = [
  ['dropout', F.dropout, [40, 50, 2, 3], [40, 50, 2, 3]],
  ['dropout2d', F.dropout2d, [40, 50, 2, 3], [40, 50, 1, 1]],
  ['dropout2d without N', F.dropout2d, [2000, 2, 3], [2000, 1, 1]],
  ['stochasticDepth by row', (x, p, o) => F.stochasticDepth(x, p, 'row', o), [2000, 2, 3], [2000, 1, 1]],
];

describe.each(kinds)('%s', (_, drop, shape, mask) => {
  const x = ones(shape, { dtype: 'float64' });

  test('zeroes with probability p, scales the rest, and masks the gradient likewise', () => {
    scope(() => {
      manualSeed(1);
      const leaf = ones(shape, { dtype: 'float64', requiresGrad: true });
      const y = drop(leaf, 0.3);
      const values = [...new Set(y.data())].sort((a, b) => a - b);
      expect(values).toEqual([0, 1 / 0.7]);
      const n = mask.reduce((a, b) => a * b, 1);
      const kept = y.ne(0).to('float64').mean().item();
      expect(Math.abs(kept - 0.7)).toBeLessThan(5 * Math.sqrt(0.21 / n));
      expect(grad(y.sum(), leaf).data()).toEqual(y.data());
    });
  });

  test('drops elements that share a draw together', () => {
    scope(() => {
      const y = drop(x, 0.5);
      const first = mask.reduce((t, n, d) => (n === 1 ? t.slice(d, 0, 1) : t), y);
      expect(y.data()).toEqual(first.expand(shape).clone().data());
      expect(new Set(first.data()).size).toBe(2);
    });
  });

  test('p = 0 and evaluation return x itself, p = 1 zeros; the next draw has another mask; takes a generator', () => {
    scope(() => {
      expect(drop(x, 0)).toBe(x);
      expect(drop(x, 0.5, { training: false })).toBe(x);
      expect(drop(x, 1).abs().amax().item()).toBe(0);
      const generator = new Generator(3);
      const [a, b] = [drop(x, 0.5, { generator }).data(), drop(x, 0.5, { generator }).data()];
      expect(b).not.toEqual(a);
      expect(drop(x, 0.5, { generator: new Generator(3) }).data()).toEqual(a);
    });
  });
});

test('stochasticDepth by batch drops all or nothing', () => {
  scope(() => {
    const x = ones([4, 3]);
    const seen = Array.from({ length: 200 }, () => [...new Set(F.stochasticDepth(x, 0.25, 'batch').data())]);
    expect(seen.every((values) => values.length === 1)).toBe(true);
    const dropped = seen.filter(([v]) => v === 0).length;
    expect(seen.find(([v]) => v !== 0)![0]).toBe(Math.fround(1 / 0.75));
    expect(Math.abs(dropped / 200 - 0.25)).toBeLessThan(5 * Math.sqrt(0.1875 / 200));
    expect(F.stochasticDepth(ones([]), 0.5, 'row').shape).toEqual([]);
  });
});

test('errors', () => {
  const before = memory().bytes;
  scope(() => {
    const x = ones([2, 3]);
    expect(() => F.dropout2d(x)).toThrow(new ShapeError('dropout2d: x must be [N,C,H,W] or [C,H,W], got [2,3]'));
    expect(() => F.dropout2d(ones([1, 2, 2]), 1.5)).toThrow(new ArgumentError('dropout2d: p must be from 0 to 1, got 1.5'));
    expect(() => F.stochasticDepth(x, -1, 'row')).toThrow(new ArgumentError('stochasticDepth: p must be from 0 to 1, got -1'));
    expect(() => F.stochasticDepth(x, 0.5, 'column' as 'row')).toThrow(
      new ArgumentError("stochasticDepth: mode must be 'batch' or 'row', got 'column'"),
    );
    expect(() => F.stochasticDepth(x.to('int32'), 0.5, 'row')).toThrow('stochasticDepth: x must be float32 or float64, got int32');
    expect(() => new nn.Dropout2d(2)).toThrow(new ArgumentError('Dropout2d: p must be from 0 to 1, got 2'));
    expect(() => new nn.StochasticDepth(-1, 'row')).toThrow(new ArgumentError('StochasticDepth: p must be from 0 to 1, got -1'));
  });
  expect(memory().bytes).toBe(before);
});

test('the modules draw in training only, like their functions', () => {
  scope(() => {
    const x = ones([5, 4, 2, 2]);
    const make: [(o: nn.DropoutLayerOptions) => nn.Layer, (o: Options) => Tensor][] = [
      [(o) => new nn.Dropout(0.4, o), (o) => F.dropout(x, 0.4, o)],
      [(o) => new nn.Dropout2d(0.4, o), (o) => F.dropout2d(x, 0.4, o)],
      [(o) => new nn.StochasticDepth(0.4, 'row', o), (o) => F.stochasticDepth(x, 0.4, 'row', o)],
    ];
    for (const [layer, f] of make) {
      const seeded = (): Options => ({ generator: new Generator(7) });
      expect(
        layer(seeded() as nn.DropoutLayerOptions)
          .forward(x)
          .data(),
      ).toEqual(f(seeded()).data());
      manualSeed(7);
      expect(layer({}).forward(x).data()).toEqual(f(seeded()).data());
      expect(layer({}).eval()).toBeInstanceOf(nn.Dropout);
      expect((layer({}).eval() as nn.Layer).forward(x)).toBe(x);
    }
  });
});
