import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FloatDType } from '../../src/core/dtype.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import { memoryUse } from '../../src/kernels/memory/allocator.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import { restride, type View } from '../../src/kernels/view.ts';
import { elementwiseKernels } from '../../src/kernels/wasm/elementwise.ts';
import { fusedKernels as fused } from '../../src/kernels/wasm/fused.ts';
import { difference, freed, numbers, raw, read, runs, view, type Layout } from './layouts.ts';

// Compares the fused kernels with their formulas in plain float64 JavaScript.

const RUNS = { seed: 20261124, numRuns: runs(200) };
const IMAGE_RUNS = { ...RUNS, numRuns: runs(70) };
const dtype = fc.constantFrom<FloatDType>('float32', 'float64');
const size = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 67 }));
const seed = fc.nat(1e6);
const tolerance = (type: FloatDType, float32 = 5e-6) => (type === 'float32' ? float32 : 1e-13);

const sum = (a: readonly number[]) => a.reduce((s, v) => s + v, 0);
const dot = (a: readonly number[], b: readonly number[]) => sum(a.map((v, i) => v * b[i]!));
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** Returns what `run` writes into a new view. */
function out(shape: Shape, type: FloatDType, run: (y: View) => void, layout: Layout = 'row-major'): number[] {
  const y = view(shape, type, layout);
  run(y);
  const beyond = raw(y).slice(sizeOf(shape));
  expect(beyond.every((v) => v === 77)).toBe(true);
  return read(y);
}

describe('batch norm', () => {
  /** Dims after [N,C]: none, or [H,W]. Without tails, with tails, and with sums in several blocks if row-major. */
  const pixels = fc.constantFrom<number[]>([], [1, 1], [3, 2], [5, 7], [4, 8], [1, 1100]);
  const layout = fc.constantFrom<Layout>('channels-last', 'row-major');
  const images = fc
    .record({ N: size, C: fc.integer({ min: 0, max: 67 }), pixels, seed, dtype, layout })
    .map((im) => (im.pixels.includes(1100) ? { ...im, N: (im.N % 2) + 1, C: im.C % 5 } : im));

  const shapeOf = ({ N, C, pixels }: { N: number; C: number; pixels: number[] }) => [N, C, ...pixels];
  /** Splits the row-major values of [N,C,...pixels] by channel. */
  const byChannel = (values: number[], [, C, ...pixels]: number[]) => {
    const P = pixels.reduce((p, n) => p * n, 1);
    const channels: number[][] = range(C!).map(() => []);
    values.forEach((v, i) => channels[Math.floor(i / P) % C!]!.push(v));
    return channels;
  };
  const fromChannels = (channels: number[][], [N, C, ...pixels]: number[]) => {
    const P = pixels.reduce((p, n) => p * n, 1);
    return range(N! * C! * P).map((i) => channels[Math.floor(i / P) % C!]![Math.floor(i / P / C!) * P + (i % P)]!);
  };
  const parameters = (C: number, seed: number, type: FloatDType) =>
    view(
      [C],
      type,
      'row-major',
      numbers(C, seed).map((v) => 1 + Math.abs(v)),
    );

  /** Runs batchNormStats and returns what it writes: the variance, and the other statistics. */
  const statistics = (x: View, w: View | null = null, b: View | null = null) => {
    const each = () => view([x.shape[1]!], x.dtype);
    const norm = { mean: each(), invstd: each(), scale: each(), offset: each() };
    const variance = out([x.shape[1]!], x.dtype as FloatDType, (to) => fused.batchNormStats(x, 1e-5, w, b, to, norm));
    return { variance, norm };
  };

  test('batchNormStats: mean and biased variance within 5e-6 (float32), 1e-13 (float64); scale and offset follow from them', () => {
    // The kernel treats means below and above two standard deviations differently, for each channel separately.
    const offsets = fc.constantFrom([0], [3], [0, 1], [0, 1.9, -2.1, 3]);
    const property = fc.property(images, offsets, fc.boolean(), fc.boolean(), (im, offset, hasW, hasB) => {
      freed(() => {
        const shape = shapeOf(im);
        const x = view(
          shape,
          im.dtype,
          im.layout,
          numbers(sizeOf(shape), im.seed).map((v, i) => offset[i % offset.length]! + v),
        );
        const means = byChannel(read(x), shape).map((v) => sum(v) / v.length);
        const variances = byChannel(read(x), shape).map((v, c) => sum(v.map((u) => (u - means[c]!) ** 2)) / v.length);
        const [w, b] = [parameters(im.C, 1, im.dtype), parameters(im.C, 2, im.dtype)];
        const { variance, norm } = statistics(x, hasW ? w : null, hasB ? b : null);
        const { mean, invstd } = norm;
        expect(difference(read(mean), means, tolerance(im.dtype))).toBeNull();
        expect(difference(variance, variances, tolerance(im.dtype))).toBeNull();
        const inverse = variances.map((v) => 1 / Math.sqrt(v + 1e-5));
        expect(difference(read(invstd), inverse, 0, tolerance(im.dtype, 1e-5))).toBeNull();
        // Scale and offset are bitwise equal: each is computed from the results above with one rounding.
        const round = im.dtype === 'float32' ? Math.fround : (v: number) => v;
        const scales = read(invstd).map((v, c) => (hasW ? round(v * read(w)[c]!) : v));
        expect(read(norm.scale)).toEqual(scales);
        expect(read(norm.offset)).toEqual(scales.map((v, c) => round(round(read(mean)[c]! * v) - (hasB ? read(b)[c]! : 0))));
      });
    });
    fc.assert(property, IMAGE_RUNS);
  });

  test.each(['channels-last', 'row-major'] as const)(
    'batchNormStats of 65,536 float32 values around 1000 (%s): relative error of the mean below 1e-7, of the variance below 1e-6',
    (layout) => {
      freed(() => {
        const shape = [64, 21, 32, 32];
        const period = numbers(65537, 7);
        const x = view(
          shape,
          'float32',
          layout,
          range(sizeOf(shape)).map((i) => 1000 + period[i % 65537]!),
        );
        const channels = byChannel(read(x), shape);
        const means = channels.map((v) => sum(v) / v.length);
        const variances = channels.map((v, c) => sum(v.map((u) => (u - means[c]!) ** 2)) / v.length);
        const { variance, norm } = statistics(x);
        expect(difference(read(norm.mean), means, 0, 1e-7)).toBeNull();
        expect(difference(variance, variances, 0, 1e-6)).toBeNull();
      });
    },
  );

  test('batchNormStats with means of up to 10⁴ deviations and chunks that begin far from the mean: variance within 3e-5 (float32), 1e-11 (float64)', () => {
    const far = fc.record({
      M: fc.integer({ min: 2, max: 1500 }),
      C: fc.integer({ min: 1, max: 130 }),
      apart: fc.constantFrom(4, 8, 32),
      seed,
      dtype,
    });
    const property = fc.property(
      far,
      fc.double({ min: -1e4, max: 1e4, noNaN: true }),
      fc.double({ min: -30, max: 30, noNaN: true }),
      (im, offset, step) => {
        freed(() => {
          const { M, C, apart } = im;
          // The first 32 rows of each 512 have another mean than the others.
          const values = numbers(M * C, im.seed).map((v, i) => offset + v + (Math.floor(i / C) % 512 < apart ? step : 0));
          const x = view([M, C], im.dtype, 'row-major', values);
          const channels = byChannel(read(x), [M, C]);
          const want = channels.map((v) => {
            const mean = sum(v) / M;
            return sum(v.map((u) => (u - mean) ** 2)) / M;
          });
          const { variance, norm } = statistics(x);
          expect(difference(variance, want, 0, tolerance(im.dtype, 3e-5) * (im.dtype === 'float64' ? 100 : 1))).toBeNull();
          const means = channels.map((v) => sum(v) / M);
          expect(difference(read(norm.mean), means, tolerance(im.dtype, 1e-7), tolerance(im.dtype, 1e-7))).toBeNull();
        });
      },
    );
    fc.assert(property, IMAGE_RUNS);
  });

  test('batchNormStats: a NaN or ∞ stays in its channel', () => {
    freed(() => {
      // Numbers of channels that the kernel processes singly, by two vectors, and by four.
      for (const C of [5, 10, 20]) {
        const periods = <T>(values: readonly T[]) => range(C / 5).flatMap(() => values);
        const x = view([2, C], 'float32', 'row-major', [...periods([1, NaN, 2, Infinity, 3]), ...periods([3, 1, 4, 1, 5])]);
        const { variance, norm } = statistics(x);
        expect(variance).toEqual(periods([1, NaN, 1, NaN, 1]));
        expect(read(norm.mean)).toEqual(periods([2, NaN, 3, Infinity, 4]));
      }
      const planes = [
        [1, NaN, 2],
        [3, 1, 5],
        [Infinity, 1, 2],
      ].flatMap((plane) => [...plane, ...range(30).map(() => 3)]);
      const { variance, norm } = statistics(view([1, 3, 33], 'float32', 'row-major', planes));
      expect(read(norm.mean)).toEqual([NaN, 3, Infinity]);
      expect(variance.map(Number.isNaN)).toEqual([true, false, true]);
    });
  });

  test('batchNormApply within 5e-6 (float32), 1e-13 (float64), with and without a ReLU, in place too', () => {
    const property = fc.property(images, fc.boolean(), fc.boolean(), (im, relu, inPlace) => {
      freed(() => {
        const shape = shapeOf(im);
        const x = view(shape, im.dtype, im.layout, numbers(sizeOf(shape), im.seed));
        const [scale, offset] = [parameters(im.C, 0, im.dtype), parameters(im.C, 1, im.dtype)];
        const [s, t] = [read(scale), read(offset)];
        const want = byChannel(read(x), shape).map((v, c) => v.map((u) => Math.max(u * s[c]! - t[c]!, relu ? 0 : -Infinity)));
        const run = (y: View) => fused.batchNormApply(x, scale, offset, y, relu);
        if (inPlace) run(x);
        const got = inPlace ? read(x) : out(shape, im.dtype, run, im.layout);
        expect(difference(got, fromChannels(want, shape), tolerance(im.dtype))).toBeNull();
      });
    });
    fc.assert(property, IMAGE_RUNS);
  });

  test('batchNormGrad: dw, db, dx within 2e-5 (float32), 1e-13 (float64), of their sizes; with a ReLU, bitwise identical to masking g first', () => {
    const property = fc.property(images, fc.boolean(), fc.boolean(), (im, relu, wantsDx) => {
      freed(() => {
        const shape = shapeOf(im);
        const [x, g] = [0, 1].map((i) => view(shape, im.dtype, im.layout, numbers(sizeOf(shape), im.seed + i))) as [View, View];
        const [mean, invstd, scale, offset] = range(4).map((i) => parameters(im.C, i, im.dtype)) as [View, View, View, View];
        const norm = { mean, invstd, scale, offset };
        const masked = view(shape, im.dtype, im.layout, read(g));
        if (relu) {
          const y = view(shape, im.dtype, im.layout, read(x));
          fused.batchNormApply(x, scale, offset, y);
          elementwiseKernels.binary('reluGrad', g, y, masked);
        }
        const [m, s, factor] = [mean, invstd, scale].map(read) as [number[], number[], number[]];
        const hats = byChannel(read(x), shape).map((v, c) => v.map((u) => (u - m[c]!) * s[c]!));
        const gs = byChannel(read(masked), shape);
        const M = sizeOf(shape) / Math.max(im.C, 1);
        const db = gs.map(sum);
        const dw = gs.map((v, c) => dot(v, hats[c]!));
        const dx = gs.map((v, c) => v.map((u, i) => factor[c]! * (u - db[c]! / M - (hats[c]![i]! * dw[c]!) / M)));
        const gradients = (from: View, relu: boolean) => {
          const [dw, db] = [view([im.C], im.dtype), view([im.C], im.dtype)];
          const run = (to: View | null) => fused.batchNormGrad(from, x, norm, to, dw, db, relu);
          const dx = wantsDx ? out(shape, im.dtype, run, im.layout) : run(null);
          return { dx, dw: read(dw), db: read(db) };
        };
        const got = gradients(g, relu);
        const eps = tolerance(im.dtype, 2e-5);
        if (wantsDx) expect(difference(got.dx!, fromChannels(dx, shape), eps)).toBeNull();
        // Sums of M terms of both signs: the error is measured against their absolute sum.
        expect(difference(got.db, db, eps * Math.sqrt(M), eps)).toBeNull();
        expect(difference(got.dw, dw, eps * Math.sqrt(M), eps)).toBeNull();
        expect(got).toEqual(gradients(masked, false));
      });
    });
    fc.assert(property, IMAGE_RUNS);
  });
});

test('scaleChannelsGrad: dx = g·s bitwise, ds = Σ g·x within 1e-6 (float32), 1e-14 (float64), of Σ |g·x|', () => {
  const images = fc.record({
    N: fc.nat(3),
    C: fc.nat(67),
    H: fc.nat(7),
    W: fc.nat(12),
    seed,
    dtype,
    layout: fc.constantFrom<Layout>('channels-last', 'row-major'),
  });
  const property = fc.property(images, fc.boolean(), ({ N, C, H, W, seed, dtype, layout }, wantsDx) => {
    freed(() => {
      const image = (i: number) => view([N, C, H, W], dtype, layout, numbers(N * C * H * W, seed + i));
      const [g, x, s] = [image(0), image(1), view([N, C], dtype, 'row-major', numbers(N * C, seed + 2))];
      const [gs, xs, ss] = [g, x, s].map(read) as [number[], number[], number[]];
      const of = (c: number) => range(H * W).map((i) => gs[c * H * W + i]! * xs[c * H * W + i]!);
      const ds = view([N, C], dtype);
      const run = (dx: View | null) => fused.scaleChannelsGrad(g, x, s, dx, ds);
      const round = dtype === 'float32' ? Math.fround : (v: number) => v;
      if (wantsDx) expect(out([N, C, H, W], dtype, run, layout)).toEqual(gs.map((v, i) => round(v * ss[Math.floor(i / H / W)]!)));
      else run(null);
      read(ds).forEach((v, c) => {
        const most = (dtype === 'float32' ? 1e-6 : 1e-14) * sum(of(c).map(Math.abs));
        expect(Math.abs(v - sum(of(c)))).toBeLessThanOrEqual(most);
      });
    });
  });
  fc.assert(property, IMAGE_RUNS);
});

describe('softmax and cross entropy', () => {
  const matrix = fc.record({ M: fc.integer({ min: 0, max: 9 }), K: size, seed, dtype, scale: fc.constantFrom(1, 30) });
  const logits = (m: { M: number; K: number; seed: number; scale: number }, holes: boolean) =>
    // −∞ is the value that masks write. It is never the first element of a row, so that no row is all −∞.
    numbers(m.M * m.K, m.seed).map((v, i) => (holes && i % m.K > 0 && i % 3 === 0 ? -Infinity : v * m.scale));
  const rowsOf = (values: number[], K: number) => range(values.length / K).map((r) => values.slice(r * K, (r + 1) * K));
  const logSoftmax = (row: number[]) => {
    const top = Math.max(...row);
    const norm = Math.log(sum(row.map((v) => Math.exp(v - top))));
    return row.map((v) => v - top - norm);
  };

  test('softmax and log softmax within 1e-6·(1 + |y|) (float32), 1e-13 (float64), with −∞ among the inputs and gaps between rows', () => {
    const property = fc.property(matrix, fc.boolean(), fc.boolean(), fc.nat(3), (m, holes, log, gap) => {
      freed(() => {
        const whole = view([m.M, m.K + gap], m.dtype, 'row-major', numbers(m.M * (m.K + gap), 1));
        const x = restride(whole, [m.M, m.K], [m.K + gap, 1]);
        reference.copy(view([m.M, m.K], m.dtype, 'row-major', logits(m, holes)), x);
        const want = rowsOf(read(x), m.K).flatMap((row) => logSoftmax(row).map((v) => (log ? v : Math.exp(v))));
        expect(
          difference(
            out([m.M, m.K], m.dtype, (y) => fused.softmax(log, x, y)),
            want,
            tolerance(m.dtype, 1e-6),
          ),
        ).toBeNull();
      });
    });
    fc.assert(property, RUNS);
  });

  test('softmax of a NaN, of +∞, and of −∞ alone is NaN; of one element 1; of values around 1000 it does not overflow', () => {
    freed(() => {
      for (const K of [3, 9]) {
        const softmax = (...head: number[]) => {
          const x = view([1, K], 'float32', 'row-major', [...head, ...range(K - head.length).map(() => head.at(-1)!)]);
          return [false, true].map((log) => out([1, K], 'float32', (y) => fused.softmax(log, x, y)));
        };
        expect(softmax(1, NaN, 2)[0]!.every(Number.isNaN)).toBe(true);
        expect(softmax(1, NaN, 2)[1]!.every(Number.isNaN)).toBe(true);
        expect(softmax(Infinity, 1)[0]![0]).toBeNaN();
        expect(softmax(-Infinity)[0]!.every(Number.isNaN)).toBe(true);
        expect(softmax(-Infinity)[1]!.every(Number.isNaN)).toBe(true);
        expect(softmax(1000, 0)).toEqual([
          [1, ...range(K - 1).map(() => 0)],
          [0, ...range(K - 1).map(() => -1000)],
        ]);
      }
      expect(out([1, 1], 'float32', (y) => fused.softmax(false, view([1, 1], 'float32', 'row-major', [-1e30]), y))).toEqual([1]);
    });
  });

  test('softmaxGrad within 5e-6 (float32), 1e-13 (float64)', () => {
    const property = fc.property(matrix, fc.boolean(), fc.boolean(), (m, holes, log) => {
      freed(() => {
        const logs = rowsOf(logits(m, holes), m.K).map(logSoftmax);
        const y = view(
          [m.M, m.K],
          m.dtype,
          'row-major',
          logs.flat().map((v) => (log ? v : Math.exp(v))),
        );
        const g = view([m.M, m.K], m.dtype, 'row-major', numbers(m.M * m.K, m.seed + 1));
        const gs = rowsOf(read(g), m.K);
        const want = rowsOf(read(y), m.K).flatMap((row, r) =>
          row.map((v, k) => (log ? gs[r]![k]! - Math.exp(v) * sum(gs[r]!) : v * (gs[r]![k]! - dot(gs[r]!, row)))),
        );
        expect(
          difference(
            out([m.M, m.K], m.dtype, (dx) => fused.softmaxGrad(log, g, y, dx)),
            want,
            tolerance(m.dtype),
          ),
        ).toBeNull();
      });
    });
    fc.assert(property, RUNS);
  });

  test('crossEntropy and its gradient within 1e-6·(1 + |y|) (float32), 1e-13 (float64)', () => {
    const property = fc.property(matrix, fc.boolean(), (m, holes) => {
      freed(() => {
        const x = view([m.M, m.K], m.dtype, 'row-major', logits(m, holes));
        const classes = range(m.M).map((r) => (r * 7 + m.seed) % m.K);
        const target = view([m.M], 'int32', 'row-major', classes);
        const want = rowsOf(read(x), m.K).map(logSoftmax);
        const eps = tolerance(m.dtype, 1e-6);
        const logp = view([m.M, m.K], m.dtype);
        const loss = out([m.M], m.dtype, (to) => fused.crossEntropy(x, target, to, logp));
        expect(difference(read(logp), want.flat(), eps)).toBeNull();
        expect(
          difference(
            loss,
            want.map((row, r) => -row[classes[r]!]!),
            eps,
          ),
        ).toBeNull();

        const scale = view([m.M], m.dtype, 'sliced', numbers(m.M, m.seed + 2));
        const scales = read(scale);
        const dx = rowsOf(read(logp), m.K).flatMap((row, r) => row.map((v, k) => scales[r]! * (Math.exp(v) - (classes[r] === k ? 1 : 0))));
        expect(
          difference(
            out([m.M, m.K], m.dtype, (to) => fused.crossEntropyGrad(scale, logp, target, to)),
            dx,
            eps,
          ),
        ).toBeNull();
      });
    });
    fc.assert(property, RUNS);
  });
});

test('workspaces are released', () => {
  freed(() => {
    const x = view([4, 5, 2, 2], 'float32', 'channels-last', numbers(80, 1));
    const [a, b] = [view([5], 'float32'), view([5], 'float32')];
    const norm = { mean: a, invstd: b, scale: a, offset: a };
    const before = memoryUse().bytes;
    fused.batchNormStats(x, 1e-5, null, null, b, norm);
    fused.batchNormGrad(x, x, norm, null, view([5], 'float32'), a);
    expect(memoryUse().bytes - before).toBe((2 * 5 + 3) * 4);
  });
});
