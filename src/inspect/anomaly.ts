/**
 * Finds the operation that made the first NaN or infinity: every result of a forward and every gradient is checked.
 */
import { isFloat, type ElementArray } from '../core/dtype.ts';
import { AnomalyError, ArgumentError } from '../core/errors.ts';
import { formatShape, isDense, sizeOf } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { withTemporaries } from '../kernels/memory/allocator.ts';
import { elementView } from '../kernels/memory/wasm-memory.ts';
import { addressOf, empty, type View } from '../kernels/view.ts';
import { formatNumber } from '../autograd/format.ts';
import type { Node, Saved } from '../autograd/tape.ts';
import { isTensor, type Tensor } from '../autograd/tensor.ts';
import { callers, placeOf, watch, type Caller, type Watcher } from '../autograd/watch.ts';

/**
 * Checks every result of a forward and every gradient for NaN and infinities, from now on (`true`, `false`) or while `fn` runs;
 * returns what `fn` returns. Slow: it reads all values, and keeps a stack for every recorded operation. The environment
 * variable CHAINRULE_ANOMALY=1 switches it on at the start.
 * Throws: AnomalyError that names the operation, the module, forward or backward, its values, and the line that called it
 * @example detectAnomaly(() => loss(model.forward(x), y).backward())
 */
export function detectAnomaly(on: boolean): void;
export function detectAnomaly<T>(fn: () => T): T;
export function detectAnomaly<T>(what: boolean | (() => T)): T | void {
  if (typeof what === 'boolean') {
    watch(what ? anomalies : null);
    return;
  }
  const before = watch(anomalies);
  try {
    const result = what();
    if (result instanceof Promise) {
      throw new ArgumentError(
        'detectAnomaly: the function returned a Promise, whose work would run unchecked. Use detectAnomaly(true) and detectAnomaly(false) around it',
      );
    }
    return result;
  } finally {
    watch(before);
  }
}

/** Where a recorded operation was called. */
interface Call {
  readonly stack: string;
  readonly running: readonly Caller[];
}

const calls = new WeakMap<Node, Call>();

/** @internal */
export const anomalies: Watcher = {
  computed(op, args, results, insideBackward) {
    // Those of a backward are judged by what comes out of it.
    const bad = insideBackward ? undefined : results.find(hasNonFinite);
    if (bad === undefined) return;
    const lines = [describe('result', bad), ...args.flatMap((a, i) => (isTensor(a) ? [describe(`argument ${i}`, a)] : []))];
    throw new AnomalyError([`${op.name}: forward made ${countText(bad)}`, ...lines, `called at ${userLine(stackHere())}`].join('\n  '));
  },

  recorded(node) {
    calls.set(node, { stack: stackHere(), running: callers.slice() });
  },

  visited(node, g, grads) {
    if (hasNonFinite(g)) {
      // Whatever an operation's backward made has been checked, so it came from outside or from a sum.
      const lines = [describe('gradient', g), describe('value', node.output)];
      throw backwardError(node, `the gradient that reached it (given, from a hook, or a sum) has ${countText(g)}`, lines);
    }
    const i = grads.findIndex((x) => x !== null && hasNonFinite(x));
    if (i < 0) return;
    const lines = [
      describe(`gradient of argument ${i}`, grads[i]!),
      describe('gradient of the result', g),
      ...node.kept.map((s) => describe(`saved ${s.key}`, viewOf(s))),
    ];
    throw backwardError(node, `backward made ${countText(grads[i]!)}`, lines);
  },
};

function backwardError(node: Node, what: string, lines: readonly string[]): AnomalyError {
  const call = calls.get(node);
  const last = call?.running.at(-1);
  const place = call === undefined || last === undefined ? '' : `${placeOf(last, call.running)}: `;
  // What was recorded before the check was switched on has no stack; a leaf has none either.
  const where = call === undefined ? [] : [`its forward was called at ${userLine(call.stack)}`];
  return new AnomalyError([`${place}${node.name}: ${what}`, ...lines, ...where].join('\n  '));
}

/** The memory that was held, whatever has become of the handle. */
function viewOf({ tensor: { shape, strides, offset, dtype }, storage }: Saved): View {
  return { storage, shape, strides, offset, dtype };
}

// — values —

/** Calls `read` on the elements, in the order of memory. */
function withElements<T>(v: View, read: (elements: ElementArray) => T): T {
  return withTemporaries('detectAnomaly', () => {
    const dense = isDense(v.shape, v.strides) ? v : empty(v.shape, v.dtype);
    if (dense !== v) kernels.copy(v, dense);
    return read(elementView(addressOf(dense), dense.dtype, sizeOf(dense.shape)));
  });
}

function hasNonFinite(v: View): boolean {
  return isFloat(v.dtype) && withElements(v, (elements) => !elements.every(Number.isFinite));
}

function countText(v: View): string {
  return withElements(v, (elements) => `${elements.filter((x) => !Number.isFinite(x)).length} of ${elements.length} values not finite`);
}

/** `argument 0 float32 [2,3]: min −1, max 2, mean 0.5, 1 NaN` */
function describe(what: string, v: View | Tensor): string {
  const head = `${what}${isTensor(v) && v.label !== null ? ` '${v.label}'` : ''} ${v.dtype} ${formatShape(v.shape)}`;
  if (isTensor(v) && v.isReleased) return `${head}: freed`;
  return withElements(v, (elements) => `${head}: ${statistics(elements, v)}`);
}

function statistics(elements: ElementArray, { dtype }: View): string {
  let [min, max, sum, finite, nan] = [Infinity, -Infinity, 0, 0, 0];
  for (const x of elements) {
    if (Number.isFinite(x)) {
      min = Math.min(min, x);
      max = Math.max(max, x);
      sum += x;
      finite++;
    } else if (Number.isNaN(x)) nan++;
  }
  const infinite = elements.length - finite - nan;
  const number = (x: number): string => formatNumber(x, dtype === 'float64' ? 'float64' : 'float32');
  const range = finite === 0 ? 'no finite value' : `min ${number(min)}, max ${number(max)}, mean ${number(sum / finite)}`;
  return `${range}${nan > 0 ? `, ${nan} NaN` : ''}${infinite > 0 ? `, ${infinite} infinite` : ''}`;
}

// — the user's line —

/** Frames between an operation and the user: modules nest. */
const FRAMES = 200;

function stackHere(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const stack = new Error('where an operation was called').stack ?? '';
  Error.stackTraceLimit = limit;
  return stack;
}

/** The files and lines in a stack, innermost first. V8 and others write them differently, but each ends in line and column. */
function locations(stack: string): string[] {
  return stack.split('\n').flatMap((line) => /([^\s(@]+:\d+:\d+)\)?$/.exec(line)?.[1] ?? []);
}

/** The folder of this library, as stacks write it: of the sources or the package; null in a bundle, where the user's code is in the same file. */
const home =
  /^.*[\\/](?=inspect[\\/]anomaly\.ts)|^.*chainrule[^\\/]*[\\/]dist[\\/](?=engine\.js)/.exec(locations(stackHere())[0] ?? '')?.[0] ?? null;

/** The innermost line outside this library. */
function userLine(stack: string): string {
  const lines = locations(stack).filter((line) => !line.startsWith('node:'));
  if (home === null) return lines.join('\n    ');
  return lines.find((line) => !line.startsWith(home)) ?? 'an unknown line';
}

if (typeof process === 'object' && process.env?.CHAINRULE_ANOMALY === '1') detectAnomaly(true);
