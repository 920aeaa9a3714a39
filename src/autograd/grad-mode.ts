/**
 * How operations run now: recorded or not, as part of a backward or not, as the replay of a forward or not.
 */
import { nodeCount } from './tape.ts';

/** How operations run now. */
interface Mode {
  /** Whether they are recorded. */
  readonly grad: boolean;
  readonly backward: boolean;
  /** While a forward is repeated: the number of its first node. */
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

/** Whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return mode.grad;
}

/** Whether a backward runs now. */
export function isInsideBackward(): boolean {
  return mode.backward;
}

/** Runs `fn` with recording on or off, without a scope. */
export function withGradMode<T>(grad: boolean, fn: () => T): T {
  return mode.grad === grad ? fn() : withMode({ ...mode, grad }, fn);
}

/** Runs `fn` as part of a backward, with recording on or off: recorded operations in it leave the bin alone. */
export function duringBackward<T>(grad: boolean, fn: () => T): T {
  return withMode({ ...mode, grad, backward: true }, fn);
}

/** Runs `fn`, which opens a scope, as the repetition of a forward: recorded, and without writing to what was there before. */
export function withReplay<T>(fn: () => T): T {
  return withMode({ ...mode, grad: true, replayedFrom: nodeCount() }, fn);
}

/** Whether a forward is being repeated that did not make `t`: its first pass has written what there was to write. */
export function isOlderThanReplay({ scope }: { readonly scope: { readonly firstNode: number } | null }): boolean {
  return mode.replayedFrom !== null && (scope === null || scope.firstNode < mode.replayedFrom);
}
