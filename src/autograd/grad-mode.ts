/**
 * The mode in which operations run: whether they are recorded, and whether they belong to a backward or to the replay of a forward.
 */
import { storageCount, type Storage } from '../kernels/memory/storage.ts';

/** Whether operations are recorded. */
let isRecording = true;
/** Whether they are part of a backward. */
let isBackward = false;
/** The serial number of a replayed forward's first storage; null outside of replays. */
let replayedFrom: number | null = null;

/** Returns whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return isRecording;
}

/** Returns whether a backward runs now. */
export function isInsideBackward(): boolean {
  return isBackward;
}

/** Runs `fn` with recording on or off, without a scope. */
export function withGradMode<T>(grad: boolean, fn: () => T): T {
  const before = isRecording;
  isRecording = grad;
  try {
    return fn();
  } finally {
    isRecording = before;
  }
}

/** Runs `fn` as part of a backward, with recording on or off. Operations recorded inside do not free expiring tensors. */
export function duringBackward<T>(grad: boolean, fn: () => T): T {
  const before = isBackward;
  isBackward = true;
  try {
    return withGradMode(grad, fn);
  } finally {
    isBackward = before;
  }
}

/** Runs `fn` as the replay of a forward: recorded, and without in-place writes to older tensors. */
export function withReplay<T>(fn: () => T): T {
  const before = replayedFrom;
  replayedFrom = storageCount();
  try {
    return withGradMode(true, fn);
  } finally {
    replayedFrom = before;
  }
}

/** Returns whether a tensor is older than the replay that runs now. The first pass has done the in-place writes to such tensors. */
export function isOlderThanReplay({ storage }: { readonly storage: Storage }): boolean {
  return replayedFrom !== null && storage.serial < replayedFrom;
}
