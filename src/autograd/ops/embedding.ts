/**
 * Embedding: rows of a table by index. Letters: V rows, D numbers in each.
 */
import { ArgumentError, ShapeError, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape } from '../../core/shape.ts';
import { composed } from '../scope-stack.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { where } from './comparison.ts';
import { checkIndex, gatherUnchecked } from './indexing.ts';

/** Options of embedding. */
export interface EmbeddingOptions {
  /** The row of the padding token, which gets no gradient; a negative one counts from the end. Default none. */
  readonly paddingIdx?: number | null;
}

/** Returns the index of the padding row, counted from the start; null where there is none. */
export function paddingRow(op: string, paddingIdx: number | null, rows: number): number | null {
  if (paddingIdx === null) return null;
  if (!Number.isInteger(paddingIdx) || paddingIdx < -rows || paddingIdx >= rows)
    throw new ArgumentError(`${op}: paddingIdx ${shown(paddingIdx)} names none of the ${rows} rows`);
  return paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
}

/**
 * y[…, :] = weight[indices[…], :].   ∂weight = g added up at indices, except at the padding row
 * Shape:  indices […] (int32), weight [V,D] → y […,D]
 * Throws: ShapeError for an index outside 0 … V − 1; DTypeError for other dtypes; ArgumentError for a padding row outside
 */
export const embedding = composed((indices: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor => {
  const { paddingIdx } = withDefaults('embedding', options, { paddingIdx: null });
  checkTensors('embedding', { indices, weight });
  if (weight.ndim !== 2) throw new ShapeError(`embedding: weight must be [V,D], got ${formatShape(weight.shape)}`);
  const [v, d] = weight.sizes(2);
  const padding = paddingRow('embedding', paddingIdx, v);
  checkIndex('embedding', indices, v);
  const rows = indices.reshape([-1, 1]).expand([indices.numel, d]);
  const y = gatherUnchecked(weight, 0, rows).reshape([...indices.shape, d]);
  return padding === null ? y : where(indices.eq(padding).unsqueeze(-1), y.detach(), y);
});
