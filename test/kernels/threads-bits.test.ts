import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DType, FloatDType } from '../../src/core/dtype.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import type { BinaryOp, CompareOp, ConvParams, PoolParams, ReduceOp, UnaryOp } from '../../src/kernels/interface.ts';
import { kernelModule } from '../../src/kernels/wasm/module.ts';
import { readElements } from '../../src/kernels/memory/wasm-memory.ts';
import { Pool, poolFor, setNumThreads, tuning } from '../../src/kernels/threads/pool.ts';
import { materialize, restride, type View } from '../../src/kernels/view.ts';
import { wasm, wasmFused } from '../../src/kernels/wasm/index.ts';
import { started, workItemsDone } from '../support/workers.ts';
import { freed, numbers, raw, view, type Layout } from './layouts.ts';

// Every WebAssembly kernel, on a problem of several chunks, gives bitwise identical results on 1, 2, 3 and 7 threads.

const THREADS = [2, 3, 7];
const FLOATS = ['float32', 'float64'] as const;
const ALL = ['float32', 'float64', 'int32', 'bool'] as const;

/** Elements for three chunks of an elementwise kernel and a short fourth one. */
const N = 3 * 16384 + 5;

const drawn = new Map<string, number[]>();

const KIND = {
  float32: (v: number) => v,
  float64: (v: number) => v,
  int32: (v: number) => Math.round(3 * v),
  bool: (v: number) => Number(v > 0),
};

/** Makes a view of fixed random numbers of the dtype; those of int32 are small. */
function some(shape: Shape, dtype: DType, layout: Layout = 'row-major', seed = 1): View {
  const key = `${dtype} ${seed}`;
  const size = sizeOf(shape);
  let values = drawn.get(key);
  if (values === undefined || values.length < size) drawn.set(key, (values = numbers(Math.max(N, size), seed).map(KIND[dtype])));
  return view(shape, dtype, layout, values.length === size ? values : values.slice(0, size));
}

/** Makes an index of numbers from 0 to n − 1. */
function indices(shape: Shape, n: number): View {
  return view(
    shape,
    'int32',
    'row-major',
    Array.from({ length: sizeOf(shape) }, (_, i) => (i * 7) % n),
  );
}

type Case = readonly [name: string, run: () => View[]];

function writes(name: string, shape: Shape, dtype: DType, run: (y: View) => void, layout: Layout = 'row-major'): Case {
  return [
    name,
    () => {
      const y = view(shape, dtype, layout);
      run(y);
      return [y];
    },
  ];
}

const UNARY = 'neg abs sign square relu reciprocal sqrt exp expm1 log log1p sin cos tanh sigmoid erf floor ceil round'.split(
  ' ',
) as UnaryOp[];
const BINARY = 'add sub mul maximum minimum div pow reluGrad sigmoidGrad tanhGrad'.split(' ') as BinaryOp[];
const COMPARE = 'eq ne lt le gt ge'.split(' ') as CompareOp[];
const REDUCE = 'sum prod amax amin'.split(' ') as ReduceOp[];

function elementwise(): Case[] {
  return ALL.flatMap((t) => [
    writes(`fill ${t}`, [N], t, (y) => wasm.fill(1, y)),
    ...ALL.map((from) => writes(`copy ${from} ${t}`, [N], t, (y) => wasm.copy(some([N], from), y))),
    writes(`transpose ${t}`, [220, 230], t, (y) => wasm.copy(some([220, 230], t, 'permuted'), y)),
    ...(t === 'bool' ? [] : UNARY.slice(0, t === 'int32' ? 5 : undefined)).map((op) =>
      writes(`${op} ${t}`, [N], t, (y) => wasm.unary(op, some([N], t), y)),
    ),
    ...(t === 'bool' ? [] : BINARY.slice(0, t === 'int32' ? 5 : undefined)).map((op) =>
      writes(`${op} ${t}`, [N], t, (y) => wasm.binary(op, some([N], t), some([N], t, 'row-major', 2), y)),
    ),
    ...COMPARE.map((op) => writes(`${op} ${t}`, [N], 'bool', (y) => wasm.compare(op, some([N], t), some([N], t, 'row-major', 2), y))),
    writes(`where ${t}`, [N], t, (y) => wasm.where(some([N], 'bool'), some([N], t), some([N], t, 'row-major', 2), y)),
  ]);
}

function reductions(): Case[] {
  const ROWS = [1500, 40];
  return ALL.flatMap((t) => [
    ...(t === 'bool' ? [] : REDUCE).flatMap((op) => [
      writes(`${op} of all ${t}`, [1], t, (y) => wasm.reduce(op, some([N], t), y)),
      writes(`${op} of rows ${t}`, [1500, 1], t, (y) => wasm.reduce(op, some(ROWS, t), y)),
      writes(`${op} of columns ${t}`, [1, 1500], t, (y) => wasm.reduce(op, some([200, 1500], t), y)),
      writes(`${op} of long columns ${t}`, [1, 8], t, (y) => wasm.reduce(op, some([9000, 8], t), y)),
    ]),
    ...(['argmax', 'argmin'] as const).map((op) =>
      writes(`${op} ${t}`, [1500, 1], 'int32', (y) => wasm.argReduce(op, some(ROWS, t), 1, y)),
    ),
    writes(`gather ${t}`, ROWS, t, (y) => wasm.gather(some(ROWS, t), 1, indices(ROWS, 40), y)),
    ...(t === 'bool'
      ? []
      : [
          writes(`cumsum ${t}`, ROWS, t, (y) => wasm.cumsum(some(ROWS, t), 1, y)),
          writes(`scatterAdd ${t}`, ROWS, t, (y) => wasm.scatterAdd(some(ROWS, t), 1, indices(ROWS, 40), y)),
        ]),
  ]);
}

const conv = (groups = 1, stride = 1): ConvParams => ({ stride: [stride, stride], padding: [1, 1], dilation: [1, 1], groups });

function convolutions(t: FloatDType, label: string, C: number, O: number, p: ConvParams, side = 12): Case[] {
  const out = Math.floor((side - 1) / p.stride[0]) + 1;
  const [xs, ws, ys] = [
    [5, C, side, side],
    [O, C / p.groups, 3, 3],
    [5, O, out, out],
  ];
  const [x, w, g] = [() => some(xs, t, 'channels-last'), () => some(ws, t, 'row-major', 2), () => some(ys, t, 'channels-last', 3)];
  return [
    writes(`${label} ${t}`, ys, t, (y) => wasm.conv2d(x(), w(), y, p), 'channels-last'),
    writes(`${label} gradX ${t}`, xs, t, (y) => wasm.conv2dGradX(g(), w(), y, p), 'channels-last'),
    writes(`${label} gradW ${t}`, ws, t, (y) => wasm.conv2dGradW(g(), x(), y, p)),
  ];
}

function products(t: FloatDType): Case[] {
  return [
    writes(`matmul ${t}`, [130, 300], t, (y) => wasm.matmul(some([130, 70], t), some([70, 300], t, 'row-major', 2), y)),
    writes(`matmul of few rows ${t}`, [20, 90], t, (y) => wasm.matmul(some([20, 900], t), some([900, 90], t, 'row-major', 2), y)),
    writes(`matvec ${t}`, [300, 1], t, (y) => wasm.matmul(some([300, 70], t), some([70, 1], t, 'row-major', 2), y)),
    ...convolutions(t, 'convolution in tiles', 17, 33, conv(), 24),
    ...convolutions(t, 'dilated convolution', 17, 33, { ...conv(), padding: [2, 2], dilation: [2, 2] }),
    ...convolutions(t, 'convolution of stride 2', 8, 16, conv(1, 2)),
    ...convolutions(t, 'convolution of 3 channels', 3, 20, conv()),
    ...convolutions(t, 'grouped convolution', 16, 32, conv(4)),
    ...convolutions(t, 'depthwise convolution', 18, 18, conv(18)),
  ];
}

const POOL: PoolParams = { kernel: [3, 3], stride: [2, 2], padding: [1, 1], dilation: [1, 1] };

function pooling(t: FloatDType): Case[] {
  const [xs, ys] = [
    [4, 18, 12, 12],
    [4, 18, 6, 6],
  ];
  const average = { ...POOL, countIncludePad: false, divisor: null };
  return [
    [
      `maxPool2d ${t}`,
      () => {
        const [y, index] = [view(ys, t, 'channels-last'), view(ys, 'int32', 'channels-last')];
        wasm.maxPool2d(some(xs, t, 'channels-last'), y, index, POOL);
        return [y, index];
      },
    ],
    writes(
      `maxPool2dGrad ${t}`,
      xs,
      t,
      (dx) => wasm.maxPool2dGrad(some(ys, t, 'channels-last'), restride(indices([4, 6, 6, 18], 144), ys, [648, 1, 108, 18]), dx, POOL),
      'channels-last',
    ),
    writes(`avgPool2d ${t}`, ys, t, (y) => wasm.avgPool2d(some(xs, t, 'channels-last'), y, average), 'channels-last'),
    writes(`avgPool2dGrad ${t}`, xs, t, (y) => wasm.avgPool2dGrad(some(ys, t, 'channels-last'), y, average), 'channels-last'),
  ];
}

function batchNorm(name: string, shape: Shape, t: FloatDType, layout: Layout): Case {
  const C = shape[1]!;
  const channel = (seed: number): View => some([C], t, 'row-major', seed);
  return [
    name,
    () => {
      const [x, g] = [some(shape, t, layout), some(shape, t, layout, 2)];
      const [variance, ...sums] = [0, 1, 2, 3, 4].map(() => view([C], t)) as [View, View, View, View, View];
      const norm = { mean: view([C], t), invstd: view([C], t), scale: view([C], t), offset: view([C], t) };
      const [y, z, ...gradients] = [0, 1, 2, 3].map(() => view(shape, t, layout)) as [View, View, View, View];
      wasmFused.batchNormStats(x, 1e-5, channel(2), channel(3), variance, norm);
      wasmFused.batchNormApply(x, norm.scale, norm.offset, y);
      wasmFused.batchNormApply(x, norm.scale, norm.offset, z, true);
      wasmFused.batchNormGrad(g, x, norm, gradients[0], sums[0], sums[1]);
      wasmFused.batchNormGrad(g, x, norm, gradients[1], sums[2], sums[3], true);
      return [variance, ...Object.values(norm), y, z, ...gradients, ...sums];
    },
  ];
}

function scaleChannels(name: string, shape: Shape, t: FloatDType, layout: Layout): Case {
  return [
    name,
    () => {
      const [dx, ds] = [view(shape, t, layout), view(shape.slice(0, 2), t)];
      wasmFused.scaleChannelsGrad(some(shape, t, layout), some(shape, t, layout, 2), some(shape.slice(0, 2), t), dx, ds);
      return [dx, ds];
    },
  ];
}

function fused(t: FloatDType): Case[] {
  const [M, C] = [1500, 130];
  const x = (seed = 1): View => some([M, C], t, 'row-major', seed);
  const target = (): View => indices([M], C);
  return [
    batchNorm(`batchNorm of rows ${t}`, [M, C], t, 'row-major'),
    ...(['channels-last', 'row-major'] as const).flatMap((layout) => [
      batchNorm(`batchNorm of ${layout} images ${t}`, [9, 18, 33, 7], t, layout),
      scaleChannels(`scaleChannelsGrad of ${layout} images ${t}`, [9, 18, 33, 7], t, layout),
    ]),
    ...[false, true].flatMap((log) => [
      writes(`softmax ${log} ${t}`, [M, C], t, (y) => wasmFused.softmax(log, x(), y)),
      writes(`softmaxGrad ${log} ${t}`, [M, C], t, (y) => wasmFused.softmaxGrad(log, x(), x(2), y)),
    ]),
    [
      `crossEntropy ${t}`,
      () => {
        const [loss, logp, dx] = [view([M], t), view([M, C], t), view([M, C], t)];
        wasmFused.crossEntropy(x(), target(), loss, logp);
        wasmFused.crossEntropyGrad(some([M], t), logp, target(), dx);
        return [loss, logp, dx];
      },
    ],
    writes(`uniform ${t}`, [N], t, (y) => wasm.uniform([1, 2], 3, y)),
  ];
}

function optimizers(t: FloatDType): Case[] {
  const options = { lr: 0.1, weightDecay: 0.01, maximize: false };
  const sizes = [7, N];
  const of = (n: number, seed: number): View => some([n], t, 'row-major', seed);
  return [
    [
      `sgd ${t}`,
      () => {
        const sgd = { ...options, momentum: 0.9, dampening: 0, nesterov: true };
        const entries = sizes.map((n) => ({ param: of(n, 1), grad: of(n, 2), velocity: of(n, 3), first: false, options: sgd }));
        wasm.sgd(entries);
        return entries.flatMap((e) => [e.param, e.velocity]);
      },
    ],
    [
      `adam ${t}`,
      () => {
        const adam = { ...options, betas: [0.9, 0.99], eps: 1e-8, decoupled: true } as const;
        const entries = sizes.map((n) => {
          const [expAvg, expAvgSq, maxExpAvgSq] = [of(n, 3), of(n, 4), of(n, 5)];
          for (const v of [expAvgSq, maxExpAvgSq]) wasm.unary('abs', v, v);
          return { param: of(n, 1), grad: of(n, 2), expAvg, expAvgSq, maxExpAvgSq, step: 3, options: adam };
        });
        wasm.adam(entries);
        return entries.flatMap((e) => [e.param, e.expAvg, e.expAvgSq, e.maxExpAvgSq]);
      },
    ],
    writes(`sumSquares ${t}`, [1], 'float64', (y) => wasm.fill(wasm.sumSquares(sizes.map((n) => of(n, 1))), y)),
    [
      `blend ${t}`,
      () => {
        const views = sizes.map((n) => of(n, 1));
        wasm.blend(views.map((x, i) => ({ x, y: of(sizes[i]!, 2), keep: 3, take: 2 })));
        return views;
      },
    ],
  ];
}

const cases: Case[] = [
  ...elementwise(),
  ...reductions(),
  ...FLOATS.flatMap((t) => [...products(t), ...pooling(t), ...fused(t), ...optimizers(t)]),
];

/** Returns the SHA-256 of what each case writes. */
function digests(): Map<string, string> {
  return new Map(
    cases.map(([name, run]) => {
      const hash = createHash('sha256');
      freed(() => {
        for (const v of run()) {
          materialize(v, 'read');
          hash.update(readElements(v.storage.ptr, 'bool', v.storage.bytes));
        }
      });
      return [name, hash.digest('hex')];
    }),
  );
}

const shared = new Set<string>();
const { run } = Pool.prototype;
const { leastWork } = tuning;
let alone: Map<string, string>;

beforeAll(() => {
  Pool.prototype.run = function (this: Pool, ...args: Parameters<typeof run>) {
    shared.add(args[0]);
    run.apply(this, args);
  };
  setNumThreads(1);
  alone = digests();
  tuning.leastWork = 0;
});

afterAll(() => {
  Pool.prototype.run = run;
  tuning.leastWork = leastWork;
  setNumThreads(1);
});

describe('results are bitwise identical', () => {
  test.each(THREADS)('on %i threads', async (threads) => {
    setNumThreads(threads);
    const pool = poolFor(kernelModule)!;
    await started(pool, threads - 1);
    expect(Object.fromEntries(digests())).toEqual(Object.fromEntries(alone));
    expect(workItemsDone(pool)).toBeGreaterThan(0);
  });

  test('cases have different names, and write their outputs', () => {
    expect(alone.size).toBe(cases.length);
    const untouched = cases.filter(([, run]) => freed(() => run().some((v) => raw(v)[0] === 77)));
    expect(untouched.map(([name]) => name)).toEqual([]);
  });

  test('every kernel was shared among threads; a new kernel needs a case of two chunks here', () => {
    const kernels = WebAssembly.Module.exports(kernelModule)
      .map((e) => e.name)
      .filter((name) => name !== 'heapBase' && !name.startsWith('scalar'));
    expect(kernels.filter((name) => !shared.has(name))).toEqual([]);
  });
});
