/**
 * Who looks on while operations run, and on whose behalf they run.
 */
import type { View } from '../kernels/view.ts';
import type { Node, RecordedOp } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Sees every operation. What it throws comes out of the operation, or of the backward, as its own error would. */
export interface Watcher {
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
export let watcher: Watcher | null = null;

/** Puts `next` in the watcher's place; returns who was there. */
export function watch(next: Watcher | null): Watcher | null {
  const before = watcher;
  watcher = next;
  return before;
}

/** What calls operations under a name of its own: a module. */
export interface Caller {
  namedModules(): [path: string, module: Caller][];
}

/** The callers that run now, outermost first. */
export const callers: Caller[] = [];

/** How messages name a caller: `features.3 (Conv2d)`, its path seen from the outermost that contains it, or its class. */
export function placeOf(caller: Caller, running: readonly Caller[] = callers): string {
  const path = running.map((root) => root.namedModules().find(([, m]) => m === caller)?.[0]).find((p) => p !== undefined);
  return titleOf(path ?? '', caller);
}

/** A class's name after its path, where it has one. */
export function titleOf(path: string, { constructor }: object): string {
  return path === '' ? constructor.name : `${path} (${constructor.name})`;
}
