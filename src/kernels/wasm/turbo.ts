/**
 * CHAINRULE_TURBO=1: V8 joins pairs of neighbouring 128-bit operations of the kernels into 256-bit ones.
 *
 * V8's flag for it works from Node 24 on. It is experimental and off by default. So turbo is opt-in and self-tested: the kernels that use
 * it most run once, and if one bit of their results differs, the 128-bit kernels stay in use.
 */
import { environment, nodeModules } from '../../platform/node.ts';
import { newArray, type FloatDType } from '../../core/dtype.ts';
import { sizeOf, type Shape } from '../../core/shape.ts';
import { kernelBytes, kernelModule, useKernels } from './module.ts';
import { elementView, TURBO_SECTION, type CompiledKernels } from '../memory/wasm-memory.ts';
import { addressOf, empty, emptyChannelsLast, type View } from '../view.ts';
import { wasm, wasmFused } from './index.ts';

/**
 * Compiles everything at once with the optimizing compiler, so that the tested code is the code that runs. DEFAULTS restores V8's settings.
 */
const FLAGS = ['experimental-wasm-revectorize', 'no-liftoff', 'no-wasm-lazy-compilation'];
const DEFAULTS = ['no-experimental-wasm-revectorize', 'liftoff', 'wasm-lazy-compilation'];

const OLDEST_NODE = 24;

/**
 * Returns the binary with a custom section, by which kernels choose micro-kernels for 256 bits. Without it V8 would reuse its compilation
 * of the same bytes.
 */
export function turboKernelBytes(): Uint8Array<ArrayBuffer> {
  const name = Array.from(TURBO_SECTION, (c) => c.charCodeAt(0));
  return Uint8Array.from([...kernelBytes(), 0, name.length + 1, name.length, ...name]);
}

/** Switches to 256-bit kernels if CHAINRULE_TURBO=1 is set, the platform supports them and they pass the self-test. */
export function startTurbo(): void {
  const load = nodeModules();
  if (load === undefined || environment('CHAINRULE_TURBO') !== '1') return;
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    process.emitWarning(`CHAINRULE_TURBO needs Node ${OLDEST_NODE} or later, this is ${process.versions.node}: going on without`);
    return;
  }
  const trusted = useIfIdentical(() => compileTurbo(load('node:v8'), turboKernelBytes()));
  if (!trusted) process.emitWarning('CHAINRULE_TURBO: the 256-bit kernels computed other bits than the 128-bit ones: going on without');
}

/** Compiles a module into 256-bit operations. */
export function compileTurbo({ setFlagsFromString }: typeof import('node:v8'), bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of DEFAULTS) setFlagsFromString(`--${flag}`);
  }
}

/** Uses the kernels that `compile` returns if their results are bitwise identical to those of the kernels in use; returns whether they are. */
export function useIfIdentical(compile: () => CompiledKernels): boolean {
  const before = kernelModule;
  const expected = selfTest();
  useKernels(compile());
  const got = selfTest();
  const same = expected.every((x, i) => x === got[i]);
  if (!same) useKernels(before);
  return same;
}

/** Allocates a view of the given shape and fills it with fixed numbers. */
type MakeView = (...shape: number[]) => View;

/** Runs the main kernels on fixed numbers in both float dtypes, and returns the bytes of all their operands and results. */
function selfTest(): Uint8Array {
  const results: number[] = [];
  for (const dtype of ['float32', 'float64'] as const) {
    const made: View[] = [];
    const view = (make: (shape: Shape, dtype: FloatDType) => View, shape: Shape): View => {
      const v = make(shape, dtype);
      const n = sizeOf(shape);
      elementView(v.storage.ptr, dtype, n).set(newArray(dtype, n).map((_, i) => Math.sin(i + made.length)));
      made.push(v);
      return v;
    };
    const rowMajor: MakeView = (...shape) => view(empty, shape);
    const image: MakeView = (...shape) => view(emptyChannelsLast, shape);
    runProducts(rowMajor, image);
    runElementwiseAndFused(rowMajor, image);
    runOptimizers(rowMajor);
    for (const v of made) {
      // addressOf runs deferred calls, of which some have not run yet.
      results.push(...new Uint8Array(elementView(addressOf(v), dtype, sizeOf(v.shape)).slice().buffer));
    }
    for (const v of made) v.storage.free();
  }
  return Uint8Array.from(results);
}

function runProducts(rowMajor: MakeView, image: MakeView): void {
  wasm.matmul(rowMajor(9, 70), rowMajor(70, 37), rowMajor(9, 37));
  for (const { channels, size, stride } of [
    { channels: 16, size: 3, stride: 1 },
    { channels: 16, size: 3, stride: 2 },
    { channels: 3, size: 5, stride: 1 },
  ]) {
    const p = { stride: [stride, stride], padding: [1, 1], dilation: [1, 1], groups: 1 } as const;
    const out = Math.floor((12 + 2 - size) / stride) + 1;
    wasm.conv2d(image(2, channels, 12, 12), rowMajor(32, channels, size, size), image(2, 32, out, out), p);
    wasm.conv2dGradX(image(2, 32, out, out), rowMajor(32, channels, size, size), image(2, channels, 12, 12), p);
    wasm.conv2dGradW(image(2, 32, out, out), image(2, channels, 12, 12), rowMajor(32, channels, size, size), p);
  }
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
