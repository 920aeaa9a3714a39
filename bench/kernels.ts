/**
 * Cases that time single kernels, with their arithmetic: the share of the SIMD peak says how good they are.
 */
import type { FloatDType } from '../src/core/dtype.ts';
import { sizeOf, type Shape } from '../src/core/shape.ts';
import { elementView } from '../src/kernels/memory.ts';
import { empty, emptyChannelsLast, type View } from '../src/kernels/view.ts';
import { launch } from '../src/kernels/launch.ts';
import { productKernels as kernels } from '../src/kernels/wasm-products.ts';

export interface KernelCase {
  readonly name: string;
  readonly dtype: FloatDType;
  /** Additions and multiplications of the direct algorithm, taps in the padding included. */
  readonly flops: number;
  /** Allocates the operands and gives what is timed, and how to free them. */
  prepare(): { run: () => void; free: () => void };
}

function filled(v: View): View {
  const elements = elementView(v.storage.ptr, v.dtype, sizeOf(v.shape));
  for (let i = 0; i < elements.length; i++) elements[i] = Math.sin(i);
  return v;
}

function prepared(views: View[], run: () => void): { run: () => void; free: () => void } {
  views.forEach(filled);
  return { run, free: () => views.forEach((v) => v.storage.free()) };
}

function matmul(n: number, dtype: FloatDType, transposed = false): KernelCase {
  return {
    name: `matmul ${n}³${transposed ? ' transposed' : ''}${dtype === 'float64' ? ' float64' : ''}`,
    dtype,
    flops: 2 * n ** 3,
    prepare() {
      const [a, b, y] = [empty([n, n], dtype), empty([n, n], dtype), empty([n, n], dtype)];
      const flip = (v: View): View => (transposed ? { ...v, strides: [1, n] } : v);
      return prepared([a, b, y], () => kernels.matmul(flip(a), flip(b), y));
    },
  };
}

const BATCH = 64;
const DIRECTIONS = ['forward', 'gradX', 'gradW'] as const;

/** A 3×3 convolution with padding 1 in each direction. */
function convolution(C: number, O: number, side: number, dtype: FloatDType = 'float32'): KernelCase[] {
  return DIRECTIONS.map((direction) => ({
    name: `conv ${C}→${O} @${side}² ${direction}${dtype === 'float64' ? ' float64' : ''}`,
    dtype,
    flops: 2 * BATCH * side * side * 9 * C * O,
    prepare() {
      const image = (channels: number): View => emptyChannelsLast([BATCH, channels, side, side] satisfies Shape, dtype);
      const [x, w, y] = [image(C), empty([O, C, 3, 3], dtype), image(O)];
      const p = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 } as const;
      return prepared(
        [x, w, y],
        {
          forward: () => kernels.conv2d(x, w, y, p),
          gradX: () => kernels.conv2dGradX(y, w, x, p),
          gradW: () => kernels.conv2dGradW(y, x, w, p),
        }[direction],
      );
    },
  }));
}

export const kernelCases: readonly KernelCase[] = [
  matmul(512, 'float32'),
  matmul(1024, 'float32'),
  matmul(512, 'float32', true),
  matmul(512, 'float64'),
  ...convolution(3, 16, 32),
  ...convolution(16, 32, 16),
  ...convolution(32, 64, 8),
  ...convolution(16, 16, 32),
  ...convolution(32, 32, 16),
  ...convolution(64, 64, 8),
  ...convolution(32, 32, 16, 'float64'),
];

/** Rounds of the peak probe, and the vectors it multiplies and adds in each; the latter is peak.ts's. */
const ROUNDS = 100000;
const VECTORS = 12;

/** Runs the multiply-add loop of assembly/peak.ts; gives its arithmetic and what is timed. */
export function peakProbe(dtype: FloatDType): { flops: number; run: () => void; free: () => void } {
  const room = empty([16], 'float64');
  const lanes = dtype === 'float32' ? 4 : 2;
  const at = room.storage.ptr + 64;
  // c ← 0.5·c + 1 stays near 2, far from slow subnormal numbers.
  elementView(at, dtype, 2 * lanes)
    .fill(0.5, 0, lanes)
    .fill(1, lanes);
  return {
    flops: 2 * ROUNDS * VECTORS * lanes,
    run: () => launch(dtype === 'float32' ? 'peak_f32' : 'peak_f64', { chunks: 1, work: 0 }, room.storage.ptr, ROUNDS, at),
    free: () => room.storage.free(),
  };
}
