/**
 * The self-test of another compilation of the kernels: runs the kernels on fixed numbers, for comparison with those of the default
 * compilation. It runs every kind of micro-kernel, with every number of rows and vectors.
 */
import type { FloatDType } from '../../core/dtype.ts';
import { sizeOf, type Shape } from '../../core/shape.ts';
import { selfTesting } from '../memory/allocator.ts';
import { elementView, readElements } from '../memory/wasm-memory.ts';
import { onThisThread } from '../threads/pool.ts';
import { addressOf, empty, emptyChannelsLast, type View } from '../view.ts';
import { wasm, wasmFused } from './index.ts';

/** The contents of one operand or result. */
interface TestResult {
  readonly dtype: FloatDType;
  readonly values: Float32Array | Float64Array;
}

/** Largest accepted difference of rounding, as a part of the largest number of the same result. */
const TOLERANCE = { float32: 1e-4, float64: 1e-12 } as const;

/** Allocates a view of the given shape and fills it with fixed numbers. */
type MakeView = (...shape: number[]) => View;

/** Runs the kernels in use in both float dtypes, on this thread alone, and returns all operands and results. */
export function runSelfTest(): readonly TestResult[] {
  return selfTesting(() => onThisThread(() => [...resultsOf('float32'), ...resultsOf('float64')]));
}

/** Returns whether two runs have the same bits. */
export function sameBits(a: readonly TestResult[], b: readonly TestResult[]): boolean {
  return a.every(({ values }, i) => values.every((x, j) => Object.is(x, b[i]!.values[j])));
}

/** Returns whether two runs differ by no more than rounding. */
export function sameUpToRounding(a: readonly TestResult[], b: readonly TestResult[]): boolean {
  return a.every(({ dtype, values }, i) => {
    let largest = 0;
    for (const x of values) largest = Math.max(largest, Math.abs(x));
    const bound = TOLERANCE[dtype] * largest;
    // A comparison with NaN is false.
    return values.every((x, j) => Math.abs(x - b[i]!.values[j]!) <= bound);
  });
}

function resultsOf(dtype: FloatDType): TestResult[] {
  const made: View[] = [];
  let sines = new Float64Array(0);
  /** Returns sin(first), sin(first + 1), … */
  const sinesFrom = (first: number, n: number): Float64Array => {
    if (first + n > sines.length) sines = Float64Array.from({ length: 2 * (first + n) }, (_, i) => Math.sin(i));
    return sines.subarray(first, first + n);
  };
  const view = (make: (shape: Shape, dtype: FloatDType) => View, shape: Shape): View => {
    const v = make(shape, dtype);
    const n = sizeOf(shape);
    elementView(v.storage.ptr, dtype, n).set(sinesFrom(made.length, n));
    made.push(v);
    return v;
  };
  const rowMajor: MakeView = (...shape) => view(empty, shape);
  const image: MakeView = (...shape) => view(emptyChannelsLast, shape);
  try {
    runMatrixProducts(rowMajor);
    runConvolutions(rowMajor, image);
    runElementwiseAndFused(rowMajor, image);
    runOptimizers(rowMajor);
    // addressOf runs deferred calls, of which some have not run yet.
    return made.map((v) => ({ dtype, values: readElements(addressOf(v), dtype, sizeOf(v.shape)) as TestResult['values'] }));
  } finally {
    for (const v of made) v.storage.free();
  }
}

function runMatrixProducts(rowMajor: MakeView): void {
  // Panels of 4, 2 and 1 vectors, blocks of 6, 4, 2 and 1 rows, odd sums; then a product with a vector.
  wasm.matmul(rowMajor(11, 70), rowMajor(70, 37), rowMajor(11, 37));
  wasm.matmul(rowMajor(3, 5), rowMajor(5, 2), rowMajor(3, 2));
  wasm.matmul(rowMajor(6, 71), rowMajor(71, 1), rowMajor(6, 1));
}

function runConvolutions(rowMajor: MakeView, image: MakeView): void {
  const convolve = (C: number, O: number, size: number, stride: number, groups = 1): void => {
    const p = { stride: [stride, stride], padding: [1, 1], dilation: [1, 1], groups } as const;
    const out = Math.floor((10 + 2 - size) / stride) + 1;
    wasm.conv2d(image(1, C, 10, 10), rowMajor(O, C / groups, size, size), image(1, O, out, out), p);
    wasm.conv2dGradX(image(1, O, out, out), rowMajor(O, C / groups, size, size), image(1, C, 10, 10), p);
    wasm.conv2dGradW(image(1, O, out, out), image(1, C, 10, 10), rowMajor(O, C / groups, size, size), p);
  };
  // Winograd, with panels of 4, 2 and 1 vectors, and single vectors of inputs; direct; from and to few channels; depthwise.
  for (const O of [16, 17, 20, 24]) convolve(17, O, 3, 1);
  for (const O of [5, 9, 32]) convolve(17, O, 3, 2);
  for (const O of [1, 2, 3]) convolve(16, O, 5, 1);
  convolve(3, 32, 5, 1);
  for (const C of [15, 17, 20, 22]) convolve(C, C, 3, 1, C);
}

function runElementwiseAndFused(rowMajor: MakeView, image: MakeView): void {
  const x = image(2, 24, 7, 7);
  const y = image(2, 24, 7, 7);
  for (const op of ['add', 'mul', 'maximum', 'reluGrad'] as const) wasm.binary(op, x, y, image(2, 24, 7, 7));
  for (const op of ['relu', 'exp', 'sigmoid', 'tanh'] as const) wasm.unary(op, x, image(2, 24, 7, 7));
  wasm.reduce('sum', x, rowMajor(1, 1, 1, 1));
  const norm = { mean: rowMajor(24), invstd: rowMajor(24), scale: rowMajor(24), offset: rowMajor(24) };
  for (const make of [image, rowMajor]) {
    const [x, y] = [make(2, 24, 7, 7), make(2, 24, 7, 7)];
    wasmFused.batchNormStats(x, 1e-5, rowMajor(24), rowMajor(24), rowMajor(24), norm);
    for (const relu of [false, true]) {
      wasmFused.batchNormApply(x, norm.scale, norm.offset, make(2, 24, 7, 7), relu);
      wasmFused.batchNormGrad(y, x, norm, make(2, 24, 7, 7), rowMajor(24), rowMajor(24), relu);
    }
    wasmFused.scaleChannelsGrad(x, y, rowMajor(2, 24), make(2, 24, 7, 7), rowMajor(2, 24));
  }
}

function runOptimizers(rowMajor: MakeView): void {
  const update = { lr: 0.1, weightDecay: 0.01, maximize: false };
  const sgd = { ...update, momentum: 0.9, dampening: 0, nesterov: true };
  wasm.sgd([{ param: rowMajor(101), grad: rowMajor(101), velocity: rowMajor(101), first: false, options: sgd }]);
  const adam = { ...update, betas: [0.9, 0.999], eps: 1e-8, decoupled: true } as const;
  const param = rowMajor(101);
  const grad = rowMajor(101);
  const expAvg = rowMajor(101);
  const expAvgSq = rowMajor(101);
  wasm.unary('square', grad, expAvgSq);
  wasm.adam([{ param, grad, expAvg, expAvgSq, maxExpAvgSq: null, step: 2, options: adam }]);
}
