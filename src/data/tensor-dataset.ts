/**
 * A dataset of columns: arrays with one row for each sample.
 *
 * Letters: B = samples of a batch, N = samples of the dataset.
 */
import type { ArrayData } from '../core/array-data.ts';
import { peek } from '../core/describe.ts';
import { newArray } from '../core/dtype.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape, sizeOf } from '../core/shape.ts';
import { elements } from './batches.ts';
import { checkIndex, checkItem, copyElements, type BatchDataset, type Item } from './dataset.ts';

/** The columns of a TensorDataset, as items of its batches. */
export type Columns<T extends readonly Item[]> = { readonly [K in keyof T]: ArrayData };

/**
 * A dataset of columns, such as inputs, float targets and weights. Its samples are their rows.
 *
 * The columns are copied: tensors may be freed or changed afterwards.
 * @param columns tensors, or `{ data, shape, dtype }`, with the same first dim N
 * Shape:  columns [N, ...S] → batches [B, ...S] of the same dtypes
 * Throws: ArgumentError without columns, ShapeError if the first dims differ or a shape does not match the number of elements
 * @example new TensorDataset(inputs, targets)
 */
export class TensorDataset<T extends readonly Item[]> implements BatchDataset<Columns<T>> {
  /** The number of samples. */
  readonly length: number;
  readonly #columns: readonly ArrayData[];

  constructor(...columns: T) {
    refuseOptions(
      'TensorDataset',
      columns.find((column) => peek(column, 'shape') === undefined),
    );
    if (columns.length === 0) throw new ArgumentError('TensorDataset: there are no columns');
    this.#columns = columns.map(copyColumn);
    const [first, ...others] = this.#columns;
    this.length = first!.shape[0]!;
    for (const [i, { shape }] of others.entries()) {
      if (shape[0] === this.length) continue;
      throw new ShapeError(
        `TensorDataset: columns must have the same first dim: column 0 is ${formatShape(first!.shape)}, column ${i + 1} ${formatShape(shape)}`,
      );
    }
  }

  getBatch(indices: ArrayLike<number>): Columns<T> {
    const rows = Array.from(indices, (index) => checkIndex('TensorDataset', index, this.length));
    // Each column gives one item, but TypeScript cannot follow a tuple of unknown length through map.
    return this.#columns.map((column) => takeRows(column, rows)) as unknown as Columns<T>;
  }
}

function copyColumn(column: Item, i: number): ArrayData {
  checkItem('TensorDataset', `column ${i}`, column);
  const { shape, dtype } = column;
  const values = elements(column);
  if (shape.length === 0) throw new ShapeError(`TensorDataset: column ${i} must have a row for each sample, got a shape of []`);
  const size = sizeOf(shape, 'TensorDataset');
  if (values.length !== size)
    throw new ShapeError(`TensorDataset: column ${i} has ${values.length} elements, its shape ${formatShape(shape)} ${size}`);
  const data = newArray(dtype, size);
  copyElements(`TensorDataset: column ${i}`, values, dtype, data, 0);
  return { data, shape: [...shape], dtype };
}

function takeRows({ data, shape, dtype }: ArrayData, rows: readonly number[]): ArrayData {
  const [, ...rest] = shape;
  const size = sizeOf(rest);
  const taken = newArray(dtype, rows.length * size);
  rows.forEach((row, b) => taken.set(data.subarray(row * size, (row + 1) * size), b * size));
  return { data: taken, shape: [rows.length, ...rest], dtype };
}
