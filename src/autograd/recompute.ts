/**
 * Activation checkpointing: a forward's intermediate results are freed, and computed again when backward needs them.
 */
import { ArgumentError, AutogradError, kindOf } from '../core/errors.ts';
import { checkFunction } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { restride, type View } from '../kernels/view.ts';
import { atNeeded, gradients } from './backward.ts';
import { scope } from './scopes.ts';
import { defineOp, type Grads } from './op.ts';
import { detach, identity } from './ops/views.ts';
import { replayable } from './random.ts';
import { isGradEnabled, withReplay } from './grad-mode.ts';
import { nodeCount, type Node } from './tape.ts';
import { isTensor, type Tensor } from './tensor.ts';

/** What remains of a forward: its value, the number of its arguments, and a function that repeats it with the same random numbers. */
interface Pass {
  readonly value: View;
  readonly count: number;
  readonly again: (args: readonly unknown[]) => Tensor;
}

/** y = fn(...args), where `read` are the arguments and the other leaves that fn reads.   ∂read: that of fn, computed again */
const recomputed = defineOp({
  name: 'recompute',
  forward: (_, pass: Pass, ..._read: unknown[]) => pass.value,
  save: (_, [pass, ...read]) => Object.assign({ pass }, read as Record<number, unknown>),
  backward: (g, { pass, ...read }, [, ...needs]): Grads => {
    const createGraph = isGradEnabled();
    const inputs = needs.map((_, i) => (i < pass.count ? standIn(read[i], createGraph) : read[i]));
    const y = withReplay(() => pass.again(inputs.slice(0, pass.count)));
    const needed = inputs.filter((_, i) => needs[i]) as Tensor[];
    const found = gradients([y], needed, { gradOutputs: g, createGraph, allowUnused: true }, true);
    return [null, ...atNeeded(needs, found)];
  },
});

/** Returns a leaf in the place of a tensor that requires a gradient; under createGraph an operation's result, which stays connected. */
function standIn(x: unknown, createGraph: boolean): unknown {
  if (!isTensor(x) || !x.requiresGrad) return x;
  return createGraph ? identity(x) : detach(x).requiresGrad_();
}

/**
 * Returns `fn(...args)` and retains only the result and the arguments: backward calls `fn` a second time. The bits are the same, with
 * less memory and more time. The second call draws the same random numbers, and does not write to older tensors (batch norm's
 * statistics). Gradients reach the arguments, and the parameters that `fn` reads. Calls nest, and have derivatives of any order.
 * Backward throws if an argument, or a leaf that requires a gradient, was written to in between. A write to a
 * constant that `fn` closes over is not detected: the gradient is then that of the new value, as in PyTorch. Pass such a constant
 * as an argument.
 * Throws: ArgumentError if `fn` returns no tensor; AutogradError if it reads the result of a recorded operation that is not an argument
 * @example y = recompute((x) => this.block.forward(x), x)
 */
export function recompute<A extends readonly unknown[]>(fn: (...args: A) => Tensor, ...args: A): Tensor {
  checkFunction('recompute', 'fn', fn);
  return scope(() => {
    const first = nodeCount();
    const stands = isGradEnabled() ? args.map((x) => standIn(x, false)) : args;
    // Stand-ins are of the arguments' types.
    const [y, again] = replayable<readonly unknown[], Tensor>((inputs) => scope(() => fn(...(inputs as A))), stands);
    if (!isTensor(y)) throw new ArgumentError(`recompute: the function must return a tensor, got ${kindOf(y)}`);
    if (y.node === null || !isGradEnabled()) return y;
    const pass = { value: restride(y, y.shape, y.strides), count: args.length, again };
    return recomputed(pass, ...args, ...leavesBefore(first, y.node));
  });
}

/** Returns the leaves that `node` depends on and that are older than sequence number `first`. */
function leavesBefore(first: number, node: Node): Tensor[] {
  const found = new Set([node]);
  for (const n of found) {
    if (n.seq >= first) n.inputs.forEach((input) => input !== null && found.add(input));
    else if (n.op !== null) {
      throw new AutogradError(
        `recompute: the function reads the result ${formatShape(n.output.shape)} of ${n.name}, which is no argument. Pass it: recompute((x, …) => …, x, …)`,
      );
    }
  }
  return [...found].filter((n) => n.seq < first).map((n) => n.output);
}
