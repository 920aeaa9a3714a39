/**
 * Who looks on while operations run, and on whose behalf they run.
 */
import type { View } from '../kernels/view.ts';
import type { Node, RecordedOp } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Sees every operation. What it throws comes out of the operation, or of the backward, as its own error would. */
export interface Instrumentation {
  /** A forward begins. */
  starting?(op: RecordedOp): void;
  /** A forward has computed its results; nobody has them yet. Operations that a backward is made of are told apart. */
  computed(op: RecordedOp, args: readonly unknown[], results: readonly View[], insideBackward: boolean): void;
  recorded(node: Node): void;
  /** The walk has come to a node. */
  visiting?(node: Node): void;
  /** The walk has visited a node: the gradient that reached it, and those of its arguments. */
  visited(node: Node, g: Tensor, grads: readonly (Tensor | null)[]): void;
}

/** The one that looks on now. */
export let instrumentation: Instrumentation | null = null;

/** Puts `next` in the watcher's place; returns who was there. */
export function setInstrumentation(next: Instrumentation | null): Instrumentation | null {
  const before = instrumentation;
  instrumentation = next;
  return before;
}

/** What calls operations under a name of its own: a module. */
export interface ModuleFrame {
  namedModules(): [path: string, module: ModuleFrame][];
}

/** The callers that run now, outermost first. */
export const moduleStack: ModuleFrame[] = [];

/** How messages name a caller: `features.3 (Conv2d)`, its path seen from the outermost that contains it, or its class. */
export function placeOf(frame: ModuleFrame, running: readonly ModuleFrame[] = moduleStack): string {
  const path = running.map((root) => root.namedModules().find(([, m]) => m === frame)?.[0]).find((p) => p !== undefined);
  return titleOf(path ?? '', frame);
}

/** A class's name after its path, where it has one. */
export function titleOf(path: string, { constructor }: object): string {
  return path === '' ? constructor.name : `${path} (${constructor.name})`;
}
