/**
 * Activation checkpointing: a forward's intermediate results are freed, and computed again when backward needs them.
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { ArgumentError, AutogradError, kindOf } from '../core/errors.ts';
import { checkFunction } from '../core/options.ts';
import { formatShape, isDense } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { viewOf } from '../kernels/memory/wasm-memory.ts';
import { addressOf, restride, type View } from '../kernels/view.ts';
import { atNeeded, gradients } from './backward.ts';
import { runScoped, scope } from './scopes.ts';
import { defineOp, type Grads } from './op.ts';
import { contiguous, detach, identity } from './ops/views.ts';
import { replayable } from './random.ts';
import { isGradEnabled, withReplay } from './grad-mode.ts';
import { nodeCount, type Node } from './tape.ts';
import { isTensor, type Tensor } from './tensor.ts';

/**
 * What remains of a forward: its value and that value's fingerprint, the number of its arguments, and a function that repeats it with the
 * same random numbers.
 */
interface Pass {
  readonly value: View;
  readonly fingerprint: Fingerprint;
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
    const needed = <T>(all: readonly T[]): T[] => all.filter((_, i) => needs[i]);
    const tensors = needs.map((_, i) => read[i] as Tensor);
    return thawing(needed(tensors), () => {
      const inputs = tensors.map((t, i) => (i < pass.count ? standIn(t, createGraph) : t));
      const y = withReplay(() => pass.again(inputs.slice(0, pass.count)));
      if (!isEqualFingerprint(fingerprintOf(y), pass.fingerprint)) throw differentReplay();
      const found = gradients([y], needed(inputs) as Tensor[], { gradOutputs: g, createGraph, allowUnused: true }, true);
      // An argument may have no part in the result; a leaf that the first call has read has one.
      const leaves = found.slice(needed(tensors.slice(0, pass.count)).length);
      if (leaves.includes(null)) throw differentReplay();
      return [null, ...atNeeded(needs, found)];
    });
  },
});

function differentReplay(): AutogradError {
  return new AutogradError(
    'the second call of the function computes something else than the first: a tensor that it reads was written to (also within the function), ' +
      'or a mode or an option such as eval() or p has changed. Change it after backward, or make it an argument',
  );
}

/** A hash of bits, and the sum of all elements' squares. */
type Fingerprint = readonly [hash: number, sumSquares: number];

/** The most words that are hashed, as a loop over all would take as long as a layer. */
const HASHED_WORDS = 65536;

/** Returns what differs, up to rare chance, if the bits of two results do. The hash is FNV-1a on words that are spread evenly. */
function fingerprintOf(y: Tensor): Fingerprint {
  const sumSquares = kernels.sumSquares([y]);
  const dense = isDense(y.shape, y.strides) ? y : contiguous(y);
  const words = viewOf('int32');
  const first = addressOf(dense) / 4;
  const count = (y.numel * ITEM_SIZE[y.dtype]) / 4;
  // An odd step reaches all channels of channels-last images.
  const step = Math.floor(count / HASHED_WORDS) | 1;
  let hash = 0x811c9dc5;
  for (let i = first; i < first + count; i += step) hash = Math.imul(hash ^ words[i]!, 0x01000193);
  return [hash, sumSquares];
}

function isEqualFingerprint([hash, sumSquares]: Fingerprint, other: Fingerprint): boolean {
  return hash === other[0] && Object.is(sumSquares, other[1]);
}

/** Runs `fn` while all of `tensors` require a gradient, also leaves that have been frozen since the forward. */
function thawing<T>(tensors: readonly Tensor[], fn: () => T): T {
  const frozen = tensors.filter((t) => !t.requiresGrad);
  for (const t of frozen) t.requiresGrad_();
  try {
    return fn();
  } finally {
    for (const t of frozen) t.requiresGrad_(false);
  }
}

/** Returns a leaf in the place of a tensor that requires a gradient; under createGraph an operation's result, which stays connected. */
function standIn(x: unknown, createGraph: boolean): unknown {
  if (!isTensor(x) || !x.requiresGrad) return x;
  return createGraph ? identity(x) : detach(x).requiresGrad_();
}

/**
 * Returns `fn(...args)` and retains only the result and the arguments: backward calls `fn` a second time. The bits are the same, with
 * less memory and more time. The second call draws the same random numbers, and does not write to older tensors (batch norm's
 * statistics). Gradients reach the arguments, and the parameters that `fn` reads. Calls nest, and have derivatives of any order.
 * Backward throws an InPlaceError if an argument or a parameter was written to in between, and an AutogradError if the second call gives
 * other bits for another reason: a write to a constant that `fn` reads, or `eval()`, for example.
 * Throws: ArgumentError if `fn` returns no tensor; AutogradError if it reads the result of a recorded operation that is not an argument
 * @example y = recompute((x) => this.block.forward(x), x)
 */
export function recompute<A extends readonly unknown[]>(fn: (...args: A) => Tensor, ...args: A): Tensor {
  checkFunction('recompute', 'fn', fn);
  return scope(() => {
    const first = nodeCount();
    const stands = isGradEnabled() ? args.map((x) => standIn(x, false)) : args;
    // Stand-ins are of the arguments' types.
    const [y, again] = replayable<readonly unknown[], Tensor>((inputs) => runScoped('recompute', () => fn(...(inputs as A))), stands);
    if (!isTensor(y)) throw new ArgumentError(`recompute: the function must return a tensor, got ${kindOf(y)}`);
    if (y.node === null || !isGradEnabled()) return y;
    const pass = { value: restride(y, y.shape, y.strides), fingerprint: fingerprintOf(y), count: args.length, again };
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
