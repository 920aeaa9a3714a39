/**
 * The axes of a convolution in each direction, and the arguments that the direct kernels share.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import type { ConvParams } from '../interface.ts';
import type { View } from '../view.ts';
import type { CorrelationArgs, WeightGradArgs } from './arguments.generated.ts';
import { divideUp } from './workspace.ts';

/** How output positions along one axis read the input: p reads start + p·step + t·tapStep for t < taps. */
export interface Axis {
  readonly count: number;
  readonly start: number;
  readonly step: number;
  readonly tapStep: number;
  readonly taps: number;
  /** The input's size. */
  readonly size: number;
  /** Position p is the output's outStart + p·outStep. */
  readonly outStart: number;
  readonly outStep: number;
  /** Tap t is the kernel's element kStart + t·kStep. */
  readonly kStart: number;
  readonly kStep: number;
}

/** The axis `d` (0 vertical, 1 horizontal) of a forward convolution with `size` inputs, `count` outputs and `taps` kernel elements. */
export function forwardAxis(p: ConvParams, d: 0 | 1, size: number, count: number, taps: number): Axis {
  return {
    count,
    start: -p.padding[d],
    step: p.stride[d],
    tapStep: p.dilation[d],
    taps,
    size,
    outStart: 0,
    outStep: 1,
    kStart: 0,
    kStep: 1,
  };
}

/**
 * The axes `d` of an input gradient with `size` output gradients, `count` inputs and K kernel elements: one for each residue r of the input
 * position modulo the stride s. Position h = r + i·s meets the kernel elements k for which s divides h + padding − k·dilation: every
 * (s / gcd(s, dilation))-th from the first. Taps are in reverse order, the last such element first.
 */
export function backwardAxes(p: ConvParams, d: 0 | 1, size: number, count: number, K: number): Axis[] {
  const s = p.stride[d];
  const dilation = p.dilation[d];
  const every = s / gcd(s, dilation);
  const axes: Axis[] = [];
  for (let r = 0; r < Math.min(s, count); r++) {
    let k = 0;
    while (k < every && (r + p.padding[d] - k * dilation) % s !== 0) k++;
    const taps = k < every && k < K ? Math.floor((K - 1 - k) / every) + 1 : 0;
    const tapStep = (dilation * every) / s;
    axes.push({
      count: divideUp(count - r, s),
      start: taps > 0 ? (r + p.padding[d] - k * dilation) / s - (taps - 1) * tapStep : 0,
      step: 1,
      tapStep,
      taps,
      size,
      outStart: r,
      outStep: s,
      kStart: k + (taps - 1) * every,
      kStep: -every,
    });
  }
  return axes;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/**
 * The arguments of a correlation of images x to y, channels last, along the axes. Strides are in bytes. The caller adds its own by
 * Object.assign: spreading so many into a new object takes V8 up to 20 µs, as long as a small convolution.
 * @param w the address of the packed weights
 */
export function correlationArgs(x: View, w: number, y: View, vertical: Axis, horizontal: Axis, rowsPerChunk: number): CorrelationArgs {
  const size = ITEM_SIZE[y.dtype];
  return {
    countY: vertical.count,
    startY: vertical.start,
    stepY: vertical.step,
    tapStepY: vertical.tapStep,
    tapsY: vertical.taps,
    sizeY: vertical.size,
    countX: horizontal.count,
    startX: horizontal.start,
    stepX: horizontal.step,
    tapStepX: horizontal.tapStep,
    tapsX: horizontal.taps,
    sizeX: horizontal.size,
    x,
    xImage: x.strides[0]! * size,
    xRow: x.strides[2]! * size,
    xPixel: x.strides[3]! * size,
    w,
    y,
    yImage: y.strides[0]! * size,
    yRow: y.strides[2]! * size,
    yPixel: y.strides[3]! * size,
    rowsPerChunk,
  };
}

/**
 * The arguments of a weight gradient from images x and gradients g, channels last, along the axes. Strides are in bytes.
 * @param sums the address of the partial sums
 */
export function weightGradArgs(x: View, g: View, sums: number, vertical: Axis, horizontal: Axis, imagesPerPart: number): WeightGradArgs {
  const size = ITEM_SIZE[x.dtype];
  return {
    countY: vertical.count,
    startY: vertical.start,
    stepY: vertical.step,
    tapStepY: vertical.tapStep,
    tapsY: vertical.taps,
    sizeY: vertical.size,
    countX: horizontal.count,
    startX: horizontal.start,
    stepX: horizontal.step,
    tapStepX: horizontal.tapStep,
    tapsX: horizontal.taps,
    sizeX: horizontal.size,
    x,
    xImage: x.strides[0]! * size,
    xRow: x.strides[2]! * size,
    xPixel: x.strides[3]! * size,
    g,
    gImage: g.strides[0]! * size,
    gRow: g.strides[2]! * size,
    gPixel: g.strides[3]! * size,
    sums,
    N: x.shape[0]!,
    imagesPerPart,
  };
}
