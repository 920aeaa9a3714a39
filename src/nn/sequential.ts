import { currentScope, isGradEnabled, type Tensor } from '../autograd/index.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { Module, type Layer } from './module.ts';

/**
 * Layers one after another: y = layerₙ(… layer₁(layer₀(x))). They are its properties 0, 1, …
 *
 * Under noGrad what a layer returns is freed when the next one has read it: a layer that remembers its input must `keep()` it.
 * @example new Sequential(new Linear(4, 8), new ReLU(), new Linear(8, 2))
 */
export class Sequential extends Module implements Iterable<Layer> {
  [index: number]: Layer;

  constructor(...layers: Layer[]) {
    super();
    layers.forEach((layer, i) => {
      if (!(layer instanceof Module)) throw new ArgumentError(`Sequential: layer ${i} must be a module, got ${kindOf(layer)}`);
      this[i] = layer;
    });
  }

  /** The number of layers. */
  get length(): number {
    let n = 0;
    while (this[n] !== undefined) n++;
    return n;
  }

  /** Layer `i`; a negative one counts from the end. */
  at(i: number): Layer | undefined {
    return this[i < 0 ? i + this.length : i];
  }

  *[Symbol.iterator](): Iterator<Layer> {
    for (let i = 0; this[i] !== undefined; i++) yield this[i]!;
  }

  forward(x: Tensor): Tensor {
    const scope = isGradEnabled() ? null : currentScope();
    let y = x;
    for (const layer of this) {
      const before = y;
      y = layer.forward(before);
      // Without a graph to keep it for, what the next layer has read is garbage: inference holds one layer's activations.
      if (scope !== null && before !== x && y !== before && before.scope === scope) before.free('scope');
    }
    return y;
  }
}
