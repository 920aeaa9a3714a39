import type { Tensor } from '../autograd/index.ts';
import { avgPool2d, type AvgPool2dOptions, type Size2d } from './functional.ts';
import { Module } from './module.ts';

/** The mean of every window; see F.avgPool2d. */
export class AvgPool2d extends Module {
  readonly kernel: Size2d;
  readonly options: AvgPool2dOptions;

  constructor(kernel: Size2d, options: AvgPool2dOptions = {}) {
    super();
    this.kernel = kernel;
    this.options = options;
  }

  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernel, this.options);
  }
}
