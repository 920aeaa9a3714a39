import type { Tensor } from '../autograd/index.ts';
import { adaptiveAvgPool2d } from './functional.ts';
import { Module } from './module.ts';

/** The mean of windows that cover the image evenly; see F.adaptiveAvgPool2d. */
export class AdaptiveAvgPool2d extends Module {
  readonly size: number | readonly [number | null, number | null];

  constructor(size: number | readonly [number | null, number | null]) {
    super();
    this.size = size;
  }

  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.size);
  }
}
