import type { Tensor } from '../autograd/index.ts';
import { Module } from './module.ts';

/** y = x, the same tensor. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}
