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
  /** A tensor is written in place, with a tensor or a number. */
  writing?(op: string, target: Tensor, operand: Tensor | number): void;
  /** An operation was recorded. */
  recorded(node: Node): void;
  /** The walk begins a node. */
  visiting?(node: Node): void;
  /** The walk has visited a node: `g` is the node's gradient, `grads` are those of its arguments. */
  visited(node: Node, g: Tensor, grads: readonly (Tensor | null)[]): void;
}

/** All instrumentation in use, as one; null if there is none. */
export let instrumentation: Instrumentation | null = null;

/** What is in use, newest first: the newest sees an operation's result, and its time, before another has read the result. */
let inUse: readonly Instrumentation[] = [];

/** Adds instrumentation to what is in use. Returns a function that removes it. */
export function addInstrumentation(added: Instrumentation): () => void {
  use([added, ...inUse]);
  return () => use(inUse.filter((other) => other !== added));
}

function use(next: readonly Instrumentation[]): void {
  inUse = next;
  instrumentation = next.length > 1 ? combine(next) : (next[0] ?? null);
}

function combine(all: readonly Instrumentation[]): Instrumentation {
  return {
    starting(op) {
      for (const each of all) each.starting?.(op);
    },
    computed(op, args, results, insideBackward) {
      for (const each of all) each.computed(op, args, results, insideBackward);
    },
    writing(op, target, operand) {
      for (const each of all) each.writing?.(op, target, operand);
    },
    recorded(node) {
      for (const each of all) each.recorded(node);
    },
    visiting(node) {
      for (const each of all) each.visiting?.(node);
    },
    visited(node, g, grads) {
      for (const each of all) each.visited(node, g, grads);
    },
  };
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
