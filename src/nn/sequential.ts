import { checkTensor, isTensor, type Tensor } from '../autograd/index.ts';
import { isInstance } from '../core/describe.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { refuseSurplus } from '../core/options.ts';
import { chain } from './chain.ts';
import { Module, type Layer } from './module.ts';

/** Makes the error for a layer whose forward returned no tensor, most often for want of a `return`. */
function noTensor(i: number, layer: Module, result: unknown): ArgumentError {
  return new ArgumentError(`sequential: forward of layer ${i} (${layer.constructor.name}) must return a tensor, got ${kindOf(result)}`);
}

/**
 * Calls layers one after another: y = layerₙ(… layer₁(layer₀(x))). The layers are its properties 0, 1, …
 *
 * A layer's output that no graph needs is freed once the next layer has run. A layer that stores its input must `keep()` it.
 * @example new Sequential(new Linear(4, 8), new ReLU(), new Linear(8, 2))
 */
export class Sequential extends Module implements Iterable<Layer> {
  [index: number]: Layer;

  constructor(...layers: Layer[]) {
    super();
    layers.forEach((layer, i) => {
      if (!isInstance(layer, Module)) throw new ArgumentError(`Sequential: layer ${i} must be a module, got ${kindOf(layer)}`);
      this[i] = layer;
    });
  }

  /** The number of layers. */
  get length(): number {
    let count = 0;
    while (this[count] !== undefined) count++;
    return count;
  }

  /** Returns layer `i`; a negative index counts from the end. */
  at(i: number): Layer | undefined {
    refuseSurplus('at', arguments, 1);
    return this[i < 0 ? i + this.length : i];
  }

  *[Symbol.iterator](): Iterator<Layer> {
    for (let i = 0; this[i] !== undefined; i++) yield this[i]!;
  }

  forward(x: Tensor): Tensor {
    refuseSurplus('forward', arguments, 1);
    checkTensor('sequential', 'x', x);
    const call =
      (layer: Layer, i: number) =>
      (t: Tensor): Tensor => {
        const y: unknown = layer.forward(t);
        if (!isTensor(y)) throw noTensor(i, layer, y);
        return y;
      };
    return chain(x, Array.from(this, call));
  }
}
