import type { Tensor } from '../autograd/index.ts';
import { Module, type Layer } from './module.ts';

/** The layer y = op(x, …options): a class whose constructor takes the op's own options, with its defaults. */
export function layer<O extends unknown[]>(op: (x: Tensor, ...options: O) => Tensor): new (...o: O) => Layer & { readonly options: O } {
  return class extends Module {
    readonly options: O;
    constructor(...options: O) {
      super();
      this.options = options;
    }
    forward(x: Tensor): Tensor {
      return op(x, ...this.options);
    }
  };
}
