import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FloatDType } from '../../src/core/dtype.ts';
import { rowMajorStrides, sizeOf, type Shape } from '../../src/core/shape.ts';
import { setConvAlgorithm } from '../../src/kernels/conv-algorithm.ts';
import type { ConvParams } from '../../src/kernels/interface.ts';
import { memoryUse } from '../../src/kernels/memory/allocator.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import { restride, type View } from '../../src/kernels/view.ts';
import { productKernels as wasm } from '../../src/kernels/wasm/matmul.ts';
import { difference, freed, LAYOUTS, numbers, raw, read, runs, view, type Layout } from './layouts.ts';

// Compares the WebAssembly kernels with the reference, on operands of every layout. Whole storages are compared, which shows writes
// outside an output's elements too. Convolutions are direct here; winograd.test.ts has the others.

beforeAll(() => setConvAlgorithm('direct'));
afterAll(() => setConvAlgorithm('auto'));

const SEED = 20261124;
const RUNS = { seed: SEED, numRuns: runs(200) };
/** Tolerances for standard normal operands; the reference sums in float64. */
const TOLERANCE: Record<FloatDType, number> = { float32: 4e-5, float64: 1e-12 };
const within = 'within 4e-5 (float32) and 1e-12 (float64)';
const layout = fc.constantFrom<Layout>(...LAYOUTS);
const dtype = fc.constantFrom<FloatDType>('float32', 'float64');

function normal(shape: Shape, type: FloatDType, layout: Layout, seed: number): View {
  return view(shape, type, layout, numbers(sizeOf(shape), seed));
}

/** Runs a kernel of both implementations, and returns the first difference between the storages that they write. */
function compare(shape: Shape, type: FloatDType, layout: Layout, run: (kernels: typeof wasm, y: View) => void): string | null {
  const got = view(shape, type, layout);
  const want = view(shape, type, layout);
  run(wasm, got);
  run(reference, want);
  return difference(raw(got), raw(want), TOLERANCE[type]);
}

describe('matmul', () => {
  const side = fc.oneof(fc.nat(20), fc.nat(67));

  type Sides = readonly [M: number, K: number, N: number];

  function check(lead: Shape, [M, K, N]: Sides, type: FloatDType, layouts: readonly [Layout, Layout], seed: number, broadcast = 0): void {
    freed(() => {
      // An operand has stride 0 along a broadcast batch dim.
      const operand = (shape: Shape, layout: Layout, bits: number, s: number): View => {
        const v = normal([...lead.map((n, d) => ((bits >> d) & 1 ? 1 : n)), ...shape], type, layout, s);
        return restride(
          v,
          [...lead, ...shape],
          v.strides.map((stride, d) => (d < lead.length && (bits >> d) & 1 ? 0 : stride)),
        );
      };
      const a = operand([M, K], layouts[0], broadcast & 3, seed);
      const b = operand([K, N], layouts[1], broadcast >> 2, seed + 1);
      expect(compare([...lead, M, N], type, 'row-major', (k, y) => k.matmul(a, b, y))).toBeNull();
    });
  }

  test(`any shape and layout, ${within}`, () => {
    fc.assert(
      fc.property(fc.tuple(side, side, side), dtype, layout, layout, fc.nat(1e6), (sides, type, la, lb, seed) =>
        check([], sides, type, [la, lb], seed),
      ),
      RUNS,
    );
  });

  test(`batches, some of them broadcast, ${within}`, () => {
    const lead = fc.array(fc.nat(3), { minLength: 1, maxLength: 2 });
    const small = fc.nat(19);
    const sides = fc.tuple(small, small, small);
    fc.assert(
      fc.property(lead, sides, dtype, layout, layout, fc.nat(1e6), fc.nat(15), (B, MKN, type, la, lb, seed, bits) =>
        check(B, MKN, type, [la, lb], seed, bits),
      ),
      RUNS,
    );
  });

  test(`matrices and vectors, ${within}`, () => {
    const one = fc.constant(1);
    const vectors = fc.oneof(fc.tuple(one, side, fc.nat(150)), fc.tuple(fc.nat(150), side, one));
    fc.assert(
      fc.property(vectors, dtype, layout, layout, fc.nat(1e6), fc.nat(15), (sides, type, la, lb, seed, bits) =>
        check([2], sides, type, [la, lb], seed, bits),
      ),
      RUNS,
    );
  });

  test.for([
    [1, 1, 1],
    [1, 1000, 10],
    [64, 1024, 10],
    [4, 64, 16],
    [130, 300, 270],
    [129, 513, 17],
    [1, 300, 600],
    [600, 300, 1],
  ] as const)(`blocks and skinny cases: M, K, N = %i, %i, %i, ${within}`, (sides) => {
    for (const type of ['float32', 'float64'] as const) {
      for (const l of ['row-major', 'permuted'] as const) check([], sides, type, [l, l], 3);
    }
  });
});

/** Kernel, stride, padding, dilation along one axis, and the image's size. */
const axis = fc.record({
  size: fc.integer({ min: 1, max: 9 }),
  kernel: fc.integer({ min: 1, max: 4 }),
  stride: fc.integer({ min: 1, max: 3 }),
  padding: fc.nat(2),
  dilation: fc.integer({ min: 1, max: 2 }),
});
type Axis = { size: number; kernel: number; stride: number; padding: number; dilation: number };

const outputSize = (a: Axis): number => Math.max(0, Math.floor((a.size + 2 * a.padding - a.dilation * (a.kernel - 1) - 1) / a.stride) + 1);

interface Case {
  N: number;
  groups: number;
  C: number;
  O: number;
  v: Axis;
  h: Axis;
  type: FloatDType;
  x: Layout;
  w: Layout;
  g: Layout;
  seed: number;
}

/** C and O are the channels of one group. */
const anyConv = (groups: fc.Arbitrary<number>, C: fc.Arbitrary<number>, O: fc.Arbitrary<number>): fc.Arbitrary<Case> =>
  fc.record({ N: fc.nat(3), groups, C, O, v: axis, h: axis, type: dtype, x: layout, w: layout, g: layout, seed: fc.nat(1e6) });

function shapes(c: Case): { x: number[]; w: number[]; y: number[]; p: ConvParams } {
  return {
    x: [c.N, c.groups * c.C, c.v.size, c.h.size],
    w: [c.groups * c.O, c.C, c.v.kernel, c.h.kernel],
    y: [c.N, c.groups * c.O, outputSize(c.v), outputSize(c.h)],
    p: { stride: [c.v.stride, c.h.stride], padding: [c.v.padding, c.h.padding], dilation: [c.v.dilation, c.h.dilation], groups: c.groups },
  };
}

function checkConv(c: Case): void {
  freed(() => {
    const s = shapes(c);
    const x = normal(s.x, c.type, c.x, c.seed);
    const w = normal(s.w, c.type, c.w, c.seed + 1);
    const g = normal(s.y, c.type, c.g, c.seed + 2);
    expect(compare(s.y, c.type, 'channels-last', (k, y) => k.conv2d(x, w, y, s.p))).toBeNull();
    expect(compare(s.x, c.type, 'channels-last', (k, dx) => k.conv2dGradX(g, w, dx, s.p))).toBeNull();
    expect(compare(s.w, c.type, 'row-major', (k, dw) => k.conv2dGradW(g, x, dw, s.p))).toBeNull();
  });
}

const one = fc.constant(1);
const channels = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 20 }));
const FAMILIES: Record<string, fc.Arbitrary<Case>> = {
  dense: anyConv(one, channels, channels),
  grouped: anyConv(fc.integer({ min: 2, max: 4 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
  depthwise: anyConv(fc.integer({ min: 1, max: 37 }), one, one),
};

describe.for(Object.entries(FAMILIES))('conv2d, %s', ([, family]) => {
  test(`value and both gradients, ${within}`, () => {
    fc.assert(fc.property(family, checkConv), RUNS);
  });

  test('gradients are the adjoints: ⟨x ⋆ w, g⟩ = ⟨x, gradX⟩ = ⟨w, gradW⟩, float64 within 1e-10', () => {
    fc.assert(
      fc.property(family, (c) => {
        freed(() => {
          const s = shapes(c);
          const x = normal(s.x, 'float64', c.x, c.seed);
          const w = normal(s.w, 'float64', c.w, c.seed + 1);
          const g = normal(s.y, 'float64', c.g, c.seed + 2);
          const y = view(s.y, 'float64', 'channels-last');
          const dx = view(s.x, 'float64', 'channels-last');
          const dw = view(s.w, 'float64');
          wasm.conv2d(x, w, y, s.p);
          wasm.conv2dGradX(g, w, dx, s.p);
          wasm.conv2dGradW(g, x, dw, s.p);
          const value = dot(y, g);
          expect(Math.abs(dot(x, dx) - value)).toBeLessThan(1e-10);
          expect(Math.abs(dot(w, dw) - value)).toBeLessThan(1e-10);
        });
      }),
      RUNS,
    );
  });
});

function dot(a: View, b: View): number {
  const other = read(b);
  return read(a).reduce((sum, v, i) => sum + v * other[i]!, 0);
}

describe('conv2d', () => {
  type Sizes = readonly [N: number, C: number, O: number, side: number, kernel: number, stride?: number, groups?: number];
  const fixed = ([N, C, O, size, kernel, stride = 1, groups = 1]: Sizes): Case => {
    const axis = { size, kernel, stride, padding: kernel >> 1, dilation: 1 };
    return { N, groups, C, O, v: axis, h: axis, type: 'float32', x: 'channels-last', w: 'row-major', g: 'channels-last', seed: 5 };
  };

  test.for<Sizes>([
    [5, 3, 16, 32, 3],
    [4, 16, 32, 16, 3],
    [3, 32, 64, 8, 3],
    [2, 64, 64, 8, 3, 2],
    [2, 40, 33, 9, 1],
    [33, 2, 3, 7, 5],
    [2, 8, 2, 9, 3, 2],
    [2, 12, 1, 11, 5],
    [3, 16, 16, 25, 3, 1, 2],
    [2, 12, 20, 33, 5, 2, 3],
    [3, 20, 70, 27, 3, 2],
    [40, 12, 35, 6, 3, 3],
  ])('many chunks, passes and parts: N, C, O, side, kernel = %i, %i, %i, %i, %i, within 4e-5', (sizes) => {
    checkConv(fixed(sizes));
  });

  test.for([
    [0, 1, 0, 0],
    [0, 0, 0, 0],
    [1, 0, 0, 0],
  ] as const)(`expanded operands, strides %i, %i, %i, %i, ${within}`, (strides) => {
    freed(() => {
      for (const groups of [1, 2, 8]) {
        const shape = [3, 8, 5, 6];
        const x = restride(normal([8, 1, 1, 1], 'float32', 'row-major', 1), shape, strides);
        const w = normal([8, 8 / groups, 3, 3], 'float32', 'row-major', 2);
        const p = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups } as const;
        expect(compare(shape, 'float32', 'channels-last', (k, y) => k.conv2d(x, w, y, p))).toBeNull();
        expect(compare(shape, 'float32', 'channels-last', (k, dx) => k.conv2dGradX(x, w, dx, p))).toBeNull();
        expect(compare(w.shape, 'float32', 'row-major', (k, dw) => k.conv2dGradW(x, x, dw, p))).toBeNull();
      }
    });
  });

  test('a float32 weight gradient of 32,768 standard normal terms has an error below 1e-4', () => {
    freed(() => {
      const results = (['float32', 'float64'] as const).map((type) => {
        // The operands are rounded to float32 in both runs, so that only the sums differ.
        const image = (seed: number): View => view([32, 2, 32, 32], type, 'channels-last', numbers(65536, seed).map(Math.fround));
        const dw = view([2, 2, 1, 1], type);
        wasm.conv2dGradW(image(1), image(2), dw, { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 });
        return read(dw);
      });
      expect(difference(results[0]!, results[1]!, 1e-4, 0)).toBeNull();
    });
  });

  test('a 1×1 kernel is bitwise identical to a matrix product', () => {
    freed(() => {
      const x = normal([3, 17, 4, 5], 'float32', 'channels-last', 1);
      const w = normal([21, 17, 1, 1], 'float32', 'row-major', 2);
      const y = view([3, 21, 4, 5], 'float32', 'channels-last');
      wasm.conv2d(x, w, y, { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 });
      const rows = view([60, 21], 'float32');
      wasm.matmul(restride(x, [60, 17], [17, 1]), restride(w, [17, 21], [1, 17]), rows);
      expect(read(restride(y, [60, 21], rowMajorStrides([60, 21])))).toEqual(read(rows));
    });
  });

  test('workspaces are released', () => {
    freed(() => {
      const s = shapes(fixed([2, 3, 5, 6, 3, 2, 2]));
      const x = normal(s.x, 'float32', 'row-major', 1);
      const w = normal(s.w, 'float32', 'row-major', 2);
      const g = normal(s.y, 'float32', 'row-major', 3);
      const dx = view(s.x, 'float32', 'channels-last');
      const { bytes } = memoryUse();
      wasm.conv2dGradX(g, w, dx, s.p);
      wasm.conv2d(x, w, view(s.y, 'float32', 'channels-last'), s.p);
      wasm.conv2dGradW(g, x, view(s.w, 'float32'), s.p);
      wasm.matmul(restride(w, [10, 27], [27, 1]), restride(w, [27, 10], [1, 27]), view([10, 10], 'float32'));
      const outputs = sizeOf(s.y) + sizeOf(s.w) + 100;
      expect(memoryUse().bytes - bytes).toBe((2 * outputs + 9) * 4);
    });
  });
});
