/**
 * A run on the ranks of a group: rank 0 has the folder and the terminal, the others compute.
 */
import type { Stateful, Tensor } from 'chainrule';
import type { Group } from 'chainrule/distributed';
import type { Saved } from './checkpoint.ts';
import type { Display } from './display.ts';
import { RunError, UsageError } from './errors.ts';
import type { Metric } from './metrics.ts';
import type { Settings } from './options.ts';

/** The files of a run, as its training reads and writes them. `RunFolder` is that of rank 0. */
export interface RunFiles {
  readonly dir: string;
  readonly settings: Settings;
  /** Whether the last checkpoint that was read or written is one of a finished step. */
  readonly hasProgress: boolean;
  readCheckpoint(): Saved | null;
  checkpointError(what: string): RunError;
  save(run: Stateful, saved: Omit<Saved, 'metricsBytes' | 'weights' | 'dataDigest'>): void;
  restore(run: Stateful, saved: Saved): void;
  append(metric: Metric): void;
  saveWeights(net: 'plain' | 'se', weights: Readonly<Record<string, Tensor>>): void;
}

/** The files of a rank above 0: none. What it needs of them it gets from rank 0. */
export class NoFiles implements RunFiles {
  readonly dir: string;
  readonly settings: Settings;
  readonly hasProgress = false;

  constructor(dir: string, settings: Settings) {
    this.dir = dir;
    this.settings = settings;
  }

  readCheckpoint(): null {
    return null;
  }

  checkpointError(what: string): RunError {
    return new RunError(what);
  }

  save(): void {}
  restore(): void {}
  append(): void {}
  saveWeights(): void {}
}

/** The display of a rank above 0. */
export const NO_DISPLAY: Display = { begin() {}, step() {}, note() {}, end() {} };

/** An error that another rank reports. */
export class OtherRankError extends Error {
  /** The exit code that belongs to it. */
  readonly code: number;

  constructor(code: number) {
    super('another rank reports the error');
    this.code = code;
  }
}

/** Errors that all ranks have met together, each as its own or as an OtherRankError: none is left waiting. */
const shared = new WeakSet<object>();

/** Returns whether all ranks have ended with this error, so that they can leave the group in order. */
export function isShared(error: unknown): boolean {
  return error instanceof OtherRankError || (typeof error === 'object' && error !== null && shared.has(error));
}

/** Marks an error that every rank throws, and returns the one that this rank shall throw: rank 0 alone reports it. */
export function sharedError(group: Group, error: Error): Error {
  if (group.rank > 0) return new OtherRankError(exitCodeOf(error));
  shared.add(error);
  return error;
}

/** 2 for bad options, 1 for anything else. */
function exitCodeOf(error: unknown): number {
  return error instanceof UsageError ? 2 : 1;
}

/**
 * Runs `fn`, which calls nothing of the group, on all ranks, and returns its result. If it throws on some, all ranks throw: the lowest of these
 * its error, the others an OtherRankError.
 */
export function together<T>(group: Group, fn: () => T): T {
  let outcome: { readonly value: T } | { readonly error: unknown };
  try {
    outcome = { value: fn() };
  } catch (error) {
    outcome = { error };
  }
  const codes = group.allGatherBytes(Uint8Array.of('error' in outcome ? exitCodeOf(outcome.error) : 0)).map(([code]) => code!);
  const failed = codes.findIndex((code) => code > 0);
  if (failed < 0) return (outcome as { readonly value: T }).value;
  if (group.rank !== failed || !('error' in outcome)) throw new OtherRankError(codes[failed]!);
  if (outcome.error instanceof Error) shared.add(outcome.error);
  throw outcome.error;
}

/** Runs `fn` on rank 0, and returns its result, a JSON value, on all ranks. If it throws, all ranks throw, as in `together`. */
export function fromRank0<T>(group: Group, fn: () => T): T {
  const value = together(group, () => (group.rank === 0 ? fn() : null));
  const text = group.broadcastBytes(group.rank === 0 ? new TextEncoder().encode(JSON.stringify(value)) : null);
  // JSON of the value that rank 0 has returned.
  return group.rank === 0 ? (value as T) : (JSON.parse(new TextDecoder().decode(text)) as T);
}
