/** A storage of one number. The version counts the writes. */
export interface Cell {
  value: number;
  version: number;
}

/** What an operation saves. */
export interface Saved {
  readonly cell: Cell;
  readonly version: number;
}

/** Writes a value to the cell, and counts the write. */
export function write(cell: Cell, value: number): void {
  cell.value = value;
  cell.version++;
}

/** Saves the cell and its version. */
export function save(cell: Cell): Saved {
  return { cell, version: cell.version };
}

/** Returns the saved value, or throws if the cell has another version. */
export function read({ cell, version }: Saved): number {
  if (cell.version !== version) throw new Error(`saved at version ${version}, now ${cell.version}`);
  return cell.value;
}
