/**
 * Which part of a dataset to read.
 */
import { ArgumentError, kindOf, shown } from '../core/errors.ts';
import { checkBoolean } from '../core/options.ts';

/** Which part of a dataset to read. Give one of the two at most. */
export interface SplitOptions {
  /** Default 'train'. */
  readonly split?: 'train' | 'test';
  /** The same as torchvision has it: true for 'train', false for 'test'. Default true. */
  readonly train?: boolean;
}

/** The names of SplitOptions. */
export const SPLIT = ['split', 'train'] as const;

/** Returns the part that the options of a reader name. Throws unless `dir` is a path too. */
export function splitOf(op: string, dir: string, { split, train }: SplitOptions): 'train' | 'test' {
  if (typeof dir !== 'string') throw new ArgumentError(`${op}: dir must be a folder's path, got ${kindOf(dir)}`);
  if (split !== undefined && split !== 'train' && split !== 'test')
    throw new ArgumentError(`${op}: split must be 'train' or 'test', got ${shown(split)}`);
  if (train === undefined) return split ?? 'train';
  checkBoolean(op, 'train', train);
  if (split !== undefined) throw new ArgumentError(`${op}: give split or train, not both`);
  return train ? 'train' : 'test';
}
