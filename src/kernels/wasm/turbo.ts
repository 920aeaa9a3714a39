/**
 * CHAINRULE_TURBO=1: has V8 join pairs of neighbouring 128-bit operations of the kernels into 256-bit ones.
 *
 * V8's flag for it is experimental and off by default, from Node 24 on it works. So it is asked for, and what it made is tried on
 * the kernels that use it most before it is believed: one bit that differs, and the kernels stay as they were.
 */
import { nodeModules } from '../../platform/node.ts';
import { newArray, type FloatDType } from '../../core/dtype.ts';
import { sizeOf, type Shape } from '../../core/shape.ts';
import { kernelBytes, kernelModule, useKernels } from './launch.ts';
import { elementView, WIDE, type CompiledKernels } from '../memory/wasm-memory.ts';
import { empty, emptyChannelsLast, type View } from '../view.ts';
import { wasm, wasmFused } from './index.ts';

/** Compiles with the optimising compiler, all at once, so that what is tried is what will run. Back to V8's defaults afterwards. */
const FLAGS = ['experimental-wasm-revectorize', 'no-liftoff', 'no-wasm-lazy-compilation'];
const DEFAULTS = ['no-experimental-wasm-revectorize', 'liftoff', 'wasm-lazy-compilation'];

const OLDEST_NODE = 24;

/** The binary with a custom section, which tells kernels that they are wide; without it V8 would find the same bytes compiled already. */
export function wideKernelBytes(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([...kernelBytes(), 0, WIDE.length + 1, WIDE.length, ...Array.from(WIDE, (c) => c.charCodeAt(0))]);
}

/** Switches to 256-bit kernels where CHAINRULE_TURBO=1 asks for them, the platform has them and they pass the test. */
export function startTurbo(): void {
  const load = nodeModules();
  if (load === undefined || process.env.CHAINRULE_TURBO !== '1') return;
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    process.emitWarning(`CHAINRULE_TURBO needs Node ${OLDEST_NODE} or later, this is ${process.versions.node}: going on without`);
    return;
  }
  const trusted = adopt(() => compileWide(load('node:v8'), wideKernelBytes()));
  if (!trusted) process.emitWarning('CHAINRULE_TURBO: the 256-bit kernels computed other bits than the 128-bit ones: going on without');
}

/** Compiles a module into 256-bit operations. */
export function compileWide({ setFlagsFromString }: typeof import('node:v8'), bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of DEFAULTS) setFlagsFromString(`--${flag}`);
  }
}

/** Uses the kernels that `compile` makes if they compute the same bits as those in use; whether they do. */
export function adopt(compile: () => CompiledKernels): boolean {
  const before = kernelModule;
  const expected = selfTest();
  useKernels(compile());
  const got = selfTest();
  const same = expected.every((x, i) => x === got[i]);
  if (!same) useKernels(before);
  return same;
}

/** What the main kernels make of fixed numbers, in both float dtypes: the bytes of all results. */
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
    const plain = (...shape: number[]): View => view(empty, shape);
    const image = (...shape: number[]): View => view(emptyChannelsLast, shape);

    wasm.matmul(plain(9, 70), plain(70, 37), plain(9, 37));
    for (const { channels, size, stride } of [
      { channels: 16, size: 3, stride: 1 },
      { channels: 16, size: 3, stride: 2 },
      { channels: 3, size: 5, stride: 1 },
    ]) {
      const p = { stride: [stride, stride], padding: [1, 1], dilation: [1, 1], groups: 1 } as const;
      const out = Math.floor((12 + 2 - size) / stride) + 1;
      wasm.conv2d(image(2, channels, 12, 12), plain(32, channels, size, size), image(2, 32, out, out), p);
      wasm.conv2dGradX(image(2, 32, out, out), plain(32, channels, size, size), image(2, channels, 12, 12), p);
      wasm.conv2dGradW(image(2, 32, out, out), image(2, channels, 12, 12), plain(32, channels, size, size), p);
    }
    const [x, y] = [image(2, 24, 7, 7), image(2, 24, 7, 7)];
    for (const op of ['add', 'mul', 'maximum', 'reluGrad'] as const) wasm.binary(op, x, y, image(2, 24, 7, 7));
    for (const op of ['relu', 'exp', 'sigmoid', 'tanh'] as const) wasm.unary(op, x, image(2, 24, 7, 7));
    wasm.reduce('sum', x, plain(1, 1, 1, 1));
    const norm = { mean: plain(24), invstd: plain(24), scale: plain(24), offset: plain(24) };
    wasmFused.batchNormStats(x, 1e-5, plain(24), plain(24), plain(24), norm);
    for (const relu of [false, true]) {
      wasmFused.batchNormApply(x, norm.scale, norm.offset, image(2, 24, 7, 7), relu);
      wasmFused.batchNormGrad(y, x, norm, image(2, 24, 7, 7), plain(24), plain(24), relu);
    }
    wasmFused.scaleChannelsGrad(x, y, plain(2, 24), image(2, 24, 7, 7), plain(2, 24));
    const update = { lr: 0.1, weightDecay: 0.01, maximize: false };
    const sgd = { ...update, momentum: 0.9, dampening: 0, nesterov: true };
    wasm.sgd([{ param: plain(101), grad: plain(101), velocity: plain(101), first: false, options: sgd }]);
    const adam = { ...update, betas: [0.9, 0.999], eps: 1e-8, decoupled: true } as const;
    const [param, grad, expAvg, expAvgSq] = [plain(101), plain(101), plain(101), plain(101)];
    wasm.unary('square', grad, expAvgSq);
    wasm.adam([{ param, grad, expAvg, expAvgSq, maxExpAvgSq: null, step: 2, options: adam }]);
    for (const v of made) {
      results.push(...new Uint8Array(elementView(v.storage.ptr, dtype, sizeOf(v.shape)).slice().buffer));
      v.storage.free();
    }
  }
  return Uint8Array.from(results);
}
