import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  ArgumentError,
  getNumThreads,
  gradcheck,
  gradgradcheck,
  setConvAlgorithm,
  setNumThreads,
  tensor,
  type ConvAlgorithm,
  type Tensor,
} from 'chainrule';
import * as F from 'chainrule/nn/functional';
import type { FloatDType } from '../../src/core/dtype.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import type { ConvParams } from '../../src/kernels/interface.ts';
import { memoryUse } from '../../src/kernels/memory/allocator.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import { ARGS } from '../../src/kernels/memory/wasm-memory.ts';
import { Pool } from '../../src/kernels/threads/pool.ts';
import { restride, type View } from '../../src/kernels/view.ts';
import { productKernels as wasm } from '../../src/kernels/wasm/matmul.ts';
import { difference, freed, LAYOUTS, numbers, raw, read, view, type Layout } from './layouts.ts';

// Compares Winograd's 3×3 convolutions with the reference and with the direct kernels, in all three directions. Whole storages are
// compared, which shows writes outside an output's elements too.

const RUNS = { seed: 20261124, numRuns: process.env.CHAINRULE_LONG === '1' ? 80 : 20 };
/** Tolerances for sums of n products of standard normal numbers; the reference sums in float64. */
const within = (type: FloatDType, n: number): number => (type === 'float32' ? 2e-5 : 5e-14) * Math.sqrt(n);

interface Case {
  N: number;
  C: number;
  O: number;
  height: number;
  width: number;
  padding: readonly [number, number];
  type: FloatDType;
  x: Layout;
  w: Layout;
  g: Layout;
  seed: number;
}

const params = (padding: readonly [number, number]): ConvParams => ({ stride: [1, 1], padding, dilation: [1, 1], groups: 1 });

function operands(c: Case): { x: View; w: View; g: View; p: ConvParams } {
  const make = (shape: Shape, layout: Layout, seed: number): View => view(shape, c.type, layout, numbers(sizeOf(shape), seed));
  const [height, width] = [c.height + 2 * c.padding[0] - 2, c.width + 2 * c.padding[1] - 2];
  return {
    x: make([c.N, c.C, c.height, c.width], c.x, c.seed),
    w: make([c.O, c.C, 3, 3], c.w, c.seed + 1),
    g: make([c.N, c.O, height, width], c.g, c.seed + 2),
    p: params(c.padding),
  };
}

/** Returns what a kernel writes with an algorithm. */
function written(shape: Shape, type: FloatDType, run: (y: View) => void, algorithm: ConvAlgorithm = 'auto'): View {
  const y = view(shape, type, shape.at(-1) === 3 && shape.at(-2) === 3 ? 'row-major' : 'channels-last');
  setConvAlgorithm(algorithm);
  run(y);
  return y;
}

/** The three directions: the output, the kernel that writes it, and the number of products in the sum of an element. */
function directions(c: Case): { name: string; shape: Shape; terms: number; run: (k: typeof wasm) => (y: View) => void }[] {
  const { x, w, g, p } = operands(c);
  return [
    { name: 'forward', shape: g.shape, terms: 9 * c.C, run: (k) => (y) => k.conv2d(x, w, y, p) },
    { name: 'gradX', shape: x.shape, terms: 9 * c.O, run: (k) => (y) => k.conv2dGradX(g, w, y, p) },
    { name: 'gradW', shape: w.shape, terms: c.N * g.shape[2]! * g.shape[3]!, run: (k) => (y) => k.conv2dGradW(g, x, y, p) },
  ];
}

function check(c: Case): void {
  freed(() => {
    for (const { name, shape, terms, run } of directions(c)) {
      const got = written(shape, c.type, run(wasm));
      const want = written(shape, c.type, run(reference));
      const found = difference(raw(got), raw(want), within(c.type, terms));
      expect(found && `${name}: ${found}`).toBeNull();
    }
  });
}

/** Returns whether a direction's results differ between the algorithms; if both were direct, they would be bitwise identical. */
function differ(c: Case): boolean[] {
  return freed(() =>
    directions(c).map(({ shape, run }) => {
      const [auto, direct] = (['auto', 'direct'] as const).map((a) => read(written(shape, c.type, run(wasm), a)));
      return difference(auto!, direct!, 0) !== null;
    }),
  );
}

type Sizes = readonly [N: number, C: number, O: number, height: number, width: number, padding?: number];
function fixed([N, C, O, height, width, padding = 1]: Sizes, type: FloatDType = 'float32'): Case {
  const layouts = { x: 'channels-last', w: 'row-major', g: 'channels-last' } as const;
  return { N, C, O, height, width, padding: [padding, padding], type, ...layouts, seed: 7 };
}

const layout = fc.constantFrom<Layout>(...LAYOUTS);
const channels = fc.oneof(fc.integer({ min: 4, max: 9 }), fc.integer({ min: 4, max: 36 }));
const side = fc.integer({ min: 4, max: 15 });
const padding = fc.integer({ min: 0, max: 3 });
const anyCase: fc.Arbitrary<Case> = fc.record({
  N: fc.integer({ min: 1, max: 4 }),
  C: channels,
  O: channels,
  height: side,
  width: side,
  padding: fc.tuple(padding, padding),
  type: fc.constantFrom<FloatDType>('float32', 'float64'),
  x: layout,
  w: layout,
  g: layout,
  seed: fc.nat(1e6),
});

afterEach(() => setConvAlgorithm('auto'));

describe('against the reference, within 2e-5·√terms (float32) and 5e-14·√terms (float64)', () => {
  test('any size, padding and layout', () => {
    fc.assert(fc.property(anyCase, check), RUNS);
  });

  test.for<Sizes>([
    [3, 16, 16, 24, 24],
    [2, 17, 33, 7, 70],
    [1, 4, 5, 4, 133, 2],
    [9, 20, 80, 7, 6],
    [4, 130, 20, 8, 8],
    [2, 20, 131, 8, 8],
    [70, 5, 6, 4, 4],
    [1, 8, 8, 64, 9, 0],
  ])('blocks of whole rows, of parts of rows, and of groups of channels: N, C, O, height, width = %i, %i, %i, %i, %i', (sizes) => {
    for (const type of ['float32', 'float64'] as const) check(fixed(sizes, type));
    expect(differ(fixed(sizes))).toEqual([true, true, true]);
  });
});

test('gradients are the adjoints: ⟨x ⋆ w, g⟩ = ⟨x, gradX⟩ = ⟨w, gradW⟩, float64 within 1e-9', () => {
  const dot = (a: View, b: View): number => {
    const other = read(b);
    return read(a).reduce((sum, v, i) => sum + v * other[i]!, 0);
  };
  fc.assert(
    fc.property(anyCase, (c) => {
      freed(() => {
        const { x, w, g, p } = operands({ ...c, type: 'float64' });
        const value = dot(
          written(g.shape, 'float64', (y) => wasm.conv2d(x, w, y, p)),
          g,
        );
        expect(
          Math.abs(
            dot(
              written(x.shape, 'float64', (y) => wasm.conv2dGradX(g, w, y, p)),
              x,
            ) - value,
          ),
        ).toBeLessThan(1e-9);
        expect(
          Math.abs(
            dot(
              written(w.shape, 'float64', (y) => wasm.conv2dGradW(g, x, y, p)),
              w,
            ) - value,
          ),
        ).toBeLessThan(1e-9);
      });
    }),
    RUNS,
  );
});

test('a weight gradient that would be 1 or 3 chunks is several chunks of half the channels, with the same bits', () => {
  const chunks: number[] = [];
  const run = vi.spyOn(Pool.prototype, 'run').mockImplementation((name, _, kernel, count) => {
    if (name.startsWith('winogradGradW_')) chunks.push(count);
    kernel(ARGS, 0, count);
  });
  const threads = getNumThreads();
  setNumThreads(2);
  try {
    for (const [type, N, C, O, few] of [
      ['float32', 16, 64, 64, 56],
      ['float32', 3, 80, 96, 40],
      ['float64', 4, 32, 48, 24],
      ['float32', 48, 64, 64, 56],
    ] as const) {
      freed(() => {
        const { x, g, p } = operands(fixed([N, C, O, 8, 8], type));
        const all = written([O, C, 3, 3], type, (y) => wasm.conv2dGradW(g, x, y, p));
        // The gradient of a few output channels is not divided.
        const part = written([few, C, 3, 3], type, (y) => wasm.conv2dGradW(restride(g, [N, few, 8, 8], g.strides), x, y, p));
        expect(read(restride(all, [few, C, 3, 3], all.strides))).toEqual(read(part));
      });
    }
    expect(chunks).toEqual([4, 6, 6, 6, 3]);
  } finally {
    setNumThreads(threads);
    run.mockRestore();
  }
});

describe('which algorithm', () => {
  test.for<readonly [Sizes, boolean]>([
    [[1, 4, 4, 8, 8], true],
    [[1, 3, 16, 32, 32], false],
    [[1, 16, 3, 32, 32], false],
    [[2, 4, 4, 4, 4], false],
    [[3, 4, 4, 4, 4], true],
    [[1, 4, 4, 9, 9], false],
    [[2, 4, 4, 9, 9], true],
    [[2, 4, 4, 6, 6], false],
    [[3, 4, 4, 6, 6], true],
    [[8, 8, 8, 5, 5], false],
    [[40, 8, 8, 3, 3], false],
  ])('N, C, O, height, width = %j: Winograd is %s', ([sizes, winograd]) => {
    expect(differ(fixed(sizes))).toEqual([winograd, winograd, winograd]);
  });

  test('stride 2, dilation 2, groups, 1×1 and 5×5 are direct', () => {
    freed(() => {
      const x = view([4, 16, 16, 16], 'float32', 'channels-last', numbers(16384, 1));
      const bits = (K: number, p: Partial<ConvParams>, algorithm: ConvAlgorithm): number[] => {
        const { stride = [1, 1], dilation = [1, 1], groups = 1 } = p;
        const w = view([16, 16 / groups, K, K], 'float32', 'row-major', numbers((256 / groups) * K * K, 2));
        const side = Math.floor((16 + 2 * 2 - dilation[0] * (K - 1) - 1) / stride[0]) + 1;
        const run = (y: View): void => wasm.conv2d(x, w, y, { stride, padding: [2, 2], dilation, groups });
        return read(written([4, 16, side, side], 'float32', run, algorithm));
      };
      const two = [2, 2] as const;
      for (const [K, p] of [
        [3, { stride: two }],
        [3, { dilation: two }],
        [3, { groups: 2 }],
        [1, {}],
        [5, {}],
      ] as const) {
        expect(difference(bits(K, p, 'auto'), bits(K, p, 'direct'), 0)).toBeNull();
      }
      expect(difference(bits(3, {}, 'auto'), bits(3, {}, 'direct'), 0)).not.toBeNull();
    });
  });

  test('an unknown name is rejected and changes nothing', () => {
    const before = differ(fixed([1, 8, 8, 8, 8]));
    expect(() => setConvAlgorithm('fft' as ConvAlgorithm)).toThrow(
      new ArgumentError(`setConvAlgorithm: expected 'auto' or 'direct', got 'fft'`),
    );
    expect(before).toEqual([true, true, true]);
    expect(differ(fixed([1, 8, 8, 8, 8]))).toEqual(before);
  });
});

describe('precision', () => {
  /** Returns the root mean squares of a direction's float32 errors and of its results, and the largest of both. */
  function errors(sizes: Sizes, direction: number, algorithm: ConvAlgorithm): Record<'rms' | 'max' | 'rmsResult' | 'maxResult', number> {
    return freed(() => {
      const result = (type: FloatDType, a: ConvAlgorithm): number[] => {
        // The operands are rounded to float32 in both runs, so that only the arithmetic differs.
        const { x, w, g, p } = operands(fixed(sizes));
        const [X, W, G] = [x, w, g].map((v) => view(v.shape, type, v === w ? 'row-major' : 'channels-last', read(v))) as [View, View, View];
        const runs = [
          [g, (y: View) => wasm.conv2d(X, W, y, p)],
          [x, (y: View) => wasm.conv2dGradX(G, W, y, p)],
          [w, (y: View) => wasm.conv2dGradW(G, X, y, p)],
        ] as const;
        const [like, run] = runs[direction]!;
        return read(written(like.shape, type, run, a));
      };
      const want = result('float64', 'direct');
      const off = result('float32', algorithm).map((v, i) => v - want[i]!);
      const rms = (values: number[]): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
      const max = (values: number[]): number => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      return { rms: rms(off), max: max(off), rmsResult: rms(want), maxResult: max(want) };
    });
  }

  // The weight gradient is not compared with the direct one, which sums in blocks and has an unusually small error.
  test.for<Sizes>([
    [8, 16, 16, 32, 32],
    [8, 32, 32, 16, 16],
    [8, 64, 64, 8, 8],
  ])('float32, N, C, O, height, width = %i, %i, %i, %i, %i: RMS < 3.2 × direct, < 1.2e-6 × RMS, largest < 3e-6 × largest', (sizes) => {
    for (const direction of [0, 1, 2]) {
      const tiles = errors(sizes, direction, 'auto');
      if (direction < 2) expect(tiles.rms / errors(sizes, direction, 'direct').rms).toBeLessThan(3.2);
      expect(tiles.rms / tiles.rmsResult).toBeLessThan(1.2e-6);
      expect(tiles.max / tiles.maxResult).toBeLessThan(3e-6);
    }
  });

  test('NaN and infinity spread over the tiles that read them and no further', () => {
    freed(() => {
      const c = fixed([1, 8, 8, 24, 24]);
      const { x, w, p } = operands(c);
      const y = (): number[] => read(written([1, 8, 24, 24], 'float32', (out) => wasm.conv2d(x, w, out, p)));
      const clean = y();
      const values = read(x);
      values[10 * 24 + 13] = NaN;
      const dirty = view([1, 8, 24, 24], 'float32', 'channels-last', values);
      const got = read(written([1, 8, 24, 24], 'float32', (out) => wasm.conv2d(dirty, w, out, p)));
      const hit = got.map((v, i) => (Number.isNaN(v) ? i % 576 : -1)).filter((i) => i >= 0);
      const rows = hit.map((i) => Math.floor(i / 24));
      const columns = hit.map((i) => i % 24);
      // Input (10, 13) is read only by the tiles of rows 8 … 11 and columns 12 … 15.
      expect([Math.min(...rows), Math.max(...rows), Math.min(...columns), Math.max(...columns)]).toEqual([8, 11, 12, 15]);
      got.forEach((v, i) => Number.isNaN(v) || expect(v).toBe(clean[i]));
    });
  });
});

describe('through autograd', () => {
  const input = (shape: Shape, seed: number): Tensor =>
    tensor(Float64Array.from(numbers(sizeOf(shape), seed)), { shape, dtype: 'float64', requiresGrad: true });

  test('first and second gradients in float64', () => {
    const conv = (x: Tensor, w: Tensor): Tensor => F.conv2d(x, w, null, { padding: 1 });
    const [x, w] = [input([1, 4, 8, 7], 1), input([4, 4, 3, 3], 2)];
    expect(gradcheck(conv, [x, w]).ok).toBe(true);
    expect(gradgradcheck(conv, [input([1, 4, 7, 7], 3), w]).ok).toBe(true);
  });
});

test('workspaces are released', () => {
  freed(() => {
    const { x, w, g, p } = operands(fixed([2, 8, 8, 8, 8]));
    const outputs = [
      view(g.shape, 'float32', 'channels-last'),
      view(x.shape, 'float32', 'channels-last'),
      view(w.shape, 'float32'),
    ] as const;
    const { bytes } = memoryUse();
    wasm.conv2d(x, w, outputs[0], p);
    wasm.conv2dGradX(g, w, outputs[1], p);
    wasm.conv2dGradW(g, x, outputs[2], p);
    expect(memoryUse().bytes).toBe(bytes);
  });
});
