import * as f from '../autograd/index.ts';
import { layer } from './layer.ts';

/**
 * The largest element of every window; takes what F.maxPool2d does.
 * @example new MaxPool2d(3, { stride: 2, padding: 1 })
 */
export class MaxPool2d extends layer<[f.Size2d, f.MaxPool2dOptions?]>(f.maxPool2d) {}

/**
 * The mean of every window; takes what F.avgPool2d does.
 * @example new AvgPool2d(2, { countIncludePad: false })
 */
export class AvgPool2d extends layer(f.avgPool2d) {}

/** The means of windows that cover the image evenly; see F.adaptiveAvgPool2d. */
export class AdaptiveAvgPool2d extends layer(f.adaptiveAvgPool2d) {}

/**
 * Images resized by repeating or leaving out pixels; takes what F.interpolate does.
 * @example new Upsample({ scaleFactor: 2 })
 */
export class Upsample extends layer(f.interpolate) {}

/**
 * Dims `start` to `end` as one.
 * Shape:  x [N,C,H,W] → y [N,C·H·W] by default
 */
export class Flatten extends layer<[start?: number, end?: number]>((x, start = 1, end = -1) => f.flatten(x, start, end)) {}

/** y = x, the same tensor. */
export class Identity extends layer((x: f.Tensor) => x) {}
