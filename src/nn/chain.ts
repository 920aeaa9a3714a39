import { releasing, type Tensor } from '../autograd/index.ts';

/**
 * Calls functions one after another: y = fₙ(… f₁(x)). A result that no graph needs is freed once the next function has run, so
 * inference holds only one layer's activations. Other tensors of the functions stay: a user's layers and hooks may have stored them.
 */
export function chain(x: Tensor, functions: Iterable<(x: Tensor) => Tensor>): Tensor {
  return releasing((release) => {
    let y = x;
    for (const f of functions) {
      const previous = y;
      let next: Tensor | null = null;
      try {
        next = f(previous);
      } finally {
        if (previous !== x && previous !== next) release(previous);
      }
      y = next;
    }
    return y;
  });
}
