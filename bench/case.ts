/**
 * Types of a benchmark case.
 */
import type { FloatDType } from '../src/core/dtype.ts';

/**
 * The amount of work by which a case's time is judged: arithmetic, memory traffic or images. For `ops`, the time of one operation
 * is reported as it is.
 */
export type Work =
  | { readonly kind: 'flops'; readonly amount: number }
  | { readonly kind: 'bytes'; readonly amount: number }
  | { readonly kind: 'images'; readonly amount: number }
  | { readonly kind: 'ops'; readonly amount: number };

/** A case with its operands allocated. */
export interface Prepared {
  /** The function that is timed. */
  readonly run: () => void;
  readonly free: () => void;
}

export interface Case {
  readonly group: string;
  readonly name: string;
  readonly dtype: FloatDType;
  readonly work: Work;
  /** The same work as a request to peers/torch-peer.py; null if no peer has it. */
  readonly peer: Readonly<Record<string, unknown>> | null;
  /** Allocates the operands; returns the function to time and the one that frees them. */
  prepare(): Prepared;
}

/** Images per batch. */
export const BATCH = 64;
