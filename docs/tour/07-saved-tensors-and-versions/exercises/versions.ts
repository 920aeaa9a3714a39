/** Exercise 7.1: a storage with a version. */
import { notWritten } from '../../support/exercise.ts';

/** A storage of one number. The version counts the writes. */
export interface Cell {
  value: number;
  version: number;
}

/** What an operation saves: the cell itself, not a copy of its value, and the version that it had. */
export interface Saved {
  readonly cell: Cell;
  readonly version: number;
}

/** Writes a value to the cell. */
export function write(cell: Cell, value: number): void {
  notWritten(cell, value);
}

/** Saves the cell for backward. */
export function save(cell: Cell): Saved {
  return notWritten(cell);
}

/** Returns the saved value. Throws an Error that names both versions if the cell was written to since it was saved. */
export function read(saved: Saved): number {
  return notWritten(saved);
}
