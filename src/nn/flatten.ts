import type { Tensor } from '../autograd/index.ts';
import { Module } from './module.ts';

/**
 * Dims `start` to `end` as one.
 * Shape:  x [N,C,H,W] → y [N,C·H·W] by default
 */
export class Flatten extends Module {
  readonly start: number;
  readonly end: number;

  constructor(start = 1, end = -1) {
    super();
    this.start = start;
    this.end = end;
  }

  forward(x: Tensor): Tensor {
    return x.flatten(this.start, this.end);
  }
}
