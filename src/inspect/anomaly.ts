/**
 * Finds the operation that produced the first NaN or infinity, by checking every forward result and every gradient.
 */
import { isRevoked, kindOfLaterWork } from '../core/describe.ts';
import { isFloat, type ElementArray } from '../core/dtype.ts';
import { AnomalyError, ArgumentError, kindOf } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape, isDense, sizeOf } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { withTemporaries } from '../kernels/memory/allocator.ts';
import { elementView } from '../kernels/memory/wasm-memory.ts';
import { addressOf, empty, type View } from '../kernels/view.ts';
import { environmentFlag } from '../platform/node.ts';
import { formatNumber } from '../autograd/format.ts';
import type { Node, Saved } from '../autograd/tape.ts';
import { isTensor, type Tensor } from '../autograd/tensor.ts';
import { addInstrumentation, moduleStack, placeOf, type ModuleFrame, type Instrumentation } from '../autograd/instrumentation.ts';

/**
 * Checks every forward result and every gradient for NaN and infinities: from now on (`true`), no longer (`false`), or while `fn`
 * runs. Given a function, returns its result. Slow: it reads all values, and stores a stack for every recorded operation. The
 * environment variable CHAINRULE_ANOMALY=1 switches it on at start-up.
 * Throws: AnomalyError that names the operation, the module, forward or backward, the values, and the calling line
 * @example detectAnomaly(() => loss(model.forward(x), y).backward())
 */
export function detectAnomaly(on: boolean): void;
export function detectAnomaly<T>(fn: () => T): T;
export function detectAnomaly<T>(what: boolean | (() => T)): T | void {
  if (typeof what === 'boolean') {
    switchTo(what);
    return;
  }
  if (typeof what !== 'function' || isRevoked(what))
    throw new ArgumentError(`detectAnomaly: expected true, false or a function, got ${kindOf(what)}`);
  refuseOptions('detectAnomaly', arguments[1]);
  const before = isOn();
  switchTo(true);
  try {
    const result = what();
    const later = kindOfLaterWork(result);
    if (later !== null) {
      throw new ArgumentError(
        `detectAnomaly: the function returned ${later}, whose work would run unchecked. Use detectAnomaly(true) and detectAnomaly(false) around it`,
      );
    }
    return result;
  } finally {
    switchTo(before);
  }
}

/** Ends the check; null while it is off. */
let end: (() => void) | null = null;

function isOn(): boolean {
  return end !== null;
}

function switchTo(on: boolean): void {
  if (on === isOn()) return;
  end?.();
  end = on ? addInstrumentation(anomalies) : null;
}

/** The place where a recorded operation was called: the stack, and the modules whose forward was running. */
interface CallSite {
  readonly stack: string;
  readonly running: readonly ModuleFrame[];
}

const callSites = new WeakMap<Node, CallSite>();

/** @internal */
export const anomalies: Instrumentation = {
  computed(op, args, results, insideBackward) {
    // Results inside a backward are not checked here: `visited` checks the gradients that the backward returns.
    if (insideBackward) return;
    const result = results.find(hasNonFinite);
    if (result === undefined) return;
    const lines = [`${op.name}: forward made ${countText(result)}`, describe('result', result)];
    for (const [i, a] of args.entries()) {
      if (isTensor(a)) lines.push(describe(`argument ${i}`, a));
    }
    lines.push(`called at ${userLine(currentStack())}`);
    throw new AnomalyError(lines.join('\n  '));
  },

  recorded(node) {
    callSites.set(node, { stack: currentStack(), running: moduleStack.slice() });
  },

  visited(node, g, grads) {
    if (hasNonFinite(g)) {
      // The gradients that backwards returned have been checked, so this one was given, came from a hook, or is a sum.
      const lines = [describe('gradient', g), describe('value', node.output)];
      throw backwardError(node, `the gradient that reached it (given, from a hook, or a sum) has ${countText(g)}`, lines);
    }
    const argument = grads.findIndex((x) => x !== null && hasNonFinite(x));
    if (argument < 0) return;
    const gradient = grads[argument]!;
    const lines = [
      describe(`gradient of argument ${argument}`, gradient),
      describe('gradient of the result', g),
      ...node.savedTensors.map((saved) => describe(`saved ${saved.key}`, viewOf(saved))),
    ];
    throw backwardError(node, `backward made ${countText(gradient)}`, lines);
  },
};

function backwardError(node: Node, what: string, lines: readonly string[]): AnomalyError {
  const site = callSites.get(node);
  // A leaf, or a node recorded before the check was switched on, has no call site.
  if (site === undefined) return new AnomalyError([`${node.name}: ${what}`, ...lines].join('\n  '));
  const innermost = site.running.at(-1);
  const place = innermost === undefined ? '' : `${placeOf(innermost, site.running)}: `;
  const caller = `its forward was called at ${userLine(site.stack)}`;
  return new AnomalyError([`${place}${node.name}: ${what}`, ...lines, caller].join('\n  '));
}

/** Returns a view of a saved tensor's storage, which is readable even if the tensor has been disposed of. */
function viewOf({ tensor: { shape, strides, offset, dtype }, storage }: Saved): View {
  return { storage, shape, strides, offset, dtype };
}

// — values —

/** Calls `read` with the elements, in memory order. */
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

/** Returns a line such as `argument 0 float32 [2,3]: min −1, max 2, mean 0.5, 1 NaN`. */
function describe(what: string, v: View | Tensor): string {
  const label = isTensor(v) && v.label !== null ? ` '${v.label}'` : '';
  const head = `${what}${label} ${v.dtype} ${formatShape(v.shape)}`;
  if (isTensor(v) && v.isReleased) return `${head}: freed`;
  return withElements(v, (elements) => `${head}: ${statistics(elements, v)}`);
}

function statistics(elements: ElementArray, { dtype }: View): string {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let finite = 0;
  let nan = 0;
  for (const x of elements) {
    if (Number.isFinite(x)) {
      min = Math.min(min, x);
      max = Math.max(max, x);
      sum += x;
      finite++;
    } else if (Number.isNaN(x)) {
      nan++;
    }
  }
  const infinite = elements.length - finite - nan;
  const number = (x: number): string => formatNumber(x, dtype === 'float64' ? 'float64' : 'float32');
  const parts = [finite === 0 ? 'no finite value' : `min ${number(min)}, max ${number(max)}, mean ${number(sum / finite)}`];
  if (nan > 0) parts.push(`${nan} NaN`);
  if (infinite > 0) parts.push(`${infinite} infinite`);
  return parts.join(', ');
}

// — the calling line —

/** Stack frames to record: nested modules put many between an operation and the user's line. */
const FRAMES = 200;

function currentStack(): string {
  const limit = Error.stackTraceLimit;
  // Not by assignment, which throws where intrinsics are frozen. There the stack has as many frames as the runtime gives.
  Reflect.set(Error, 'stackTraceLimit', FRAMES);
  const stack = new Error('where an operation was called').stack ?? '';
  Reflect.set(Error, 'stackTraceLimit', limit);
  return stack;
}

/** Returns the locations in a stack, innermost first. Engines format frames differently, but all end them with line and column. */
function locations(stack: string): string[] {
  return stack.split('\n').flatMap((line) => /([^\s(@]+:\d+:\d+)\)?$/.exec(line)?.[1] ?? []);
}

/**
 * This library's folder as stacks write it: the folder of the sources, or the package's dist. Null in a user's bundle, where the
 * user's code may be in the same file.
 */
const libraryFolder = findLibraryFolder();

function findLibraryFolder(): string | null {
  const thisFile = locations(currentStack())[0] ?? '';
  const match = /^.*[\\/](?=inspect[\\/]anomaly\.ts)|^.*chainrule[^\\/]*[\\/]dist[\\/](?=engine\.js)/.exec(thisFile);
  return match?.[0] ?? null;
}

/** Returns the innermost line of a stack outside this library; all lines if the library's folder is unknown. */
function userLine(stack: string): string {
  const lines = locations(stack).filter((line) => !line.startsWith('node:'));
  if (libraryFolder === null) return lines.join('\n    ');
  return lines.find((line) => !line.startsWith(libraryFolder)) ?? 'an unknown line';
}

if (environmentFlag('CHAINRULE_ANOMALY')) detectAnomaly(true);
