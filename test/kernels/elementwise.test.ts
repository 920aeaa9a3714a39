import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ITEM_SIZE, type DType } from '../../src/core/dtype.ts';
import { Random } from '../../src/core/random.ts';
import { channelsLastStrides, sizeOf, stridesInOrder, type Shape } from '../../src/core/shape.ts';
import type { BinaryOp, CompareOp, ReduceOp, UnaryOp } from '../../src/kernels/interface.ts';
import { allocate } from '../../src/kernels/memory/allocator.ts';
import { elementView } from '../../src/kernels/memory/wasm-memory.ts';
import { reference } from '../../src/kernels/reference/index.ts';
import { restride, type View } from '../../src/kernels/view.ts';
import { wasm as fast } from '../../src/kernels/wasm/index.ts';
import { difference, freed, raw, read, runs, view } from './layouts.ts';

type Implementation = typeof fast;

const FLOATS = ['float32', 'float64'] as const;
const NUMBERS = ['float32', 'float64', 'int32'] as const;
const ALL = ['float32', 'float64', 'int32', 'bool'] as const;

/** Tolerances for equality in all but the sign of zero, which the reference implementation leaves open. */
const SAME = [Number.MIN_VALUE, 0] as const;

/** Draws values that kernels may treat differently: special values, subnormals, ties of rounding, all magnitudes. */
function sample(random: Random, dtype: DType): number {
  if (dtype === 'bool') return random.integer(2);
  if (dtype === 'int32') return random.integer(4) === 0 ? (random.integer(2) ? 2 ** 31 - 1 : -(2 ** 31)) : random.integer(41) - 20;
  switch (random.integer(12)) {
    case 0:
      return [NaN, Infinity, -Infinity, 0, -0][random.integer(5)]!;
    case 1:
      return [1e-40, -1e-40, 5e-324, 3e38, -3e38, 1e300][random.integer(6)]!;
    case 2:
      return random.integer(9) / 2 - 2;
    case 3:
      return random.normal() * 100;
    case 4:
      return random.normal() * 1e-3;
    default:
      return random.normal();
  }
}

type Draw = (random: Random, dtype: DType) => number;

const pools = new Map<Draw, Map<DType, number[]>>();

/** Returns 1,009 values, drawn once per dtype, as drawing takes longer than the kernels. */
function poolOf(draw: Draw, dtype: DType): number[] {
  const byType = pools.get(draw) ?? new Map<DType, number[]>();
  pools.set(draw, byType);
  const random = new Random(9);
  const pool = byType.get(dtype) ?? Array.from({ length: 1009 }, () => draw(random, dtype));
  byType.set(dtype, pool);
  return pool;
}

/** Makes a view of random values in a random layout: permuted dims, every second element, an odd offset, broadcast dims. */
function randomView(random: Random, shape: Shape, dtype: DType, broadcasts = true, draw: Draw = sample): View {
  const own = shape.map((n) => (broadcasts && random.integer(4) === 0 ? Math.min(n, 1) : n));
  const step = random.integer(3) === 0 ? 2 : 1;
  const order = random.integer(2) ? [...random.permutation(shape.length)] : shape.map((_, d) => d);
  const room = sizeOf(own) * step + 3;
  const pool = poolOf(draw, dtype);
  const from = random.integer(pool.length);
  const storage = allocate(room * ITEM_SIZE[dtype]);
  const elements = elementView(storage.ptr, dtype, room);
  for (let i = 0; i < room; i++) elements[i] = pool[(from + i) % pool.length]!;
  const strides = stridesInOrder(own, order).map((s, d) => (own[d] === shape[d] ? s * step : 0));
  return { storage, offset: random.integer(3), shape, strides, dtype };
}

/** Makes two outputs of equal contents in the same random layout. */
function outputs(random: Random, shape: Shape, dtype: DType): [View, View] {
  const y = randomView(random, shape, dtype, false);
  const expected = { ...y, storage: allocate(y.storage.bytes) };
  elementView(expected.storage.ptr, dtype, raw(y).length).set(raw(y));
  return [y, expected];
}

/** Runs both implementations and compares the whole storages of their outputs, which shows writes outside an output too. */
function agree(
  seed: number,
  shape: Shape,
  dtype: DType,
  run: (k: Implementation, y: View) => void,
  [atol, rtol]: readonly [number, number] = SAME,
): void {
  const [y, expected] = outputs(new Random(seed, 1), shape, dtype);
  run(fast, y);
  run(reference, expected);
  const found = difference(raw(y), raw(expected), atol, rtol);
  if (found !== null) expect.fail(found); // calling `expect` in every case would take most of the time
}

const shapes = fc.array(fc.oneof(fc.integer({ min: 0, max: 7 }), fc.constantFrom(1, 16, 19)), { maxLength: 4 });
const bigShapes = fc.constantFrom<Shape>([17000], [2, 17000], [300, 70], [2, 17, 9, 31], [30, 33, 20]);
const seeds = fc.integer({ min: 0, max: 1e6 });

type Check = (seed: number, shape: Shape, random: Random) => void;

/** Checks random cases with a fixed seed, and two with more than one chunk. */
function forRandom(check: Check): void {
  const once = (seed: number, shape: Shape) => freed(() => check(seed, shape, new Random(seed)));
  fc.assert(fc.property(seeds, shapes, once), { seed: 1, numRuns: runs(25) });
  fc.assert(fc.property(seeds, bigShapes, once), { seed: 1, numRuns: 2 });
}

/** Checks vectors of 0 … 67 elements, which have every possible remainder of every SIMD width. */
function forLengths(check: Check): void {
  for (let n = 0; n <= 67; n++) freed(() => check(n, [n], new Random(n)));
}

describe('unary', () => {
  const exact: UnaryOp[] = ['neg', 'abs', 'sign', 'square', 'reciprocal', 'sqrt', 'relu', 'floor', 'ceil', 'round'];
  const near: UnaryOp[] = ['exp', 'expm1', 'log', 'log1p', 'sin', 'cos', 'tanh', 'sigmoid', 'erf'];
  const integer: UnaryOp[] = ['neg', 'abs', 'sign', 'square', 'relu'];

  const check = (op: UnaryOp, dtype: DType, tolerance?: readonly [number, number]) => {
    const one = (seed: number, shape: Shape, random: Random) => {
      const x = randomView(random, shape, dtype);
      agree(seed, shape, dtype, (k, y) => k.unary(op, x, y), tolerance);
    };
    forLengths(one);
    forRandom(one);
  };

  test.each(exact)('%s of floats equals the reference', (op) => FLOATS.forEach((dtype) => check(op, dtype)));
  test.each(integer)('%s of int32 equals the reference', (op) => check(op, 'int32'));
  test.each(near)('%s: float32 within 3e-7 (results below 1.2e-38 may be 0), float64 within 1.5e-15', (op) => {
    check(op, 'float32', [1.2e-38, 3e-7]);
    check(op, 'float64', [1e-307, 1.5e-15]);
  });

  const sweep = (op: UnaryOp, from: number, to: number): number => {
    const n = 200_000;
    const x = view(
      [n],
      'float32',
      'row-major',
      Array.from({ length: n }, (_, i) => Math.fround(from + ((to - from) * i) / n)),
    );
    const [y, want] = [view([n], 'float32'), view([n], 'float64')];
    const x64 = view([n], 'float64', 'row-major', read(x));
    fast.unary(op, x, y);
    reference.unary(op, x64, want);
    const truth = read(want);
    return read(y).reduce((worst, v, i) => Math.max(worst, truth[i] === 0 ? Math.abs(v) : Math.abs(v / truth[i]! - 1)), 0);
  };
  test('exp, sigmoid and tanh of float32 have relative errors below 2e-7, 2.5e-7 and 2.5e-7', () => {
    expect(sweep('exp', -87, 88.7)).toBeLessThan(2e-7);
    expect(sweep('sigmoid', -87, 88)).toBeLessThan(2.5e-7);
    expect(sweep('tanh', -10, 10)).toBeLessThan(2.5e-7);
    expect(sweep('tanh', -1e-6, 1e-6)).toBeLessThan(2.5e-7);
  });

  test.each(['exp', 'sigmoid', 'tanh', 'relu'] as const)('%s of float32 is bitwise identical in any layout', (op) => {
    const values = Array.from({ length: 41 }, (_, i) => (i - 20) * 0.77);
    const [y, ys] = [view([41], 'float32'), view([41], 'float32', 'sliced')];
    fast.unary(op, view([41], 'float32', 'row-major', values), y);
    fast.unary(op, view([41], 'float32', 'sliced', values), ys);
    expect(read(ys)).toEqual(read(y));
  });
});

describe('binary', () => {
  const exact: BinaryOp[] = ['add', 'sub', 'mul', 'div', 'maximum', 'minimum'];
  const check = (op: BinaryOp, dtype: DType, tolerance?: readonly [number, number]) => {
    const one = (seed: number, shape: Shape, random: Random) => {
      const [a, b] = [randomView(random, shape, dtype), randomView(random, shape, dtype)];
      agree(seed, shape, dtype, (k, y) => k.binary(op, a, b, y), tolerance);
    };
    forLengths(one);
    forRandom(one);
  };

  test.each(exact)('%s equals the reference', (op) =>
    NUMBERS.forEach((dtype) => (op === 'div' && dtype === 'int32' ? null : check(op, dtype))),
  );
  test('pow: float32 within 1e-7, float64 within 1e-15', () => {
    check('pow', 'float32', [1e-44, 1e-7]);
    check('pow', 'float64', [1e-320, 1e-15]);
  });

  test.each(['reluGrad', 'sigmoidGrad', 'tanhGrad'] as const)('%s: float32 within 4e-7, float64 within 1e-15', (op) => {
    // The possible outputs of such an operation: −1 … 1, or NaN.
    const draw = (random: Random): number => [NaN, 0, -0, 1, -1][random.integer(30)] ?? random.normal() / 4;
    for (const dtype of FLOATS) {
      forRandom((seed, shape, random) => {
        const [g, y] = [randomView(random, shape, dtype), randomView(random, shape, dtype, true, draw)];
        agree(
          seed,
          shape,
          dtype,
          (k, dx) => k.binary(op, g, y, dx),
          op === 'reluGrad' ? SAME : [1e-37, dtype === 'float32' ? 4e-7 : 1e-15],
        );
      });
    }
  });

  test.each([2, 3, 0.5, -1, 1, 0, -2.5])('pow by the broadcast number %d: within 3e-16, float32 rounded once', (e) => {
    for (const dtype of FLOATS) {
      const exponent = restride(view([1], dtype, 'row-major', [e]), [67], [0]);
      for (let seed = 0; seed < 10; seed++) {
        const x = randomView(new Random(seed), [67], dtype, false);
        agree(seed, [67], dtype, (k, y) => k.binary('pow', x, exponent, y), [1e-44, dtype === 'float32' ? 0 : 3e-16]);
      }
    }
  });

  test('a vector per channel over channels-last images equals the reference', () => {
    for (const dtype of NUMBERS) {
      for (const [C, N] of [
        [1, 2],
        [3, 2],
        [16, 90],
        [17, 2],
        [24, 3],
        [32, 7],
        [64, 20],
        [128, 3],
        [300, 1],
      ] as const) {
        const shape = [N, C, 5, 3];
        const images = () => restride(view([15 * N * C], dtype), shape, channelsLastStrides(shape));
        const [x, y, expected] = [images(), images(), images()];
        elementView(x.storage.ptr, dtype, 15 * N * C).forEach((_, i, all) => (all[i] = i));
        const v = restride(
          view(
            [C],
            dtype,
            'row-major',
            Array.from({ length: C }, (_, i) => 7 * i + 1),
          ),
          shape,
          [0, 1, 0, 0],
        );
        for (const [a, b] of [
          [x, v],
          [v, x],
        ] as const) {
          fast.binary('sub', a, b, y);
          reference.binary('sub', a, b, expected);
          expect(difference(raw(y), raw(expected), 0)).toBeNull();
        }
      }
    }
  });

  test('an output may be one of the inputs', () => {
    const a = view(
      [37],
      'float32',
      'row-major',
      Array.from({ length: 37 }, (_, i) => i),
    );
    fast.binary('add', a, a, a);
    expect(read(a)).toEqual(Array.from({ length: 37 }, (_, i) => 2 * i));
  });
});

describe('compare and where', () => {
  const ops: CompareOp[] = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'];
  test.each(ops)('%s equals the reference in every dtype', (op) => {
    for (const dtype of ALL) {
      const one = (seed: number, shape: Shape, random: Random) => {
        const [a, b] = [randomView(random, shape, dtype), randomView(random, shape, dtype)];
        agree(seed, shape, 'bool', (k, y) => k.compare(op, a, b, y));
      };
      forLengths(one);
      forRandom(one);
    }
  });

  test.each(ALL)('where of %s equals the reference', (dtype) => {
    const one = (seed: number, shape: Shape, random: Random) => {
      const c = randomView(random, shape, 'bool');
      const [a, b] = [randomView(random, shape, dtype), randomView(random, shape, dtype)];
      agree(seed, shape, dtype, (k, y) => k.where(c, a, b, y));
    };
    forLengths(one);
    forRandom(one);
  });
});

describe('fill and copy', () => {
  test.each(ALL)('fill of %s equals the reference', (dtype) => {
    const one = (seed: number, shape: Shape) =>
      [-2.75, seed % 2 ? NaN : 1e10].forEach((v) => agree(seed, shape, dtype, (k, y) => k.fill(v, y)));
    forLengths(one);
    forRandom(one);
  });

  const pairs = ALL.flatMap((from) => ALL.map((to) => [from, to] as const));
  test.each(pairs)('copy of %s to %s equals the reference', (from, to) => {
    const one = (seed: number, shape: Shape, random: Random) => {
      const x = randomView(random, shape, from);
      agree(seed, shape, to, (k, y) => k.copy(x, y));
    };
    forLengths(one);
    forRandom(one);
  });

  test.each(ALL)('long contiguous copies of %s equal the reference', (dtype) => {
    const random = new Random(2);
    const x = randomView(random, [5001], dtype, false);
    for (const [shape, strides] of [
      [[2000], [1]],
      [
        [3, 1501],
        [1600, 1],
      ],
    ] as const) {
      const [y, expected] = [view([5001], dtype), view([5001], dtype)];
      const from = restride(x, shape, strides, 1);
      fast.copy(from, restride(y, shape, strides, 1));
      reference.copy(from, restride(expected, shape, strides, 1));
      expect(difference(raw(y), raw(expected), 0)).toBeNull();
    }
  });

  test('bool views start at any byte', () => {
    const x = view(
      [100],
      'bool',
      'row-major',
      Array.from({ length: 100 }, (_, i) => i % 3 && 1),
    );
    for (let offset = 0; offset < 17; offset++) {
      const part = restride(x, [70], [1], offset);
      agree(offset, [70], 'float32', (k, y) => k.copy(part, y));
      agree(offset, [70], 'bool', (k, y) => k.compare('eq', part, restride(x, [70], [1]), y));
    }
  });

  test.each(ALL)('transposes of %s equal the reference', (dtype) => {
    for (const [shape, xOrder, yOrder] of [
      [
        [37, 18],
        [1, 0],
        [0, 1],
      ],
      [
        [4, 5],
        [1, 0],
        [0, 1],
      ],
      [
        [2, 3, 9, 7],
        [0, 1, 2, 3],
        [0, 2, 3, 1],
      ],
      [
        [2, 20, 5, 11],
        [0, 2, 3, 1],
        [0, 1, 2, 3],
      ],
      [
        [3, 33, 4, 35],
        [2, 3, 0, 1],
        [0, 1, 2, 3],
      ],
      [
        [64, 3, 34],
        [1, 2, 0],
        [2, 1, 0],
      ],
    ] as const) {
      const n = sizeOf(shape);
      const random = new Random(3);
      const x = restride(
        view(
          [n + 1],
          dtype,
          'row-major',
          Array.from({ length: n + 1 }, () => sample(random, dtype)),
        ),
        shape,
        stridesInOrder(shape, xOrder),
        1,
      );
      const [y, expected] = [view([n], dtype), view([n], dtype)];
      fast.copy(x, restride(y, shape, stridesInOrder(shape, yOrder)));
      reference.copy(x, restride(expected, shape, stridesInOrder(shape, yOrder)));
      expect(difference(raw(y), raw(expected), 0)).toBeNull();
    }
  });
});

describe('reduce', () => {
  const normal = (random: Random, dtype: DType) => (dtype === 'int32' ? random.integer(2001) - 1000 : random.normal());
  const factor = (random: Random, dtype: DType) => (dtype === 'int32' ? random.integer(5) - 2 : 1 + random.normal() / 50);

  const check = (op: ReduceOp, dtype: DType, draw: Draw, tolerance: readonly [number, number]) => {
    const one = (seed: number, shape: Shape, random: Random) => {
      const empty = shape.includes(0) && (op === 'amax' || op === 'amin');
      if (empty) return;
      const x = randomView(random, shape, dtype, true, draw);
      const reduced = shape.map((n) => (random.integer(2) ? 1 : n));
      agree(seed, reduced, dtype, (k, y) => k.reduce(op, x, y), tolerance);
    };
    for (let n = 0; n <= 67; n++) if (n > 0 || op === 'sum' || op === 'prod') one(n, [n], new Random(n, 3));
    forRandom(one);
  };

  test('sum of normal numbers: float32 within 3e-5 + 1e-6 relative, float64 within 1e-11', () => {
    check('sum', 'float32', normal, [3e-5, 1e-6]);
    check('sum', 'float64', normal, [1e-11, 1e-12]);
  });
  test('prod: float32 rounded once, float64 within 1e-11', () => {
    check('prod', 'float32', factor, [0, 1.2e-7]);
    check('prod', 'float64', factor, [0, 1e-11]);
  });
  test('sum and prod of int32 wrap as in the reference', () => {
    check('sum', 'int32', sample, SAME);
    check('prod', 'int32', factor, SAME);
  });
  test.each(['amax', 'amin'] as const)('%s equals the reference, NaN included', (op) => {
    for (const dtype of NUMBERS) check(op, dtype, sample, SAME);
    for (const dtype of FLOATS) check(op, dtype, normal, SAME);
  });
  test('a NaN or infinity anywhere reaches the sum', () => {
    for (let i = 0; i < 67; i++) {
      const y = view([1], 'float32');
      fast.reduce(
        'sum',
        view(
          [67],
          'float32',
          'row-major',
          Array.from({ length: 67 }, (_, j) => (i === j ? NaN : 1)),
        ),
        y,
      );
      expect(read(y)).toEqual([NaN]);
    }
  });

  const cases: [string, Shape, number[], Shape][] = [
    ['all of a vector', [100_003], [1], [1]],
    ['rows of a matrix', [70, 1300], [1300, 1], [70, 1]],
    ['few long rows', [3, 50_000], [50_000, 1], [3, 1]],
    ['columns of a matrix', [3000, 37], [37, 1], [1, 37]],
    ['many columns, few rows', [20, 5000], [5000, 1], [1, 5000]],
    ['many columns, many rows', [200, 5000], [5000, 1], [1, 5000]],
    ['N, H, W of channels-last', [4, 16, 40, 40], channelsLastStrides([4, 16, 40, 40]), [1, 16, 1, 1]],
    ['H, W of channels-last', [4, 19, 12, 13], channelsLastStrides([4, 19, 12, 13]), [4, 19, 1, 1]],
    ['N, H, W of row-major', [40, 6, 30, 30], [5400, 900, 30, 1], [1, 6, 1, 1]],
    ['N, W of channels-last', [30, 16, 9, 70], channelsLastStrides([30, 16, 9, 70]), [1, 16, 9, 1]],
    ['rows of every second column', [50, 700], [1400, 2], [50, 1]],
    ['columns of a transpose', [130, 900], [1, 130], [130, 1]],
    ['an expanded number', [100, 300], [0, 0], [1, 300]],
  ];
  test.each(cases)('sums of %s: int32 exact, float32 within 1e-6, float64 within 1e-13', (_, shape, strides, reduced) => {
    for (const dtype of NUMBERS) {
      const random = new Random(5);
      const room = 1 + shape.reduce((n, size, d) => n + (size - 1) * strides[d]!, 0);
      const values = Array.from({ length: room }, () => (dtype === 'int32' ? random.integer(1000) : random.uniform()));
      const x = restride(view([room], dtype, 'row-major', values), shape, strides);
      agree(1, reduced, dtype, (k, y) => k.reduce('sum', x, y), dtype === 'int32' ? SAME : [0, dtype === 'float32' ? 1e-6 : 1e-13]);
    }
  });

  test('a float32 sum of 3 million numbers is within 1.2e-7 of the float64 sum', () => {
    const n = 3_000_000;
    const x = view([n], 'float32');
    fast.uniform([1, 2], 3, x);
    const y = view([1], 'float32');
    fast.reduce('sum', x, y);
    const want = (elementView(x.storage.ptr, 'float32', n) as Float32Array).reduce((a, b) => a + b, 0);
    expect(Math.abs(read(y)[0]! / want - 1)).toBeLessThan(1.2e-7);
  });
});

describe('along a dim', () => {
  const shaped = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
  const forDims = (check: (seed: number, shape: Shape, dim: number, random: Random) => void) => {
    fc.assert(
      fc.property(seeds, shaped, (seed, shape) => {
        const random = new Random(seed);
        freed(() => check(seed, shape, random.integer(shape.length), random));
      }),
      { seed: 1, numRuns: runs(60) },
    );
    for (const [shape, dim] of [
      [[40_000], 0],
      [[20_000, 3], 0],
      [[20_000, 3], 1],
      [[2, 16, 1200], 2],
      [[0, 3], 1],
      [[], 0],
    ] as const) {
      freed(() => check(1, shape, dim, new Random(1)));
    }
  };
  const small = (random: Random, dtype: DType) =>
    dtype === 'bool' ? random.integer(2) : random.integer(40) === 0 && dtype !== 'int32' ? NaN : random.integer(9) - 4;

  test.each(['argmax', 'argmin'] as const)('%s equals the reference: the first of equals, the first NaN', (op) => {
    for (const dtype of ALL) {
      forDims((seed, shape, dim, random) => {
        const x = randomView(random, shape, dtype, true, small);
        agree(
          seed,
          shape.map((n, d) => (d === dim ? 1 : n)),
          'int32',
          (k, y) => k.argReduce(op, x, dim, y),
        );
      });
    }
  });

  test('cumsum equals the reference', () => {
    for (const dtype of NUMBERS) {
      forDims((seed, shape, dim, random) => {
        const x = randomView(random, shape, dtype);
        agree(seed, shape, dtype, (k, y) => k.cumsum(x, dim, y));
      });
    }
  });

  const draws = Array.from(
    { length: 10 },
    (_, size): Draw =>
      (random) =>
        random.integer(size),
  );
  /** Makes an index into `size` elements of a dim, in a random layout. */
  const indexView = (random: Random, shape: Shape, size: number) => randomView(random, shape, 'int32', true, draws[size]);

  test('gather equals the reference', () => {
    for (const dtype of ALL) {
      forDims((seed, shape, dim, random) => {
        const size = 1 + random.integer(9);
        const x = randomView(
          random,
          shape.map((n, d) => (d === dim ? size : n)),
          dtype,
        );
        const index = indexView(random, shape, size);
        agree(seed, shape, dtype, (k, y) => k.gather(x, dim, index, y));
      });
    }
  });

  test('scatterAdd is bitwise identical to the reference, as the order of additions is fixed', () => {
    for (const dtype of NUMBERS) {
      forDims((seed, shape, dim, random) => {
        const size = 1 + random.integer(9);
        const x = randomView(random, shape, dtype);
        const index = indexView(random, shape, size);
        agree(
          seed,
          shape.map((n, d) => (d === dim ? size : n)),
          dtype,
          (k, y) => k.scatterAdd(x, dim, index, y),
        );
      });
    }
  });
});

describe('uniform', () => {
  test.each(FLOATS)('%s numbers are bitwise identical to those of core/random', (dtype) => {
    for (const n of [...Array.from({ length: 68 }, (_, i) => i), 40_000]) {
      const [y, expected] = [view([n], dtype), view([n], dtype)];
      for (const [key, stream] of [
        [[0, 0], 0],
        [[-5, 2 ** 21 - 1], 7],
        [[123456789, 3], -2],
      ] as const) {
        fast.uniform(key, stream, y);
        reference.uniform(key, stream, expected);
        expect(difference(raw(y), raw(expected), 0)).toBeNull();
      }
    }
  });
});
