/**
 * Cases that time single kernels and compare their arithmetic with the SIMD peak of the machine.
 */
import type { FloatDType } from '../src/core/dtype.ts';
import { sizeOf } from '../src/core/shape.ts';
import { setConvAlgorithm, type ConvAlgorithm } from '../src/kernels/conv-algorithm.ts';
import { elementView } from '../src/kernels/memory/wasm-memory.ts';
import { empty, emptyChannelsLast, type View } from '../src/kernels/view.ts';
import { productKernels as kernels } from '../src/kernels/wasm/matmul.ts';
import { BATCH, type Case, type Prepared } from './case.ts';

/** Fills a dense view with numbers between −1 and 1. */
function fill(v: View): void {
  const elements = elementView(v.storage.ptr, v.dtype, sizeOf(v.shape));
  for (let i = 0; i < elements.length; i++) elements[i] = Math.sin(i);
}

function prepared(views: View[], run: () => void): Prepared {
  views.forEach(fill);
  return { run, free: () => views.forEach((v) => v.storage.free()) };
}

const suffix = (dtype: FloatDType): string => (dtype === 'float64' ? ' float64' : '');

function matmul(
  m: number,
  k: number,
  n: number,
  { dtype = 'float32', transposed = false }: { dtype?: FloatDType; transposed?: boolean } = {},
): Case {
  const size = m === k && k === n ? `${m}³` : `${m}×${k}×${n}`;
  return {
    group: 'matmul',
    name: `matmul ${size}${transposed ? ' transposed' : ''}${suffix(dtype)}`,
    dtype,
    work: { kind: 'flops', amount: 2 * m * k * n },
    peer: { op: 'matmul', m, k, n, transposed, dtype },
    prepare() {
      const operand = (rows: number, columns: number): View => {
        if (!transposed) return empty([rows, columns], dtype);
        return { ...empty([columns, rows], dtype), shape: [rows, columns], strides: [1, rows] };
      };
      const a = operand(m, k);
      const b = operand(k, n);
      const y = empty([m, n], dtype);
      return prepared([a, b, y], () => kernels.matmul(a, b, y));
    },
  };
}

const DIRECTIONS = ['forward', 'gradX', 'gradW'] as const;

interface Layer {
  readonly C: number;
  readonly O: number;
  /** Height and width of the input. */
  readonly side: number;
  /** Height and width of the kernel. Default 3, padded to keep the size. */
  readonly K?: number;
  readonly stride?: number;
  readonly dilation?: number;
  readonly groups?: number;
  readonly dtype?: FloatDType;
  /** Default: 'auto', which selects Winograd for plain 3×3 kernels; docs/numerics.md has the rule. */
  readonly algorithm?: ConvAlgorithm;
}

/** What distinguishes a convolution from a 3×3 one of stride 1, as part of its name. */
function variantOf({ C, K = 3, stride = 1, dilation = 1, groups = 1, algorithm = 'auto' }: Layer): string {
  let text = '';
  if (K !== 3) text += ` ${K}×${K}`;
  if (stride !== 1) text += ` stride ${stride}`;
  if (dilation !== 1) text += ` dilation ${dilation}`;
  if (groups === C) text += ' depthwise';
  else if (groups !== 1) text += ` groups ${groups}`;
  if (algorithm !== 'auto') text += ` ${algorithm}`;
  return text;
}

/** A convolution in each direction. */
function convolution(layer: Layer): Case[] {
  const { C, O, side, K = 3, stride = 1, dilation = 1, groups = 1, dtype = 'float32', algorithm = 'auto' } = layer;
  const padding = (dilation * (K - 1)) / 2;
  const out = Math.floor((side - 1) / stride) + 1;
  return DIRECTIONS.map((direction) => ({
    group: 'conv',
    name: `conv ${C}→${O} @${side}²${variantOf(layer)} ${direction}${suffix(dtype)}`,
    dtype,
    work: { kind: 'flops', amount: (2 * BATCH * out * out * K * K * C * O) / groups },
    peer: { op: 'conv', C, O, side, K, stride, padding, dilation, groups, dtype, direction, batch: BATCH },
    prepare() {
      const image = (channels: number, size: number): View => emptyChannelsLast([BATCH, channels, size, size], dtype);
      const x = image(C, side);
      const w = empty([O, C / groups, K, K], dtype);
      const y = image(O, out);
      const p = { stride: [stride, stride], padding: [padding, padding], dilation: [dilation, dilation], groups } as const;
      const kernel = {
        forward: () => kernels.conv2d(x, w, y, p),
        gradX: () => kernels.conv2dGradX(y, w, x, p),
        gradW: () => kernels.conv2dGradW(y, x, w, p),
      }[direction];
      return prepared([x, w, y], () => {
        setConvAlgorithm(algorithm);
        kernel();
        setConvAlgorithm('auto');
      });
    },
  }));
}

export const kernelCases: readonly Case[] = [
  matmul(512, 512, 512),
  matmul(1024, 1024, 1024),
  matmul(512, 512, 512, { transposed: true }),
  matmul(64, 1024, 64),
  matmul(2048, 32, 2048),
  matmul(512, 512, 512, { dtype: 'float64' }),
  // The tiny SE-CNN's layers, then SE-ResNet-20's.
  ...convolution({ C: 3, O: 16, side: 32 }),
  ...convolution({ C: 16, O: 32, side: 16 }),
  ...convolution({ C: 32, O: 64, side: 8 }),
  ...convolution({ C: 16, O: 16, side: 32 }),
  ...convolution({ C: 16, O: 32, side: 32, stride: 2 }),
  ...convolution({ C: 16, O: 32, side: 32, K: 1, stride: 2 }),
  ...convolution({ C: 32, O: 32, side: 16 }),
  ...convolution({ C: 32, O: 64, side: 16, stride: 2 }),
  ...convolution({ C: 32, O: 64, side: 16, K: 1, stride: 2 }),
  ...convolution({ C: 64, O: 64, side: 8 }),
  // Three of these layers without Winograd, then layers that Winograd does not support.
  ...convolution({ C: 16, O: 16, side: 32, algorithm: 'direct' }),
  ...convolution({ C: 32, O: 32, side: 16, algorithm: 'direct' }),
  ...convolution({ C: 64, O: 64, side: 8, algorithm: 'direct' }),
  ...convolution({ C: 32, O: 32, side: 16, K: 5 }),
  ...convolution({ C: 32, O: 32, side: 16, dilation: 2 }),
  ...convolution({ C: 64, O: 64, side: 16, groups: 4 }),
  ...convolution({ C: 64, O: 64, side: 16, groups: 64 }),
  ...convolution({ C: 32, O: 32, side: 16, dtype: 'float64' }),
];
