import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FloatDType } from '../../src/core/dtype.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import type { AvgPoolParams, PoolParams } from '../../src/kernels/interface.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import type { View } from '../../src/kernels/view.ts';
import { poolingKernels as wasm } from '../../src/kernels/wasm/pooling.ts';
import { difference, freed, LAYOUTS, numbers, raw, read, runs, view, type Layout } from './layouts.ts';

// Compares the WebAssembly kernels with the reference, on images of every layout. Whole storages are compared, which shows writes
// outside an output's elements too.

type Pair = [number, number];

const SEED = 20261124;
const RUNS = { seed: SEED, numRuns: runs(300) };
const layout = fc.constantFrom<Layout>(...LAYOUTS);
const dtype = fc.constantFrom<FloatDType>('float32', 'float64');
const channels = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 10, max: 67 }));
const side = fc.integer({ min: 1, max: 9 });
const batch = fc.integer({ min: 0, max: 2 });
const values = { seed: fc.nat(1e6), special: fc.boolean() };
const image = fc.record({ N: batch, C: channels, H: side, W: side, ...values, dtype, from: layout, to: layout });
/** Draws a valid pool: padding of at most half the kernel; ceil mode as in PyTorch, where the last window starts before the right padding. */
const pool = (dilation: fc.Arbitrary<number>) =>
  fc
    .record({
      kernel: fc.integer({ min: 1, max: 4 }),
      stride: fc.integer({ min: 1, max: 3 }),
      padding: fc.nat(2),
      dilation,
      ceil: fc.boolean(),
    })
    .map((p) => ({ ...p, padding: Math.min(p.padding, p.kernel >> 1) }));
const pools = (dilation: fc.Arbitrary<number>) => fc.tuple(pool(dilation), pool(dilation));

type Side = { kernel: number; stride: number; padding: number; dilation: number; ceil: boolean };

function outputSize(n: number, p: Side): number {
  const room = n + 2 * p.padding - p.dilation * (p.kernel - 1) - 1;
  if (room < 0) return 0;
  const size = (p.ceil ? Math.ceil(room / p.stride) : Math.floor(room / p.stride)) + 1;
  return p.ceil && (size - 1) * p.stride >= n + p.padding ? size - 1 : size;
}

function params([v, h]: [Side, Side]): PoolParams {
  const both = (key: 'kernel' | 'stride' | 'padding' | 'dilation'): Pair => [v[key], h[key]];
  return { kernel: both('kernel'), stride: both('stride'), padding: both('padding'), dilation: both('dilation') };
}

/** Returns the storages that `run` writes with the WebAssembly kernel and with the reference. */
function bothResults(shape: Shape, type: FloatDType, to: Layout, run: (k: typeof wasm, y: View) => void): [number[], number[]] {
  const [y, want] = [view(shape, type, to), view(shape, type, to)];
  run(wasm, y);
  run(reference, want);
  return [raw(y), raw(want)];
}

const tolerance = (type: FloatDType) => (type === 'float32' ? 2e-6 : 4e-15);

test('maxPool2d is bitwise identical to the reference: values and indices, NaN, ±∞, −0, ties', () => {
  const property = fc.property(image, pools(fc.integer({ min: 1, max: 3 })), fc.boolean(), layout, (im, sides, ties, indexLayout) => {
    freed(() => {
      const shape = [im.N, im.C, im.H, im.W];
      const values = numbers(sizeOf(shape), im.seed, im.special).map((v) => (ties ? Math.round(v) : v));
      const x = view(shape, im.dtype, im.from, values);
      const out = [im.N, im.C, outputSize(im.H, sides[0]), outputSize(im.W, sides[1])];
      const [i, j] = [view(out, 'int32', indexLayout), view(out, 'int32', indexLayout)];
      const [y, want] = bothResults(out, im.dtype, im.to, (k, to) => k.maxPool2d(x, to, k === reference ? j : i, params(sides)));
      expect(difference(y, want, 0)).toBeNull();
      expect(raw(i)).toEqual(raw(j));
    });
  });
  fc.assert(property, RUNS);
});

/** Layouts of which the kernels process vectors: of channels, or of windows. */
const VECTOR_LAYOUTS = ['channels-last', 'row-major'] as const;
const SQUARE: Side = { kernel: 2, stride: 2, padding: 0, dilation: 1, ceil: false };
const squaresAndOthers = fc.oneof(fc.constant([SQUARE, SQUARE] as [Side, Side]), pools(fc.integer({ min: 1, max: 2 })));
/** Rows of several vectors of windows. */
const wide = image.map((im) => ({ ...im, W: im.W + (im.seed % 24) }));

test.each(VECTOR_LAYOUTS)('maxPool2d of %s images, with 2×2 and any other windows, is bitwise identical to the reference', (layout) => {
  // Special values are handled by a slower path. Either one element of an image is special or many are.
  const rare = fc.constantFrom(null, NaN, NaN, NaN, Infinity, -Infinity, -0, 3e38);
  const property = fc.property(wide, squaresAndOthers, rare, fc.boolean(), fc.boolean(), (im, sides, special, one, ties) => {
    freed(() => {
      const shape = [im.N, im.C, im.H, im.W];
      const drawn = numbers(sizeOf(shape), im.seed).map((v) => (ties ? Math.round(v) : v));
      const x = view(
        shape,
        im.dtype,
        layout,
        drawn.map((v, i) => (special !== null && (one ? i === im.seed % drawn.length : (i * 31) % 97 < 3) ? special : v)),
      );
      const out = [im.N, im.C, outputSize(im.H, sides[0]), outputSize(im.W, sides[1])];
      const [i, j] = [view(out, 'int32', layout), view(out, 'int32', layout)];
      const [y, want] = bothResults(out, im.dtype, layout, (k, to) => k.maxPool2d(x, to, k === reference ? j : i, params(sides)));
      expect(difference(y, want, 0)).toBeNull();
      expect(raw(i)).toEqual(raw(j));
    });
  });
  fc.assert(property, RUNS);
});

test('maxPool2dGrad equals the reference within 2e-6 (float32), 4e-15 (float64), also where windows overlap, leave gaps or lie in the padding', () => {
  const anyPools = fc.oneof(squaresAndOthers, pools(fc.integer({ min: 1, max: 3 })));
  const vectorLayout = fc.constantFrom(null, ...VECTOR_LAYOUTS);
  const property = fc.property(wide, anyPools, layout, vectorLayout, (im, sides, indexLayout, vectors) => {
    freed(() => {
      const [shape, p] = [[im.N, im.C, im.H, im.W], params(sides)];
      const out = [im.N, im.C, outputSize(im.H, sides[0]), outputSize(im.W, sides[1])];
      // The kernel uses vectors if all three have the same layout of these.
      const [of, from, to] = vectors === null ? [indexLayout, im.from, im.to] : [vectors, vectors, vectors];
      const index = view(out, 'int32', of);
      reference.maxPool2d(view(shape, im.dtype, im.from, numbers(sizeOf(shape), im.seed)), view(out, im.dtype), index, p);
      const g = view(out, im.dtype, from, numbers(sizeOf(out), im.seed + 1, im.special));
      const [dx, want] = bothResults(shape, im.dtype, to, (k, dx) => k.maxPool2dGrad(g, index, dx, p));
      expect(difference(dx, want, tolerance(im.dtype))).toBeNull();
    });
  });
  fc.assert(property, RUNS);
});

const averages = fc.record({ countIncludePad: fc.boolean(), divisor: fc.option(fc.integer({ min: 1, max: 7 })) });

test('avgPool2d equals the reference within 2e-6 (float32), 4e-15 (float64)', () => {
  const property = fc.property(image, pools(fc.constant(1)), averages, (im, sides, average) => {
    freed(() => {
      const shape = [im.N, im.C, im.H, im.W];
      const x = view(shape, im.dtype, im.from, numbers(sizeOf(shape), im.seed, im.special));
      const p: AvgPoolParams = { ...params(sides), ...average };
      const out = [im.N, im.C, outputSize(im.H, sides[0]), outputSize(im.W, sides[1])];
      const [y, want] = bothResults(out, im.dtype, im.to, (k, to) => k.avgPool2d(x, to, p));
      expect(difference(y, want, tolerance(im.dtype))).toBeNull();
    });
  });
  fc.assert(property, RUNS);
});

test('avgPool2dGrad equals the reference within 2e-6 (float32), 4e-15 (float64)', () => {
  const property = fc.property(image, pools(fc.constant(1)), averages, (im, sides, average) => {
    freed(() => {
      const out = [im.N, im.C, outputSize(im.H, sides[0]), outputSize(im.W, sides[1])];
      const g = view(out, im.dtype, im.from, numbers(sizeOf(out), im.seed, im.special));
      const p: AvgPoolParams = { ...params(sides), ...average };
      const [dx, want] = bothResults([im.N, im.C, im.H, im.W], im.dtype, im.to, (k, to) => k.avgPool2dGrad(g, to, p));
      expect(difference(dx, want, tolerance(im.dtype))).toBeNull();
    });
  });
  fc.assert(property, RUNS);
});

test('adaptiveAvgPool2d and its gradient equal the reference within 2e-6 (float32), 4e-15 (float64)', () => {
  const property = fc.property(image, side, side, (im, OH, OW) => {
    freed(() => {
      const [shape, out] = [
        [im.N, im.C, im.H, im.W],
        [im.N, im.C, OH, OW],
      ];
      const x = view(shape, im.dtype, im.from, numbers(sizeOf(shape), im.seed, im.special));
      const [y, want] = bothResults(out, im.dtype, im.to, (k, to) => k.adaptiveAvgPool2d(x, to));
      expect(difference(y, want, tolerance(im.dtype))).toBeNull();
      const g = view(out, im.dtype, im.to, numbers(sizeOf(out), im.seed, im.special));
      const [dx, wantDx] = bothResults(shape, im.dtype, im.from, (k, to) => k.adaptiveAvgPool2dGrad(g, to));
      expect(difference(dx, wantDx, tolerance(im.dtype))).toBeNull();
    });
  });
  fc.assert(property, RUNS);
});

test('a global average of 128×128 float32 numbers around 1000 has a relative error below 1e-6', () => {
  freed(() => {
    const shape = [1, 18, 128, 128];
    const x = view(
      shape,
      'float32',
      'channels-last',
      numbers(sizeOf(shape), 1).map((v) => 1000 + 100 * v),
    );
    const [y, want] = [view([1, 18, 1, 1], 'float32'), view([1, 18, 1, 1], 'float32')];
    wasm.adaptiveAvgPool2d(x, y);
    reference.adaptiveAvgPool2d(x, want);
    expect(difference(read(y), read(want), 0, 1e-6)).toBeNull();
  });
});
