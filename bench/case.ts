/**
 * What a benchmark case is.
 */
import type { FloatDType } from '../src/core/dtype.ts';

/** What a case's time is set against: arithmetic, memory traffic, images; or nothing, for costs in themselves. */
export type Work =
  | { readonly kind: 'flops'; readonly amount: number }
  | { readonly kind: 'bytes'; readonly amount: number }
  | { readonly kind: 'images'; readonly amount: number }
  | { readonly kind: 'ops'; readonly amount: number };

export interface Prepared {
  readonly run: () => void;
  readonly free: () => void;
}

export interface Case {
  readonly group: string;
  readonly name: string;
  readonly dtype: FloatDType;
  readonly work: Work;
  /** What a peer is asked to time, understood by peers/torch-peer.py; null where no peer does the same. */
  readonly peer: Readonly<Record<string, unknown>> | null;
  /** Allocates the operands and gives what is timed, and how to free them. */
  prepare(): Prepared;
}

export const BATCH = 64;
