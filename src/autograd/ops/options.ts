/**
 * Options of the functions that layers call too, with their defaults: a layer checks its options when it is made.
 */
import { ArgumentError, shown } from '../../core/errors.ts';
import type { Tensor } from '../tensor.ts';
import type { Size2d } from './image-batch.ts';

// — activations —

/** Options of gelu. */
export interface GeluOptions {
  /** Computes Φ by the error function, 'none' (default), or approximates it by tanh. */
  readonly approximate?: 'none' | 'tanh';
}

export const GELU_DEFAULTS: Required<GeluOptions> = { approximate: 'none' };

/** Options of softplus. */
export interface SoftplusOptions {
  /** Sharpness of the curve near 0; not 0. Default 1. */
  readonly beta?: number;
  /** Where βx > threshold, y = x. Default 20. */
  readonly threshold?: number;
}

export const SOFTPLUS_DEFAULTS: Required<SoftplusOptions> = { beta: 1, threshold: 20 };

// — losses —

/** How the losses of elements or samples are reduced: not at all, to their mean, or to their sum. */
export type Reduction = 'none' | 'mean' | 'sum';

/** Options of every loss. */
export interface LossOptions {
  /** Default 'mean'. */
  readonly reduction?: Reduction;
}

export const LOSS_DEFAULTS: Required<LossOptions> = { reduction: 'mean' };

/** Options of nllLoss. */
export interface NllLossOptions extends LossOptions {
  /** A factor for each class [K]. The mean divides by the sum of the factors. Default null: all 1. */
  readonly weight?: Tensor | null;
  /** Samples of this class have no loss and do not count in the mean. Default −100. */
  readonly ignoreIndex?: number;
}

/** Options of crossEntropy. */
export interface CrossEntropyOptions extends NllLossOptions {
  /** The share of each target that is spread evenly over all classes, 0 … 1. Default 0. */
  readonly labelSmoothing?: number;
}

export const NLL_DEFAULTS: Required<NllLossOptions> = { ...LOSS_DEFAULTS, weight: null, ignoreIndex: -100 };

export const CROSS_ENTROPY_DEFAULTS: Required<CrossEntropyOptions> = { ...NLL_DEFAULTS, labelSmoothing: 0 };

/** Options of smoothL1Loss. */
export interface SmoothL1LossOptions extends LossOptions {
  /** The distance at which the parabola becomes a line, at least 0. Default 1. */
  readonly beta?: number;
}

export const SMOOTH_L1_DEFAULTS: Required<SmoothL1LossOptions> = { ...LOSS_DEFAULTS, beta: 1 };

/** Options of huberLoss. */
export interface HuberLossOptions extends LossOptions {
  /** The distance at which the parabola becomes a line, above 0. Default 1. */
  readonly delta?: number;
}

export const HUBER_DEFAULTS: Required<HuberLossOptions> = { ...LOSS_DEFAULTS, delta: 1 };

/** Options of binaryCrossEntropy. */
export interface BinaryCrossEntropyOptions extends LossOptions {
  /** A factor for each loss; broadcasts to x's shape. Default null: all 1. */
  readonly weight?: Tensor | null;
}

/** Options of binaryCrossEntropyWithLogits. */
export interface BinaryCrossEntropyWithLogitsOptions extends BinaryCrossEntropyOptions {
  /** A factor for the losses of positive targets; broadcasts to x's shape. Default null: all 1. */
  readonly posWeight?: Tensor | null;
}

export const WEIGHTED_DEFAULTS: Required<BinaryCrossEntropyOptions> = { ...LOSS_DEFAULTS, weight: null };

export const LOGITS_DEFAULTS: Required<BinaryCrossEntropyWithLogitsOptions> = { ...WEIGHTED_DEFAULTS, posWeight: null };

// — sequences —

/** Options of conv1d. */
export interface Conv1dOptions {
  /** Default 1. */
  readonly stride?: number;
  /** Zeros before and after the sequence, or 'same' for an output as long as x (stride 1 only), 'valid' for none. Default 0. */
  readonly padding?: number | 'same' | 'valid';
  /** Distance between the kernel's taps. Default 1. */
  readonly dilation?: number;
  /** The number of groups of channels, each convolved separately. Default 1. */
  readonly groups?: number;
}

export const CONV1D_DEFAULTS: Required<Conv1dOptions> = { stride: 1, padding: 0, dilation: 1, groups: 1 };

// — images —

/** Options of all pools. */
export interface PoolOptions {
  /** Default: the kernel's size. */
  readonly stride?: Size2d | null;
  /** At most half the kernel. Default 0. */
  readonly padding?: Size2d;
  /** Keeps a last window that reaches over the edge, if it starts on the image or before it. Default false. */
  readonly ceilMode?: boolean;
}

/** Options of maxPool2d. */
export interface MaxPool2dOptions extends PoolOptions {
  /** Distance between the window's taps. Default 1. */
  readonly dilation?: Size2d;
}

/** Options of avgPool2d. */
export interface AvgPool2dOptions extends PoolOptions {
  /** Whether padding counts in the divisor. Default true. */
  readonly countIncludePad?: boolean;
  /** Divides by this instead of the window's size. Default null: by that size. */
  readonly divisorOverride?: number | null;
}

export const MAX_POOL_DEFAULTS: Required<MaxPool2dOptions> & { readonly returnIndices: boolean } = {
  stride: null,
  padding: 0,
  dilation: 1,
  ceilMode: false,
  returnIndices: false,
};

export const AVG_POOL_DEFAULTS: Required<AvgPool2dOptions> = {
  stride: null,
  padding: 0,
  ceilMode: false,
  countIncludePad: true,
  divisorOverride: null,
};

/** Options of interpolate: `size` or `scaleFactor`, one number for all dims or one for each. */
export interface InterpolateOptions {
  /** The output's sizes. Default null: those of scaleFactor. */
  readonly size?: number | readonly number[] | null;
  /** The output's sizes are ⌊size · scaleFactor⌋. Default null: those of size. */
  readonly scaleFactor?: number | readonly number[] | null;
  /** How elements are chosen or blended. Default 'nearest'. */
  readonly mode?: 'nearest' | 'bilinear';
  /** Whether bilinear places the first and last elements of x and y on each other, rather than the edges of the images. Default false. */
  readonly alignCorners?: boolean;
}

export const INTERPOLATE_DEFAULTS: Required<InterpolateOptions> = { size: null, scaleFactor: null, mode: 'nearest', alignCorners: false };

// — dropout —

/** Throws unless `mode` is 'batch' or 'row'. */
export function checkStochasticDepthMode(op: string, mode: unknown): void {
  if (mode !== 'batch' && mode !== 'row') throw new ArgumentError(`${op}: mode must be 'batch' or 'row', got ${shown(mode)}`);
}
