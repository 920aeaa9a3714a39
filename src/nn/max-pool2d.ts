import type { Tensor } from '../autograd/index.ts';
import { maxPool2d, type MaxPool2dOptions, type Size2d } from './functional.ts';
import { Module } from './module.ts';

/** The largest element of every window; see F.maxPool2d. */
export class MaxPool2d extends Module {
  readonly kernel: Size2d;
  readonly options: MaxPool2dOptions;

  constructor(kernel: Size2d, options: MaxPool2dOptions = {}) {
    super();
    this.kernel = kernel;
    this.options = options;
  }

  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernel, this.options);
  }
}
