/**
 * The mode in which operations run: whether they are recorded, and whether they belong to a backward or to the replay of a forward.
 */
import { nodeCount } from './tape.ts';

interface Mode {
  /** Whether operations are recorded. */
  readonly grad: boolean;
  /** Whether they are part of a backward. */
  readonly backward: boolean;
  /** The sequence number of a replayed forward's first node; null outside of replays. */
  readonly replayedFrom: number | null;
}

let mode: Mode = { grad: true, backward: false, replayedFrom: null };

function withMode<T>(next: Mode, fn: () => T): T {
  const before = mode;
  mode = next;
  try {
    return fn();
  } finally {
    mode = before;
  }
}

/** Returns whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return mode.grad;
}

/** Returns whether a backward runs now. */
export function isInsideBackward(): boolean {
  return mode.backward;
}

/** Runs `fn` with recording on or off, without a scope. */
export function withGradMode<T>(grad: boolean, fn: () => T): T {
  return mode.grad === grad ? fn() : withMode({ ...mode, grad }, fn);
}

/** Runs `fn` as part of a backward, with recording on or off. Operations recorded inside do not free expiring tensors. */
export function duringBackward<T>(grad: boolean, fn: () => T): T {
  return withMode({ ...mode, grad, backward: true }, fn);
}

/** Runs `fn`, which opens a scope, as the replay of a forward: recorded, and without in-place writes to older tensors. */
export function withReplay<T>(fn: () => T): T {
  return withMode({ ...mode, grad: true, replayedFrom: nodeCount() }, fn);
}

/** Returns whether `t` is older than the replay that runs now. The first pass has done the in-place writes to such tensors. */
export function isOlderThanReplay({ scope }: { readonly scope: { readonly firstNode: number } | null }): boolean {
  return mode.replayedFrom !== null && (scope === null || scope.firstNode < mode.replayedFrom);
}
