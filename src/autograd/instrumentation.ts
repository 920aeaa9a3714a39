/**
 * Instrumentation: an observer of every operation, and the stack of the modules that run.
 */
import type { View } from '../kernels/view.ts';
import type { Node, RecordedOp } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Is called for every operation. An error that it throws leaves the operation, or the backward, as its own error would. */
export interface Instrumentation {
  /** A forward begins. */
  starting?(op: RecordedOp): void;
  /** A forward has computed its results and not yet returned them. `insideBackward`: the operation is part of a backward. */
  computed(op: RecordedOp, args: readonly unknown[], results: readonly View[], insideBackward: boolean): void;
  /** An operation was recorded. */
  recorded(node: Node): void;
  /** The walk begins a node. */
  visiting?(node: Node): void;
  /** The walk has visited a node: `g` is the node's gradient, `grads` are those of its arguments. */
  visited(node: Node, g: Tensor, grads: readonly (Tensor | null)[]): void;
}

/** The instrumentation in use, if any. */
export let instrumentation: Instrumentation | null = null;

/** Replaces the instrumentation; returns the one before. */
export function setInstrumentation(next: Instrumentation | null): Instrumentation | null {
  const before = instrumentation;
  instrumentation = next;
  return before;
}

/** A module whose forward runs. */
export interface ModuleFrame {
  namedModules(): [path: string, module: ModuleFrame][];
}

/** The modules whose forward runs now, outermost first. */
export const moduleStack: ModuleFrame[] = [];

/** Returns a module's name for messages: its path in the outermost module that contains it, `features.3 (Conv2d)`, or its class. */
export function placeOf(frame: ModuleFrame, running: readonly ModuleFrame[] = moduleStack): string {
  const path = running.map((root) => root.namedModules().find(([, m]) => m === frame)?.[0]).find((p) => p !== undefined);
  return titleOf(path ?? '', frame);
}

/** Returns the path, if there is one, and the class. */
export function titleOf(path: string, { constructor }: object): string {
  return path === '' ? constructor.name : `${path} (${constructor.name})`;
}
